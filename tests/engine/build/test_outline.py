from __future__ import annotations

import pytest

from labkernel.engine.build.outline import outline
from labkernel.engine.build.parser import parse
from labkernel.engine.build.plan import make_plan


def test_every_step_has_its_lines() -> None:
    text = "ARG A\nFROM a AS one\nRUN x\n\nFROM b AS unused\nRUN y\nFROM one\nRUN z \\\n  z\nRUN <<E\nq\nE\n"
    found = outline(make_plan(parse(text), {}, labels={"k": "v"}))
    assert found == {"steps": [[1, 1], [2, 2], [3, 3], [7, 7], [8, 9], [10, 12], None], "warnings": []}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("FROM a\nRUN x \\\n\n  y\n", 3, "Empty continuation line"),
        ("FROM a\nCMD ['nginx', '-g']\n", 2, "JSON wants double quotes"),
        ("FROM a\nENTRYPOINT [ 'x' ]\n", 2, "JSON wants double quotes"),
        ("FROM a\nRUN cd /app\n", 2, "WORKDIR /app"),
        ("FROM a\nRUN export A=b\n", 2, "ENV A=b"),
        ("ARG V=1\nFROM a:$V\nRUN echo ${V}\n", 3, "write ARG V once more"),
    ],
)
def test_what_builds_and_is_not_meant(text: str, line: int, message: str) -> None:
    [warning] = outline(make_plan(parse(text), {}))["warnings"]
    assert warning["line"] == line
    assert message in warning["message"]


@pytest.mark.parametrize(
    "text",
    [
        'FROM a\nCMD ["nginx"]\nRUN cd /app && make\nRUN [ -e x ]\nRUN export A=b && echo $A\n',
        "ARG V=1\nFROM a:$V\nARG V\nRUN echo $V\n",
    ],
)
def test_what_is_meant_has_no_warning(text: str) -> None:
    assert outline(make_plan(parse(text), {}))["warnings"] == []
