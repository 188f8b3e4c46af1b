"""Notebooks run headless beside an engine, and what their cells showed."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from tests.support.daemons import Daemon
from tests.support.source_tree import REPOSITORY


@dataclass(frozen=True)
class Executed:
    """A notebook that was run; cells are found by their ids."""

    notebook: Any

    def outputs(self, identity: str) -> list[Any]:
        [cell] = [cell for cell in self.notebook.cells if cell.id == identity]
        return list(cell.outputs)

    def text(self, identity: str) -> str:
        """What a reader of the cell's output sees, as text."""
        return "".join(o.get("text") or o.data["text/plain"] + "\n" for o in self.outputs(identity))

    def html(self, identity: str) -> str:
        return "".join(o.data.get("text/html", "") for o in self.outputs(identity) if "data" in o)

    @property
    def failed(self) -> list[str]:
        """The ids of the cells that ended with an error."""
        return [
            cell.id
            for cell in self.notebook.cells
            if any(output.output_type == "error" for output in cell.get("outputs", []))
        ]


def execute(daemon: Daemon, path: Path, *, allow_errors: bool = False) -> Executed:
    """Run a notebook in place, in its own directory, where the daemon's ports are on localhost.

    With `allow_errors` the run goes on after a cell that fails.
    """
    environment = {
        **daemon.environment(),
        "PYTHONPATH": str(REPOSITORY),
        "IPYTHONDIR": str(path.parent / ".ipython"),
    }
    options = ["--allow-errors"] if allow_errors else []
    done = daemon.run(
        [sys.executable, "-m", "tests.notebooks.execute", str(path), *options],
        env=environment,
        cwd=REPOSITORY,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return Executed(nbformat.read(path, 4))
