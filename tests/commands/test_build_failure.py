from __future__ import annotations

from labkernel.commands.build_failure import BuildFailure, Mark, SourceLine, excerpt, guessed, instruction_end
from labkernel.commands.results import BuildStep

CODE = "The command '/bin/sh -c x' returned a non-zero code: 3"


def test_instructions_go_on_over_comments() -> None:
    source = ["RUN a && \\", "  # why", "  b \\", "", "RUN c"]
    assert [instruction_end(source, n) for n in (1, 5)] == [4, 5]
    assert instruction_end(["RUN a \\"], 1) == 1


def test_the_same_step_twice_is_the_last_one() -> None:
    steps = [BuildStep("FROM x"), BuildStep("RUN a"), BuildStep("RUN b   c"), BuildStep("RUN a")]
    text = "FROM x\nRUN a\nRUN b \\\n  c\nRUN a\n"
    found = guessed(CODE, 3, "Dockerfile", text, steps)
    assert found is not None
    assert (found.line, found.exit_code) == (5, 3)


def test_what_cannot_be_found_is_not_shown() -> None:
    assert guessed("no such thing", 1, "Dockerfile", "", []) is None
    found = guessed(CODE, 3, "Dockerfile", "", [BuildStep("RUN a", output="out\n")])
    assert found is not None
    assert found.text() == "exit code 3\nthe last lines of its output:\n  | out"


def test_left_out_lines_and_long_ones() -> None:
    long = "RUN " + "x" * 300 + " word " + "y" * 300
    failure = BuildFailure(
        "Dockerfile", 9, [SourceLine(9, long, True), SourceLine(12, "z", True)], Mark(9, 306, 4)
    )
    heading, line, mark, gap, last = failure.text().split("\n")
    assert heading == "Dockerfile:9"
    assert line[mark.index("^") :].startswith("word")
    assert len(line) < 175
    assert (gap.strip(), last) == (":", "  12 | >>> z")


def test_neighbours() -> None:
    assert [line.number for line in excerpt(["a"] * 9, 4, 5) if not line.is_failing] == [2, 3, 6, 7]
