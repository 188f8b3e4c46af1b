"""The course's own exercises are graded: solved, done another way, and as given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labkernel.course import places
from labkernel.course.notebook import read_notebook
from tests.grading.conftest import Grader
from tests.grading.submitted import write_notebook
from tests.support.catalog_images import load_archive

_BASE = (
    "%%dockerfile -t me/web-base -f docker-web-base/Dockerfile\nFROM golang\n"
    "RUN apt-get update \\\n && apt-get install -y --no-install-recommends pkg-config\nEXPOSE 8080/tcp"
)
_APP = (
    "%%dockerfile -t me/web-app --context app\nFROM me/web-base\nWORKDIR /go/src/example.org/learner/webapp\n"
    'COPY . .\nRUN cd web-app && go install\nCMD ["web-app"]'
)
OTHERWISE = {
    "01-web-base": {
        **dict.fromkeys(("from", "tool", "expose"), _BASE),
        "again": "%docker build --tag me/web-base:latest ./docker-web-base",
    },
    "03-web-app": {
        **dict.fromkeys(("add", "install"), _APP),
        "run": "%docker run --detach --publish 8080:8080 --name web-app me/web-app:latest",
    },
}


def submit(place: Path, name: str) -> None:
    place.mkdir()
    write_notebook(place / "solved.ipynb", read_notebook(places.solutions() / name / f"{name}.ipynb"))
    given: dict[str, Any] = read_notebook(places.exercises() / name / f"{name}.ipynb")
    write_notebook(place / "given.ipynb", given)
    answers = OTHERWISE[name]
    for cell in given["cells"]:
        cell["source"] = answers.get(cell["metadata"].get("nbgrader", {}).get("grade_id"), cell["source"])
    write_notebook(place / "otherwise.ipynb", given)


@pytest.mark.parametrize(
    ("grader", "name"), [("engine", "01-web-base"), ("user_engine", "03-web-app")], indirect=["grader"]
)
def test_exercise(grader: Grader, name: str, images_archive: Path) -> None:
    load_archive(grader.engine, images_archive)
    submit(grader.place / "submissions", name)
    grader.give(grader.place)
    arguments = ["grade", "submissions", "--assignment", name, "--out", "out", "--json"]
    code, stdout, stderr = grader.run("labkernel", arguments, timeout=250)
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert summary["exercise"] == name
    by_learner = {found["learner"]: found for found in summary["submissions"]}
    assert list(by_learner) == ["given", "otherwise", "solved"]
    assert by_learner["given"]["points"] == 0
    for learner in ("solved", "otherwise"):
        result = json.loads((grader.place / "out" / "results" / f"{learner}.json").read_text())
        assert [check["message"] for check in result["checks"] if check["outcome"] != "pass"] == []
        assert by_learner[learner]["points"] == by_learner[learner]["max_points"] > 0
    assert {found["state"] for found in by_learner.values()} == {"graded"}
