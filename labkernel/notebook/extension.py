"""`%load_ext labkernel`: choose the engine, then put the magics, completion and display in place."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from labkernel.commands import CommandError, Result
from labkernel.commands.errors import nearest
from labkernel.notebook.choice import Choice, greeting
from labkernel.notebook.completion import Completion
from labkernel.notebook.display import show
from labkernel.notebook.failures import CellError
from labkernel.notebook.magics import LabMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class Extension:
    """What is in place in one shell, and how to take it away again."""

    def __init__(self, shell: InteractiveShell, choice: Choice) -> None:
        self.shell: Any = shell
        self.choice = choice
        self.magics = LabMagics(shell, choice)
        self.completion = Completion(choice)

    def install(self) -> None:
        from IPython.core.magic import no_var_expand

        manager = self.shell.magics_manager
        for kind, functions in (("line", self.magics.line), ("cell", self.magics.cell)):
            for name, function in functions.items():
                # IPython's own expansion would spoil the braces of --format; ours is in `words`.
                plain = no_var_expand(_as_function(function))
                manager.register_function(plain, magic_kind=kind, magic_name=name)
        self.shell.Completer.custom_matchers.append(self.completion.matcher)
        self._results.for_type(Result, show)
        self.shell.show_usage_error = self._show_usage_error

    def remove(self) -> None:
        manager = self.shell.magics_manager
        for kind, functions in (("line", self.magics.line), ("cell", self.magics.cell)):
            for name in functions:
                manager.magics[kind].pop(name, None)
        if self.completion.matcher in self.shell.Completer.custom_matchers:
            self.shell.Completer.custom_matchers.remove(self.completion.matcher)
        self._results.pop(Result, None)
        vars(self.shell).pop("show_usage_error", None)
        self.magics.views.stop()
        self.magics.screen.remove()
        self.choice.forget()

    def _show_usage_error(self, error: BaseException) -> None:
        """IPython's words, and the magic of ours that was meant where one is near."""
        type(self.shell).show_usage_error(self.shell, error)
        unknown = re.search(r"(%%?)(\w+)`? not found", str(error))
        near = nearest(unknown[2], [*self.magics.line, *self.magics.cell]) if unknown else None
        if unknown and near:
            print(f"hint:  did you mean {unknown[1]}{near}?", file=sys.stderr)

    @property
    def _results(self) -> Any:
        return self.shell.display_formatter.ipython_display_formatter


def _as_function(method: Any) -> Any:
    """A function of its own for a bound method: the manager writes attributes on it."""
    import functools

    @functools.wraps(method)
    def magic(*arguments: Any) -> Any:
        return method(*arguments)

    return magic


_loaded: dict[int, Extension] = {}
"""By shell: `%reload_ext` unloads first."""


def load(shell: InteractiveShell) -> None:
    """Set everything up and print which engine answers.

    Raises CellError when none does; the magics are there all the same, and look for one each time.
    """
    unload(shell)
    choice = Choice()
    _loaded[id(shell)] = Extension(shell, choice)
    _loaded[id(shell)].install()
    try:
        client = choice.client()
        try:
            line = greeting(client)
        finally:
            client.close()
    except CommandError as error:
        error.where = error.where or "%load_ext labkernel"
        raise CellError.of(error) from None
    print(line)


def unload(shell: InteractiveShell) -> None:
    """Take everything away again; the engine and its containers run on."""
    extension = _loaded.pop(id(shell), None)
    if extension:
        extension.remove()
