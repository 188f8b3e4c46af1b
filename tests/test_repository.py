"""Habits of the repository that no linter knows."""

from __future__ import annotations

import subprocess
import sys

from tests.support.source_tree import REPOSITORY, modules

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "docs",
    "exercises",
    "hatch_build.py",
    "labkernel",
    "notebooks",
    "pyproject.toml",
    "solutions",
    "tests",
}
MOST_LINES = 600


def tracked_files() -> list[str]:
    """Paths of the files that git knows or would add, relative to the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (REPOSITORY / name).is_file()]


def test_files_are_short() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in modules().values()}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_file_says_what_it_holds() -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert [name for name in modules() if name.rpartition(".")[2] in vague] == []


def test_top_level_holds_only_what_is_known() -> None:
    assert {name.partition("/")[0] for name in tracked_files()} - TOP_LEVEL == set()


def test_no_path_of_a_developers_machine() -> None:
    """Neither where this clone lies nor where its Python was installed by hand."""
    places = {
        str(REPOSITORY),
        *(place for place in (sys.prefix, sys.base_prefix) if not place.startswith("/usr")),
    }
    found = []
    for name in tracked_files():
        text = (REPOSITORY / name).read_bytes().decode("utf-8", "replace")
        found += [f"{name}: {place}" for place in places if place in text]
    assert found == []
