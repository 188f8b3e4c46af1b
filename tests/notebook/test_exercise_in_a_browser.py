"""Exercise 01 as a learner meets it in the browser: wrong first, hints, then right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.notebook.browser import lab, open_notebook, page, run_cell, screenshot
from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon

LINE = "%%dockerfile -t me/web-base -f docker-web-base/Dockerfile\n"
RIGHT = "FROM golang\nRUN apt-get update -y && apt-get install -y pkg-config\nEXPOSE 8080\n"
# The code cells of the notebook, in their order.
LOAD, START, GO, FROM, IMAGE, GOLANG, TOOL, PKG_CONFIG, EXPOSE, PORT, AGAIN, CACHE = range(12)


@pytest.mark.timeout(600)  # may be the first to need golang, and installs a package
def test_wrong_hint_right(engine: Daemon, images_archive: Path, tmp_path: Path) -> None:
    load_archive(engine, images_archive)
    with lab(tmp_path, engine.url) as server, page(height=1000) as browser:
        open_notebook(browser, server, "exercises/01-web-base/01-web-base.ipynb")
        for number in (LOAD, START, GO):
            run_cell(browser, number, timeout=120)
        assert "has no instruction yet" in output(run_cell(browser, FROM))
        assert "there is no image me/web-base" in output(run_cell(browser, IMAGE))

        write(browser, FROM, LINE + "FROM debian\n")
        run_cell(browser, FROM)
        assert "✔" in output(run_cell(browser, IMAGE))
        said = output(run_cell(browser, GOLANG))
        assert "should be made FROM golang" in said
        assert "hint 1 of 2" in said
        assert "hint 2 of 2" not in said
        assert "The first instruction of the Dockerfile should be" in output(run_cell(browser, GOLANG))
        browser.locator(".jp-Notebook .jp-CodeCell").nth(GOLANG).scroll_into_view_if_needed()
        screenshot(browser, "exercise-wrong")

        for number in (FROM, TOOL, EXPOSE):
            write(browser, number, LINE + RIGHT)
            run_cell(browser, number, timeout=200)
        write(browser, AGAIN, "%docker build -t me/web-base docker-web-base")
        run_cell(browser, AGAIN)
        for number in (IMAGE, GOLANG, PKG_CONFIG, PORT, CACHE):
            assert "✔" in output(run_cell(browser, number))
        screenshot(browser, "exercise-right")
    engine.clear()


def write(browser: Any, number: int, source: str) -> None:
    """Replace what a code cell says, as somebody who types it."""
    browser.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".cm-content").click()
    browser.keyboard.press("Control+A")
    browser.keyboard.insert_text(source)


def output(cell: Any) -> str:
    text: str = cell.locator(".jp-OutputArea").inner_text()
    return text
