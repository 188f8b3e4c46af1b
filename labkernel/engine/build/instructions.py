"""Nodes -> instructions with typed fields, checked but not expanded. Error texts are Docker's.

Source: docs.docker.com/reference/dockerfile.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from labkernel.engine.build.errors import DockerfileError, did_you_mean
from labkernel.engine.build.flags import Problem, one, read_flags
from labkernel.engine.build.nodes import Dockerfile, Heredoc, Node
from labkernel.engine.build.parser import parse_heredoc
from labkernel.engine.build.quoting import quote
from labkernel.engine.build.run_options import RunMount, run_mount
from labkernel.engine.build.words import INSTRUCTIONS

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_MICROSECONDS = ("us", "\u00b5s", "\u03bcs")  # with the micro sign, and with the Greek letter
_UNITS = {"ns": 1, **dict.fromkeys(_MICROSECONDS, 10**3), "ms": 10**6, "s": 10**9}
_UNITS |= {"m": 60 * 10**9, "h": 3600 * 10**9}
_MINIMUM_DURATION = 10**6
_COPY_FLAGS = {
    "COPY": ("from", "chown", "chmod", "exclude", "parents", "link"),
    "ADD": ("chown", "chmod", "exclude", "link", "checksum", "unpack", "keep-git-dir"),
}


@dataclass(frozen=True)
class Instruction:
    node: Node

    @property
    def code(self) -> str:
        """The text that `Step n/m :` shows."""
        return self.node.original.strip()


@dataclass(frozen=True)
class From(Instruction):
    base: str
    stage: str  # in small letters; "" without a name
    platform: str

    @property
    def code(self) -> str:
        return self.node.original.strip()


@dataclass(frozen=True)
class Arg(Instruction):
    arguments: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Env(Instruction):
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]
    is_literal: bool = False  # from the build's options: nothing in it is expanded


@dataclass(frozen=True)
class OptionLabel(Label):
    """A label that the build's options add at the end."""

    @property
    def code(self) -> str:
        return "LABEL " + " ".join(f"{name}={value}" for name, value in self.pairs)


@dataclass(frozen=True)
class Copy(Instruction):
    """COPY and ADD. `heredocs` are sources given in the Dockerfile itself; `stage` is `--from`.

    `unpack` is None without the flag: archives of the context are unpacked, those of a URL are not.
    """

    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...]
    stage: str = ""
    chown: str = ""
    chmod: str = ""
    exclude: tuple[str, ...] = ()
    keeps_parents: bool = False
    is_link: bool = False
    checksum: str = ""
    unpack: bool | None = None
    keeps_git: bool = False

    @property
    def is_add(self) -> bool:
        return self.node.name == "ADD"


@dataclass(frozen=True)
class Command(Instruction):
    """RUN, CMD and ENTRYPOINT: `arguments` as they are, or one line for the shell."""

    arguments: tuple[str, ...]
    is_shell: bool
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True)
class Run(Command):
    """`mount_flags` are the values of --mount, which `mounts` are once they are expanded."""

    mount_flags: tuple[str, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: str = ""


class Cmd(Command):
    pass


class Entrypoint(Command):
    pass


@dataclass(frozen=True)
class Expose(Instruction):
    ports: tuple[str, ...]


@dataclass(frozen=True)
class Healthcheck(Instruction):
    """`test` as in the image configuration; times in nanoseconds, 0 for the default."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True)
class Maintainer(Instruction):
    name: str


@dataclass(frozen=True)
class Onbuild(Instruction):
    expression: str


@dataclass(frozen=True)
class Shell(Instruction):
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Stopsignal(Instruction):
    signal: str


@dataclass(frozen=True)
class User(Instruction):
    user: str


@dataclass(frozen=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Workdir(Instruction):
    path: str


def instruction(dockerfile: Dockerfile, node: Node) -> Instruction:
    """The instruction of a node. Raises DockerfileError with the place."""
    try:
        read = _READERS.get(node.name)
        if read is None:
            raise Problem(
                f"unknown instruction: {node.keyword}", advice=did_you_mean(node.name, INSTRUCTIONS)
            )
        return read(node)
    except Problem as problem:
        error: DockerfileError = dockerfile.error(
            node,
            f"dockerfile parse error on line {node.line}: {problem}",
            advice=problem.advice,
            mark=problem.mark,
        )
        raise error from None


def _exactly_one(node: Node) -> str:
    if len(node.arguments) != 1:
        raise Problem(f"{node.name} requires exactly one argument")
    read_flags(node)
    return node.arguments[0]


def _at_least_one(node: Node) -> tuple[str, ...]:
    if not node.arguments:
        raise Problem(f"{node.name} requires at least one argument")
    read_flags(node)
    return node.arguments


def _pairs(node: Node) -> tuple[tuple[str, str], ...]:
    words = _at_least_one(node)
    pairs = tuple(zip(words[::2], words[1::2], strict=True))
    if not all(name for name, _ in pairs):
        raise Problem(f"{node.name} names can not be blank")
    return pairs


def _from(node: Node) -> From:
    words = node.arguments
    stage = ""
    if len(words) == 3 and words[1].lower() == "as":
        stage = words[2].lower()
        if not _STAGE_NAME.fullmatch(stage):
            raise Problem(
                f"invalid name for build stage: {quote(words[2])}, "
                "name can't start with a number or contain symbols",
                mark=words[2],
            )
    elif len(words) != 1:
        raise Problem(
            "FROM requires either one or three arguments", advice="FROM image, or FROM image AS name"
        )
    return From(node, words[0], stage, one(read_flags(node, ["platform"]), "platform"))


def _arg(node: Node) -> Arg:
    found: list[tuple[str, str | None]] = []
    for word in _at_least_one(node):
        name, equals, value = word.partition("=")
        if not name:
            raise Problem("ARG names can not be blank")
        found.append((name, value if equals else None))
    return Arg(node, tuple(found))


def _copy(node: Node) -> Copy:
    if len(node.arguments) < 2:
        raise Problem(
            f"{node.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            advice=f"{node.name} source... destination",
        )
    flags = read_flags(node, _COPY_FLAGS[node.name])
    *sources, destination = node.arguments
    by_name = {heredoc.name: heredoc for heredoc in node.heredocs}
    if destination.startswith("<<") and (opened := parse_heredoc(destination)) and opened.name in by_name:
        raise Problem(f"{node.name} cannot accept a heredoc as a destination", mark=destination)
    paths: list[str] = []
    heredocs: list[Heredoc] = []
    for source in sources:
        opened = None if node.is_json or not node.heredocs else parse_heredoc(source)
        if opened is None:
            paths.append(source)
        else:
            heredocs.append(by_name[opened.name])
    return Copy(
        node,
        tuple(paths),
        destination,
        tuple(heredocs),
        one(flags, "from"),
        one(flags, "chown"),
        one(flags, "chmod"),
        flags.get("exclude", ()),
        one(flags, "parents") == "true",
        one(flags, "link") == "true",
        _checksum(one(flags, "checksum"), paths),
        one(flags, "unpack") == "true" if "unpack" in flags else None,
        one(flags, "keep-git-dir") == "true",
    )


def _checksum(text: str, sources: Sequence[str]) -> str:
    if text and len(sources) != 1:
        raise Problem("checksum can't be specified for multiple sources", mark="--checksum")
    return text


def _run(node: Node) -> Run:
    flags = read_flags(node, ["mount", "network", "security"])
    network, security = one(flags, "network"), one(flags, "security")
    if network not in ("", "default", "none", "host"):
        raise Problem(
            f"unsupported network mode {quote(network)}", advice="default, none or host", mark=network
        )
    if security == "insecure":
        raise Problem(
            "security.insecure is not allowed", advice="a step has no more rights than a container has"
        )
    if security not in ("", "sandbox"):
        raise Problem(f"security {quote(security)} is not supported", mark=security)
    mounts = flags.get("mount", ())
    for text in mounts:
        if "$" not in text:
            run_mount(text)  # what is wrong is said before anything is built
    return Run(node, node.arguments, not node.is_json, node.heredocs, mounts, (), network)


def _command(make: type[Command]) -> Callable[[Node], Command]:
    def read(node: Node) -> Command:
        read_flags(node)
        return make(node, node.arguments, not node.is_json, node.heredocs)

    return read


def _expose(node: Node) -> Expose:
    return Expose(node, tuple(sorted(_at_least_one(node))))


def _healthcheck(node: Node) -> Healthcheck:
    if not node.arguments:
        raise Problem("HEALTHCHECK requires at least one argument")
    kind, *command = node.arguments
    kind = kind.upper()
    if kind == "NONE":
        if command:
            raise Problem("HEALTHCHECK NONE takes no arguments")
        read_flags(node)
        return Healthcheck(node, ("NONE",))
    flags = read_flags(node, ["interval", "timeout", "start-period", "start-interval", "retries"])
    if kind != "CMD":
        raise Problem(f"Unknown type {quote(kind)} in HEALTHCHECK (try CMD)", mark=node.arguments[0])
    if not command:
        raise Problem("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        node,
        ("CMD" if node.is_json else "CMD-SHELL", *command),
        _duration("interval", flags),
        _duration("timeout", flags),
        _duration("start-period", flags),
        _duration("start-interval", flags),
        _retries(one(flags, "retries")),
    )


def _duration(name: str, flags: Mapping[str, tuple[str, ...]]) -> int:
    """Go's notation for a length of time (`1m30s`) in nanoseconds."""
    text = one(flags, name)
    if text in ("", "0"):
        return 0
    parts = _DURATION_PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        missing_unit = re.fullmatch(r"\d+\.?\d*", text)
        raise Problem(
            f"time: {'missing unit in' if missing_unit else 'invalid'} duration {quote(text)}",
            advice=f"give the unit, for example --{name}={text}s" if missing_unit else None,
            mark=text,
        )
    length = int(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if 0 < length < _MINIMUM_DURATION:
        raise Problem(f"Interval {quote(name)} cannot be less than 1ms", mark=text)
    return length


def _retries(text: str) -> int:
    if not text:
        return 0
    if not re.fullmatch(r"[+-]?\d{1,10}", text):
        raise Problem(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax", mark=text)
    if int(text) < 1:
        raise Problem(f"--retries must be at least 1 (not {int(text)})", mark=text)
    return int(text)


def _onbuild(node: Node) -> Onbuild:
    if node.trigger is None:
        raise Problem("ONBUILD requires at least one argument")
    read_flags(node)
    name = node.trigger.name
    if name == "ONBUILD":
        raise Problem("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if name in ("MAINTAINER", "FROM"):
        raise Problem(f"{name} isn't allowed as an ONBUILD trigger", mark=node.trigger.keyword)
    if name not in INSTRUCTIONS:
        raise Problem(
            f"unknown instruction: {node.trigger.keyword}",
            advice=did_you_mean(name, INSTRUCTIONS),
            mark=node.trigger.keyword,
        )
    expression = re.sub(r"(?i)\A\s*ONBUILD\s*", "", node.original)
    for heredoc in node.heredocs:
        expression += f"\n{heredoc.content}{heredoc.name}"
    return Onbuild(node, expression)


def _shell(node: Node) -> Shell:
    read_flags(node)
    if not node.arguments:
        raise Problem("SHELL requires at least one argument")
    if not node.is_json:
        raise Problem(
            "SHELL requires the arguments to be in JSON form", advice='for example SHELL ["/bin/sh", "-c"]'
        )
    return Shell(node, node.arguments)


def _volume(node: Node) -> Volume:
    paths = tuple(path.strip() for path in _at_least_one(node))
    if not all(paths):
        raise Problem("VOLUME specified can not be an empty string")
    return Volume(node, paths)


_READERS: Mapping[str, Callable[[Node], Instruction]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _command(Cmd),
    "COPY": _copy,
    "ENTRYPOINT": _command(Entrypoint),
    "ENV": lambda node: Env(node, _pairs(node)),
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": lambda node: Label(node, _pairs(node)),
    "MAINTAINER": lambda node: Maintainer(node, _exactly_one(node)),
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": lambda node: Stopsignal(node, _exactly_one(node)),
    "USER": lambda node: User(node, _exactly_one(node)),
    "VOLUME": _volume,
    "WORKDIR": lambda node: Workdir(node, _exactly_one(node)),
}
