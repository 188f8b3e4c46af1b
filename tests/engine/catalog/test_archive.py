from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labkernel.engine.catalog.apt_conf import AptConf
from labkernel.engine.catalog.apt_sources import parse_sources
from labkernel.engine.catalog.archive import Archive
from labkernel.engine.catalog.download import Downloader, Missing
from labkernel.engine.errors import Unavailable
from tests.engine.catalog.signed_archive import Server, SignedArchive, serving, sign, write_keyring


@dataclass
class Room:
    """An archive, its server, and a machine that has it in its sources."""

    archive: SignedArchive
    server: Server
    cache: Path
    keyring: Path

    def line(
        self, suite: str, *, path: str = "", keyring: Path | None = None, component: str = "main"
    ) -> str:
        return f"deb [signed-by={keyring or self.keyring}] {self.server.url}{path} {suite} {component}\n"

    def open(self, release: str = "", sources: str = "", conf: dict[str, str] | None = None) -> Archive:
        settings = AptConf(conf)
        return Archive.open(
            parse_sources(sources or self.line("bookworm")),
            release,
            downloader=Downloader(settings),
            conf=settings,
            cache=self.cache,
            architecture="amd64",
        )


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    archive = SignedArchive()
    archive.add("bookworm", "a", "1", files={"usr/bin/a": b"one"})
    archive.add("bookworm-updates", "a", "2", files={"usr/bin/a": b"two"})
    archive.publish("bookworm", "amd64")
    with serving(archive.files) as server:
        yield Room(archive, server, tmp_path / "cache", write_keyring(tmp_path / "ring.gpg"))


def version(archive: Archive) -> str:
    package = archive.index().candidate("a")
    assert package is not None
    return package.version


def test_the_configured_release_with_its_updates(room: Room) -> None:
    room.archive.publish("bookworm-updates", "amd64")
    sources = room.line("bookworm") + room.line("bookworm-updates") + room.line("trixie")
    opened = room.open(sources=sources)
    assert opened.release.codename == "bookworm"
    assert [suite.source.suite for suite in opened.suites] == ["bookworm", "bookworm-updates"]
    assert version(opened) == "2"


@pytest.mark.parametrize(("by_hash", "suffix"), [(False, ".xz"), (True, ".xz"), (False, ""), (True, "")])
def test_indices_in_every_form(by_hash: bool, suffix: str, room: Room) -> None:
    room.archive.publish("bookworm", "amd64", by_hash=by_hash, suffix=suffix)
    if by_hash:
        room.archive.files.pop(f"dists/bookworm/main/binary-amd64/Packages{suffix}", None)
    assert version(room.open()) == "1"


def test_packages_are_fetched_and_kept(room: Room) -> None:
    opened = room.open()
    package = opened.index().candidate("a")
    assert package is not None
    arrived: list[int] = []
    files = opened.fetch([package], arrived.append)
    assert files["a"].read_bytes() == room.archive.files["pool/a_1.deb"]
    assert sum(arrived) == package.size
    room.server.requests.clear()
    opened.fetch([package], arrived.append)
    assert room.server.requests == []


def test_a_package_that_is_not_what_the_index_says(room: Room) -> None:
    room.archive.files["pool/a_1.deb"] = room.archive.files["pool/a_1.deb"].replace(b"2.0", b"6.6")
    opened = room.open()
    package = opened.index().candidate("a")
    assert package is not None
    with pytest.raises(Unavailable, match="is not what the archive's signed index says"):
        opened.fetch([package], lambda _: None)


def test_an_index_that_is_not_what_the_release_file_says(room: Room) -> None:
    path = "dists/bookworm/main/binary-amd64/Packages.xz"
    room.archive.files[path] = bytes(len(room.archive.files[path]))
    with pytest.raises(Unavailable, match="is not what the archive's signed index says"):
        room.open().index()


def test_a_package_that_is_gone(room: Room) -> None:
    opened = room.open()
    package = opened.index().candidate("a")
    assert package is not None
    del room.archive.files["pool/a_1.deb"]
    with pytest.raises(Unavailable, match="is in the archive's index but not there"):
        opened.fetch([package], lambda _: None)


def test_another_release_of_the_same_archive(room: Room) -> None:
    room.archive.publish("trixie", "amd64")
    room.archive.publish("trixie-updates", "amd64")
    sources = room.line("bookworm") + room.line("bookworm-updates") + room.line("bookworm-security")
    opened = room.open("trixie", sources)
    assert [suite.source.suite for suite in opened.suites] == ["trixie", "trixie-updates"]


def test_a_machine_with_two_releases(room: Room) -> None:
    for suite in ("bookworm-updates", "trixie", "trixie-updates"):
        room.archive.publish(suite, "amd64")
    suites = ("nosuch", "trixie", "trixie-updates", "bookworm", "bookworm-updates")
    sources = "".join(map(room.line, suites))
    for release, expected in (("", "trixie"), ("trixie", "trixie"), ("bookworm", "bookworm")):
        opened = room.open(release, sources)
        assert [suite.source.suite for suite in opened.suites] == [expected, f"{expected}-updates"]


def test_an_alias_becomes_the_release_that_it_is(room: Room) -> None:
    room.archive.publish("trixie", "amd64")
    room.archive.publish("stable", "amd64", Codename="trixie")
    assert [suite.source.suite for suite in room.open("stable").suites] == ["trixie"]


def test_a_release_that_the_archive_does_not_have(room: Room) -> None:
    with pytest.raises(Missing):
        room.open("nosuch")


def test_a_configured_suite_that_is_not_there(room: Room) -> None:
    with pytest.raises(Unavailable, match="bookworm-updates/InRelease does not exist, though"):
        room.open(sources=room.line("bookworm") + room.line("bookworm-updates"))


def test_a_third_partys_archive_is_passed_over(room: Room) -> None:
    vendor = SignedArchive()
    vendor.publish("bookworm", "amd64", user="vendor", Origin="Vendor")
    room.archive.files |= {f"vendor/{path}": data for path, data in vendor.files.items()}
    ring = write_keyring(room.cache.parent / "vendor.gpg", "vendor")
    line = room.line("bookworm", path="/vendor", keyring=ring)
    opened = room.open(sources=line + room.line("bookworm"))
    assert opened.suites[0].source.uri == room.server.url
    with pytest.raises(Unavailable, match="none of this machine's package archives is Debian's"):
        room.open(sources=line)


def test_a_third_party_that_does_not_answer_does_not_matter(room: Room) -> None:
    assert room.open(sources=room.line("bookworm", path="/gone") + room.line("bookworm")).suites


def test_the_wrong_key(room: Room) -> None:
    ring = write_keyring(room.cache.parent / "vendor.gpg", "vendor")
    with pytest.raises(Unavailable, match=r"signature of .*/dists/bookworm/InRelease is not good"):
        room.open(sources=room.line("bookworm", keyring=ring))


def test_an_expired_release_file_unless_the_machine_accepts_it(room: Room) -> None:
    room.archive.publish("bookworm", "amd64", Valid_Until="Sat, 28 Nov 2020 00:53:02 UTC")
    with pytest.raises(Unavailable, match="out of date: valid until 2020-11-28"):
        room.open()
    accepting = room.open(conf={"acquire::check-valid-until": "false"})
    assert not accepting.suites[0].check_valid_until
    line = room.line("bookworm").replace("[", "[check-valid-until=no ")
    assert not room.open(sources=line).suites[0].check_valid_until


def test_a_machine_of_another_architecture(room: Room) -> None:
    room.archive.publish("bookworm", "riscv64")
    with pytest.raises(Unavailable, match="has no packages for amd64"):
        room.open().index()


def test_an_index_larger_than_it_says_is_not_unpacked_whole(room: Room) -> None:
    # 64 MB of nothing in a few kB: what a hostile mirror could do only with the archive's key.
    room.archive.paragraphs["bookworm"].append("\n" * (64 << 20))
    room.archive.publish("bookworm", "amd64")
    release = room.archive.files["dists/bookworm/InRelease"].decode()
    size = next(line.split()[1] for line in release.splitlines() if line.endswith("/Packages"))
    signed = release.split("\n\n", 1)[1].split("-----BEGIN PGP SIGNATURE")[0].replace(f" {size} ", " 100 ")
    room.archive.files["dists/bookworm/InRelease"] = sign(signed)
    with pytest.raises(Unavailable, match="larger than its release file says"):
        room.open().index()
