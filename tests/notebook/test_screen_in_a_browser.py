"""%display in a browser: a container's window is seen and moves, and answers to pointer and keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat

from labkernel.display import Screen, find
from tests.notebook.browser import Lab, lab, open_notebook, page, run_cell, screenshot
from tests.support.daemons import Daemon
from tests.support.screens import clock_image, program, until, wait_for_window

CLOCK = "-e DISPLAY=$DISPLAY -v /tmp/.X11-unix:/tmp/.X11-unix clock"
CELLS = [
    "%load_ext labkernel",
    "%display 640x400",
    f"%docker run --rm {CLOCK} xclock",
    "%xhost +",
    f"%docker run -d --rm --name clock {CLOCK} xclock -update 1",
    "import time; time.sleep(60)",
]
# A pixel's red, green and blue; and whether a part of the picture changes within some seconds.
_PIXEL = """([x, y]) => [...document.querySelector('.lk-screen canvas').getContext('2d')
  .getImageData(x, y, 1, 1).data].slice(0, 3)"""
_CHANGES = """async ([x, y, width, height]) => {
  const context = document.querySelector('.lk-screen canvas').getContext('2d');
  const look = () => context.getImageData(x, y, width, height).data.join();
  const before = look();
  for (let tries = 0; tries < 50; tries++) {
    await new Promise((done) => setTimeout(done, 100));
    if (look() !== before) return true;
  }
  return false;
}"""

_REMEMBER_SOCKETS = """
window.sockets = [];
const Own = window.WebSocket;
window.WebSocket = class extends Own {
  constructor(url, ...others) {
    super(url, ...others);
    if (String(url).includes("labkernel/display")) window.sockets.push(this);
  }
};"""


def test_a_containers_window_lives_in_the_notebook(engine: Daemon, tmp_path: Path) -> None:
    assert engine.docker("import", "-", "clock", input=clock_image(), text=False).returncode == 0
    with lab(tmp_path, engine.url) as server, page() as browser:
        browser.add_init_script(_REMEMBER_SOCKETS)
        write_notebook(server)
        open_notebook(browser, server, "screen.ipynb")
        run_cell(browser, 0)
        run_cell(browser, 1)
        browser.wait_for_selector(".lk-screen[data-state=open]")
        number = re.match(r"display :(\d+)", browser.locator(".lk-screen-bar").inner_text())
        assert number
        screen = find(int(number[1]))
        assert screen
        assert "Can't open display" in run_cell(browser, 2).locator(".jp-OutputArea").inner_text()
        run_cell(browser, 3)
        run_cell(browser, 4)
        clock = wait_for_window(screen, "xclock")
        until(lambda: pixel(browser, clock.x + 5, clock.y + 5) == [255, 255, 255], "no clock is drawn", 30)
        assert browser.evaluate(_CHANGES, [clock.x, clock.y, clock.width, clock.height])
        reaches_a_program(browser, screen)
        comes_back_with_the_page(browser, server, clock.x + 5, clock.y + 5)
        stays_as_a_picture_when_the_kernel_goes(browser, screen)
    engine.clear()


def write_notebook(server: Lab) -> None:
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    nbformat.write(notebook, server.directory / "screen.ipynb")


def pixel(browser: Any, x: int, y: int) -> list[int]:
    found: list[int] = browser.evaluate(_PIXEL, [x, y])
    return found


def reaches_a_program(browser: Any, screen: Screen) -> None:
    """Pointer and keys, while the kernel is busy."""
    canvas = browser.locator(".lk-screen canvas")
    run_cell(browser, 5, wait=False)
    with program(screen, "xev", "-event", "keyboard", "-event", "button") as xev:
        window = wait_for_window(screen, "Event Tester")
        scale = canvas.bounding_box()["width"] / screen.width
        place = {"x": (window.x + 90.5) * scale, "y": (window.y + 120.5) * scale}
        canvas.click(position=place, button="right")
        assert "Shift+Esc" in browser.locator(".lk-screen-bar").inner_text()
        browser.keyboard.press("a")
        browser.keyboard.press("B")  # would make a cell in the notebook
        browser.keyboard.press("ArrowLeft")
        for kind in ("keydown", "keyup"):  # a key that the browser's own test keyboard does not have
            canvas.dispatch_event(kind, {"key": "ж", "code": "Semicolon"})
        browser.mouse.wheel(0, -120)
        until(lambda: "button 4" in xev.said, "the wheel does not turn")
        screenshot(browser, "display")
        browser.keyboard.press("Shift+Escape")
        browser.keyboard.press("c")  # copies the cell
        assert "(90,120)" in xev.said
        assert set(re.findall(r"button (\d)", xev.said)) == {"3", "4"}
        pressed = re.findall(r"KeyPress.*?, (\w+)\), same.*?bytes: ?(?:\(.*?\) \"(.*?)\")?\n", xev.said, re.S)
        assert [letter for _, letter in pressed if letter] == ["a", "B", "ж"]
        assert "Left" in [name for name, _ in pressed]
    assert browser.locator(".jp-Notebook .jp-CodeCell").count() == len(CELLS)
    assert "click to type here" in browser.locator(".lk-screen-bar").inner_text()


def comes_back_with_the_page(browser: Any, server: Lab, x: int, y: int) -> None:
    """The page is opened anew on the saved notebook, then the connection breaks: no cell needs to be run."""
    browser.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    until(lambda: "image/png" in (server.directory / "screen.ipynb").read_text(), "not saved")
    browser.goto(server.url("screen.ipynb"))
    browser.wait_for_selector(".lk-screen[data-state=open]", timeout=60_000)
    until(lambda: pixel(browser, x, y) == [255, 255, 255], "no clock is drawn", 30)
    browser.evaluate("window.sockets.at(-1).close()")
    browser.wait_for_selector(".lk-screen[data-state=lost]")
    browser.wait_for_selector(".lk-screen[data-state=open]")


def stays_as_a_picture_when_the_kernel_goes(browser: Any, screen: Screen) -> None:
    browser.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    browser.wait_for_selector(".lk-screen[data-state=gone]")
    assert "not there any more" in browser.locator(".lk-screen-bar").inner_text()
    until(lambda: not screen.directory.exists(), "the screen stays")
    screenshot(browser, "display-gone")
