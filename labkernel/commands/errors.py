"""Failures as one clear block: what happened, where, why, and what to do next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.errors import APIError

    from labkernel.commands.build_failure import BuildFailure

CATALOG_NAMES = ("busybox", "debian", "golang")
"""Images that labkernel's own engine can make without a registry (`labkernel images make`)."""


class CommandError(Exception):
    """A command failed. `what` is the message in Docker's words, `where` the command line, `why` and `hint`
    optional.

    `exit_code` is what the docker client would exit with; `details` is the engine's error as it came, its
    `hint` is shown where we know no better. `failure` is where a build failed. `is_shown`: the cell has a
    picture of it, and of the hint.
    """

    is_shown: bool = False

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        why: str | None = None,
        hint: str | None = None,
        exit_code: int = 1,
        details: Mapping[str, Any] | None = None,
        failure: BuildFailure | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.hint = hint
        self.exit_code = exit_code
        self.details = details or {}
        self.failure = failure

    @property
    def engine_hint(self) -> str | None:
        """What the engine itself advises."""
        return self.details.get("hint")

    @property
    def text(self) -> str:
        """The block: the message, where a build failed, then the `where:`, `why:` and `hint:` lines that have
        something to say."""
        return self.rendered()

    def rendered(self, *, in_colours: bool = False) -> str:
        """The same, in colours for a terminal."""
        red, bold, off = ("\x1b[31m", "\x1b[1m", "\x1b[0m") if in_colours else ("", "", "")
        named = [("where", self.where), ("why", self.why), ("hint", self.hint)]
        failure = self.failure.text(in_colours=in_colours) if self.failure else ""
        first, *others = self.what.split("\n")
        return "\n".join(
            [
                f"{red}{bold}{first}{off}",
                *others,
                *([failure] if failure else []),
                *(f"{bold}{name + ':':<6}{off} {value}" for name, value in named if value),
            ]
        )

    def __str__(self) -> str:
        return self.text

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in place of a traceback."""
        return [self.text]


def nearest(word: str, known: Collection[str]) -> str | None:
    """The known word that `word` is most likely a slip of, or the beginning of, if any is near."""
    begun = [name for name in known if len(word) > 2 and name.startswith(word)]
    if len(begun) == 1:
        return begun[0]
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def explain(error: BaseException, line: str, client: DockerClient | None = None) -> CommandError:
    """Turn any failure of docker-py or the operating system into a CommandError for the command `line`.

    With `client`, the engine is asked for what the hint needs: local image names, the holder of a name or
    port.
    """
    import requests
    from docker import errors as docker_errors

    if isinstance(error, CommandError):
        error.where = error.where or line
        error.hint = error.hint or _hint(error.what, client) or error.engine_hint
        return error
    if isinstance(error, docker_errors.APIError):
        message = str(error.explanation or error)
        if isinstance(message, bytes):
            message = message.decode(errors="replace")
        answer = _answer(error)
        return CommandError(
            f"Error response from daemon: {message.strip()}",
            where=line,
            hint=_hint(message, client) or answer.get("hint"),
            details=answer,
        )
    if isinstance(error, docker_errors.DockerException | requests.exceptions.RequestException):
        return unreachable(error, where=line)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return CommandError(f"{name}{(error.strerror or str(error)).lower()}", where=line)
    return CommandError(
        f"unexpected {type(error).__name__}: {error}",
        where=line,
        why="a fault in labkernel, or an engine that answers in an unknown way",
        hint="docker version shows which engine answers; please report what you did",
    )


def _answer(error: APIError) -> Mapping[str, Any]:
    """The engine's error as it came: labkernel's own has fields that other clients pass over."""
    try:
        answer = error.response.json() if error.response is not None else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def unreachable(error: BaseException, *, where: str | None = None, host: str | None = None) -> CommandError:
    """The engine did not answer: no such socket, no right to use it, no address, or it went away."""
    text = str(error)
    host = host or _host_of(text)
    if "Permission denied" in text or "PermissionError" in text:
        return CommandError(
            f"permission denied while trying to connect to the docker API at {host}",
            where=where,
            why="this user may not open the engine's socket",
            hint=f"{_own_engine()}, or ask for membership of the group that owns the socket",
        )
    if re.search(r"SSL|TLS|[Cc]ertificate", text):
        return CommandError(
            f"no TLS with the docker API at {host}: {text}",
            where=where,
            hint="DOCKER_CERT_PATH names a directory with ca.pem, cert.pem and key.pem; DOCKER_TLS_VERIFY=1 "
            "asks for TLS",
        )
    if re.search(r"Connection aborted|FileNotFoundError|refused|Name or service|resolve", text):
        return CommandError(
            f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?",
            where=where,
            hint=f"`labkernel engine start` starts an engine; {_own_engine()}",
        )
    if re.search(r"Connection broken|IncompleteRead|RemoteDisconnected|Connection reset", text):
        return CommandError(
            f"the engine at {host} went away in the middle of its answer",
            where=where,
            hint="labkernel engine status tells whether it runs; its log is engine.log in its root",
        )
    if "timed out" in text.lower():
        return CommandError(
            f"the engine at {host} did not answer in time",
            where=where,
            hint="look at `labkernel engine status`; a first image may still be in the making",
        )
    return CommandError(
        text, where=where, hint=f"an address is unix:///run/docker.sock or tcp://HOST:2375; {_own_engine()}"
    )


def _own_engine() -> str:
    import os

    how = "after `unset DOCKER_HOST`" if os.environ.get("DOCKER_HOST") else "without -H"
    return f"{how} commands use labkernel's own engine"


def _host_of(text: str) -> str:
    import os

    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def _hint(message: str, client: DockerClient | None) -> str | None:
    """What to do about a message of the engine; the engine's own hint, after a line "hint:", comes first."""
    for pattern, give in _HINTS:
        match = re.search(pattern, message, re.IGNORECASE | re.DOTALL)
        if match:
            return give(match, client)
    return None


def _no_such_image(match: re.Match[str], client: DockerClient | None) -> str:
    hint = image_hint(match[1].strip("'\"").removesuffix(":latest"), client)
    return f"no registry answers here; {hint}" if is_offline(match.string) else hint


def is_offline(message: str) -> bool:
    """Whether a registry was asked and none answered."""
    return bool(re.search(_NO_ANSWER, message))


def image_hint(wanted: str, client: DockerClient | None) -> str:
    """What to do about an image that is not stored: the nearest name, or how to get it, or what there is."""
    stored = local_names(client)
    if wanted in CATALOG_NAMES and wanted not in stored:
        return f"labkernel images make {wanted}   (makes it without a registry, in labkernel's own engine)"
    near = nearest(wanted, [*stored, *CATALOG_NAMES])
    if near:
        return f"did you mean `{near}`?"
    shown = f"images here: {', '.join(sorted(stored)[:8])}" if stored else "there are no images here"
    return f"{shown}; labkernel images make makes {', '.join(CATALOG_NAMES)}"


def _no_such_container(match: re.Match[str], client: DockerClient | None) -> str:
    near = nearest(match[1], container_names(client))
    return f"did you mean `{near}`?" if near else "`docker ps -a` lists the containers, stopped ones too"


def _name_in_use(match: re.Match[str], client: DockerClient | None) -> str:
    name, holder = match[1].lstrip("/"), match[2][:12]
    state = _state_of(holder, client)
    return f"container {holder} ({state}) has this name: docker rm -f {name}, or choose another --name"


def _port_taken(match: re.Match[str], client: DockerClient | None) -> str:
    port = match[1]
    holder = holder_of_port(port, client)
    by = (
        f"container {holder} publishes it: docker stop {holder}, or"
        if holder
        else "another program holds it:"
    )
    return f"port {port} is taken; {by} publish another port, such as -p {int(port) + 1}:..."


def _state_of(container: str, client: DockerClient | None) -> str:
    try:
        return str(client.api.inspect_container(container)["State"]["Status"]) if client else "unknown state"
    except Exception:  # a hint must never fail in place of the message it belongs to
        return "unknown state"


def holder_of_port(port: str, client: DockerClient | None) -> str | None:
    """The name of the container that publishes this port, if one does."""
    try:
        for container in client.api.containers() if client else []:
            if any(str(entry.get("PublicPort")) == port for entry in container.get("Ports") or []):
                return str(container["Names"][0].lstrip("/"))
    except Exception:  # a hint must never fail in place of the message it belongs to
        return None
    return None


def local_names(client: DockerClient | None) -> list[str]:
    """The names of the local images, `name` for `name:latest`."""
    try:
        images = client.api.images() if client else []
    except Exception:  # a hint must never fail in place of the message it belongs to
        return []
    names = [tag for image in images for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
    return [name.removesuffix(":latest") for name in names]


def container_names(client: DockerClient | None) -> list[str]:
    """The names of all containers, running or not."""
    try:
        containers = client.api.containers(all=True) if client else []
    except Exception:  # a hint must never fail in place of the message it belongs to
        return []
    return [name.lstrip("/") for container in containers for name in container["Names"] or []]


_NO_ANSWER = r"dial tcp|i/o timeout|no such host|network is unreachable|connection refused"
_Give = Callable[[re.Match[str], "DockerClient | None"], str]


def _always(hint: str) -> _Give:
    return lambda match, client: hint


_HINTS: Sequence[tuple[str, _Give]] = (
    (r"hint: (.+)", lambda match, client: match[1].strip()),
    (r"no such image: (\S+)", _no_such_image),
    (r"pull access denied for (\S+?),? ", _no_such_image),
    (r"no such container: (\S+)", _no_such_container),
    (r'container name "/?([^"]+)" is already in use by container "?(\w+)', _name_in_use),
    (r"Bind for \S*:(\d+) failed: port is already allocated", _port_taken),
    (r"listen tcp\S* \S*:(\d+): bind: address already in use", _port_taken),
    (r"unknown instruction: (\S+)", lambda match, client: _unknown_instruction(match[1])),
    (
        r"no build stage in current context|the Dockerfile \(\S*\) cannot be empty",
        _always("a Dockerfile begins with FROM, such as FROM busybox; only ARG may stand before it"),
    ),
    (
        r"repository name (\(\S+\) )?must be lowercase",
        _always("names of images are in lower case, such as me/web-app"),
    ),
    (
        r"\b(apt-get|apt|dpkg)\b.*returned a non-zero code: 127",
        lambda match, client: (
            f"this image has no {match[1]}: FROM debian has it, busybox has its own few programs"
        ),
    ),
    (
        r"returned a non-zero code: 127",
        _always("the image has no such command: an earlier RUN may install it, or another FROM have it"),
    ),
    (
        r"invalid tar (archive|header)|archive/tar: |Error processing tar file",
        _always(
            "that is no archive of images: docker load takes what docker save wrote, docker import other tars"
        ),
    ),
    (
        r"(?:COPY|ADD) failed|file not found in build context",
        _always(
            "COPY and ADD see only the build context: paths are relative to the directory given to docker "
            "build, and .dockerignore may leave files out"
        ),
    ),
    (
        r"executable file not found|no such file or directory: unknown",
        _always("the image has no such command; look inside with: docker run --rm -it --entrypoint sh IMAGE"),
    ),
    (
        r"container \S+ is not running|is not running",
        _always("docker ps -a shows its state; docker start runs it"),
    ),
    (
        r"image is being used by|conflict: unable to (?:remove|delete)",
        _always("docker ps -a shows the containers that use it; docker rm them, or force with -f"),
    ),
    (
        r"https?://\S+.*(dial tcp|no such host|i/o timeout)",
        _always("no registry answers from here; images that are stored here work without one"),
    ),
    (
        r"Invalid container name",
        _always(
            "a name has two characters at least: a letter or digit, then letters, digits, and any of _ . -"
        ),
    ),
    (
        r"no space left on device",
        _always("docker system df shows what takes space; docker system prune frees it"),
    ),
    (
        r"You cannot remove a running container|container is running: stop",
        _always("docker stop it first, or docker rm -f"),
    ),
)
INSTRUCTIONS = (
    *(
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
    ),
    *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)


def _unknown_instruction(word: str) -> str:
    near = nearest(word.upper(), INSTRUCTIONS)
    return f"did you mean {near}?" if near else f"an instruction is one of {' '.join(INSTRUCTIONS)}"
