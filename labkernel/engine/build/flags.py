"""The flags of instructions: `--name=value`, switches, and flags that may be repeated.

Source: docs.docker.com/reference/dockerfile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labkernel.engine.build.errors import did_you_mean
from labkernel.engine.build.nodes import Node

_SWITCHES = {"COPY": ("link", "parents"), "ADD": ("link", "unpack", "keep-git-dir")}
_REPEATABLE = {"COPY": ("exclude",), "ADD": ("exclude",), "RUN": ("mount",)}

# Flags that BuildKit knows and this builder does not offer: named as such, lest anybody hunts for a typo.
_NOT_OFFERED = {
    (
        "RUN",
        "device",
    ): "a build has no devices but those of every container; `docker run --device` gives one"
}


class Problem(ValueError):
    """What is wrong with an instruction; `mark` is the text to underline."""

    def __init__(self, message: str, *, advice: str | None = None, mark: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice
        self.mark = mark


def read_flags(node: Node, known: Sequence[str] = ()) -> Mapping[str, tuple[str, ...]]:
    """The values of each flag that is given; a switch has "true" or "false". Raises Problem."""
    found: dict[str, tuple[str, ...]] = {}
    for flag in node.flags:
        name, equals, value = flag.removeprefix("--").partition("=")
        if name not in known:
            raise _unknown(node, name, known)
        if name in found and name not in _REPEATABLE.get(node.name, ()):
            raise Problem(f"Duplicate flag specified: {name}", mark=flag)
        if name in _SWITCHES.get(node.name, ()):
            value = value.lower() if equals else "true"
            if value not in ("true", "false"):
                raise Problem(
                    f"Expecting boolean value for flag {name}, not: {value}",
                    advice=f"write --{name}, or --{name}=false",
                    mark=flag,
                )
        elif not equals:
            raise Problem(
                f"Missing a value on flag: {name}", advice=f"write --{name}=VALUE, with no space", mark=flag
            )
        found[name] = (*found.get(name, ()), value)
    return found


def one(flags: Mapping[str, tuple[str, ...]], name: str) -> str:
    """The value of a flag, "" without it."""
    return flags.get(name, ("",))[0]


def _unknown(node: Node, name: str, known: Sequence[str]) -> Problem:
    mark = "--" + name
    if advice := _NOT_OFFERED.get((node.name, name)):
        return Problem(f"{node.name} --{name} is not offered by this builder", advice=advice, mark=mark)
    flags = ["--" + one for one in known]
    possible = f"{node.name} has {', '.join(flags)}" if flags else f"{node.name} has no flags"
    return Problem(f"Unknown flag: {name}", advice=did_you_mean(mark, flags) or possible, mark=mark)
