"""RUN: the words to execute, what history keeps of them, and their output as text."""

from __future__ import annotations

import codecs
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path

from labkernel.engine.build.arguments import BuildArguments
from labkernel.engine.build.container_config import ConfigState, command_line
from labkernel.engine.build.instructions import Run
from labkernel.engine.build.interface import FileMount
from labkernel.engine.build.parser import parse_heredoc

_SCRIPT_DIRECTORY = "/dev/pipes"  # where BuildKit shows a here-document that is a script of its own


_TAIL = 8000


class Tail:
    """The last characters of a command's output, both streams as they came."""

    def __init__(self) -> None:
        self.text = ""

    def kept(self, emit: Callable[[str], None]) -> Callable[[str], None]:
        """`emit`, with its text kept."""

        def keep(text: str) -> None:
            self.text = (self.text + text[-_TAIL:])[-_TAIL:]
            emit(text)

        return keep


class Text:
    """Bytes of a command's output -> text, characters kept whole across pieces."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> None:
        if text := self._decoder.decode(data):
            self._emit(text)

    def end(self) -> None:
        if text := self._decoder.decode(b"", True):
            self._emit(text)


def command(step: Run, state: ConfigState) -> tuple[list[str], list[str]]:
    """The words to execute; the script that is a file of its own (`script_mount`), for history and cache.

    Here-documents are the script itself, or input for the command before them.
    """
    if not step.heredocs or not step.is_shell:
        return command_line(step, state), []
    first = step.heredocs[0]
    if parse_heredoc(step.arguments[0]) is None:
        # `python3 <<EOF`: the shell reads it as a shell does.
        text = step.arguments[0] + "".join(f"\n{h.content}{h.name}" for h in step.heredocs)
        return [*state.shell, text], []
    if not first.text.startswith("#!"):
        return [*state.shell, first.text], []
    return [posixpath.join(_SCRIPT_DIRECTORY, first.name)], [first.text]


def script_mount(inside: str, text: str, place: Path) -> FileMount:
    """The file that a step sees as its script."""
    script = place / "script"
    script.write_text(text, encoding="utf-8", errors="replace")
    script.chmod(0o755)
    return FileMount(script, inside)


def recorded(args: list[str], given: Mapping[str, str], arguments: BuildArguments) -> list[str]:
    """The command as cache and history know it: with the build arguments that it can see."""
    if not given:
        return args
    shown = sorted(f"{name}={value}" for name, value in given.items() if arguments.is_recorded(name))
    return [f"|{len(shown)}", *shown, *args]
