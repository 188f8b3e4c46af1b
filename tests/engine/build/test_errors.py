from __future__ import annotations

from labkernel.engine.build.errors import DockerfileError, did_you_mean, excerpt

SOURCE = [f"LINE {n}" for n in range(1, 13)]


def test_the_excerpt_marks_line_and_column() -> None:
    assert excerpt(SOURCE, 9, 9, 6, 2) == (
        "   7 | LINE 7\n   8 | LINE 8\n>  9 | LINE 9\n     |      ^^\n  10 | LINE 10\n  11 | LINE 11"
    )


def test_the_excerpt_marks_several_lines() -> None:
    assert excerpt(SOURCE[:3], 1, 2) == "> 1 | LINE 1\n> 2 | LINE 2\n  3 | LINE 3"


def test_tabs_keep_the_mark_in_place() -> None:
    assert excerpt(["\tRUN x"], 1, 1, 2, 3) == "> 1 | \tRUN x\n    | \t^^^"


def test_no_excerpt_without_source() -> None:
    assert excerpt([], 1, 1) == ""


def test_advice_comes_before_the_excerpt() -> None:
    error = DockerfileError("wrong", line=1, column=1, width=3, source=["RUN"], advice="try again")
    assert error.hint == "try again\n> 1 | RUN\n    | ^^^"
    assert DockerfileError("wrong", line=1).hint is None


def test_near_words() -> None:
    assert did_you_mean("FRMO", ["FROM", "RUN"]) == "did you mean FROM?"
    assert did_you_mean("XYZZY", ["FROM", "RUN"]) is None
