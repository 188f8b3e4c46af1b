from __future__ import annotations

from typing import Any

import pytest

from labkernel.engine.build.errors import DockerfileError
from labkernel.engine.build.parser import parse
from labkernel.engine.build.plan import Plan, make_plan
from labkernel.engine.errors import InvalidParameter


def plan(text: str, **options: Any) -> Plan:
    return make_plan(parse(text), options.pop("build_args", {}), **options)


def test_stages_and_steps() -> None:
    made = plan("ARG V=1\nFROM a:$V AS one\nRUN x\nFROM one\nRUN y\nRUN z\n")
    assert [(stage.index, stage.name, stage.base) for stage in made.stages] == [
        (0, "one", "a:1"),
        (1, "", "one"),
    ]
    assert made.needed == (0, 1)
    assert made.steps == 6


def test_stages_that_nothing_needs_are_left_out() -> None:
    made = plan(
        """FROM a AS unused
FROM a AS base
FROM a AS tools
FROM base
COPY --from=TOOLS x y
COPY --from=1 x y
COPY --from=other-image x y
"""
    )
    assert made.needed == (1, 2, 3)
    assert made.steps == 6


def test_triggers_need_their_stages_too() -> None:
    assert plan("FROM a AS x\nFROM a AS y\nONBUILD COPY --from=x a b\nFROM y\n").needed == (0, 1, 2)


def test_target() -> None:
    text = "FROM a AS one\nFROM a AS Two\nFROM two\n"
    assert plan(text, target="TWO").needed == (1,)
    for other in ("tow", "0"):
        with pytest.raises(InvalidParameter, match=f"failed to reach build target {other}"):
            plan(text, target=other)
    with pytest.raises(InvalidParameter) as caught:
        plan(text, target="tow")
    assert caught.value.message == "failed to reach build target tow in Dockerfile"
    assert caught.value.hint == "did you mean two?"


def test_a_stage_can_be_copied_from_before_it_only() -> None:
    made = plan("FROM a AS x\nFROM b AS y\n")
    first = made.stage("x", 1)
    assert first is not None
    assert first.index == 0
    assert made.stage("y", 1) is None
    assert made.stage("1", 1) is None
    assert made.stage("0", 1) == first


def test_global_arguments() -> None:
    made = plan("ARG A=1\nARG B=${A}2\nARG C\nFROM x:$A-$B-$C\n", build_args={"A": "9", "C": "c"})
    assert made.stages[0].base == "x:9-92-c"


def test_labels_of_the_options_come_last() -> None:
    made = plan("FROM a AS y\nRUN x\nFROM b\n", labels={"z": "$x", "a": "1"}, target="y")
    assert [step.code for step in made.stages[0].instructions] == ["RUN x", "LABEL a=1", "LABEL z=$x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN x", "no build stage in current context"),
        ("ARG x\nRUN y", "no build stage in current context"),
        ("FROM a AS x\nFROM b AS X", "x stage name already used"),
        ("FROM $nothing", "base name ($nothing) should not be blank"),
        ("FROM ${a", "failed to process \"${a\": syntax error: missing '}'"),
        ("ARG a=${b?none}\nFROM x", 'failed to process "${b?none}": b: none'),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        plan(text)
    assert caught.value.message == message
    assert caught.value.details["failure"]["lines"]


def test_only_arguments_are_no_dockerfile() -> None:
    with pytest.raises(InvalidParameter, match="No image was generated"):
        plan("ARG x")
