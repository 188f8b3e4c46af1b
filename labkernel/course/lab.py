"""What a check may look at: images, containers, published ports, files, logs, the learner's directory."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkernel.commands.build_context import context_tar, ignore_file
from labkernel.commands.dockerignore import DockerIgnore
from labkernel.commands.errors import container_names, local_names, nearest
from labkernel.course.check import Failed
from labkernel.course.objects import MOST, Container, Image, end_of_log
from labkernel.course.web import get

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE = 10.0
"""Seconds that a server may need to start before its port counts as silent."""
RUN_TIMEOUT = 60.0
"""Seconds for a command that a check runs in a container."""
BUILD_TIMEOUT = 600.0
"""Seconds for a build; nearly all of its steps are in the cache."""


@dataclass(frozen=True)
class Ran:
    """What a command in a container came to; `output` is what it wrote to stdout and stderr."""

    exit_code: int
    output: str


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
            raise _missing("image", name, local_names(self.client)) from None

    def versions(self, repository: str) -> list[Image]:
        """The images of a repository that are here, whatever their tags: golang, golang:1.27..."""
        names = [name for image in self.client.api.images() for name in image.get("RepoTags") or []]
        return [self.image(name) for name in names if re.sub(r":[^/]*$", "", name) == repository]

    def container(self, name: str) -> Container:
        """Raises Failed where there is none."""
        from docker.errors import NotFound

        try:
            return Container(name, self.client.api.inspect_container(name), self)
        except NotFound:
            raise _missing("container", name, container_names(self.client)) from None

    def running(self, name: str) -> Container:
        """A container that runs. Raises Failed where there is none, or where it has ended: with how."""
        container = self.container(name)
        if not container.running:
            raise Failed(f"the container {name} should run, and is {container.state}{container.last_words}")
        return container

    def containers(self, *, all: bool = False) -> list[Container]:
        """The running containers, the oldest first; with `all` those that do not run, too."""
        from docker.errors import NotFound

        found = []
        for entry in reversed(self.client.api.containers(all=all)):
            with suppress(NotFound):  # it was removed meanwhile
                found.append(self.client.api.inspect_container(entry["Id"]))
        return [Container(inspected["Name"].lstrip("/"), inspected, self) for inspected in found]

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
        api = self.client.api
        created = api.create_container(
            image.id,
            arguments,
            entrypoint=[program],
            host_config=api.create_host_config(network_mode="none"),
        )
        try:
            api.start(created["Id"])
            status = api.wait(created["Id"], timeout=timeout)["StatusCode"]
            return Ran(status, end_of_log(self, created["Id"]))
        except (ReadTimeout, ConnectionError) as error:
            if not _is_timeout(error):
                raise
            raise Failed(f"{' '.join(command)} in {image.name} did not end within {timeout:.0f} s") from None
        except APIError as error:
            said = str(error.explanation)
            if "executable file not found" in said:
                raise Failed(f"the image {image.name} has no program {program}") from None
            if error.status_code in (400, 404) or "unable to find user" in said:
                why = said.rpartition("container process: ")[2].removesuffix(": unknown")
                raise Failed(f"{image.name} cannot run {program}: {why}") from None
            raise
        finally:
            api.remove_container(created["Id"], force=True, v=True)

    def build(self, directory: str) -> str:
        """Build a directory of the learner's, with the cache, and give the image's id; it gets no name.

        Raises Failed where it has no Dockerfile, or where that does not build, or not in time.
        """
        from docker.errors import APIError

        place = self.directory / directory
        if not place.resolve().is_relative_to(self.directory.resolve()):
            raise Failed(f"{directory} leads out of the exercise's directory")
        if not (place / "Dockerfile").is_file():
            raise Failed(f"there is no file {directory}/Dockerfile")
        late = f"{directory}/Dockerfile does not build within {BUILD_TIMEOUT:.0f} s"
        end = time.monotonic() + BUILD_TIMEOUT
        built = ""
        try:
            messages = self.client.api.build(
                fileobj=_context(place),
                custom_context=True,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=BUILD_TIMEOUT,
            )
            for message in messages:
                if "error" in message:
                    raise Failed(f"{directory}/Dockerfile does not build: {message['error']}")
                if time.monotonic() > end:
                    raise Failed(late)
                built = message.get("aux", {}).get("ID", built)
        except Failed:
            raise
        except Exception as error:  # the stream ends with exceptions of urllib3, not of requests
            if _is_timeout(error):
                raise Failed(late) from None
            if isinstance(error, APIError) and error.status_code == 400:  # a Dockerfile that is none
                raise Failed(f"{directory}/Dockerfile does not build: {error.explanation}") from None
            raise
        return str(built)

    def get(self, port: int, path: str = "/", *, patience: float = PATIENCE) -> str:
        """What answers on a published port of this machine to GET. Raises Failed: silence, or not 200."""
        return get(self.machine, port, path, patience=patience, most=MOST)


def _missing(what: str, name: str, known: Collection[str]) -> Failed:
    near = nearest(name, known)
    return Failed(f"there is no {what} {name}" + (f"; there is {near}" if near else ""))


def _is_timeout(error: Exception) -> bool:
    """Whether the engine was silent too long; requests has the same exception for one that is gone."""
    return "timed out" in str(error).lower()


def _context(directory: Path) -> Iterator[bytes]:
    """A tar of a directory, as clients send it. Symbolic links are sent as links: they may point anywhere."""
    ignored = ignore_file(directory, "Dockerfile")
    try:
        ignore = DockerIgnore(ignored.read_text(errors="replace") if ignored.is_file() else "")
    except ValueError as error:
        raise Failed(f"{directory.name}/{ignored.name}: {error}") from None
    try:
        yield from context_tar(directory, ignore, extra={}, keep="Dockerfile")
    except OSError as error:  # a file that may not be read
        raise Failed(f"{directory.name} cannot be sent to the engine: {error}") from None
