"""The comparison itself: what it must see and what it must not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.differential.comparison import (
    ABSENT,
    Allowed,
    Difference,
    differences,
    normalised,
    shape,
    unexplained,
)

_ID = "0123456789abcdef" * 4
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f"No such container: {_ID}", "No such container: <box>"),
        (f"/{_ID[:12]}", "/<box short>"),
        ("sha256:" + "ab" * 32, "<sha256:id>"),
        ("f" * 64, "<id>"),
        ("2026-01-02T03:04:05.678901234Z hello", "<time> hello"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("172.17.0.2", "<ip>"),
        ("0.0.0.0", "0.0.0.0"),
        ("02:42:ac:11:00:02", "<mac>"),
        ("Exited (3) Less than a second ago", "Exited (3) <a while> ago"),
        ({"Created": 5, "Size": 5}, {"Created": "<time>", "Size": 5}),
        ({"Pid": 0}, {"Pid": 0}),
        ({_ID: {"a": [_ID]}}, {"<box>": {"a": ["<box>"]}}),
        ("deadbeef", "deadbeef"),
    ],
)
def test_normalised(raw: Any, expected: Any) -> None:
    assert normalised(raw, {_ID: "<box>", _ID[:12]: "<box short>"}) == expected


@pytest.mark.parametrize(
    ("docker", "ours", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Difference("a", 1, 2)]),
        ({"a": {"b": []}}, {"a": {"b": None}}, [Difference("a.b", [], None)]),
        ({"a": 1}, {}, [Difference("a", 1, ABSENT)]),
        ({}, {"a": 1}, [Difference("a", ABSENT, 1)]),
        ({"a": [1, 2]}, {"a": [1]}, [Difference("a[1]", 2, ABSENT)]),
        ({"a": 0}, {"a": False}, [Difference("a", 0, False)]),
        ({"a": 1}, {"a": 1.0}, [Difference("a", 1, 1.0)]),
    ],
)
def test_differences(docker: Any, ours: Any, expected: list[Difference]) -> None:
    assert list(differences(docker, ours)) == expected


@given(_JSON)
def test_an_answer_equals_itself(value: Any) -> None:
    assert list(differences(value, value)) == []


@given(_JSON, _JSON)
def test_unequal_answers_differ_somewhere(one: Any, other: Any) -> None:
    assert (list(differences(one, other)) == []) == (repr(one) == repr(other) or _same(one, other))


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: key order is nothing, true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize(
    ("kind", "docker", "ours", "covered"),
    [
        ("value", "a", "b", True),
        ("value", "a", 1, False),
        ("value", "a", ABSENT, False),
        ("added", ABSENT, "b", True),
        ("added", "a", "b", False),
        ("absent", "a", ABSENT, True),
        ("absent", ABSENT, "b", False),
        ("any", "a", None, True),
        ("pair", 500, 400, True),
        ("pair", 400, 500, False),
        ("pair", 500, 400.0, False),
    ],
)
def test_allowed_covers_its_kind_only(kind: Any, docker: Any, ours: Any, covered: bool) -> None:
    found = [Difference("info: body.Driver", docker, ours)]
    assert unexplained(found, [Allowed("*: body.Driver", kind, "", (500, 400))]) == ([] if covered else found)
    assert unexplained(found, [Allowed("*: body.Name", kind, "")]) == found


def test_shape() -> None:
    assert shape({"a": [1, 2], "b": None, "c": {"d": True, "e": ""}}) == {
        "a": ["number"],
        "b": "null",
        "c": {"d": "boolean", "e": "string"},
    }
