"""The magics in a kernel: outputs that change in place, interrupts, and what a saved notebook holds."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.course.small_exercise import CHECKS, write_solution
from tests.support.daemons import Daemon
from tests.support.mistakes import BY_NAME
from tests.support.room import wait_until

PICTURED = (
    "ENV with spaces",
    "base misspelt",
    "several files, no folder",
    "left out by .dockerignore",
    "Windows line ends",
    "command misspelt, in a here-document",
    "not root any more",
)


class Kernel:
    """A kernel with the extension loaded; each cell's outputs as nbformat stores them."""

    def __init__(self, client: NotebookClient) -> None:
        self.client: Any = client
        self.run("%load_ext labkernel")

    def run(self, source: str) -> list[Any]:
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells = [cell]
        self.client.execute_cell(cell, 0)
        return joined(cell.outputs)

    def interrupted(self, source: str, ready: Callable[[], bool]) -> list[Any]:
        """Run a cell and interrupt the kernel as soon as `ready` says so."""

        def interrupt() -> None:
            end = time.monotonic() + 30
            while not ready() and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(0.3)
            self.client.km.provisioner.process.send_signal(signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        outputs = self.run(source)
        thread.join()
        return outputs


def joined(outputs: list[Any]) -> list[Any]:
    """The outputs as a reader sees them: pieces of a stream that follow each other are one."""
    found: list[Any] = []
    for output in outputs:
        if (
            found
            and output.output_type == "stream" == found[-1].output_type
            and found[-1].name == output.name
        ):
            found[-1].text += output.text
        else:
            found.append(output)
    return found


@pytest.fixture
def kernel(docker_host: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    monkeypatch.setenv("DOCKER_HOST", docker_host.url)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.v4.new_notebook()
    client = NotebookClient(
        notebook, timeout=60, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    )
    with client.setup_kernel():
        yield Kernel(client)


def text(outputs: list[Any]) -> str:
    return "".join(o.get("text") or "\n".join(o.get("traceback", [])) for o in outputs)


def running(daemon: Daemon) -> list[str]:
    return daemon.docker("ps", "--format", "{{.Names}}").stdout.split()


def test_a_build_leaves_one_picture(kernel: Kernel) -> None:
    outputs = kernel.run("%%dockerfile -t me/x\nFROM busybox\nRUN echo one; sleep 0.7; echo two\nCMD true\n")
    [shown] = outputs
    assert shown.output_type == "display_data"
    assert "built me/x" in shown.data["text/plain"]
    assert "RUN echo one" in shown.data["text/html"]
    assert "output (2 lines)" in shown.data["text/html"]


def test_a_failed_build_keeps_its_steps_and_fails_the_cell(kernel: Kernel) -> None:
    steps, error = kernel.run("%%dockerfile\nFROM busybox\nRUN echo because >&2; false\n")
    assert "because" in steps.data["text/plain"]
    assert "because" in steps.data["text/html"]
    assert error.output_type == "error"
    assert error.ename == "CellError"
    assert "returned a non-zero code: 1" in text([error])


def test_a_finished_run_says_nothing_more(kernel: Kernel) -> None:
    [stream] = kernel.run("%docker run --rm busybox echo hello")
    assert (stream.output_type, stream.text) == ("stream", "hello\n")


def test_an_interrupt_ends_a_container_in_the_foreground(kernel: Kernel, docker_host: Daemon) -> None:
    outputs = kernel.interrupted(
        "%docker run --name endless busybox sh -c 'while true; do echo hello; sleep 0.1; done'",
        lambda: "endless" in running(docker_host),
    )
    assert outputs[0].text.startswith("hello\n")
    assert "interrupted" in text(outputs)
    assert "Traceback" not in text(outputs)
    assert running(docker_host) == []


def test_an_interrupt_ends_a_build_and_its_step(kernel: Kernel, docker_host: Daemon) -> None:
    def steps() -> bool:
        return any("yes 4242" in command for _, command in docker_host.room.left())

    cell = "%%dockerfile -t cut\nFROM busybox\nRUN exec yes 4242\n"
    shown, *_ = outputs = kernel.interrupted(cell, steps)
    assert "exec yes 4242" in shown.data["text/plain"]
    assert "interrupted" in text(outputs)
    for _ in wait_until(20):
        if not steps():
            break
    assert not steps()
    assert docker_host.docker("images", "-q", "cut").stdout == ""


def test_an_interrupt_leaves_a_container_that_is_only_watched(kernel: Kernel, docker_host: Daemon) -> None:
    kernel.run("%docker run -d --name loop busybox sh -c 'while true; do echo hello; sleep 0.1; done'")
    [stream] = kernel.interrupted("%docker logs -f loop", lambda: True)
    assert set(stream.text.split()) == {"hello"}
    attached, note = kernel.interrupted("%docker attach loop", lambda: True)
    assert set(attached.text.split()) == {"hello"}
    assert "which runs on" in note.text
    assert running(docker_host) == ["loop"]


def test_a_container_that_never_stops_printing_does_not_fill_the_cell(
    kernel: Kernel, docker_host: Daemon
) -> None:
    outputs = kernel.interrupted("%docker run --name yes busybox yes", lambda: "yes" in running(docker_host))
    assert len(text(outputs)) < 500_000
    assert "more than a cell can show" in text(outputs)
    assert running(docker_host) == []


def test_the_environment_is_there_for_the_shell(kernel: Kernel) -> None:
    kernel.run("%docker create --name seen busybox true")
    assert "seen" in text(kernel.run("!docker ps -a"))


def test_checks_under_way_are_shown_and_the_report_takes_their_place(kernel: Kernel, tmp_path: Path) -> None:
    slow = """
import time
from pathlib import Path

@check
def slow(lab: Lab) -> None:
    '''This takes its time.'''
    Path("begun").touch()
    time.sleep(0.6 if Path("again").exists() else 60)
"""
    directory = write_solution(tmp_path, checks=CHECKS + slow)
    kernel.run(f"%cd {directory}")
    shown, *_ = outputs = kernel.interrupted("%check image slow", (directory / "begun").exists)
    assert "▶ slow: This takes its time." in shown.data["text/plain"]
    assert "✘ image: " in shown.data["text/plain"]
    assert "interrupted" in text(outputs)
    (directory / "again").touch()
    (report,) = kernel.run("%check image slow")
    assert "✔ slow: This takes its time." in report.data["text/plain"]
    assert "✔" in report.data["text/html"]


def test_a_mistake_is_pictured_where_it_is(kernel: Kernel) -> None:
    """Docker's engine says less, and the line is marked all the same."""
    picture, error = kernel.run("%%dockerfile\nFROM busybox\nRUN true && \\\n    ehco hello\nCMD true\n")
    html = picture.data["text/html"]
    assert "exit code 127" in html
    assert "Dockerfile:2" in html
    assert html.count("▸") == 2
    assert "ehco: not found" in html
    assert "  3 | >>>     ehco hello" in picture.data["text/plain"]
    assert "hint" not in text([error])  # it is in the picture
    picture, _ = kernel.run("%%dockerfile\nFROM busybox\nRUNN echo hello\n")
    assert "did you mean RUN?" in picture.data["text/html"]
    assert ">RUNN</span> echo hello" in picture.data["text/html"]


def test_mistakes_below_their_cells(kernel: Kernel, docker_host: Daemon, tmp_path: Path) -> None:
    if docker_host.kind == "dockerd":
        return
    for name in PICTURED:
        mistake = BY_NAME[name]
        for file, content in mistake.files.items():
            (tmp_path / file).write_bytes(content.encode())
        picture, error = kernel.run(f"%%dockerfile --context .\n{mistake.dockerfile}")
        html = picture.data["text/html"]
        assert f"Dockerfile:{mistake.line}" in html, name
        assert f'font-weight:bold">{escape(mistake.marked)}</span>' in html, name
        assert escape(mistake.hint) in html, name
        assert mistake.hint in picture.data["text/plain"], name
        assert escape(mistake.meaning or "") in html
        assert error.ename == "CellError"
        assert mistake.message in text([error]), name
