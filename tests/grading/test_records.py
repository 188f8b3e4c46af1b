"""What is kept of a result: in the form of the checks' JSON, whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.course import Checked, Report
from labkernel.grading.digest import digest
from labkernel.grading.records import Records
from labkernel.grading.result import Graded

REPORT = Report(
    "01-x",
    [
        Checked("image", "The image.", "pass", 2),
        Checked("port", "The port.", "fail", 1.5, "found \ud800 none", ("EXPOSE",)),
        Checked("web", "The web.", "error", 1, "ours"),
    ],
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path / "out")
    with records.held("01-x"):
        pass
    return records


def test_the_form(records: Records) -> None:
    records.write("ann", Graded(REPORT, "error"), "page", "d")
    stored = json.loads((records.directory / "results" / "ann.json").read_text())
    columns = ["exercise", "learner", "state", "reason", "points", "max_points", "checks"]
    assert list(stored) == columns
    assert [stored[name] for name in columns[1:-1]] == ["ann", "error", "", None, 4.5]
    assert stored["exercise"] == "01-x"
    columns = ["name", "outcome", "points", "max_points", "message", "hint"]
    assert [list(check) for check in stored["checks"]] == [columns] * 3
    assert [list(check.values()) for check in stored["checks"]] == [
        ["image", "pass", 2, 2, "", ""],
        ["port", "fail", 0, 1.5, "found ? none", "EXPOSE"],
        ["web", "error", None, 1, "ours", ""],
    ]
    assert (records.directory / "feedback" / "ann.html").read_text() == "page"


def test_read_again(records: Records) -> None:
    written = records.write("ann", Graded(REPORT, "graded"), "page", "d")
    read = records.read("ann")
    assert read is not None
    assert (read.state, read.digest, read.points, read.max_points) == ("graded", "d", None, 4.5)
    assert written.points is None
    passed = Graded(Report("01-x", REPORT.checks[:2]), "graded")
    assert records.write("ann", passed, "page", "d").points == 2


@pytest.mark.parametrize("name", ["results/ann.json", "feedback/ann.html", ".state/learners/ann.json"])
@pytest.mark.parametrize("damage", ["gone", "", "{}", "[]", "null"])
def test_half_a_result_is_none(records: Records, name: str, damage: str) -> None:
    records.write("ann", Graded(REPORT, "graded"), "page", "d")
    path = records.directory / name
    if damage == "gone":
        path.unlink()
    elif not name.startswith("feedback"):
        path.write_text(damage)
    else:
        path.unlink()
        path.mkdir()
    assert records.read("ann") is None


def test_nothing_half_written_is_among_the_results(records: Records) -> None:
    """A write that fails leaves what was there, and no stray file."""
    records.write("ann", Graded(REPORT, "graded"), "page", "d")
    (records.directory / ".state" / "new" / "results-ann.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        records.write("ann", Graded(REPORT, "ended"), "new page", "e")
    assert [path.name for path in (records.directory / "results").iterdir()] == ["ann.json"]
    kept = records.read("ann")
    assert kept is not None
    assert (kept.state, kept.digest) == ("graded", "d")


def test_two_graders_on_one_directory(tmp_path: Path) -> None:
    """The second is refused at once; when the first is killed the next may begin at once."""
    hold = "import sys, time; from pathlib import Path; from labkernel.grading.records import Records\n"
    hold += "with Records(Path(sys.argv[1])).held('01-x'): print('held', flush=True); time.sleep(60)"
    first = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert first.stdout
    assert first.stdout.readline() == "held\n"
    with pytest.raises(CommandError) as raised, Records(tmp_path).held("01-x"):
        pass
    assert raised.value.what == "another grader is at work there"
    first.kill()
    first.wait()
    first.stdout.close()
    with Records(tmp_path).held("01-x"):
        pass


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CommandError) as raised, Records(tmp_path / "out").held("01-x"):
        pass
    assert raised.value.what.startswith("results cannot be written there: ")


def test_results_of_another_exercise_stay(records: Records) -> None:
    """Nothing is written: neither over them nor beside them."""

    def everything() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in records.directory.rglob("*") if path.is_file()}

    (records.directory / "results" / "aaa.json").write_text("half")
    records.write("ann", Graded(REPORT, "graded"), "page", "d")
    records.write_gradebook("learner,points")
    (records.directory / ".state" / "lock").unlink()
    before = everything()
    with pytest.raises(CommandError) as raised, Records(records.directory).held("03-y"):
        pass
    assert raised.value.what == "this folder holds grades of 01-x"
    assert "another --out" in str(raised.value.hint)
    assert everything() == before
    with Records(records.directory).held("01-x"):
        pass


def test_digest() -> None:
    """What stands where in the parts counts, and not only what it is put together."""
    assert digest(b"ab", b"c") != digest(b"a", b"bc") != digest(b"abc")
    assert digest(b"a", b"b") == digest(b"a", b"b")
