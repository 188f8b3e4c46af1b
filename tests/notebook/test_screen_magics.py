"""%display and %xhost in a shell, and in a kernel whose notebook is saved."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from labkernel.display import screens, start
from tests.notebook.conftest import Ran, Shell
from tests.support.daemons import Daemon
from tests.support.screens import until
from tests.support.source_tree import REPOSITORY

VIEW = "application/vnd.labkernel.view+json"


@pytest.fixture
def lab(shell: Shell, engine: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell with the extension, and no display of its own."""
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("XAUTHORITY", "/the/users/own")
    shell.succeeds("%load_ext labkernel")
    yield shell
    shell.run("%display --stop")
    shell.succeeds("%unload_ext labkernel")


def said(ran: Ran) -> str:
    """The block of a cell that failed."""
    assert ran.error is not None
    return str(ran.error)


def own_screens() -> list[str]:
    return [screen.name for screen in screens() if screen.owner == os.getpid()]


def test_the_screen_is_there_for_what_the_kernel_starts_and_then_gone(lab: Shell) -> None:
    assert "320x200" in lab.succeeds("%display 320x200").text
    [name] = own_screens()
    lab.succeeds("%display")  # the same
    assert own_screens() == [name]
    assert os.environ["DISPLAY"] == name
    ran = lab.succeeds("%docker run --rm -e DISPLAY=$DISPLAY -e XAUTHORITY busybox env")
    assert f"DISPLAY={name}\n" in ran.stdout
    assert f"XAUTHORITY={os.environ['XAUTHORITY']}\n" in ran.stdout
    lab.succeeds("%display --stop")
    assert own_screens() == []
    assert "DISPLAY" not in os.environ
    assert os.environ["XAUTHORITY"] == "/the/users/own"


def test_xhost_is_the_same_with_and_without_the_program(lab: Shell) -> None:
    lab.succeeds("%display 320x200")
    enabled = "access control enabled, only authorized clients can connect"
    disabled = "access control disabled, clients can connect from any host"
    assert lab.succeeds("%xhost").text.strip() == enabled
    assert lab.succeeds("%xhost +").text.strip() == disabled
    assert subprocess.run(["xhost"], capture_output=True, text=True, check=True).stdout.strip() == disabled
    subprocess.run(["xhost", "-"], capture_output=True, check=True)
    assert lab.succeeds("%xhost").text.strip() == enabled
    assert lab.succeeds("%xhost +si:localuser:nobody +local:").text.splitlines() == [
        "localuser:nobody being added to access control list",
        "non-network local connections being added to access control list",
    ]
    assert set(lab.succeeds("%xhost").text.splitlines()[1:]) == {"SI:localuser:nobody", "LOCAL:"}


def test_a_display_that_is_not_ours_is_reached_as_well(lab: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    other = start(200, 150)
    monkeypatch.setenv("DISPLAY", f"{other.name}.0")
    monkeypatch.setenv("XAUTHORITY", str(other.authority))
    assert "enabled" in lab.succeeds("%xhost").text
    other.stop()
    assert f'unable to open display "{other.name}.0"' in said(lab.run("%xhost"))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("%display big", "`big` is no size of a screen"),
        ("%display 800x600 24", "`800x600 24` is no size of a screen"),
        ("%display 20x20", "a screen of 20x20 cannot be made"),
        ("%display --stop", "this kernel has no screen"),
        ("%xhost", 'unable to open display ""'),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(lab: Shell, line: str, what: str) -> None:
    text = said(lab.run(line))
    assert text.startswith(what)
    assert f"where: {line}" in text
    assert "hint:" in text


def test_a_screen_keeps_its_size(lab: Shell) -> None:
    lab.succeeds("%display 320x200")
    assert "is 320x200 and stays so" in said(lab.run("%display 640x480"))
    assert "bad hostname" in said(lab.run("%xhost +example.com"))


@pytest.mark.parametrize("line", ["%display --help", "%xhost --help"])
def test_help_names_the_ways(lab: Shell, line: str) -> None:
    assert lab.succeeds(line).text.startswith(f"Usage:  {line.split()[0]}")


def pixels(data: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")


def test_a_saved_notebook_keeps_the_last_picture(
    engine: Daemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    clock = """
screen = next(screen for screen in screens() if screen.owner == os.getpid())
clock = subprocess.Popen(["xclock", "-bg", "{colour}"], stderr=subprocess.DEVNULL)
until(lambda: FrameBuffer(screen).picture().getpixel((20, 20)) == {pixel}, "no clock")
"""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(source)
        for source in (
            f"import os, subprocess, sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
            "from labkernel.display import FrameBuffer, screens\n"
            "from tests.support.screens import until\n"
            "%load_ext labkernel",
            "%display 320x200",
            clock.format(colour="red", pixel=(255, 0, 0)),
            "clock.kill()\n"
            "until(lambda: len(FrameBuffer(screen).picture().getcolors(1) or []) == 1, 'the clock stays')\n"
            "%display --stop",
            "%display 300x200",
            clock.format(colour="blue", pixel=(0, 0, 255)),
        )
    ]
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    stopped, last = (notebook.cells[number].outputs[0].data for number in (1, 4))
    assert pixels(stopped).size == (320, 200)
    assert pixels(stopped).getcolors(1)  # the clock had gone
    assert (stopped[VIEW]["kind"], stopped[VIEW]["live"]) == ("display", False)
    assert stopped[VIEW]["note"] == "the screen was stopped"
    assert pixels(last).getpixel((20, 20)) == (0, 0, 255)
    assert "window xclock: 164x164 at 17,17" in last["text/plain"]
    assert (last[VIEW]["live"], last[VIEW]["width"]) == (True, 300)
    until(lambda: not any(screen.id == last[VIEW]["screen"] for screen in screens()), "the screen stays")
