"""The first lesson from its first cell to its last in a browser, with the views that follow it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkernel.notebook.lab import FIRST_LESSON
from tests.notebook.browser import lab, open_notebook, page, screenshot
from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon

# The prompts of all code cells; a cell that runs or waits has a star.
_PROMPTS = """[...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')]
  .map((prompt) => prompt.textContent)"""


@pytest.mark.timeout(900)  # it compiles Go's library, and may be the first to need golang
def test_first_light(engine: Daemon, images_archive: Path, tmp_path: Path) -> None:
    load_archive(engine, images_archive)
    inside = engine.room.inside
    with lab(tmp_path, engine.url, inside=inside) as server, page(height=1150, inside=inside) as browser:
        open_notebook(browser, server, FIRST_LESSON)
        browser.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        both = browser.locator(".lk-ports").nth(1)
        both.get_by_text("http://localhost:8082").wait_for(timeout=600_000)
        # The lesson's last cells remove the containers: no cell of the views is run again for that.
        both.get_by_text("no container publishes a port").wait_for(timeout=300_000)
        browser.wait_for_function(f"{_PROMPTS}.every((prompt) => /\\[\\d+\\]/.test(prompt))", timeout=60_000)
        assert browser.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        versions, container = (browser.locator(".lk-layers").nth(number) for number in range(2))
        assert "in me/web-base, me/web-app:v2" in versions.inner_text()
        versions.locator(".lk-added").first.wait_for()  # the files were counted after the cell was done
        assert re.search(r"No such (image or )?container: web-app-v1", container.inner_text())
        versions.scroll_into_view_if_needed()
        screenshot(browser, "first-light")
    engine.clear()
