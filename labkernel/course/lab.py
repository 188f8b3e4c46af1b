"""What a check may look at: images, containers, published ports, files, logs, the learner's directory."""

from __future__ import annotations

import posixpath
import re
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labkernel.commands.archive import PieceReader, path_stat
from labkernel.commands.build_context import context_tar
from labkernel.commands.dockerignore import DockerIgnore
from labkernel.commands.errors import container_names, local_names, nearest
from labkernel.commands.history import instruction
from labkernel.course.check import Failed
from labkernel.course.web import get

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE = 10.0
"""Seconds that a server may need to start before its port counts as silent."""
RUN_TIMEOUT = 60.0
"""Seconds for a command that a check runs in a container."""
BUILD_TIMEOUT = 600.0
"""Seconds for a build; nearly all of its steps are in the cache."""
MOST = 1 << 20
"""Bytes of an answer or a log that a check reads at most."""
LARGEST = 16 << 20
"""Bytes of a file."""
NO_FILE = sum(1 << bit for bit in (19, 21, 24, 25, 26, 27, 31))
"""The bits of Go's FileMode that anything but a regular file has."""


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
        return _end_of_log(self.lab, self.inspected["Id"])

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
        names = [name for image in self.client.api.images() for name in image.get("RepoTags") or []]
        return [self.image(name) for name in names if re.sub(r":[^/]*$", "", name) == repository]

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
            return Ran(status, _end_of_log(self, created["Id"]))
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


def _is_timeout(error: Exception) -> bool:
    """Whether the engine was silent too long; requests has the same exception for one that is gone."""
    return "timed out" in str(error).lower()


def _end_of_log(lab: Lab, container: str) -> str:
    """The end of what a container wrote, stdout and stderr; it may have written anything, without an end."""
    end = b""
    for piece in lab.client.api.logs(container, tail=2000, stream=True, follow=False):
        end = (end + piece)[-MOST:]
    return end.decode(errors="replace")


def _context(directory: Path) -> Iterator[bytes]:
    """A tar of a directory, as clients send it. Symbolic links are sent as links: they may point anywhere."""
    ignored = directory / ".dockerignore"
    try:
        ignore = DockerIgnore(ignored.read_text(errors="replace") if ignored.is_file() else "")
    except ValueError as error:
        raise Failed(f"{directory.name}/.dockerignore: {error}") from None
    return context_tar(directory, ignore, extra={}, keep="Dockerfile")


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
