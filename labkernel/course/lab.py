"""What a check may look at: images, containers, published ports, files, logs, the learner's directory."""

from __future__ import annotations

import io
import re
import socket
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkernel.commands.archive import PieceReader
from labkernel.commands.build_context import context_tar
from labkernel.commands.dockerignore import DockerIgnore
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

    def paths(self) -> Iterator[str]:
        """What its root file system holds, as "usr/bin/env"; directories and links too."""
        api = self.lab.client.api
        created = api.create_container(self.id, ["nothing"])  # it is never started
        try:
            stream = PieceReader(api.export(created["Id"]))
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                yield from (member.name for member in tar)
        finally:
            api.remove_container(created["Id"], force=True, v=True)

    def steps_above(self, other: Image) -> list[str]:
        """The instructions that made it from the other, which it stands on."""
        return self.instructions[len(other.instructions) :]

    def file(self, path: str) -> bytes:
        """A file's content. Raises Failed where there is no such file."""
        created = self.lab.client.api.create_container(self.id, ["-"])["Id"]
        try:
            return _file(self.lab, created, path, f"the image {self.name}")
        finally:
            self.lab.client.api.remove_container(created, v=True)


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

    def versions(self, repository: str) -> list[Image]:
        """The images of a repository that are here, whatever their tags: golang, golang:1.27..."""
        names = [name for name in local_names(self.client) if re.sub(r":[^/]*$", "", name) == repository]
        return [self.image(name) for name in names]

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
            raise Failed(f"the container {name} should run, and is {container.state}{container.last_words}")
        return container

    def containers(self, *, all: bool = False) -> list[Container]:
        """The running containers, the oldest first; with `all` those that do not run, too."""
        listed = self.client.api.containers(all=all)
        found = [self.client.api.inspect_container(entry["Id"]) for entry in reversed(listed)]
        return [Container(c["Name"].lstrip("/"), c, self) for c in found]

    def containers_of(self, image: Image, *, all: bool = False) -> list[Container]:
        """The containers of an image, as `containers`."""
        return [container for container in self.containers(all=all) if container.image == image.id]

    def published(self, port: int) -> Container | None:
        """The running container that a port of this machine leads to."""
        for container in self.containers():
            if any(port in ports for ports in container.ports.values()):
                return container
        return None

    def port_of(self, image: Image, port: str = "8080/tcp") -> int:
        """The port of this machine that leads to `port` of a running container of the image.

        Raises Failed where none runs (with how the last one ended), or where its port is not published.
        """
        number = port.partition("/")[0]
        running = self.containers_of(image)
        for container in reversed(running):
            if container.ports.get(port):
                return container.ports[port][0]
        if running:
            raise Failed(
                f"a container of {image.name} runs, and its port {number} is not published on this machine",
                hint=f"docker run -p PORT:{number} publishes it",
            )
        others = self.containers(all=True)
        ended = [container for container in others if container.image == image.id]
        if ended:
            last = f"the last one is {ended[-1].state}{ended[-1].last_words}"
            raise Failed(f"no container of {image.name} runs: {last}")
        names = {image.name, f"{image.name}:latest"}
        if any(container.inspected["Config"]["Image"] in names for container in others):
            raise Failed(f"the containers of {image.name} are of an earlier one: run one of the new image")
        raise Failed(f"no container of {image.name} runs")

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
            if "executable file not found" in str(error.explanation):
                raise Failed(f"the image {image.name} has no program {program}") from None
            if error.status_code in (400, 404):
                raise Failed(f"{image.name} cannot run {program}: {error.explanation}") from None
            raise
        finally:
            self.client.api.remove_container(created["Id"], force=True, v=True)

    def build(self, directory: str) -> str:
        """Build a directory of the learner's, with the cache, and give the image's id; it gets no name.

        Raises Failed where it has no Dockerfile, or where that does not build.
        """
        from docker.errors import APIError, BuildError

        place = self.directory / directory
        if not place.resolve().is_relative_to(self.directory.resolve()):
            raise Failed(f"{directory} leads out of the exercise's directory")
        if not (place / "Dockerfile").is_file():
            raise Failed(f"there is no file {directory}/Dockerfile")
        try:
            image, _ = self.client.images.build(
                fileobj=_context(place), custom_context=True, rm=True, forcerm=True
            )
        except BuildError as error:
            raise Failed(f"{directory}/Dockerfile does not build: {error.msg}") from None
        except APIError as error:
            if error.status_code == 400:  # a Dockerfile that is none
                raise Failed(f"{directory}/Dockerfile does not build: {error.explanation}") from None
            raise
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


def _context(directory: Path) -> Iterator[bytes]:
    """A tar of a directory, as clients send it. Symbolic links are sent as links: they may point anywhere."""
    ignored = directory / ".dockerignore"
    try:
        ignore = DockerIgnore(ignored.read_text(errors="replace") if ignored.is_file() else "")
    except ValueError as error:
        raise Failed(f"{directory.name}/.dockerignore: {error}") from None
    return context_tar(directory, ignore, extra={}, keep="Dockerfile")


def _file(lab: Lab, container: str, path: str, owner: str) -> bytes:
    from docker.errors import NotFound

    try:
        stream, _ = lab.client.api.get_archive(container, path)
    except NotFound:
        raise Failed(f"{owner} has no file {path}") from None
    archive = b""
    for chunk in stream:
        archive += chunk
        if len(archive) > MOST * 16:
            raise Failed(f"the file {path} of {owner} is too large to look at")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.next()
        content = tar.extractfile(member) if member and member.isfile() else None
        if content is None:
            raise Failed(f"{path} of {owner} is not a file")
        return content.read()
