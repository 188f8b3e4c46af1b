"""The notebook that runs has nothing of the submission but the answers."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.course.release import released
from labkernel.grading.rebuild import MOST_VALUES, Cell, answers, instructor_cells, rebuilt
from labkernel.grading.submissions import Unreadable


def cell(name: str | None, source: Any, *, kind: str = "code", **metadata: Any) -> dict[str, Any]:
    nbgrader = {"nbgrader": {"grade_id": name, **metadata.pop("nbgrader", {})}} if name else {}
    return {"cell_type": kind, "metadata": {**nbgrader, **metadata}, "source": source, "outputs": []}


def notebook(*cells: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


GIVEN = {"solution": False, "grade": False, "locked": True}
ANSWER = {"solution": True, "grade": False, "locked": False}
CHECK = {"solution": False, "grade": True, "locked": True, "points": 1}
SOLUTION = "### BEGIN SOLUTION\nright\n### END SOLUTION"
INSTRUCTORS = {
    "metadata": {},
    "cells": [
        cell(None, "# Title", kind="markdown"),
        cell("load", "%load_ext labkernel", nbgrader=GIVEN, labkernel={"setup": True}),
        cell("base", ["%%dockerfile\n", "FROM x"], nbgrader=GIVEN, labkernel={"setup": True}),
        cell("a", SOLUTION, nbgrader=ANSWER),
        cell("image", "%check image", nbgrader=CHECK),
        cell(None, "1 + 1"),
        cell("b", f"before\n{SOLUTION}\nafter", nbgrader=ANSWER),
    ],
}
CELLS = instructor_cells(released(INSTRUCTORS))


def test_the_instructors_cells() -> None:
    assert list(CELLS) == [
        Cell("given", "load", "%load_ext labkernel"),
        Cell("setup", "base", "%%dockerfile\nFROM x"),
        Cell("answer", "a", "# YOUR CODE HERE"),
        Cell("check", "image", "%check image"),
        Cell("given", "", "1 + 1"),
        Cell("answer", "b", "before\n# YOUR CODE HERE\nafter"),
    ]


def sources(data: bytes) -> list[str]:
    return [cell.source for cell in rebuilt(CELLS, answers(data))]


def test_only_answers_are_taken() -> None:
    """Whatever cells are edited, added, moved or deleted, and whatever their metadata claims."""
    submitted = notebook(
        cell("b", "mine b", nbgrader=ANSWER),
        cell("image", "assert True", nbgrader=ANSWER),
        cell("load", "import os", nbgrader=ANSWER),
        cell("base", "evil", nbgrader=ANSWER),
        cell(None, "evil"),
        cell("c", "evil", nbgrader=ANSWER),
        cell("a", ["mine\n", "a"], nbgrader=CHECK),
    )
    assert sources(submitted) == [
        *("%load_ext labkernel", "%%dockerfile\nFROM x", "mine\na"),
        *("%check image", "1 + 1", "mine b"),
    ]


def test_a_missing_answer_is_the_stub_and_of_two_the_first_counts() -> None:
    assert sources(notebook())[2] == "# YOUR CODE HERE"
    assert sources(notebook(cell("a", "first"), cell("a", "second")))[2] == "first"
    assert sources(notebook(cell("a", "text", kind="markdown"), cell("a", "code")))[2] == "code"


def test_characters_that_cannot_be_passed_on() -> None:
    assert answers(notebook(cell("a", "x\ud800\x00"))) == {"a": "x?\x00"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00" * 64, "it is not a notebook: not JSON at line 1, column 1"),
        (b"\x89PNG\r\n\x1a\n\xff", "it is not a notebook: not text"),
        (b"hello", "it is not a notebook: not JSON at line 1, column 1"),
        (notebook()[:-3], "it is not a notebook: not JSON at line 1, column 63"),
        (notebook() + b"\x00\x00", "it is not a notebook: not JSON at line 1, column 66"),
        (b"[" * 100_000, "it is not a notebook: its values are too deep in each other"),
        (b"9" * 10_000, "it is not a notebook: not JSON"),
        (b"[]", "it is not a notebook: it has no cells"),
        (b"null", "it is not a notebook: it has no cells"),
        (b'{"cells": {"a": 1}}', "it is not a notebook: it has no cells"),
        (b'{"worksheets": []}', "it is a notebook of an old format: open it in Jupyter and save it again"),
        (b"[" + b"[]," * MOST_VALUES + b"[]]", "it holds more than 3 million values"),
    ],
)
def test_what_is_no_notebook(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable) as raised:
        answers(data)
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    "broken",
    [
        None,
        7,
        "cell",
        [],
        {},
        {"cell_type": "code"},
        {"cell_type": "code", "metadata": None},
        {"cell_type": "code", "metadata": {"nbgrader": None}},
        {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": ["a"]}}},
        {"cell_type": "code", "metadata": {"nbgrader": "a"}},
        {"cell_type": ["code"], "metadata": {"nbgrader": {"grade_id": "a"}}},
    ],
)
def test_a_broken_cell_is_passed_over(broken: Any) -> None:
    assert answers(notebook(broken, cell("a", "mine"))) == {"a": "mine"}


@pytest.mark.parametrize("source", [None, 7, {"a": 1}, [None, 3]])
def test_a_source_that_is_none_is_empty(source: Any) -> None:
    assert answers(notebook(cell("a", source))) == {"a": ""}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["cells", "metadata", "nbgrader", "grade_id", "cell_type", "source"]), inner
            )
        ),
    )
)
def test_any_json(value: Any) -> None:
    """Whatever it is, it is read or refused."""
    for data in (json.dumps(value), json.dumps({"cells": [value]})):
        try:
            found = answers(data.encode())
        except Unreadable:
            continue
        assert all(isinstance(source, str) for source in found.values())


def test_any_damage() -> None:
    """A notebook with bytes exchanged, missing or doubled is read or refused."""
    whole = notebook(cell("a", "mine"), cell("b", ["x\n", "ü"]))
    chance = random.Random(0)
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            start = chance.randrange(len(data))
            data[start : start + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        with contextlib.suppress(Unreadable):
            answers(bytes(data))
