from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from labkernel.engine.catalog.release import (
    IndexFile,
    check_dates,
    load_keyring,
    parse_release,
    verify_signature,
)
from labkernel.engine.errors import Unavailable
from tests.engine.catalog.signed_archive import sign, signing_key, write_keyring

TEXT = """\
Origin: Debian
Label: Debian-Security
Suite: oldstable-security
Version: 12
Codename: bookworm-security
Date: Sat, 21 Nov 2026 00:53:02 UTC
Valid-Until: Sat, 28 Nov 2026 00:53:02 UTC
Acquire-By-Hash: yes
Architectures: all amd64
SHA256:
 aa 5 main/binary-amd64/Packages
 bb 3 main/binary-amd64/Packages.xz
"""


def fingerprint(user: str) -> str:
    return signing_key(user).extract_certificate().fingerprint


def test_a_good_signature_gives_the_signed_text(tmp_path: Path) -> None:
    keyring = load_keyring(str(write_keyring(tmp_path / "ring.gpg")), Path("/"))
    assert verify_signature(sign(TEXT), keyring, "InRelease") == TEXT.encode()


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        (TEXT.encode(), "InRelease is not signed"),
        (b"", "InRelease is not signed"),
        (b"<html>log in first</html>", "InRelease is not signed"),
        (sign(TEXT).replace(b"amd64", b"arm64"), "the signature of InRelease is not good: "),
        (sign(TEXT)[:-200], "the signature of InRelease is not good: "),
        (sign(TEXT, "somebody"), "the signature of InRelease is not good: "),
    ],
    ids=["unsigned", "empty", "portal", "changed", "cut", "another key"],
)
def test_anything_else_is_refused_with_the_reason(signed: bytes, reason: str, tmp_path: Path) -> None:
    keyring = load_keyring(str(write_keyring(tmp_path / "ring.gpg")))
    with pytest.raises(Unavailable, match=reason) as error:
        verify_signature(signed, keyring, "InRelease")
    assert "\n" not in error.value.message
    assert error.value.hint is not None
    assert "keyring" in error.value.hint


def test_text_around_the_signed_text_does_not_count(tmp_path: Path) -> None:
    keyring = load_keyring(str(write_keyring(tmp_path / "ring.gpg")))
    with pytest.raises(Unavailable):
        verify_signature(b"Origin: Evil\n" + sign(TEXT), keyring, "InRelease")
    try:
        text = verify_signature(sign(TEXT) + b"Origin: Evil\n", keyring, "InRelease")
    except Unavailable:
        return
    assert b"Evil" not in text


def test_fingerprints_choose_among_the_keys(tmp_path: Path) -> None:
    ring = tmp_path / "ring.gpg"
    ring.write_bytes(
        b"".join(bytes(signing_key(user).extract_certificate()) for user in ("archive", "somebody"))
    )
    assert verify_signature(sign(TEXT, "somebody"), load_keyring(str(ring)), "x")
    only = load_keyring(f"{ring} {fingerprint('archive').upper()}")
    assert verify_signature(sign(TEXT), only, "x")
    with pytest.raises(Unavailable, match="none of the keys that the sources name"):
        verify_signature(sign(TEXT, "somebody"), only, "x")


def test_a_key_can_stand_in_the_sources() -> None:
    keyring = load_keyring(str(signing_key("archive").extract_certificate()))
    assert verify_signature(sign(TEXT), keyring, "x")


def test_without_signed_by_the_machines_debian_keyrings_count(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no keyring") as error:
        load_keyring("", tmp_path)
    assert error.value.hint is not None
    assert "debian-archive-keyring" in error.value.hint
    directory = tmp_path / "etc/apt/trusted.gpg.d"
    directory.mkdir(parents=True)
    write_keyring(directory / "debian-archive-test.gpg")
    write_keyring(directory / "vendor.gpg", "somebody")
    keyring = load_keyring("", tmp_path)
    assert [certificate.fingerprint for certificate in keyring.certificates] == [fingerprint("archive")]


@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
def test_a_keyring_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "ring.gpg"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unavailable, match=r"keyring.*ring\.gpg"):
        verify_signature(sign(TEXT), load_keyring(str(file)), "InRelease")


def test_fields_of_a_release() -> None:
    release = parse_release(TEXT.encode(), "x")
    assert (release.origin, release.label, release.suite) == (
        "Debian",
        "Debian-Security",
        "oldstable-security",
    )
    assert (release.version, release.codename) == ("12", "bookworm-security")
    assert release.date == datetime(2026, 11, 21, 0, 53, 2, tzinfo=UTC)
    assert release.valid_until == datetime(2026, 11, 28, 0, 53, 2, tzinfo=UTC)
    assert release.by_hash
    assert release.separate_all
    assert not parse_release(TEXT.encode() + b"No-Support-for-Architecture-all: Packages\n", "x").separate_all
    assert release.files == {
        "main/binary-amd64/Packages": IndexFile("aa", 5),
        "main/binary-amd64/Packages.xz": IndexFile("bb", 3),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Date: some day\n",
        "Origin: x\n",
        TEXT.replace(" bb 3 ", " bb three "),
        TEXT.replace(" bb 3 ", " 3 "),
    ],
)
def test_no_release_file(text: str) -> None:
    with pytest.raises(Unavailable, match="x is no release file"):
        parse_release(text.encode(), "x")


def test_dates() -> None:
    release = parse_release(TEXT.encode(), "x")
    assert release.valid_until is not None
    check_dates(release, "x", release.date)
    late, early = release.valid_until + timedelta(seconds=1), release.date - timedelta(hours=1)
    with pytest.raises(Unavailable, match="out of date: valid until 2026-11-28 00:53 UTC"):
        check_dates(release, "x", late)
    with pytest.raises(Unavailable, match="in the future"):
        check_dates(release, "x", early)
    check_dates(release, "x", late, check_valid_until=False)
    check_dates(release, "x", early, check_date=False)
