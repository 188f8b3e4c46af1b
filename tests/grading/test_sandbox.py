"""What a submission can do in its sandbox, and what it cannot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.grading.conftest import Grader
from tests.grading.ordered import LOAD, order, run
from tests.support.source_tree import REPOSITORY

WEB = "%docker run -d -p 8080:80 --name web busybox httpd -f -h /etc"
SUBMISSIONS = {
    "right": [LOAD, WEB, "%docker tag me/base me/x", "open('a.txt', 'w').write('changed')"],
    "loop": [LOAD, WEB, "print('before')\nwhile True: pass", "print('never')"],
    "memory": ["taken = []\nwhile True: taken.append(b'x' * (10 << 20))"],
    "fork": ["import os\nwhile True: os.fork()", "print('after')"],
    "container forks": [
        LOAD,
        # A shell that may not fork ends; what it started stays only if it was not the container's first.
        "%docker run -d busybox sh -c '(while true; do sleep 60 & done); sleep 60'",
        "import time\ntime.sleep(60)",
    ],
    "gigabyte": ["import sys\nfor _ in range(1024): sys.stdout.write('y' * (1 << 20))", "print('after')"],
    "exit": ["import os\nos._exit(3)"],
    "container memory": [
        LOAD,
        "%docker run -d busybox sh -c 'x=a; while true; do x=$x$x; done'",
        "import time\ntime.sleep(60)",
    ],
    "curious": [
        "import os\n[os.getpid(), os.getcwd(), sorted(os.listdir('.')), len(os.listdir('/home'))]",
        "from pathlib import Path\n"
        "import labkernel\n"
        "[p for p in Path(labkernel.__file__).parents[1].iterdir() if p.name in ('solutions', 'tests')]",
        "!ls /root /lower 2>&1; touch /usr/x /lower/x 2>&1; cat /proc/1/environ | tr '\\0' '\\n'",
        "import signal\nos.kill(-1, 9)",
        "Path('/run/labkernel/engine.sock').unlink()",
    ],
    "links": ["!rm a.txt; ln -s /etc/hostname a.txt"],
    "killer": [
        LOAD,
        "%docker run --rm --pid host --privileged busybox sh -c "
        "'for p in /proc/[0-9]*; do grep -q engine.daemo[n] $p/cmdline && kill -9 ${p#/proc/}; done'",
        "print('after')",
    ],
}


@pytest.fixture
def ran(grader: Grader) -> dict[str, Any]:
    return run(grader, order(grader, SUBMISSIONS))


def test_a_network_that_is_not_there_is_no_fault_of_a_learners(grader: Grader) -> None:
    """Where an exercise needs one, nobody is graded without; where there is one, it leads out."""
    gateway = (
        "import subprocess\nprint(subprocess.run(['ip', 'route'], capture_output=True, text=True).stdout)"
    )
    path = order(grader, {"route": [gateway]}, network=True, setup=[])
    code, stdout, stderr = grader.run("tests.grading.sandbox_program", [str(path)])
    if grader.engine.http.call("GET", "/labkernel/status").json()["ReachesWorld"]:
        assert code == 0, stderr
        assert "default via" in json.loads(stdout)["route"]["cells"][0][0]
    else:
        assert "containers here do not reach the outside world" in stderr
        assert code != 0


def test_sandbox(ran: dict[str, Any], grader: Grader) -> None:
    """One run for all: a grader takes a second to start, and leaves nothing when it ends."""
    passing = {name: ["pass", ""] for name in ("web", "image", "base", "file")}
    assert ran["right"]["ended"] is None
    assert ran["right"]["checks"] == passing
    assert not any(failed for _, failed in ran["right"]["cells"])

    assert ran["loop"]["ended"] == "a cell took longer than 15 s"
    assert ran["loop"]["checks"]["web"] == ["pass", ""]
    assert ran["loop"]["checks"]["image"] == ["fail", "there is no image me/x"]

    # Without control groups, as here for an ordinary user, Python may be refused first.
    refused = any("MemoryError" in text for text, _ in ran["memory"]["cells"])
    assert ran["memory"]["ended"] == "used more than 1024 MiB of memory" or refused
    assert ran["fork"]["ended"] == "started too many processes (100 are the limit)"
    assert ran["container memory"]["ended"] == "used more than 1024 MiB of memory"
    assert ran["container forks"]["ended"] == "started too many processes (100 are the limit)"
    for name in ("memory", "fork"):
        assert ran[name]["checks"]["base"] == ["pass", ""], name
        assert ran[name]["checks"]["web"][0] == "fail", name

    (flood, failed), after = ran["gigabyte"]["cells"]
    assert (len(flood), failed) == (64 << 10, False)
    assert after == ["after\n", False]
    assert ran["exit"]["ended"] == "its process ended"

    itself, instructors, machine, _, _ = (text for text, _ in ran["curious"]["cells"])
    assert itself.split() == "[1, '/home/learner/01-x', ['a.txt'], 1]".split()
    assert instructors == "[]\n"
    assert machine.partition("touch")[0].split() == ["/lower:", "/root:"]
    assert machine.count("Read-only file system") == 2 or machine.count("denied") >= 2
    programs = str(Path(sys.executable).parent)
    told = machine.replace(f"PYTHONPATH={REPOSITORY}", "").replace(f"PATH={programs}", "")
    assert str(REPOSITORY) not in told

    assert ran["links"]["checks"]["file"] == ["fail", "a.txt is not changed"]
    refusal, failed = ran["killer"]["cells"][1]
    assert failed
    assert "to be privileged is not permitted by this engine" in refusal
    assert ran["killer"]["checks"]["base"] == ["pass", ""]
    assert all(came["seconds"] < 90 for came in ran.values())
    assert grader.engine.docker("ps", "-aq").stdout == ""
