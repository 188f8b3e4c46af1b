from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.catalog.apt_sources import (
    VARIABLE,
    Source,
    candidates,
    parse_deb822,
    parse_one_line,
    parse_sources,
    read_sources,
)
from labkernel.engine.errors import InvalidParameter, Unavailable

ONE_LINE = """\
# a comment
deb http://localhost/debian/ bookworm main contrib # and why
deb-src http://localhost/debian bookworm main
deb [ arch=amd64,arm64 signed-by=/a.gpg,/b.gpg check-valid-until=no ] http://localhost/u bookworm-updates main
deb [trusted=yes] http://localhost/flat ./
deb
   deb http://localhost/security bookworm-security main
"""

DEB822 = """\
# The system's own
Types: deb deb-src
URIs: http://localhost/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/a.gpg

Types: deb
Enabled: no
URIs: http://localhost/off
Suites: off
Components: main

types: deb
uris: http://localhost/vendor
suites: nodistro
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEabc
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_the_one_line_form() -> None:
    assert parse_one_line(ONE_LINE, "x") == [
        Source("http://localhost/debian", "bookworm", ("main", "contrib"), where="x"),
        Source(
            "http://localhost/u",
            "bookworm-updates",
            ("main",),
            architectures=("amd64", "arm64"),
            signed_by="/a.gpg /b.gpg",
            check_valid_until=False,
            where="x",
        ),
        Source("http://localhost/flat", "./", (), where="x"),
        Source("http://localhost/security", "bookworm-security", ("main",), where="x"),
    ]


def test_the_deb822_form() -> None:
    *system, vendor = parse_deb822(DEB822)
    assert system == [
        Source("http://localhost/debian", suite, ("main", "contrib"), signed_by="/usr/share/keyrings/a.gpg")
        for suite in ("bookworm", "bookworm-updates")
    ]
    assert vendor.suite == "nodistro"
    assert vendor.signed_by == (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )


_words = st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z")


@given(st.lists(st.tuples(_words, _words, st.lists(_words, min_size=1, max_size=3, unique=True)), max_size=4))
def test_both_forms_say_the_same(entries: list[tuple[str, str, list[str]]]) -> None:
    lines = "".join(f"deb http://{host}/debian {suite} {' '.join(names)}\n" for host, suite, names in entries)
    stanzas = "\n".join(
        f"Types: deb\nURIs: http://{host}/debian\nSuites: {suite}\nComponents: {' '.join(names)}\n"
        for host, suite, names in entries
    )
    assert parse_sources(lines) == parse_sources(stanzas)


@given(st.text(max_size=200))
def test_parsing_takes_anything(text: str) -> None:
    parse_one_line(text)
    parse_sources(text)


@pytest.mark.parametrize(
    ("suite", "release", "pocket", "of_sid"),
    [
        ("bookworm", "bookworm", "", "sid"),
        ("bookworm-updates", "bookworm", "-updates", "sid-updates"),
        ("bookworm-security", "bookworm", "-security", "sid-security"),
        ("buster/updates", "buster", "/updates", "sid-security"),
        ("bookworm-backports", "", "", "sid"),
        ("bookworm-pgdg", "", "", "sid"),
        ("./", "", "", "sid"),
    ],
)
def test_suites_of_a_release(suite: str, release: str, pocket: str, of_sid: str) -> None:
    source = Source("http://localhost", suite, ("main",))
    assert (source.release, source.pocket, source.of("sid").suite) == (release, pocket, of_sid)


def test_a_password_is_not_shown() -> None:
    source = Source("http://user:secret@localhost:80/debian", "bookworm", ("main",))
    assert source.public_uri == "http://localhost:80/debian"


def test_candidates_leave_out_what_cannot_be_debians() -> None:
    usable = [
        Source("http://localhost/debian", "bookworm", ("main", "contrib")),
        Source("http://localhost/security", "bookworm-security", ("updates/main",)),
        Source("http://localhost/debian", "bookworm-updates", ("main",), architectures=("amd64",)),
    ]
    useless = [
        Source("http://localhost/debian", "bookworm", ("main",)),  # again
        Source("http://localhost/debian", "bookworm-backports", ("main",)),
        Source("http://localhost/docker", "bookworm", ("stable",)),
        Source("http://localhost/debian", "trixie", ("main",), architectures=("riscv64",)),
        Source("file:/srv/mirror", "bookworm", ("main",)),
        Source("http://localhost/flat", "./", ()),
    ]
    assert [(one.uri, one.suite, one.components) for one in candidates(usable + useless, "amd64")] == [
        (one.uri, one.suite, ("main",)) for one in usable
    ]


@pytest.mark.parametrize("sources", [[], [Source("http://localhost/debian", "bookworm-security", ("main",))]])
def test_a_machine_that_names_no_debian_archive(sources: list[Source]) -> None:
    with pytest.raises(Unavailable, match="names no Debian archive") as error:
        candidates(sources, "amd64")
    assert error.value.hint is not None
    assert VARIABLE in error.value.hint
    assert "labkernel images load FILE" in error.value.hint


def test_the_machines_files_are_read_in_both_forms(tmp_path: Path) -> None:
    lists = tmp_path / "etc/apt/sources.list.d"
    lists.mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text("deb http://localhost/a one main\n")
    (lists / "b.list").write_text("deb http://localhost/b two main\n")
    (lists / "c.sources").write_text(
        "Types: deb\nURIs: http://localhost/c\nSuites: three\nComponents: main\n"
    )
    (lists / "d.sources.disabled").write_text(
        "Types: deb\nURIs: http://localhost/d\nSuites: x\nComponents: main\n"
    )
    assert [source.suite for source in read_sources(None, {}, tmp_path)] == ["one", "two", "three"]
    assert read_sources(None, {}, tmp_path / "nowhere") == []


def test_option_before_variable_before_machine(tmp_path: Path) -> None:
    file = tmp_path / "my.sources"
    file.write_text("Types: deb\nURIs: http://localhost/c\nSuites: three\nComponents: main\n")
    environ = {VARIABLE: "deb http://localhost/b two main"}
    assert [source.suite for source in read_sources(str(file), environ, tmp_path)] == ["three"]
    assert [source.suite for source in read_sources(None, environ, tmp_path)] == ["two"]
    assert [source.suite for source in read_sources(file.read_text(), {}, tmp_path)] == ["three"]


@pytest.mark.parametrize("given", ["/nowhere/my.sources", "rubbish", "# only\n# comments\n"])
def test_given_sources_that_make_no_sense_are_refused(given: str) -> None:
    with pytest.raises(InvalidParameter, match=VARIABLE):
        read_sources(None, {VARIABLE: given})
