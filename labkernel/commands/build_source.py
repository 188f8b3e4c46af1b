"""What a build is made from: the context as a tar stream, and the Dockerfile in it."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from labkernel.commands.build_context import context_tar, ignore_file
from labkernel.commands.command import Invocation
from labkernel.commands.console import Console
from labkernel.commands.dockerignore import DockerIgnore
from labkernel.commands.errors import CommandError, nearest

DOCKERFILE_FROM_STDIN = ".dockerfile.stdin"
"""Where a Dockerfile that is not in the context is put. Always the same name: the cache must not see a new
one.
"""


class BuildSource:
    """What to build from: the body of the request and, where it is at hand, the Dockerfile's text and the
    files.
    """

    def __init__(self, invocation: Invocation, console: Console) -> None:
        self.place = invocation.arguments[0]
        self.given = invocation.options["file"]
        self.dockerfile_name = "Dockerfile"
        self.dockerfile_text = ""
        self.directory: Path | None = None
        self.ignore = DockerIgnore("")
        self.remote: str | None = None
        self.body: Iterable[bytes] = ()
        if self.place == "-":
            self._from_stdin(console.stdin)
        elif is_remote(self.place):
            self.remote = self.place
            self.dockerfile_name = self.given or "Dockerfile"
        else:
            self._from_directory(Path(self.place).expanduser(), console.stdin)

    @property
    def shown_name(self) -> str:
        """What the user calls the Dockerfile."""
        return "Dockerfile" if self.dockerfile_name == DOCKERFILE_FROM_STDIN else self.dockerfile_name

    def _from_stdin(self, stdin: BinaryIO | None) -> None:
        if self.given == "-":
            raise CommandError("invalid argument: can't use stdin for both build context and dockerfile")
        data = _all_of(stdin)
        self.dockerfile_name = self.given or "Dockerfile"
        if is_archive(data):
            self.body = [data]
            return
        self.dockerfile_name = "Dockerfile"
        self.dockerfile_text = data.decode(errors="replace")
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(data)
        self.body = [info.tobuf(tarfile.PAX_FORMAT), data, b"\0" * (-len(data) % 512 + 1024)]

    def _from_directory(self, directory: Path, stdin: BinaryIO | None) -> None:
        if not directory.is_dir():
            problem = "is not a directory" if directory.exists() else "not found"
            raise CommandError(
                f'unable to prepare context: path "{self.place}" {problem}',
                hint="the last word of docker build is the directory with the Dockerfile, `.` for this one",
            )
        self.directory = directory
        extra: dict[str, bytes] = {}
        outside = self._outside(directory, stdin)
        ignored = ignore_file(directory, self._inside(directory) if outside is None else "")
        ignore_text = ignored.read_text(errors="replace") if ignored.is_file() else ""
        try:
            self.ignore = DockerIgnore(ignore_text)
        except ValueError as error:
            raise CommandError(f"error checking context: {error}", why=str(ignored)) from None
        if outside is None:
            self.dockerfile_name = self._inside(directory)
            self.dockerfile_text = (directory / self.dockerfile_name).read_text(errors="replace")
        else:
            self.dockerfile_name = DOCKERFILE_FROM_STDIN
            self.dockerfile_text = outside.decode(errors="replace")
            extra[DOCKERFILE_FROM_STDIN] = outside
            # The engine removes from the context what .dockerignore names: COPY . must not find this file.
            rules = ignore_text or ".dockerignore"
            extra[".dockerignore"] = f"{rules}\n{DOCKERFILE_FROM_STDIN}\n".encode()
        self.body = context_tar(directory, self.ignore, extra=extra, keep=self.dockerfile_name)

    def _outside(self, directory: Path, stdin: BinaryIO | None) -> bytes | None:
        """The Dockerfile's bytes when it comes from stdin or from a place outside the context, else None."""
        if self.given == "-":
            return _all_of(stdin)
        if self.given and not (directory / self.given).is_file():
            path = Path(self.given).expanduser()
            if path.is_file() and not path.resolve().is_relative_to(directory.resolve()):
                return path.read_bytes()
        return None

    def _inside(self, directory: Path) -> str:
        """The Dockerfile's name relative to the context. --file is relative to here first, then to the
        context.
        """
        if not self.given:
            if not (directory / "Dockerfile").is_file() and (directory / "dockerfile").is_file():
                return "dockerfile"
            path = directory / "Dockerfile"
        else:
            path = Path(self.given).expanduser()
            path = path if path.is_file() else directory / self.given
        if not path.is_file():
            shown = Path(self.given or path)
            near = nearest(path.name, [entry.name for entry in directory.iterdir() if entry.is_file()])
            raise CommandError(
                f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {shown}: "
                "no such file or directory",
                hint=f"did you mean -f {directory / near}?"
                if near
                else "name the Dockerfile with -f, or write one there",
            )
        return path.resolve().relative_to(directory.resolve()).as_posix()


def is_remote(place: str) -> bool:
    """Whether the engine is to fetch the context itself."""
    return bool(re.match(r"(https?|git|ssh)://|git@|github\.com/", place))


def _all_of(stdin: BinaryIO | None) -> bytes:
    if stdin is None:
        raise CommandError(
            "there is no standard input here",
            hint="write the Dockerfile to a file, or use %%dockerfile in a notebook",
        )
    return stdin.read()


def is_archive(data: bytes) -> bool:
    """Whether the bytes are a tar, plain or compressed."""
    return (
        data.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))
        or data[257:262] == b"ustar"
    )
