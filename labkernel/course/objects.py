"""Images and containers as checks see them, with the files that they hold and what they wrote."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labkernel.commands.archive import PieceReader, path_stat
from labkernel.commands.history import instruction
from labkernel.course.check import Failed

if TYPE_CHECKING:
    from labkernel.course.lab import Lab

MOST = 1 << 20
"""Bytes of an answer or a log that a check reads at most."""
LARGEST = 16 << 20
"""Bytes of a file."""
NO_FILE = sum(1 << bit for bit in (19, 21, 24, 25, 26, 27, 31))
"""The bits of Go's FileMode that anything but a regular file has."""


@dataclass(frozen=True)
class Image:
    """An image, as the engine describes it. `name` is what the check asked for."""

    name: str
    inspected: Mapping[str, Any]
    lab: Lab = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.inspected["Id"])

    @property
    def size(self) -> int:
        """Bytes of all its layers."""
        return int(self.inspected["Size"])

    @property
    def layers(self) -> list[str]:
        """The diff_ids, lowest first."""
        return list(self.inspected["RootFS"].get("Layers") or [])

    @property
    def config(self) -> Mapping[str, Any]:
        return self.inspected.get("Config") or {}

    @property
    def exposed(self) -> list[str]:
        """Such as ["8080/tcp"]."""
        return sorted(self.config.get("ExposedPorts") or {})

    @cached_property
    def instructions(self) -> list[str]:
        """How it was made: the lines of its Dockerfile (and of those below), the first one first."""
        return [instruction(entry) for entry in reversed(self.lab.client.api.history(self.id))]

    def stands_on(self, other: Image) -> bool:
        """Whether it was made FROM the other: all of the other's layers are its lowest."""
        return bool(other.layers) and self.layers[: len(other.layers)] == other.layers

    def paths(self) -> Iterator[str]:
        """What its root file system holds, as "usr/bin/env"; directories and links too."""
        with self._unstarted() as container:
            stream = PieceReader(self.lab.client.api.export(container))
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                for member in tar:
                    tar.members = []  # it would keep them all, and there may be any number
                    yield member.name

    def steps_above(self, other: Image) -> list[str]:
        """The instructions that made it from the other, which it stands on."""
        return self.instructions[len(other.instructions) :]

    def file(self, path: str) -> bytes:
        """A file's content. Raises Failed where there is no such file."""
        with self._unstarted() as container:
            return _file(self.lab, container, path, f"the image {self.name}")

    @contextmanager
    def _unstarted(self) -> Iterator[str]:
        """A container of it, for what the image holds."""
        api = self.lab.client.api
        created = api.create_container(self.id, ["-"])["Id"]
        try:
            yield created
        finally:
            api.remove_container(created, v=True)


@dataclass(frozen=True)
class Container:
    """A container, as the engine describes it. `name` is what the check asked for."""

    name: str
    inspected: Mapping[str, Any]
    lab: Lab = field(repr=False)

    @property
    def running(self) -> bool:
        return bool(self.inspected["State"]["Running"])

    @property
    def state(self) -> str:
        """Such as "running", or "exited (1)"."""
        state = self.inspected["State"]
        return f"exited ({state['ExitCode']})" if state["Status"] == "exited" else str(state["Status"])

    @property
    def image(self) -> str:
        """The id of its image."""
        return str(self.inspected["Image"])

    @property
    def ports(self) -> dict[str, list[int]]:
        """Where its ports are published on the machine: {"8080/tcp": [8082]}."""
        ports = self.inspected["NetworkSettings"].get("Ports") or {}
        return {
            port: sorted({int(binding["HostPort"]) for binding in bindings})
            for port, bindings in ports.items()
            if bindings
        }

    @property
    def log(self) -> str:
        """The end of what it wrote, stdout and stderr."""
        return end_of_log(self.lab, self.inspected["Id"])

    @property
    def last_words(self) -> str:
        """Why it was not started, or the last line that it wrote, for the end of a message; often ""."""
        error = str(self.inspected["State"].get("Error") or "")
        if error:
            return f" ({error[:300]})"
        lines = self.log.strip().splitlines()
        # The time before it is another one every time.
        last = re.sub(r"^[\d/:.TZ -]{8,} ", "", lines[-1])[:200] if lines else ""
        return f"; the last that it wrote: {last}" if last else ""

    def file(self, path: str) -> bytes:
        """A file's content. Raises Failed where there is no such file."""
        return _file(self.lab, self.inspected["Id"], path, f"the container {self.name}")


def end_of_log(lab: Lab, container: str) -> str:
    """The end of what a container wrote, stdout and stderr; it may have written anything, without an end."""
    end = b""
    for piece in lab.client.api.logs(container, tail=2000, stream=True, follow=False):
        end = (end + piece)[-MOST:]
    return end.decode(errors="replace")


def _file(lab: Lab, container: str, path: str, owner: str) -> bytes:
    from docker.errors import APIError, NotFound

    found = _stat(lab, container, path)
    if found and found["linkTarget"]:
        real = posixpath.join(posixpath.dirname(path), found["linkTarget"])
        found = _stat(lab, container, real)
    else:
        real = path
    # Looked at before it is asked for: dockerd waits for who writes to a pipe.
    if found and found["mode"] & NO_FILE:
        raise Failed(f"{path} of {owner} is not a file")
    if found and found["size"] > LARGEST:
        raise Failed(f"the file {path} of {owner} is too large to look at")
    try:
        stream, _ = lab.client.api.get_archive(container, real)
        with tarfile.open(fileobj=PieceReader(stream), mode="r|") as tar:  # type: ignore[call-overload]
            content = tar.extractfile(tar.next())
            return bytes(content.read()) if content else b""
    except NotFound:
        raise Failed(f"{owner} has no file {path}") from None
    except APIError as error:
        if re.search("not a directory|too many links", str(error.explanation)):
            raise Failed(f"{owner} has no file {path}") from None
        raise


def _stat(lab: Lab, container: str, path: str) -> dict[str, Any] | None:
    """None where there is no such path; why not, the request for the file says."""
    from docker.errors import APIError

    try:
        return path_stat(lab.client, container, path)
    except APIError:
        return None
