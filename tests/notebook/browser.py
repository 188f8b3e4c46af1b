"""JupyterLab as `labkernel lab` starts it, and a browser that looks at it."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.room import wait_until
from tests.support.source_tree import REPOSITORY

TOKEN = "a-token-for-the-tests"
_FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
_FLAGS += " --disable-component-update --disable-sync"
# What the page says is right only once the session is connected; before that it says "idle" too soon.
_READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const kernel = panel?.sessionContext?.session?.kernel;
  return kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle'
    && panel.sessionContext.isReady;
}"""


@dataclass(frozen=True)
class Lab:
    """A running server. `directory` holds the lessons."""

    address: str
    directory: Path

    def url(self, notebook: str) -> str:
        return f"{self.address}/lab/tree/{notebook}?token={TOKEN}&reset"


@contextmanager
def lab(home: Path, docker_host: str, *, inside: Sequence[str] = ()) -> Iterator[Lab]:
    """`open_lab` in a process of its own, for a user whose home is `home`.

    `inside` is a Room's, where kernels are to reach an engine's published ports; the page must be there too.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = {
        "ServerApp": {"open_browser": False, "port": port, "port_retries": 0},
        "IdentityProvider": {"token": TOKEN},
        "LabApp": {"expose_app_in_browser": True},
    }
    _write(home / "jupyter/jupyter_lab_config.json", configuration)
    # All cells in the page, not only those in view: the tests find them by number.
    _write(
        home / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings",
        {"windowingMode": "none"},
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")} | {
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "run"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "PYTHONPATH": str(REPOSITORY),
        "DOCKER_HOST": docker_host,
    }
    program = "from labkernel.notebook.lab import open_lab; open_lab()"
    log = home / "lab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*inside, sys.executable, "-c", program],
            cwd=home,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        found = Lab(f"http://127.0.0.1:{port}", home / "labkernel")
        for _ in wait_until(60, 0.1):
            assert server.poll() is None, log.read_text()
            asked = ["curl", "-sfm1", "-o", os.devnull, f"{found.address}/api/status?token={TOKEN}"]
            if subprocess.run([*inside, *asked], check=False).returncode == 0:
                break
        yield found
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _write(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


@contextmanager
def page(*, width: int = 1200, height: int = 900, inside: Sequence[str] = ()) -> Iterator[Any]:
    """A page of a headless browser (a Playwright Page); `inside` as for `lab`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        program = Path(place, "chromium")
        program.write_text(f'#!/bin/sh\nexec {shlex.join([*inside, "/usr/bin/chromium"])} "$@"\n')
        program.chmod(0o755)
        context = playwright.chromium.launch_persistent_context(
            Path(place, "profile"),
            executable_path=program,
            headless=True,
            args=_FLAGS.split(),
            viewport={"width": width, "height": height},
        )
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            context.close()


def open_notebook(page: Any, lab: Lab, name: str) -> None:
    """Go to a notebook; return when its kernel answers."""
    page.goto(lab.url(name))
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function(_READY, timeout=60_000)


def run_cell(page: Any, number: int, *, timeout: float = 60, wait: bool = True) -> Any:
    """Run the code cell `number` (from 0), wait until it is done, and return its locator."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    if not wait:
        return cell
    page.wait_for_function(
        "n => /\\[\\d+\\]/.test(document.querySelectorAll('.jp-Notebook .jp-CodeCell')[n]"
        ".querySelector('.jp-InputPrompt').textContent)",
        arg=number,
        timeout=timeout * 1000,
    )
    return cell


def screenshot(page: Any, name: str) -> None:
    """Keep what the page shows as NAME.png in the directory LABKERNEL_SCREENSHOTS, if there is to be one."""
    if directory := os.environ.get("LABKERNEL_SCREENSHOTS"):
        page.screenshot(path=f"{directory}/{name}.png")
