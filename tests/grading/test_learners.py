"""Learners' names from file names that may be anything."""

from __future__ import annotations

import os
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.grading.learners import LONGEST, learner_names


def names(*called: str) -> list[str]:
    return learner_names([(name, f"{name}.ipynb") for name in called])


@pytest.mark.parametrize(
    "name",
    ["ann", "Zoë Öztürk", "o'brien", "王小明", "smith_123_assignsubmission_file_", "a.b-c+d@e", "(1) x"],
)
def test_a_plain_name_stays(name: str) -> None:
    assert names(name) == [name]


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a\nb", "a_b-"),
        ("a/../b", "a_.._b-"),
        ("..", "_-"),
        ("-rf", "_rf-"),
        ("=1+1", "_1+1-"),
        ("@x", "_x-"),
        ("+x", "_x-"),
        ("", "_-"),
        (" ", "_-"),
        ("x ", "x-"),
        ("a\x1b[31mb", "a__31mb-"),
        ("a\u202eb", "a_b-"),
        ("<script>", "_script_-"),
        ("x" * 300, "x" * LONGEST + "-"),
        (os.fsdecode(b"\xff\xfe"), "__-"),
        ("e\u0301", "\u00e9-"),
        ("ann-0123456789abcdef", "ann-0123456789abcdef-"),
    ],
)
def test_another_gets_a_mark(name: str, begins: str) -> None:
    [found] = names(name)
    assert re.fullmatch(re.escape(begins) + "[0-9a-f]{16}", found)


def test_names_that_read_the_same_differ() -> None:
    """Also where case does not count, and when a notebook and a folder have one name."""
    entries = [("Ann", "Ann.ipynb"), ("ann", "ann.ipynb"), ("ann", "ann"), ("bob", "bob")]
    found = learner_names(entries)
    assert len({name.casefold() for name in found}) == 4
    assert found[3] == "bob"
    assert [name[:4].lower() for name in found[:3]] == ["ann-"] * 3


def test_a_name_is_the_same_each_time_whoever_else_is_there() -> None:
    assert names("a\nb", "zed")[0] == names("ann", "a\nb")[1]


@given(st.lists(st.text(max_size=200), max_size=8, unique=True))
def test_any_names(called: list[str]) -> None:
    """Different, harmless as a file name on any system, as a cell and on a terminal."""
    found = names(*(name.encode(errors="surrogateescape").decode(errors="replace") for name in set(called)))
    assert len({name.casefold() for name in found}) == len(set(called)) or "\ufffd" in "".join(called)
    for name in found:
        assert len(os.fsencode(f"feedback-{name}.html")) <= 255
        assert not re.search(r'[\\/:*?"<>|\n]', name)
        assert name[0] not in ".-=+@' "
        assert name[-1] not in ". "
        assert unicodedata.normalize("NFC", name) == name
        assert name.isprintable()
