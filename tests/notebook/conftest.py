"""A real IPython shell, and a real kernel, with the magics loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from tests.support.daemons import Daemon


@dataclass(frozen=True)
class Ran:
    """What a cell did: what it printed, what it displayed, its value, the exception that ended it."""

    stdout: str
    stderr: str
    displayed: list[dict[str, Any]]
    value: Any
    error: BaseException | None

    @property
    def text(self) -> str:
        """All that a reader sees, as text."""
        return self.stdout + self.stderr + "".join(shown["text/plain"] for shown in self.displayed)


class Shell:
    """IPython's shell, cell by cell."""

    def __init__(self) -> None:
        InteractiveShell.clear_instance()
        quiet = Config({"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}})
        self.ipython: Any = InteractiveShell.instance(config=quiet)
        self.ipython.displayhook.write_output_prompt = lambda: None  # a notebook's outputs have none

    def run(self, cell: str) -> Ran:
        with capture_output() as captured:
            result = self.ipython.run_cell(cell)
        return Ran(
            captured.stdout,
            captured.stderr,
            [output.data for output in captured.outputs],
            result.result,
            result.error_before_exec or result.error_in_exec,
        )

    def succeeds(self, cell: str) -> Ran:
        ran = self.run(cell)
        assert ran.error is None, ran.error
        return ran

    def completions(self, text: str) -> list[str]:
        """What Tab offers at the end of `text`, as a notebook asks for it."""
        from IPython.core.completer import provisionalcompleter

        with provisionalcompleter():
            found = list(self.ipython.Completer.completions(text, len(text)))
        return [text[completion.end :] + completion.text for completion in found]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    """A shell without the extension, in an empty directory."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield Shell()
    InteractiveShell.clear_instance()


@pytest.fixture
def lab_shell(shell: Shell, docker_host: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell with the extension, on our engine and then on Docker's."""
    monkeypatch.setenv("DOCKER_HOST", docker_host.url)
    shell.succeeds("%load_ext labkernel")
    yield shell
    shell.succeeds("%unload_ext labkernel")
