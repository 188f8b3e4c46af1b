"""The launcher and its client under many, odd and broken requests."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from labkernel.engine.errors import System
from labkernel.engine.runtime.client import PACKAGE_ROOT, StartFailed
from labkernel.engine.runtime.spec import Mount, Resources
from tests.engine.runtime.lab import Lab


def test_many_at_once(box: Lab) -> None:
    async def work() -> list[int]:
        bundles = [box.bundle("sh", "-c", f"exit {number}") for number in range(40)]
        started = await asyncio.gather(*(box.launcher.run(bundle.name, bundle) for bundle in bundles))
        return list(await asyncio.gather(*(one.exited for one in started)))

    assert box.wait(work()) == list(range(40))


def test_the_same_container_again_and_again(box: Lab) -> None:
    """As a restart does, without a pause in between; what the first one was limited to is forgotten."""

    async def work() -> list[int]:
        found: list[int] = []
        for memory in (2**25, 0, 2**26):
            bundle = box.bundle("sleep", "1000", resources=Resources(memory=memory))
            started = await box.launcher.run("again", bundle)
            found.append(box.launcher.stats("again")["memory_stats"]["limit"])
            box.launcher.kill("again", signal.SIGKILL)
            found.append(await started.exited)
        return found

    first, _, second, _, third, code = box.wait(work())
    assert (first, third, code) == (2**25, 2**26, 137)
    assert second > 2**27


def test_a_request_that_is_given_up_leaves_no_container(box: Lab) -> None:
    async def work() -> bool:
        bundle = box.bundle("sleep", "1000")
        task = asyncio.create_task(box.launcher.run(bundle.name, bundle))
        await asyncio.sleep(0)
        task.cancel()
        for _ in range(200):
            await asyncio.sleep(0.02)
            if bundle.name not in box.launcher._running and not box.launcher.processes(bundle.name):
                return True
        return False

    assert box.wait(work())


def test_what_users_write_does_not_end_the_launcher(box: Lab) -> None:
    name, started = box.start("sleep", "1000")
    assert box.fails("x" * 100_000).kind == "not_found"
    assert "embedded null" in box.fails("sh", "a\0b").message
    box.run("true", "x" * 100_000)
    layer = box.directory / "empty"
    layer.mkdir()
    many = [Mount(f"/mnt/{number}", str(layer)) for number in range(300)]
    assert len(box.run("true", mounts=many).started.steps) == 60
    box.launcher.kill(name, 12345)
    bundle = box.bundle("true")
    (bundle / "config.json").write_text(
        (bundle / "config.json").read_text().replace('"maskedPaths"', '"nothing"')
    )
    with pytest.raises(StartFailed, match="maskedPaths"):
        box.wait(box.launcher.run(bundle.name, bundle))
    with pytest.raises(System, match="runs already"):
        box.wait(box.launcher.run(name, bundle))
    assert box.end(name, started) == 137


def test_a_large_request(box: Lab) -> None:
    ended = box.run("sh", "-c", "echo ${#BIG}", env=["PATH=/bin", "BIG=" + "x" * 100_000])
    assert ended.output == "100000\n"


def test_the_launcher_is_small() -> None:
    """What it imports costs every fork."""
    code = (
        "import sys; sys.path.append(sys.argv[1]); import labkernel.engine.runtime.launcher.process; "
        "print(*sorted(sys.modules))"
    )
    listed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(PACKAGE_ROOT)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"typing", "re", "json", "dataclasses", "subprocess", "pathlib", "threading", "asyncio"} & set(
        listed
    )
