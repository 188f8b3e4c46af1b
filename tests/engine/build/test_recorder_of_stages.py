"""Why steps are run again in builds of several stages: arguments, mounts, what one takes of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.engine.build.conftest import Workshop
from tests.engine.build.test_recorder import causes

STAGES = """\
ARG TAG=latest
FROM busybox AS made
ARG LEVEL=1
RUN echo $LEVEL > /level
FROM busybox:$TAG
ENV MODE=a
RUN --mount=source=src,target=/src cp /src/app.py /app
RUN --mount=from=made,source=/level,target=/level cp /level /seen
"""
ONE, TWO = (
    STAGES[: STAGES.index("RUN --mount")] + line
    for line in (
        "RUN --mount=from=made,source=/level,target=/a --mount=source=lib,target=/b cat /a /b > /both\n",
        "ARG DIR=src\nENV V=$MODE$DIR\nCOPY $DIR /d\n",
    )
)
ON_A_STAGE = "FROM busybox AS one\nARG A=1\nENV B=$A\nRUN echo $B > /b\nFROM one\nRUN cat /b\n"
FILES = {"src/app.py": "1\n", "lib": "lib\n"}


def project(text: str, files: Mapping[str, str] | None = None, /, **arguments: str) -> dict[str, Any]:
    return {"text": text, "files": {**FILES, **(files or {})}, "build_args": arguments}


#: What was done -> before, after, and for each step that is run again what its cause has.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[int, dict[str, Any]]]] = {
    "a mounted file changed": (
        project(STAGES),
        project(STAGES, {"src/app.py": "22\n"}),
        {
            7: {"kind": "files", "source": "context", "changed": ["src/app.py"]},
            8: {"kind": "parent", "root": 7},
        },
    ),
    "a mounted file was added": (
        project(STAGES),
        project(STAGES, {"src/new": "1"}),
        {7: {"kind": "files", "added": ["src/new"]}, 8: {"kind": "parent"}},
    ),
    "a mounted file is ignored": (
        project(STAGES, {"src/lib": ""}),
        project(STAGES, {"src/lib": "", ".dockerignore": "src/lib"}),
        {7: {"kind": "files", "removed": ["src/lib"]}, 8: {"kind": "parent"}},
    ),
    "a file that no step is shown changed": (project(STAGES), project(STAGES, {"lib": "2"}), {}),
    "a mount's flag was edited": (
        project(STAGES),
        project(STAGES.replace("/src cp", "/src,rw cp")),
        {7: {"kind": "text"}, 8: {"kind": "parent"}},
    ),
    "the stage that is mounted changed": (
        project(STAGES),
        project(STAGES, LEVEL="2"),
        {
            4: {"kind": "argument"},
            8: {"kind": "files", "source": "stage", "changed": ["level"], "root": 4},
        },
    ),
    "of several mounts the context's changed": (
        project(ONE),
        project(ONE, {"lib": "other"}),
        {7: {"kind": "files", "source": "several", "changed": ["lib"]}},
    ),
    "of several mounts the stage's changed": (
        project(ONE),
        project(ONE, LEVEL="2"),
        {4: {"kind": "argument"}, 7: {"kind": "files", "source": "several", "changed": ["made:level"]}},
    ),
    "an argument of FROM was given": (
        project(STAGES),
        project(STAGES, TAG="other"),
        {
            5: {"kind": "base", "step": 5},
            6: {"kind": "base", "step": 5},
            7: {"kind": "parent"},
            8: {"kind": "parent"},
        },
    ),
    "a variable was edited": (
        project(STAGES),
        project(STAGES.replace("MODE=a", "MODE=b")),
        {6: {"kind": "text"}, 7: {"kind": "parent", "root": 6}, 8: {"kind": "parent", "root": 6}},
    ),
    "an argument names another folder": (
        project(TWO, {"other/app.py": "9\n"}),
        project(TWO, {"other/app.py": "9\n"}, DIR="other"),
        {5: {"kind": "argument"}, 6: {"kind": "parent"}},
    ),
    "an argument that nobody declares": (project(STAGES), project(STAGES, NOBODY="1"), {}),
    "an argument of a variable of the stage below": (
        project(ON_A_STAGE),
        project(ON_A_STAGE, A="2"),
        {3: {"kind": "argument"}, 4: {"kind": "parent", "root": 3}, 6: {"kind": "parent", "root": 3}},
    ),
    "a stage got another name": (
        project(ON_A_STAGE),
        project(ON_A_STAGE.replace("one", "uno")),
        {},
    ),
    "a stage was put before all": (
        project(STAGES),
        project(STAGES.replace("FROM busybox AS made", "FROM busybox AS new\nRUN true\nFROM new AS made")),
        {
            3: {"kind": "added"},
            5: {"kind": "parent", "root": 3},
            6: {"kind": "parent", "root": 3},
        },
    ),
    "a stage that nothing needs changed": (
        project("FROM busybox AS idle\nRUN true\n" + ON_A_STAGE),
        project("FROM busybox AS idle\nRUN false\n" + ON_A_STAGE),
        {},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_cause(workshop: Workshop, change: str) -> None:
    before, after, expected = CHANGES[change]
    workshop.build("FROM busybox\nLABEL other=1\n", tags=["busybox:other"])
    build(workshop, before)
    assert build(workshop, before) == {}
    found = build(workshop, after)
    assert [*found] == [*expected], found
    for number, parts in expected.items():
        for name, value in parts.items():
            is_files = name in ("changed", "added", "removed")
            actual = [file["path"] for file in found[number][name]] if is_files else found[number].get(name)
            assert actual == value, found[number]


def build(workshop: Workshop, given: dict[str, Any]) -> dict[int, dict[str, Any]]:
    options = {"build_args": given["build_args"], "tags": ["app"], "explain": True}
    return causes(workshop.build(given["text"], given["files"], **options).messages)
