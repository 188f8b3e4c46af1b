"""Submissions that are after the grader: its marks, its secrets, its time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.grading.conftest import Grader
from tests.grading.ordered import LOAD, order, run

CHECKS = '''
"""Checks that say what they see of what submissions tried."""
import resource
import signal
import time
from labkernel.course import Lab, check, fail

@check
def built(lab: Lab) -> None:
    """Its directory builds: this is when docker-py looks for credentials."""
    if (lab.directory / "Dockerfile").exists():
        lab.build(".")

@check(after=built)
def inside(lab: Lab) -> None:
    """Nothing of the learner's ran out here."""
    if (lab.directory / "escaped").exists():
        fail("a helper of the learner's has run: " + (lab.directory / "escaped").read_text())

@check
def imports(lab: Lab) -> None:
    """It imports nothing: not what the learner has put in the place of a module."""
    import sys
    try:
        import netrc_of_mine
    except ModuleNotFoundError as error:
        if sys.path or "has to be imported where checks.py begins" not in str(error):
            fail(f"{sys.path}: {error}")

@check
def limited(lab: Lab) -> None:
    """It may not use all memory nor all time, whatever it is made to read."""
    seconds, memory = signal.getitimer(signal.ITIMER_REAL)[0], resource.getrlimit(resource.RLIMIT_AS)[0]
    if not 0 < seconds < 2000 or memory == resource.RLIM_INFINITY:
        fail(f"{seconds} s, {memory} bytes")

@check
def still(lab: Lab) -> None:
    """Nothing of it runs on after its end."""
    def size() -> int:
        time.sleep(0.5)
        return (lab.directory / "growing").stat().st_size
    if (lab.directory / "growing").exists() and size() != size():
        fail("it is still running")
'''
CHANNEL = """
import os, socket
links = {n: f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd')}
[number] = [n for n, link in links.items() if os.path.lexists(link) and 'socket:' in os.readlink(link)]
channel = socket.socket(fileno=int(number))
"""
LONG = f"# {'x' * 200_000}"
SUBMISSIONS = {
    "credentials": [
        "import json, os\n"
        "os.makedirs('docker-credential-x')\n"
        "os.makedirs(os.path.expanduser('~/.docker'))\n"
        "open('Dockerfile', 'w').write('FROM me/base')\n"
        "open('helper', 'w').write('#!/bin/sh\\necho \"pid $$\" > /home/learner/01-x/escaped\\n')\n"
        "os.chmod('helper', 0o755)\n"
        "settings = {'credsStore': 'x/../helper'}\n"
        "open(os.path.expanduser('~/.docker/config.json'), 'w').write(json.dumps(settings))",
    ],
    "secrets": [
        "import ctypes\nctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"
        "print('GRADERS_OWN' in open('/proc/self/environ').read())",
        # Below the /proc that shows itself alone is that of the engine and of the sandbox's first process.
        "ctypes.CDLL(None).umount2(b'/proc', 2)",
    ],
    "forged answers": [
        CHANNEL + "import time\nfor _ in range(30): channel.send(b'{\"failed\": false}')\ntime.sleep(60)",
        *[LONG] * 20,
    ],
    "orphan": [
        "import ctypes, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n"
        "with open('growing', 'w') as file:\n"
        "    while True: file.write('x'); file.flush(); time.sleep(0.01)"
    ],
    # A container is root beside the engine and beside process 1 of the sandbox.
    "containers": [
        LOAD,
        "%docker run --rm -v /:/host busybox sh -c 'echo x=1 > /host/netrc.py'",
        "%docker run --rm -v /run/labkernel:/x busybox true",
        "%docker run --rm --cap-add SYS_PTRACE busybox true",
        "%docker run --rm --pid host busybox true",
        "%docker run -d --name box busybox sleep 60",
        "%docker exec --privileged box true",
        "import os\nos.mkdir('swapped')",
        "%docker create --name late -v /home/learner/01-x/swapped:/host busybox touch /host/reached",
        "os.rmdir('swapped')\nos.symlink('/', 'swapped')",
        "%docker start -a late",
        "%docker cp late:/host/etc/passwd stolen",
        "os.unlink('swapped')\nos.mkdir('swapped')",
        "%docker start -a late",
        "os.listdir('swapped')",
    ],
    # A descriptor of a directory can be handed to a container's root, by way of a socket in a shared one.
    "hand over": [
        "import os\n[os.listdir(place) for place in ('/lower', '/var/lib/labkernel')]",
        "mounts = [line.split()[4:6] for line in open('/proc/self/mountinfo')]\n"
        "sorted((place, options[:2]) for place, options in mounts if place in ('/', '/run'))",
        "open('/var/tmp/x', 'w'), open('/run/user/1000/x', 'w')\nprint('written')",
    ],
    "deleted files": [
        "import os, time\nkept = []\n"
        "for _ in range(3):\n"
        "    kept.append(open('x', 'wb'))\n    os.unlink('x')\n    kept[-1].write(os.urandom(40 << 20))\n"
        "time.sleep(60)"
    ],
    "large cell": ["print('\ud800')\n", f"# {'x' * 500_000}"],
    "deep answer": [CHANNEL + "channel.send(b'[' * 100_000)", "print('after')"],
}


@pytest.fixture
def ran(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("GRADERS_OWN", "a token")
    limits = {"cell_seconds": 5, "seconds": 60, "memory": 1 << 30, "processes": 100, "disk": 96 << 20}
    return run(grader, order(grader, SUBMISSIONS, checks=CHECKS, limits=limits))


@pytest.mark.parametrize("grader", ["engine", "user_engine", "single_uid_engine"], indirect=True)
def test_what_hostile_submissions_get(ran: dict[str, Any]) -> None:
    """One run for all, as in test_sandbox."""
    passing = {name: ["pass", ""] for name in ("built", "inside", "imports", "limited", "still")}
    assert ran["credentials"] == ran["credentials"] | {"ended": None, "checks": passing}
    assert ran["secrets"]["cells"] == [["False\n", False], ["-1\n", False]]

    # Answered by itself, and never asked again: nobody waits for it.
    assert all(text == "" for text, _ in ran["forged answers"]["cells"])
    assert ran["forged answers"]["seconds"] < 30
    assert ran["orphan"] == ran["orphan"] | {"ended": "a cell took longer than 5 s", "checks": passing}
    said = [text for text, _ in ran["containers"]["cells"]]
    for number, refused in enumerate(
        (
            "/ in a container",
            "/run/labkernel in a container",
            "CAP_SYS_PTRACE",
            "the host's process namespace",
        ),
        1,
    ):
        assert f"{refused} is not permitted by this engine" in said[number]
    assert "to be privileged is not permitted by this engine" in said[6]
    assert "a symbolic link has been put on the way to /home/learner/01-x/swapped" in said[10]
    assert "Internal Server Error" in said[11]
    assert said[14] == "['reached']\n"
    assert [text for text, _ in ran["hand over"]["cells"]] == [
        "[[], []]\n",
        "[('/', 'ro'), ('/run', 'ro')]\n",
        "written\n",
    ]
    assert ran["deleted files"]["ended"] == "wrote more than 96 MiB of files"
    assert ran["large cell"]["ended"] == "a cell is longer than 400 kB"
    assert len(ran["large cell"]["cells"]) == 1
    assert ran["deep answer"]["cells"][0][1]
    assert ran["deep answer"]["checks"] == passing
