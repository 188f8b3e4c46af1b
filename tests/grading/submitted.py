"""Submissions of the small exercise in `assignment`, made as a learner's notebook is: by answering it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkernel.course.notebook import read_notebook
from labkernel.course.release import released

ASSIGNMENT = Path(__file__).parent / "assignment"
CHECKS = ("image", "container", "page", "visited")
POINTS = {"image": 2, "container": 1, "page": 3, "visited": 1}

RIGHT = {
    "build": "%%dockerfile -t me/site --context page\n"
    'FROM me/base\nCOPY index.html /www/\nCMD ["httpd", "-f", "-vv", "-h", "/www"]',
    "run": "%docker run -d --name site -p 8080:80 me/site",
    "visit": "%docker exec site wget -q -O - http://localhost/base.html",
}
"""Not what the instructor wrote: right all the same."""


def as_given() -> dict[str, Any]:
    """The exercise's notebook, as the learner gets it."""
    return released(read_notebook(ASSIGNMENT / "assignment.ipynb"))


def answered(answers: Mapping[str, str]) -> dict[str, Any]:
    """The exercise's notebook with these answers, by their grade_id."""
    notebook = as_given()
    for cell in notebook["cells"]:
        name = cell["metadata"].get("nbgrader", {}).get("grade_id")
        if name in answers:
            cell["source"] = answers[name]
    return notebook


def write_notebook(path: Path, notebook: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(notebook))
