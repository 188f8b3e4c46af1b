from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.catalog.packages import Package, PackageIndex, Relation, parse_relations
from labkernel.engine.errors import System


def index(text: str) -> PackageIndex:
    """Paragraphs in short: "name version; Field: value; ..." a line."""
    made = PackageIndex()
    for line in text.strip().splitlines():
        head, *fields = (part.strip() for part in line.split(";"))
        name, version = head.split()
        made.add(
            "\n".join([f"Package: {name}", f"Version: {version}", *fields]).encode() + b"\n",
            "http://localhost",
        )
    return made


def names(packages: list[Package]) -> list[str]:
    return [package.name for package in packages]


def closure(made: PackageIndex, *wanted: str) -> list[str]:
    packages = [made.candidate(name) for name in wanted]
    return names(made.closure([package for package in packages if package is not None]))


def test_relations() -> None:
    assert parse_relations("libc6 (>= 2.36), perl:any, mawk | awk (= 1)") == [
        [Relation("libc6", ">=", "2.36")],
        [Relation("perl")],
        [Relation("mawk"), Relation("awk", "=", "1")],
    ]
    assert parse_relations("") == []


_versions = st.from_regex(r"\A([0-9]:)?[0-9]\.[0-9]([a-z~+][0-9]?)?(-[0-9])?\Z")


@given(st.sampled_from(["<<", "<=", "=", ">=", ">>"]), _versions, _versions)
def test_versions_compare_as_dpkg_compares_them(operator: str, ours: str, theirs: str) -> None:
    said = subprocess.run(["dpkg", "--compare-versions", ours, operator, theirs]).returncode == 0
    assert Relation("x", operator, theirs).allows(ours) == said


def test_the_highest_version_is_the_candidate() -> None:
    made = index("a 1.9\na 1.10\na 1.10~rc1\nb 1")
    candidate = made.candidate("a")
    assert candidate is not None
    assert candidate.version == "1.10"
    assert made.candidate("c") is None


def test_required_is_what_is_essential_or_of_that_priority() -> None:
    made = index(
        "a 1; Essential: yes\nb 1; Priority: required\nc 1; Priority: important\nd 1; Essential: no\ne 1"
    )
    assert names(made.required()) == ["a", "b"]


def test_what_is_no_longer_required_is_not() -> None:
    assert names(index("a 1; Priority: required\na 2; Priority: optional").required()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 1", ["a"]),
        ("a 1; Depends: b\nb 1; Pre-Depends: c\nc 1; Depends: a", ["a", "b", "c"]),
        ("a 1; Depends: b | c\nb 1\nc 1", ["a", "b"]),
        ("a 1; Depends: b | c\nc 1", ["a", "c"]),
        ("a 1; Depends: b (>= 2) | c\nb 1\nc 1", ["a", "c"]),
        ("a 1; Depends: v\nb 1; Provides: v", ["a", "b"]),
        (
            "a 1; Depends: v\nb 1; Provides: v; Priority: optional\nc 1; Provides: v; Priority: required",
            ["a", "c"],
        ),
        ("a 1; Depends: v\nc 1; Provides: w, v\nb 1; Provides: v", ["a", "b"]),
        ("a 1; Depends: v (>= 1)\nb 1; Provides: v\nc 1; Provides: v (= 2)", ["a", "c"]),
        ("a 1; Depends: b | c, d\nb 1\nc 1\nd 1; Depends: c", ["a", "b", "c", "d"]),
    ],
)
def test_closure(text: str, expected: list[str]) -> None:
    assert closure(index(text), "a") == expected


def test_an_alternative_that_is_wanted_anyway_is_kept_to() -> None:
    made = index("a 1; Depends: b | c\nb 1; Depends: huge\nhuge 1\nc 1")
    assert closure(made, "a", "c") == ["a", "c"]
    made = index("a 1; Depends: b | v\nb 1\nc 1; Provides: v")
    assert closure(made, "a", "c") == ["a", "c"]


@pytest.mark.parametrize(
    "text", ["a 1; Depends: b | c", "a 1; Depends: b (>> 1)\nb 1", "a 1; Depends: v (= 1)\nb 1; Provides: v"]
)
def test_a_dependency_that_cannot_be_met(text: str) -> None:
    with pytest.raises(System, match="a 1 needs "):
        closure(index(text), "a")


@given(st.binary(max_size=300))
def test_an_index_takes_anything(text: bytes) -> None:
    PackageIndex().add(text, "http://localhost")
