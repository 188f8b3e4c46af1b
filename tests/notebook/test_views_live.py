"""%layers, %ports and %logs follow the engine: what happens there is published without anything being run."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher

from labkernel.notebook.views.picture import MIME
from labkernel.notebook.views.views import MOST
from tests.notebook.conftest import Shell
from tests.support.daemons import Daemon, running
from tests.support.room import wait_until
from tests.support.source_tree import REPOSITORY


class Page:
    """A notebook's page: what the kernel publishes, output by output."""

    def __init__(self, shell: Shell) -> None:
        self.ipython = shell.ipython
        self.publisher = self.ipython.display_pub = CapturingDisplayPublisher()
        # What a kernel's shell has, and by which ours knows that outputs can be replaced.
        self.ipython.kernel = SimpleNamespace(session=SimpleNamespace(session="the kernel's session"))

    def run(self, cell: str) -> str:
        """Run a cell that shows one view; return its display's id."""
        before = len(self.publisher.outputs)
        self.ipython.run_cell(cell).raise_error()
        shown = [o for o in self.publisher.outputs[before:] if not o["update"] and MIME in o["data"]]
        assert len(shown) == 1
        return str(shown[0]["transient"]["display_id"])

    def all(self, display: str) -> list[dict[str, Any]]:
        """The data of all pictures of an output, the first one first."""
        return [
            output["data"][MIME]
            for output in list(self.publisher.outputs)
            if (output["transient"] or {}).get("display_id") == display
        ]

    def comes(
        self, display: str, what: Callable[[dict[str, Any]], Any], seconds: float = 10
    ) -> dict[str, Any]:
        """Wait until the output's picture is one of which `what` is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            data = self.all(display)[-1]
            if what(data):
                return data
            time.sleep(0.02)
        raise AssertionError(f"it does not come; the last picture is {data}")


@pytest.fixture
def page(lab_shell: Shell) -> Page:
    return Page(lab_shell)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("labkernel")]


def threads_end() -> bool:
    return any(not threads() for _ in wait_until(3, 0.02))


def start(daemon: Daemon, name: str, script: str = "sleep 600", *options: str) -> None:
    done = daemon.docker("run", "-d", "--name", name, *options, "busybox", "sh", "-c", script)
    assert done.returncode == 0, done.stderr


def states(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [(port["container"], port["state"]) for port in data["ports"]]


def texts(data: dict[str, Any]) -> list[str]:
    return [text for *_, text in data["lines"]]


def test_ports(page: Page, docker_host: Daemon) -> None:
    ports = page.run("%ports")
    assert page.all(ports)[-1]["ports"] == []
    start(docker_host, "web", "sleep 600", "-p", "18080:80")
    shown = page.comes(ports, lambda data: states(data) == [("web", "running")])
    assert shown["ports"][0]["url"] == "http://localhost:18080"
    assert (shown["live"], shown["session"]) == (True, "the kernel's session")
    web = page.run("%ports web")
    docker_host.docker("pause", "web")
    page.comes(ports, lambda data: states(data) == [("web", "paused")])
    docker_host.docker("unpause", "web")
    docker_host.docker("kill", "web")
    page.comes(ports, lambda data: states(data) == [])
    page.comes(web, lambda data: [c["state"] for c in data["unpublished"]] == ["exited"])
    docker_host.docker("rm", "web")
    page.comes(web, lambda data: [c["state"] for c in data["unpublished"]] == ["removed"])
    revisions = [data["revision"] for data in page.all(ports)]
    assert revisions == list(range(1, len(revisions) + 1))


def test_layers(page: Page, docker_host: Daemon) -> None:
    start(docker_host, "writer", "while ! [ -e /go ]; do sleep 0.1; done; echo hello > /new; sleep 600")
    layers = page.run("%layers busybox writer")
    image, container = page.all(layers)[-1]["stacks"]
    assert image["layers"][-1]["files"]["added"] > 100  # counted before the cell was done
    assert container["writable"]["added"] == 0
    docker_host.docker("exec", "writer", "touch", "/go")
    # No event tells what a container writes.
    written = page.comes(layers, lambda data: data["stacks"][1]["writable"]["size"] == len("hello\n"))
    assert sorted(path for _, path, _ in written["stacks"][1]["writable"]["paths"]) == ["go", "new"]

    assert (
        docker_host.docker("build", "-t", "child", "-", input="FROM busybox\nRUN rm /bin/ls\n").returncode
        == 0
    )
    page.comes(layers, lambda data: data["stacks"][0]["layers"][-1]["shared"] == ["child"])
    child = page.run("%layers child")
    assert page.all(child)[-1]["stacks"][0]["layers"][0]["files"]["deleted"] == 1
    docker_host.docker("rmi", "child")
    page.comes(child, lambda data: "No such image" in data["note"])
    docker_host.docker("rm", "-f", "writer")
    gone = page.comes(layers, lambda data: data["note"])
    assert "writer" in gone["note"]
    assert gone["stacks"][1]["writable"]["added"] == 2  # the last picture stays


def test_logs(page: Page, docker_host: Daemon) -> None:
    start(
        docker_host, "one", r"printf '\033[31mhello\033[0m\n<b>\n'; echo oh >&2; read line; echo $line", "-i"
    )
    start(docker_host, "two", "echo two; sleep 600")
    one = page.run("%logs one")
    assert {(line[2], line[4]) for line in page.all(one)[-1]["lines"]} <= {
        ("out", "hello"),
        ("out", "<b>"),
        ("err", "oh"),
    }
    page.comes(one, lambda data: len(data["lines"]) == 3)
    both = page.run("%logs --tail 2 two one")
    page.comes(both, lambda data: len(data["lines"]) == 2)
    docker_host.docker("exec", "two", "sh", "-c", "echo more > /proc/1/fd/1")
    page.comes(both, lambda data: "more" in texts(data))  # lines of the other may still come
    docker_host.docker("kill", "two")
    shown = page.comes(both, lambda data: data["sources"][0]["state"] == "exited")
    assert shown["sources"][0]["status"] == "exited (137)"
    docker_host.docker("start", "two")
    page.comes(both, lambda data: texts(data)[-1] == "two" and data["sources"][0]["state"] == "running")
    docker_host.docker("rm", "-f", "two")
    page.comes(both, lambda data: data["sources"][0]["state"] == "removed")
    start(docker_host, "two", "echo another")
    page.comes(both, lambda data: texts(data)[-1] == "another")
    numbers = [line[0] for data in page.all(both) for line in data["lines"]]
    assert len({line[0] for data in page.all(both) for line in data["lines"] if line[4] == "two"}) == 2
    assert max(numbers) == len(set(numbers)) + min(numbers) - 1


def test_a_flood_is_not_followed_line_by_line(page: Page, docker_host: Daemon) -> None:
    start(docker_host, "flood", "yes")
    flood = page.run("%logs flood")
    page.comes(flood, lambda data: any("more lines than can be shown" in text for text in texts(data)))
    before, started = len(page.all(flood)), time.process_time()
    time.sleep(2)
    assert len(page.all(flood)) - before <= 10
    assert time.process_time() - started < 1.5
    assert len(page.all(flood)[-1]["lines"]) == 200
    docker_host.docker("rm", "-f", "flood")


def test_what_stands_still(page: Page, docker_host: Daemon) -> None:
    start(docker_host, "web", "echo hello; sleep 600", "-p", "18081:80")
    still = page.run("%logs --no-follow web")
    assert [data["live"] for data in page.all(still)] == [False]
    first = page.run("%ports")
    second = page.run("%ports")  # takes the first one's place
    assert page.all(first)[-1]["live"] is False
    many = [page.run(f"%layers busybox {'busybox ' * number}") for number in range(MOST)]
    assert page.all(second)[-1]["live"] is False
    assert page.all(many[0])[-1]["live"] is True
    assert len(threads()) == 2  # however many views there are
    page.ipython.run_cell("%unload_ext labkernel").raise_error()
    assert not any(page.all(display)[-1]["live"] for display in many)
    assert threads_end()


def test_names_that_are_not_there(lab_shell: Shell, docker_host: Daemon) -> None:
    docker_host.docker("create", "--name", "weather", "busybox")
    for magic in ("ports", "logs", "layers"):
        ran = lab_shell.run(f"%{magic} nobody")
        assert ran.error is not None
        assert "nobody" in str(ran.error)
        assert "hint:" in str(ran.error)
    assert lab_shell.completions("%logs wea") == ["weather"]


@pytest.fixture
def mortal() -> Iterator[Daemon]:
    with running("labkernel") as daemon:
        yield daemon


def test_an_engine_that_goes_and_comes_back(
    shell: Shell, mortal: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", mortal.url)
    shell.succeeds("%load_ext labkernel")
    page = Page(shell)
    start(mortal, "web", "echo one; sleep 600", "-p", "18082:80")
    ports, logs = page.run("%ports"), page.run("%logs web")
    page.comes(ports, lambda data: states(data) == [("web", "running")])
    mortal.stop()
    gone = page.comes(ports, lambda data: "Cannot connect" in data["note"] or "went away" in data["note"])
    assert states(gone) == [("web", "running")]  # the last that is known
    mortal.start()
    page.comes(ports, lambda data: not data["note"] and states(data) == [])
    mortal.docker("start", "web")
    page.comes(ports, lambda data: states(data) == [("web", "running")])
    page.comes(logs, lambda data: texts(data) == ["one", "one"])
    page.ipython.run_cell("%unload_ext labkernel").raise_error()
    assert threads_end()


def test_ipython_in_a_terminal_shows_it_once_and_ends(engine: Daemon) -> None:
    start(engine, "web", "echo hello; sleep 600", "-p", "18083:80")
    lines = "\n".join(["%load_ext labkernel", "%layers busybox web", "%ports", "%logs web", "exit"])
    ended = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=nocolor", "--no-banner", "--simple-prompt"],
        input=lines,
        env={**engine.environment(), "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "container web, on image busybox" in ended.stdout
    assert "added; own" in ended.stdout
    assert "http://localhost:18083" in ended.stdout
    assert "hello" in ended.stdout
    assert ended.stderr == ""
    engine.clear()
