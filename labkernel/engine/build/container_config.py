"""How each instruction changes the image's `config`, and the comment that history keeps of it. Pure.

`config` is Docker's container configuration as the API has it (docs.docker.com/reference/api/engine,
ContainerConfig).
"""

from __future__ import annotations

import copy
import posixpath
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

from labkernel.engine.build.arguments import BuildArguments
from labkernel.engine.build.expansion import ExpansionError, expand, expand_words
from labkernel.engine.build.flags import Problem
from labkernel.engine.build.instructions import (
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from labkernel.engine.build.quoting import plain_list, quote_list, quote_number
from labkernel.engine.build.run_options import run_mount
from labkernel.engine.image.config import CONTAINER_CONFIG
from labkernel.engine.timestamps import duration

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")


class ConfigError(ValueError):
    """An instruction whose value cannot be used; the text is Docker's."""


@dataclass
class ConfigState:
    """A configuration while instructions change it."""

    config: dict[str, Any]
    arguments: BuildArguments
    escape: str = "\\"
    maintainer: str = ""
    has_own_cmd: bool = False
    notes: list[str] = field(default_factory=list)  # lines for the build's output

    @property
    def env(self) -> dict[str, str]:
        return environment(self.config.get("Env"))

    @property
    def shell(self) -> list[str]:
        return list(self.config.get("Shell") or DEFAULT_SHELL)

    @property
    def variables(self) -> dict[str, str]:
        """What `$name` may mean in an instruction."""
        env = self.env
        return {**self.arguments.for_environment(env), **env}


def complete(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy with every field that dockerd writes."""
    return {**CONTAINER_CONFIG, **copy.deepcopy(dict(config or {}))}


def stage_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The configuration a stage begins with: its base's, and a PATH."""
    started = complete(config)
    started["OpenStdin"] = started["StdinOnce"] = False
    if "PATH" not in environment(started["Env"]):
        started["Env"] = [*(started["Env"] or []), f"PATH={DEFAULT_PATH}"]
    return started


def environment(env: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in env or []:
        name, _, value = item.partition("=")
        found[name] = value
    return found


def expanded(step: Instruction, state: ConfigState) -> Instruction:
    """The instruction with its variables replaced. Raises ConfigError."""
    variables = state.variables

    def one(word: str) -> str:
        return expand(word, variables, escape=state.escape)

    try:
        return _expanded(
            step,
            one,
            lambda word: expand_words(word, variables, escape=state.escape),
            lambda text: expand(text, variables, quotes_are_text=True),
        )
    except ExpansionError as error:
        raise ConfigError(str(error)) from None


def _expanded(
    step: Instruction,
    one: Callable[[str], str],
    several: Callable[[str], list[str]],
    text: Callable[[str], str],
) -> Instruction:
    match step:
        case Env() | Label():
            if isinstance(step, Label) and step.is_literal:
                return step
            return replace(step, pairs=tuple((one(name), one(value)) for name, value in step.pairs))
        case Arg():
            arguments = tuple(
                (one(name), None if value is None else one(value)) for name, value in step.arguments
            )
            return replace(step, arguments=arguments)
        case Copy():
            heredocs = tuple(
                replace(heredoc, content=text(heredoc.text), chomp=False) if heredoc.expand else heredoc
                for heredoc in step.heredocs
            )
            return replace(
                step,
                sources=tuple(one(source) for source in step.sources),
                destination=one(step.destination),
                heredocs=heredocs,
                chown=one(step.chown),
                chmod=one(step.chmod),
                exclude=tuple(one(pattern) for pattern in step.exclude),
                checksum=one(step.checksum),
            )
        case Run():
            try:
                mounts = tuple(run_mount(one(text)) for text in step.mount_flags)
            except Problem as problem:
                raise ConfigError(str(problem)) from None
            return replace(step, mounts=mounts)
        case Expose():
            return replace(step, ports=tuple(word for port in step.ports for word in several(port)))
        case Volume():
            return replace(step, paths=tuple(one(path) for path in step.paths))
        case User():
            return replace(step, user=one(step.user))
        case Workdir():
            return replace(step, path=one(step.path))
        case Stopsignal():
            return replace(step, signal=one(step.signal))
    return step


@singledispatch
def apply(step: Instruction, state: ConfigState) -> str:
    """Change the state; the answer is the comment for history. Raises ConfigError.

    For everything but FROM, RUN, COPY and ADD. `step` is expanded already.
    """
    raise TypeError(f"{step.node.name} does more than change the configuration")


@apply.register
def _(step: Env, state: ConfigState) -> str:
    env: list[str] = list(state.config["Env"] or [])
    for name, value in step.pairs:
        item = f"{name}={value}"
        for index, old in enumerate(env):
            if old.partition("=")[0] == name:
                env[index] = item
                break
        else:
            env.append(item)
    state.config["Env"] = env
    return "ENV " + " ".join(f"{name}={value}" for name, value in step.pairs)


@apply.register
def _(step: Label, state: ConfigState) -> str:
    state.config["Labels"] = {**(state.config["Labels"] or {}), **dict(step.pairs)}
    return "LABEL " + " ".join(f"{name}={value}" for name, value in step.pairs)


@apply.register
def _(step: Arg, state: ConfigState) -> str:
    for name, value in step.arguments:
        state.arguments.declare(name, value)
    return "ARG " + " ".join(name if value is None else f"{name}={value}" for name, value in step.arguments)


@apply.register
def _(step: Maintainer, state: ConfigState) -> str:
    state.maintainer = step.name
    return f"MAINTAINER {step.name}"


@apply.register
def _(step: Cmd, state: ConfigState) -> str:
    command = command_line(step, state)
    state.config["Cmd"] = command
    state.has_own_cmd = state.has_own_cmd or bool(step.arguments)
    return f"CMD {quote_list(command)}"


@apply.register
def _(step: Entrypoint, state: ConfigState) -> str:
    entrypoint = command_line(step, state)
    state.config["Entrypoint"] = entrypoint or None
    if not state.has_own_cmd:
        # The base's CMD was meant for the base's ENTRYPOINT.
        state.config["Cmd"] = None
    return f"ENTRYPOINT {quote_list(entrypoint)}"


@apply.register
def _(step: Expose, state: ConfigState) -> str:
    exposed = dict(state.config.get("ExposedPorts") or {})
    for port in step.ports:
        exposed.update({single: {} for single in container_ports(port)})
    if exposed:
        state.config["ExposedPorts"] = exposed
    return "EXPOSE " + " ".join(step.ports)


@apply.register
def _(step: Healthcheck, state: ConfigState) -> str:
    old = (state.config.get("Healthcheck") or {}).get("Test") or []
    if old and old[0] != "NONE":
        state.notes.append(f"Note: overriding previous HEALTHCHECK: {plain_list(old)}\n")
    check: dict[str, Any] = {"Test": list(step.test)}
    times = {"Interval": step.interval, "Timeout": step.timeout, "StartPeriod": step.start_period}
    check.update({name: value for name, value in times.items() if value})
    if step.retries:
        check["Retries"] = step.retries
    state.config["Healthcheck"] = check
    shown = " ".join(f'"{duration(value)}"' for value in times.values())
    if step.start_interval:
        check["StartInterval"] = step.start_interval
        shown += f' "{duration(step.start_interval)}"'
    return f"HEALTHCHECK &{{{quote_list(step.test)} {shown} {quote_number(step.retries)}}}"


@apply.register
def _(step: Onbuild, state: ConfigState) -> str:
    state.config["OnBuild"] = [*(state.config["OnBuild"] or []), step.expression]
    return f"ONBUILD {step.expression}"


@apply.register
def _(step: Shell, state: ConfigState) -> str:
    state.config["Shell"] = list(step.arguments)
    return f"SHELL {plain_list(step.arguments)}"


@apply.register
def _(step: Stopsignal, state: ConfigState) -> str:
    if not is_signal(step.signal):
        raise ConfigError(f"Invalid signal: {step.signal}")
    state.config["StopSignal"] = step.signal
    return f"STOPSIGNAL {step.signal}"


@apply.register
def _(step: User, state: ConfigState) -> str:
    state.config["User"] = step.user
    return f"USER {step.user}"


@apply.register
def _(step: Volume, state: ConfigState) -> str:
    if not all(step.paths):
        raise ConfigError("VOLUME specified can not be an empty string")
    state.config["Volumes"] = {**(state.config["Volumes"] or {}), **{path: {} for path in step.paths}}
    return f"VOLUME {plain_list(step.paths)}"


@apply.register
def _(step: Workdir, state: ConfigState) -> str:
    if not step.path:
        raise ConfigError("cannot normalize nothing")
    is_absolute = step.path.startswith("/")
    state.config["WorkingDir"] = (
        step.path if is_absolute else joined_path(state.config["WorkingDir"], step.path)
    )
    return f"WORKDIR {state.config['WorkingDir']}"


def joined_path(current: str, path: str) -> str:
    """A path of the container, seen from its working directory; always absolute and clean."""
    return "/" + posixpath.normpath(posixpath.join("/", current or "/", path)).lstrip("/")


def command_line(step: Command, state: ConfigState) -> list[str]:
    """The words that are executed: the shell form goes to the shell."""
    # A bare CMD or RUN is the shell with nothing to do; a bare ENTRYPOINT is none.
    if step.is_shell and (step.arguments or not isinstance(step, Entrypoint)):
        return [*state.shell, *step.arguments]
    return list(step.arguments)


_PORT = re.compile(r"(?:.*:)?(?P<first>[^-/:]*)(?:-(?P<last>[^-/:]*))?(?:/(?P<protocol>.*))?", re.DOTALL)


def container_ports(specification: str) -> list[str]:
    """`80` -> `80/tcp`; ranges one by one; a published port before a colon does not matter here."""
    match = _PORT.fullmatch(specification)
    if match is None:
        raise ConfigError(f"Invalid containerPort: {specification}")
    first, last = match["first"], match["last"] if match["last"] is not None else match["first"]
    protocol = (match["protocol"] or "tcp").lower()
    if not first:
        raise ConfigError(f"No port specified: {specification}<empty>")
    numbers = [text.isascii() and text.isdigit() and int(text[:9]) <= 65535 for text in (first, last)]
    if not all(numbers) or int(last) < int(first):
        raise ConfigError(f"Invalid containerPort: {specification.partition('/')[0]}")
    if protocol not in ("tcp", "udp", "sctp"):
        raise ConfigError(f"Invalid proto: {protocol}")
    return [f"{port}/{protocol}" for port in range(int(first), int(last) + 1)]


_REALTIME_SIGNAL = re.compile(r"RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?")


def is_signal(text: str) -> bool:
    """A number, or a name with or without SIG (signal(7))."""
    if text.isascii() and text.isdigit():
        return int(text[:9]) != 0
    name = text.upper().removeprefix("SIG")
    return f"SIG{name}" in signal.Signals.__members__ or bool(_REALTIME_SIGNAL.fullmatch(name))
