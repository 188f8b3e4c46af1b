"""A small exercise, as an instructor writes it: a notebook with two answers, three checks, and a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbformat import NotebookNode, write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

NAME = "01-greeting"

CHECKS = '''
"""The checks of a small exercise."""

from labkernel.course import Lab, check, fail


@check
def image(lab: Lab) -> None:
    """There is an image me/greeting.

    It is made FROM busybox.
    """
    lab.image("me/greeting")


@check(after=image)
def greeting(lab: Lab) -> None:
    """`me/greeting` says hello."""
    if lab.run(lab.image("me/greeting"), ["cat", "/greeting"]).output != "hello\\n":
        fail("`/greeting` should hold <hello>, and does not", hint="COPY brings a file in")


@check
def tagged(lab: Lab) -> None:
    """The image is `me/greeting:v1` too."""
    lab.image("me/greeting:v1")
'''

SOLUTION = """%%dockerfile -t me/greeting --context .
FROM busybox
### BEGIN SOLUTION
COPY greeting /greeting
### END SOLUTION
CMD ["cat", "/greeting"]"""


def answer(name: str, source: str, **flags: Any) -> NotebookNode:
    return _cell(name, source, {"solution": True, "grade": False, "locked": False, **flags})


def given(name: str, source: str, **flags: Any) -> NotebookNode:
    return _cell(name, source, {"solution": False, "grade": False, "locked": True, **flags})


def checking(name: str, points: float, hints: list[str], **flags: Any) -> NotebookNode:
    flags = {"solution": False, "grade": True, "locked": True, "points": points, **flags}
    return _cell(name, f"%check {name}", flags, {"hints": hints})


def _cell(name: str, source: str, flags: dict[str, Any], ours: dict[str, Any] | None = None) -> NotebookNode:
    nbgrader = {"grade_id": name, "task": False, "schema_version": 3, **flags}
    made = new_code_cell(source, metadata={"nbgrader": nbgrader} | ({"labkernel": ours} if ours else {}))
    made["id"] = f"cell-{name}"  # else a random one, and no two notebooks were the same
    return made


def notebook() -> NotebookNode:
    """The instructor's notebook, as it is after a run: with outputs."""
    cells = [
        new_markdown_cell("# A greeting", id="title"),
        given("setup", "%load_ext labkernel"),
        answer("build", SOLUTION),
        checking("image", 1, []),
        checking("greeting", 2.5, ["Look at the context.", "`COPY greeting /greeting`"]),
        answer("tag", "### BEGIN SOLUTION\n%docker tag me/greeting me/greeting:v1\n### END SOLUTION"),
        checking("tagged", 1, ["docker tag OLD NEW"]),
    ]
    cells[2].outputs = [new_output("stream", text="built")]
    cells[2].execution_count = 7
    cells[2].metadata["execution"] = {"shell.execute_reply": "2026-11-24T08:00:00Z"}
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
        "language_info": {"name": "python", "version": "3.11.2"},
    }
    return new_notebook(cells=cells, metadata=metadata)


def write_solution(place: Path, made: NotebookNode | None = None, checks: str = CHECKS) -> Path:
    """The directory of the solution below `place`."""
    directory = place / NAME
    directory.mkdir(parents=True)
    write(made or notebook(), directory / f"{NAME}.ipynb")
    (directory / "checks.py").write_text(checks)
    (directory / "greeting").write_text("hello\n")
    return directory
