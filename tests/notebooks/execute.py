"""Executes a notebook in place, headless, in its own directory:

    python -m tests.notebooks.execute NOTEBOOK [--allow-errors]

A program of its own, so that a test can run it where an engine's published ports are on localhost.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(path: Path, *, allow_errors: bool) -> None:
    """Run all cells in place; one that fails ends the run with an error, with what it said saved."""
    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook,
        timeout=900,
        allow_errors=allow_errors,
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    finally:
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), allow_errors="--allow-errors" in sys.argv[2:])
