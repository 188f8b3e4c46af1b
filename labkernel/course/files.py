"""The files of an exercise's or a lesson's directory, as they are handed out: symbolic links are followed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from labkernel.commands import CommandError

_LEFT_OUT = (".ipynb_checkpoints", "__pycache__", ".DS_Store")
"""What programs leave behind. Other names with a dot are files like any: .dockerignore is one."""


def files(directory: Path) -> Iterator[Path]:
    """Each file below `directory`, relative to it, in order of names; links count as what they lead to.

    Raises CommandError for a link that leads nowhere or into a directory around itself, and for what is
    neither file nor directory; OSError for what cannot be read.
    """
    yield from _below(directory, Path(), (directory.resolve(),))


def _below(directory: Path, name: Path, around: tuple[Path, ...]) -> Iterator[Path]:
    for entry in sorted(os.listdir(directory / name)):
        if entry in _LEFT_OUT:
            continue
        path = directory / name / entry
        if path.is_dir():
            real = path.resolve()
            if real in around:
                raise _unusable("a symbolic link leads into a directory around itself", path)
            yield from _below(directory, name / entry, (*around, real))
        elif path.is_file():
            yield name / entry
        elif path.is_symlink():
            raise _unusable(f"a symbolic link leads nowhere: {os.readlink(path)}", path)
        else:
            raise _unusable("this is neither a file nor a directory", path)


def _unusable(what: str, path: Path) -> CommandError:
    return CommandError(what, where=str(path), hint="remove it, or put a file in its place")


def copy_file(source: Path, target: Path) -> None:
    """A copy that its owner may write to, and that is a program where the source is one. Raises OSError."""
    shutil.copyfile(source, target)
    if os.access(source, os.X_OK):
        target.chmod(0o755)
