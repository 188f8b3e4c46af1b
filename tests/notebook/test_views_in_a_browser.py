"""%layers, %ports and %logs in a browser: they move while a cell runs, and the log can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat

from tests.notebook.browser import Lab, lab, open_notebook, page, run_cell, screenshot
from tests.support.daemons import Daemon

TALKS = (
    "i=0; while true; do i=$((i+1)); echo request $i; [ $((i % 5)) = 0 ] && echo late $i >&2; sleep 0.5; done"
)
CELLS = [
    "%load_ext labkernel",
    f"%docker run -d -p 8080:80 --name web busybox sh -c '{TALKS}'",
    "%layers web",
    "%ports",
    "%logs web",
    "import subprocess, time\n"
    "subprocess.run(['docker', 'exec', 'web', 'touch', '/new-file'], check=True)\n"
    "subprocess.run(['docker', 'run', '-d', '-p', '8082:80', '--name', 'other', 'busybox', 'sleep', '600'])\n"
    "time.sleep(30)",
]


def test_views_move_while_a_cell_runs(engine: Daemon, tmp_path: Path) -> None:
    with lab(tmp_path, engine.url) as server, page(height=1150) as browser:
        notebook = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        )
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        nbformat.write(notebook, server.directory / "views.ipynb")
        open_notebook(browser, server, "views.ipynb")
        for number in range(5):
            run_cell(browser, number)
        comes(browser, ".lk-lines", "request 2")
        assert "other" not in browser.locator(".lk-ports-rows").inner_text()
        busy = run_cell(browser, 5, wait=False)
        comes(browser, ".lk-ports-rows", "http://localhost:8082")
        comes(browser, ".lk-layers-box", "+1")
        comes(browser, ".lk-lines", "late 5")
        assert "[*]" in busy.locator(".jp-InputPrompt").first.inner_text()
        assert browser.locator(".lk-ports-rows a").first.get_attribute("href") == "http://localhost:8080"

        browser.locator(".lk-search").fill("late")
        browser.wait_for_function("document.querySelectorAll('.lk-lines mark').length > 0")
        screenshot(browser, "views")
        can_be_held(browser)
        comes_back_with_the_page(browser, server)
        stands_still_without_its_kernel(browser)
    engine.clear()


def can_be_held(browser: Any) -> None:
    """Pause: no new line until the reader goes on, and then those that have come."""
    browser.locator(".lk-pause").click()
    before = browser.locator(".lk-line").count()
    browser.wait_for_function("/[2-9] new/.test(document.querySelector('.lk-pause').textContent)")
    assert browser.locator(".lk-line").count() == before
    browser.locator(".lk-pause").click()
    assert browser.locator(".lk-line").count() >= before + 2


def comes_back_with_the_page(browser: Any, server: Lab) -> None:
    """A page that is opened anew has the saved pictures, and then the kernel's next ones."""
    browser.evaluate("jupyterapp.commands.execute('docmanager:save')")
    browser.goto(server.url("views.ipynb"))
    browser.wait_for_selector(".lk-logs .lk-text")
    last = browser.locator(".lk-text").last.text_content()
    browser.wait_for_function(
        "last => [...document.querySelectorAll('.lk-text')].at(-1).textContent !== last", arg=last
    )
    browser.wait_for_selector(".lk-logs:not(.lk-still)")


def stands_still_without_its_kernel(browser: Any) -> None:
    browser.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    browser.wait_for_selector(".lk-logs.lk-still")
    assert "as of" in browser.locator(".lk-logs .lk-foot").inner_text()
    assert not browser.locator(".lk-pause").is_visible()


def comes(browser: Any, selector: str, text: str) -> None:
    """Wait until an element's text has `text` in it."""
    browser.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.innerText.includes(text)",
        arg=[selector, text],
        timeout=20_000,
    )
