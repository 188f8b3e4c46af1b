"""Mistakes with apt, on a debian that the catalog made."""

from __future__ import annotations

from pathlib import Path

from tests.engine.build.test_mistakes import error_of
from tests.support.catalog_images import load_archive
from tests.support.daemons import Daemon
from tests.support.mistakes import Mistake, marked

APT = (
    Mistake(
        "no package lists",
        "FROM debian\nRUN apt-get install -y pkg-config\n",
        "returned a non-zero code: 100",
        "the image has no package lists: RUN apt-get update && apt-get install -y ...",
        2,
        "pkg-config",
    ),
    Mistake(
        "package misspelt",
        "FROM debian\nRUN apt-get update\nRUN true && \\\n    apt-get install -y pkg-confg\n",
        "returned a non-zero code: 100",
        "there is no package of the name pkg-confg; did you mean pkg-config?",
        3,
        "pkg-confg",
    ),
    Mistake(
        "a question",
        "FROM debian\nRUN apt-get update\nRUN apt-get install pkg-config\n",
        "returned a non-zero code: 1",
        "apt-get install -y takes yes for an answer",
        3,
        "install",
    ),
    Mistake(
        "no right to install",
        "FROM debian\nRUN apt-get update\nUSER daemon\nRUN apt-get install -y pkg-config\n",
        "returned a non-zero code: 100",
        "since line 3 (USER daemon) steps run as daemon",
        4,
        "RUN",
    ),
)


def test_mistakes_with_apt(engine: Daemon, images_archive: Path) -> None:
    load_archive(engine, images_archive)
    for mistake in APT:
        error = error_of(engine, mistake)
        assert error["message"].endswith(mistake.message)
        assert mistake.hint in error["hint"], mistake.name
        assert (error["failure"]["line"], marked(error["failure"])) == (mistake.line, mistake.marked)
    engine.clear()
