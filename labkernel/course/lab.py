"""What a check may look at: images, containers, published ports, files, logs, the learner's directory."""

from __future__ import annotations

import io
import os
import socket
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkernel.commands.errors import container_names, local_names, nearest
from labkernel.commands.history import instruction
from labkernel.course.check import Failed

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE = 10.0
"""Seconds that a server may need to start before its port counts as silent."""
RUN_TIMEOUT = 60.0
"""Seconds for a command that a check runs in a container."""
MOST = 1 << 20
"""Bytes of an answer, a log or a file that a check reads at most."""


@dataclass(frozen=True)
class Ran:
    """What a command in a container came to; `output` is what it wrote to stdout and stderr."""

    exit_code: int
    output: str


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
        written = self.lab.client.api.logs(self.inspected["Id"], tail=2000)
        return bytes(written)[-MOST:].decode(errors="replace")

    def file(self, path: str) -> bytes:
        """A file's content. Raises Failed where there is no such file."""
        from docker.errors import NotFound

        try:
            stream, _ = self.lab.client.api.get_archive(self.inspected["Id"], path)
        except NotFound:
            raise Failed(f"the container {self.name} has no file {path}") from None
        archive = b""
        for chunk in stream:
            archive += chunk
            if len(archive) > MOST * 16:
                raise Failed(f"the file {path} of the container {self.name} is too large to look at")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            member = tar.next()
            content = tar.extractfile(member) if member and member.isfile() else None
            if content is None:
                raise Failed(f"{path} of the container {self.name} is not a file")
            return content.read()


class Lab:
    """The engine, the learner's directory, and the machine on which ports are published."""

    def __init__(self, client: DockerClient, directory: Path) -> None:
        self.client: Any = client
        self.directory = directory
        address = urlsplit(str(client.api.base_url))
        # docker-py calls a unix socket http+docker://localhost.
        self.machine = (
            address.hostname if address.scheme in ("http", "https") and address.hostname else "localhost"
        )

    def image(self, name: str) -> Image:
        """Raises Failed where there is none."""
        from docker.errors import NotFound

        try:
            return Image(name, self.client.api.inspect_image(name), self)
        except NotFound:
            near = nearest(name, local_names(self.client))
            found = f"; there is {near}" if near else ""
            raise Failed(f"there is no image {name}{found}") from None

    def container(self, name: str) -> Container:
        """Raises Failed where there is none."""
        from docker.errors import NotFound

        try:
            return Container(name, self.client.api.inspect_container(name), self)
        except NotFound:
            near = nearest(name, container_names(self.client))
            found = f"; there is {near}" if near else ""
            raise Failed(f"there is no container {name}{found}") from None

    def running(self, name: str) -> Container:
        """A container that runs. Raises Failed where there is none, or where it has ended: with how."""
        container = self.container(name)
        if not container.running:
            last = container.log.strip().splitlines()[-1:]
            said = f"; the last that it wrote: {last[0][:200]}" if last else ""
            raise Failed(f"the container {name} should run, and is {container.state}{said}")
        return container

    def containers_of(self, image: Image) -> list[Container]:
        """The running containers of an image, the oldest first."""
        listed = self.client.api.containers()
        found = [self.client.api.inspect_container(entry["Id"]) for entry in reversed(listed)]
        return [Container(c["Name"].lstrip("/"), c, self) for c in found if c["Image"] == image.id]

    def run(self, image: Image, command: Sequence[str], *, timeout: float = RUN_TIMEOUT) -> Ran:
        """Run a command in a container of the image, in place of its own, and remove that again.

        It has no network. Raises Failed where the image lacks the command, or where that takes too long.
        """
        from docker.errors import APIError
        from requests.exceptions import ConnectionError, ReadTimeout

        program, *arguments = command
        created = self.client.api.create_container(
            image.id,
            arguments,
            entrypoint=[program],
            host_config=self.client.api.create_host_config(network_mode="none"),
        )
        try:
            self.client.api.start(created["Id"])
            status = self.client.api.wait(created["Id"], timeout=timeout)["StatusCode"]
            output = bytes(self.client.api.logs(created["Id"], tail=2000))[-MOST:].decode(errors="replace")
            return Ran(status, output)
        except (ReadTimeout, ConnectionError):
            raise Failed(f"{' '.join(command)} in {image.name} did not end within {timeout:.0f} s") from None
        except APIError as error:
            if error.status_code in (400, 404):
                raise Failed(f"{image.name} cannot run {program}: {error.explanation}") from None
            raise
        finally:
            self.client.api.remove_container(created["Id"], force=True, v=True)

    def build(self, directory: str) -> str:
        """Build a directory of the learner's, with the cache, and give the image's id; it gets no name.

        Raises Failed where it has no Dockerfile, or where that does not build.
        """
        from docker.errors import BuildError

        place = self.directory / directory
        if not (place / "Dockerfile").is_file():
            raise Failed(f"there is no file {directory}/Dockerfile")
        try:
            image, _ = self.client.images.build(
                fileobj=_context(place), custom_context=True, rm=True, forcerm=True
            )
        except BuildError as error:
            raise Failed(f"{directory}/Dockerfile does not build: {error.msg}") from None
        return str(image.id)

    def get(self, port: int, path: str = "/", *, patience: float = PATIENCE) -> str:
        """What answers on a published port of this machine to GET. Raises Failed: silence, or not 200."""
        address = f"http://{self.machine}:{port}{path}"
        end = time.monotonic() + patience
        while True:
            connection = HTTPConnection(self.machine, port, timeout=max(1.0, patience))
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read(MOST).decode(errors="replace")
            except (OSError, HTTPException) as error:
                why = error
            else:
                if answer.status != 200:
                    raise Failed(f"{address} answers with status {answer.status}, not 200")
                return text
            finally:
                connection.close()
            if time.monotonic() > end:
                reason = "nothing answers in time" if isinstance(why, socket.timeout) else str(why)
                raise Failed(f"{address} does not answer: {reason}")
            time.sleep(0.1)


def _context(directory: Path) -> io.BytesIO:
    """A tar of a directory. Symbolic links are sent as links: a learner's may point anywhere."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in sorted(os.listdir(directory)):
            tar.add(directory / name, arcname=name)
    packed.seek(0)
    return packed
