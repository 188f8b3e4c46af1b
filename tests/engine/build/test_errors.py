from __future__ import annotations

from labkernel.engine.build.errors import DockerfileError, did_you_mean
from labkernel.engine.build.failure import FAILURE


def test_an_error_knows_its_place() -> None:
    source = ["FROM x", "RUN a \\", "  b", "CMD c"]
    error = DockerfileError(
        "wrong", line=2, end_line=3, marked_line=3, column=3, width=1, source=source, advice="try again"
    )
    assert error.hint == "try again"
    found = error.details[FAILURE]
    assert (found["line"], found["endLine"]) == (2, 3)
    assert found["mark"] == {"line": 3, "column": 3, "width": 1}
    assert [line["number"] for line in found["lines"]] == [1, 2, 3, 4]


def test_no_place_without_source() -> None:
    error = DockerfileError("wrong", line=1)
    assert (error.hint, error.details) == (None, {})


def test_near_words() -> None:
    assert did_you_mean("FRMO", ["FROM", "RUN"]) == "did you mean FROM?"
    assert did_you_mean("XYZZY", ["FROM", "RUN"]) is None
