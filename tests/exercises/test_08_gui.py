"""08: clocks in containers on a virtual screen, let in and refused; right and wrong ones."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from labkernel.display import Screen, change_access, connect, start
from tests.exercises.desk import Desk
from tests.support.daemons import Daemon
from tests.support.screens import clock_image, program, until, windows_on
from tests.support.source_tree import REPOSITORY

NAME = "08-gui"
LATER = "%%sh\n{python} -m labkernel check --json > report.json\ntrue"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Screen]:
    """A screen of this process; there are no others where it is written down."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    started = start(640, 400)
    yield started
    started.stop()


@pytest.fixture
def learner(engine: Daemon, desk: Callable[..., Desk], screen: Screen) -> Iterator[Desk]:
    """The exercise on a desk, with an image that has xclock."""
    make_image(engine, "xclock", "-update", "1")
    yield desk(engine, NAME)
    engine.clear()


def make_image(daemon: Daemon, *command: str) -> None:
    """me/xclock as an image with this machine's xclock and nothing else."""
    change = f"CMD {json.dumps(command)}"
    made = daemon.docker("import", "-c", change, "-", "me/xclock", input=clock_image(), text=False)
    assert made.returncode == 0, made.stderr


def run_notebook(learner: Desk, *, allow_errors: bool = False) -> dict[str, Any]:
    """Run the notebook as the engine's user; what `labkernel check` says before its kernel ends, by name."""
    path = learner.directory / f"{NAME}.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell(LATER.format(python=sys.executable)))
    nbformat.write(notebook, path)
    room, place = learner.daemon.room, learner.directory.parent
    environment = {
        **learner.daemon.environment(),
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(place),
        "IPYTHONDIR": str(place / "ipython"),
        "XDG_RUNTIME_DIR": str(place),
    }
    if room.user:
        for entry in [place, *place.rglob("*")]:
            shutil.chown(entry, room.user, room.user)
    options = ["--allow-errors"] if allow_errors else []
    command = [sys.executable, "-m", "tests.notebooks.execute", str(path), *options]
    log = place / "log"
    pid = room.start(command, env=environment, log=log)
    assert room.wait(pid, 280) == 0, log.read_text()[-4000:]
    report = json.loads((learner.directory / "report.json").read_text())
    return {checked["name"]: checked for checked in report["checks"]}


def clock(learner: Desk, screen: Screen, name: str, *options: str, ends: bool = False) -> None:
    """Run me/xclock on the screen; return once it is seen, or has ended."""
    shared = ["-e", f"DISPLAY={screen.name}", "-v", "/tmp/.X11-unix:/tmp/.X11-unix"]
    before = len(windows_on(screen))
    learner.docker("run", "-d", "--name", name, *shared, *options, "me/xclock")
    if ends:
        learner.docker("wait", name)
    else:
        until(lambda: len(windows_on(screen)) > before, "no window")


def xhost(screen: Screen, word: str) -> None:
    with connect(screen) as connection:
        change_access(connection, word)


@pytest.mark.parametrize("name", ["user_engine", "dockerd"])
def test_solution(
    name: str, images_archive: Path, desk: Callable[..., Desk], request: pytest.FixtureRequest
) -> None:
    host: Daemon = request.getfixturevalue(name)
    host.docker("load", "-i", str(images_archive), timeout=300)
    solved = desk(host, NAME, solved=True)
    found = run_notebook(solved)
    assert {name: checked["message"] for name, checked in found.items() if checked["outcome"] != "pass"} == {}
    assert sum(checked["points"] for checked in found.values()) == 10
    host.clear()


def test_exercise_as_given(learner: Desk) -> None:
    """All the given cells run; no check passes."""
    learner.docker("rmi", "me/xclock")
    outcomes = {
        name: checked["outcome"] for name, checked in run_notebook(learner, allow_errors=True).items()
    }
    assert outcomes.pop("image") == "fail"
    assert outcomes.pop("screen") == "fail"
    assert set(outcomes.values()) == {"skipped"}


def test_another_way(learner: Desk, screen: Screen) -> None:
    """One user let in, by name; the cookie copied into a container that has another host's name."""
    clock(learner, screen, "first", "-h", "one", "--network", "host", ends=True)
    xhost(screen, "+si:localuser:root")
    clock(learner, screen, "second", "-h", "two")
    xhost(screen, "-si:localuser:root")
    clock(learner, screen, "third", "-h", "three", ends=True)
    shared = ["-e", f"DISPLAY={screen.name}", "--mount", "type=bind,src=/tmp/.X11-unix,dst=/tmp/.X11-unix"]
    learner.docker("create", "--name", "fourth", *shared, "-e", "XAUTHORITY=/cookie", "me/xclock")
    learner.docker("cp", str(screen.authority), "fourth:/cookie")
    learner.docker("start", "fourth")
    assert set(learner.outcomes().values()) == {"pass"}


def test_images_without_a_clock(learner: Desk) -> None:
    learner.docker("tag", "busybox", "me/xclock")
    assert learner.found_by("image") == "the image me/xclock has no program xclock"
    learner.image(
        "me/xclock", "FROM busybox\nRUN printf '#!/bin/sh\\necho 12:30' >/bin/xclock; chmod +x /bin/xclock"
    )
    assert learner.found_by("image") == "xclock in me/xclock should look for a display, and says: 12:30"


def test_clocks_that_nobody_refused(learner: Desk, screen: Screen) -> None:
    wanted = "no container was refused by access control: none has ended with 'Authorization required'"
    assert learner.found_by("refused") == wanted
    learner.docker("run", "-d", "--name", "blind", "-e", f"DISPLAY={screen.name}", "me/xclock")
    assert learner.found_by("refused") == (
        f"{wanted}; the last container of me/xclock is exited (1); "
        f"the last that it wrote: Error: Can't open display: {screen.name}"
    )
    screen.stop()
    assert learner.found_by("screen") == "no virtual screen is there"


def test_clocks_that_are_not_seen_or_do_not_move(learner: Desk, screen: Screen) -> None:
    clock(learner, screen, "refused", ends=True)
    assert learner.found_by("open_clock").startswith(
        "no clock is on the screen; the last container of me/xclock "
    )
    with program(screen, "xclock", "-update", "1"):
        until(lambda: windows_on(screen), "no window")
        found = learner.found_by("open_clock")
        assert found == "the clock on the screen should run in a container, and does not"
    xhost(screen, "+")
    make_image(learner.daemon, "xclock")
    clock(learner, screen, "still")
    assert learner.found_by("open_clock") == "the clock's picture should change, and stays the same for 3 s"


def test_a_screen_that_stays_open(learner: Desk, screen: Screen) -> None:
    clock(learner, screen, "refused", ends=True)
    xhost(screen, "+")
    clock(learner, screen, "open")
    assert learner.found_by("closed") == "access control should be on, and is off"
    xhost(screen, "-")
    xhost(screen, "+local:")
    assert (
        learner.found_by("closed")
        == "nobody should be let in without the cookie, and this one still is: LOCAL:"
    )
    xhost(screen, "-local:")
    assert learner.found_by("refused_again").startswith("no container has been refused since the open clock")
    assert learner.found_by("safe_clock") == (
        "the clock on the screen should have the cookie, and was let in without one"
    )
    cookie = ["-v", f"{screen.authority}:/cookie:ro", "-e", "XAUTHORITY=/cookie"]
    clock(learner, screen, "safe", *cookie)
    learner.docker("rm", "-f", "open")
    assert learner.found_by("open_clock") == (
        "the clock on the screen should be let in without a cookie, by xhost +, and has it"
    )
