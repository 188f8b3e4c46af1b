"""docker build: send a context, show the build while it runs."""

from __future__ import annotations

import base64
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from labkernel.commands.build_context import context_tar, file_names
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import environment, labels, ulimit
from labkernel.commands.dockerignore import DockerIgnore
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.flags import integer, many, size, switch, text
from labkernel.commands.http import messages
from labkernel.commands.progress import raise_error, status_line
from labkernel.commands.results import BuildStep, Built, Result
from labkernel.commands.units import human_size

if TYPE_CHECKING:
    from docker import DockerClient

DOCKERFILE_FROM_STDIN = ".dockerfile.stdin"
"""Where a Dockerfile that is not in the context is put. Always the same name: the cache must not see a new
one.
"""


class _Source:
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
        elif re.match(r"(https?|git|ssh)://|git@|github\.com/", self.place):
            self.remote = self.place
            self.dockerfile_name = self.given or "Dockerfile"
        else:
            self._from_directory(Path(self.place).expanduser(), console.stdin)

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
        ignore_file = directory / ".dockerignore"
        ignore_text = ignore_file.read_text(errors="replace") if ignore_file.is_file() else ""
        try:
            self.ignore = DockerIgnore(ignore_text)
        except ValueError as error:
            raise CommandError(f"error checking context: {error}", why=str(ignore_file)) from None
        extra: dict[str, bytes] = {}
        outside = self._outside(directory, stdin)
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
            near = nearest(path.name, [entry.name for entry in directory.iterdir() if entry.is_file()])
            raise CommandError(
                f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {path}: "
                "no such file or directory",
                hint=f"did you mean -f {near}?"
                if near
                else "name the Dockerfile with -f, or write one there",
            )
        return path.resolve().relative_to(directory.resolve()).as_posix()


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


def build(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    source = _Source(invocation, console)
    quiet = options["quiet"]
    response = client.api.post(
        f"{client.api.base_url}/v{client.api.api_version}/build",
        params=_parameters(options, source),
        data=None if source.remote else _counted(source.body, console, quiet=quiet),
        headers={"Content-Type": "application/x-tar", "X-Registry-Config": _registry_config(client)},
        stream=True,
    )
    steps: list[BuildStep] = []
    image = ""
    try:
        _raise_for_status(response, source)
        for message in messages(response):
            if "error" in message or "errorDetail" in message:
                _fail(message, source, steps)
            if "ID" in (message.get("aux") or {}):
                image = message["aux"]["ID"]
            elif message.get("stream"):
                _note(message["stream"], steps)
                if quiet:
                    image = message["stream"].strip() or image
                else:
                    console.write(message["stream"].encode())
            elif message.get("status") and not quiet:
                if message.get("id"):
                    console.progress(message["id"], f"{message['id']}: {status_line(message)}")
                else:
                    console.progress_done()
                    console.write(f"{status_line(message)}\n".encode())
    finally:
        response.close()
    console.progress_done()
    if options["iidfile"]:
        Path(options["iidfile"]).write_text(image)
    return Built(image, list(options["tag"]), steps, quiet)


def _raise_for_status(response: Any, source: _Source) -> None:
    """A Dockerfile that cannot be parsed is refused before anything is built."""
    if response.status_code >= 400:
        message = json.loads(response.content).get("message", "") if response.content else response.reason
        error = CommandError(f"Error response from daemon: {message}")
        raise explain_build_error(error, source.dockerfile_text, [], source.directory, source.ignore)


def _parameters(options: Mapping[str, Any], source: _Source) -> dict[str, Any]:
    parameters = {
        "t": options["tag"],
        "remote": source.remote,
        "dockerfile": source.dockerfile_name,
        "q": "1" if options["quiet"] else None,
        "nocache": "1" if options["no-cache"] else None,
        "rm": "1" if options["rm"] else "0",
        "forcerm": "1" if options["force-rm"] else None,
        "pull": "1" if options["pull"] else None,
        "squash": "1" if options["squash"] else None,
        "buildargs": json.dumps(build_arguments(options["build-arg"])),
        "labels": json.dumps(labels(options["label"])),
        "cachefrom": json.dumps(options["cache-from"]),
        "target": options["target"],
        "networkmode": options["network"],
        "extrahosts": options["add-host"],
        "platform": options["platform"],
        "memory": options["memory"],
        "memswap": options["memory-swap"],
        "shmsize": options["shm-size"],
        "cpushares": options["cpu-shares"],
        "cpuperiod": options["cpu-period"],
        "cpuquota": options["cpu-quota"],
        "cpusetcpus": options["cpuset-cpus"],
        "cpusetmems": options["cpuset-mems"],
        "cgroupparent": options["cgroup-parent"],
        "ulimits": json.dumps([ulimit(text) for text in options["ulimit"]]),
        "securityopt": json.dumps(options["security-opt"]) if options["security-opt"] else None,
        "version": "1",
    }
    return {key: value for key, value in parameters.items() if value not in (None, "", [])}


def build_arguments(values: list[str]) -> dict[str, str]:
    """--build-arg NAME=VALUE; NAME alone takes the value from our environment."""
    return dict(pair.split("=", 1) for pair in environment(values, []))


def _registry_config(client: DockerClient) -> str:
    stored: Any = client.api._auth_configs  # type: ignore[attr-defined]  # set by docker-py from config.json
    return base64.urlsafe_b64encode(json.dumps(stored.get_all_credentials()).encode()).decode()


def _counted(body: Iterable[bytes], console: Console, *, quiet: bool) -> Iterator[bytes]:
    """The body as it is, with how much was sent shown now and then, in blocks worth a write."""
    sent = shown = 0
    buffer = bytearray()
    for piece in body:
        buffer += piece
        if len(buffer) >= 256 * 1024:
            sent += len(buffer)
            yield bytes(buffer)
            buffer.clear()
            if not quiet and sent - shown > 8_000_000:
                shown = sent
                console.progress("context", f"Sending build context to Docker daemon  {human_size(sent)}")
    sent += len(buffer)
    yield bytes(buffer)
    if not quiet:
        console.progress("context", f"Sending build context to Docker daemon  {human_size(sent)}")
        console.progress_done()


def _note(stream: str, steps: list[BuildStep]) -> None:
    """Keep what the builder says of each step: "Step 1/3 : FROM x", " ---> Using cache", " --->
    0123456789ab".
    """
    for line in stream.splitlines():
        start = re.match(r"Step (\d+)/(\d+) : (.*)", line)
        if start:
            steps.append(BuildStep(start[3]))
        elif steps and line.strip() == "---> Using cache":
            steps[-1].cached = True
        elif steps and re.fullmatch(r" ---> [0-9a-f]{12}", line):
            steps[-1].image = line.removeprefix(" ---> ")
        elif steps and not re.match(
            r" ---> Running in |Removing intermediate container |Successfully ", line
        ):
            steps[-1].output += line + "\n"


def _fail(message: Mapping[str, Any], source: _Source, steps: list[BuildStep]) -> None:
    """Raise the build's error, with the line of the Dockerfile and a hint where there is one."""
    try:
        raise_error(message)
    except CommandError as error:
        code = (message.get("errorDetail") or {}).get("code")
        error.exit_code = int(code) if code else 1
        raise explain_build_error(
            error, source.dockerfile_text, steps, source.directory, source.ignore
        ) from None


def explain_build_error(
    error: CommandError, dockerfile: str, steps: list[BuildStep], directory: Path | None, ignore: DockerIgnore
) -> CommandError:
    """Point at the line the engine complains of; for a missing file name the nearest one of the context."""
    line = re.search(r"\bline (\d+)", error.what)
    lines = dockerfile.splitlines()
    if line and 0 < int(line[1]) <= len(lines):
        number = int(line[1])
        shown = lines[number - 1]
        word = re.search(r"unknown instruction: (\S+)", error.what, re.IGNORECASE)
        start = shown.lower().find(word[1].lower()) if word else len(shown) - len(shown.lstrip())
        mark = " " * max(start, 0) + "^" * (len(word[1]) if word else max(len(shown.strip()), 1))
        error.why = f"line {number} of the Dockerfile:\n         {shown}\n         {mark}"
    elif steps and not error.why:
        error.why = f"in step {len(steps)}: {steps[-1].instruction}"
    missing = re.search(r"l?stat (?:/\S*/)?(\S+?): (?:file does not exist|no such file)", error.what)
    missing = missing or re.search(r'"?/?([^\s"]+)"?: not found$', error.what)
    if missing and directory:
        names = file_names(directory, ignore)
        near = nearest(missing[1], names)
        if near:
            error.hint = f"did you mean {near}?"
        elif names:
            error.hint = f"the context {directory} has: {', '.join(names[:8])}"
        else:
            error.hint = f"the context {directory} has no files that COPY can see"
    if steps and "Unable to locate package" in steps[-1].output:
        error.hint = "package lists are not part of the image: RUN apt-get update && apt-get install -y ..."
    return error


BUILD = Command(
    "build",
    "[OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    build,
    (
        many("tag", "t", "Name of the image, as NAME[:TAG]; may be given several times"),
        text("file", "f", "The Dockerfile; PATH/Dockerfile by default, - for standard input"),
        many("build-arg", "", "Value of an ARG, as NAME=VALUE"),
        switch("no-cache", "", "Run every step again"),
        text("target", "", "Stop at this stage of a multi-stage Dockerfile"),
        many("label", "", "A label of the image, as KEY=VALUE"),
        switch("pull", "", "Look for a newer base image"),
        switch("quiet", "q", "Show the image's id only"),
        text("network", "", "Network of the RUN steps: default, host, none"),
        many("cache-from", "", "An image whose layers may serve as cache", metavar="strings"),
        many("add-host", "", "A line for /etc/hosts of the RUN steps, as NAME:ADDRESS"),
        switch("rm", "", "Remove the steps' containers after a build that succeeded", default=True),
        switch("force-rm", "", "Remove the steps' containers always"),
        switch("squash", "", "Join the new layers to one"),
        switch("compress", "", "Accepted for the docker client's sake; the context is sent as it is"),
        text("iidfile", "", "Write the image's id to this file"),
        text("platform", "", "Platform to build for, such as linux/amd64"),
        size("memory", "m", "Memory limit of the RUN steps"),
        size("memory-swap", "", "Memory and swap together; -1 for unlimited swap"),
        size("shm-size", "", "Size of /dev/shm in the RUN steps"),
        integer("cpu-shares", "c", "Weight against other containers"),
        integer("cpu-period", "", "Scheduler period in microseconds"),
        integer("cpu-quota", "", "CPU time for each period in microseconds"),
        text("cpuset-cpus", "", "CPUs to run on, such as 0-2"),
        text("cpuset-mems", "", "Memory nodes to use"),
        text("cgroup-parent", "", "Control group to put the steps below"),
        many("ulimit", "", "A resource limit, as nofile=1024:2048", metavar="ulimit"),
        many("security-opt", "", "Security option of the RUN steps"),
    ),
    (1, 1),
)
