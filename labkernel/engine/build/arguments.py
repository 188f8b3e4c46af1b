"""Build arguments: what ARG declares, what the build's options give, and what of it a step sees.

Source: docs.docker.com/reference/dockerfile "ARG", "Predefined ARGs", "Impact on build caching".
"""

from __future__ import annotations

from collections.abc import Mapping

from labkernel.engine.image.platforms import own_platform, parse_platform

# Usable in RUN without an ARG, and left out of history and cache then: a proxy says nothing about the result.
PREDEFINED = (
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
)


# Known in FROM lines without an ARG, and in a stage after an ARG of that name.
PLATFORM = ("PLATFORM", "OS", "ARCH", "VARIANT")


def platform_arguments(target: str) -> dict[str, str]:
    """TARGETPLATFORM, TARGETARCH, BUILDPLATFORM and so on: of what is built ("" is this machine's platform),
    and of this machine. Raises InvalidParameter."""
    return {
        f"{prefix}{name}": value or ""
        for prefix, platform in (("TARGET", parse_platform(target)), ("BUILD", own_platform()))
        for name, value in zip(PLATFORM, (str(platform), *platform), strict=True)
    }


class BuildArguments:
    """`given` are the build's options; a name with None is given without a value. `known` have a value before
    any ARG."""

    def __init__(self, given: Mapping[str, str | None], known: Mapping[str, str] | None = None) -> None:
        self._given = given
        self._globals: dict[str, str | None] = dict(known or {})
        self._declared: dict[str, str | None] = {}
        self._used: set[str] = set()

    def begin_stage(self) -> BuildArguments:
        """The arguments of a new stage: none is declared yet; what is used is counted over all stages."""
        stage = BuildArguments(self._given)
        stage._globals = self._globals
        stage._used = self._used
        return stage

    def declare_global(self, name: str, default: str | None) -> None:
        """An ARG before the first FROM: for FROM lines, and a default for an ARG of that name in a stage."""
        self.declare(name, default)
        self._globals[name] = default

    def declare(self, name: str, default: str | None) -> None:
        self._declared[name] = default
        self._used.add(name)

    def values(self) -> dict[str, str]:
        """What is declared or predefined, and has a value."""
        return self._values(self._declared)

    def global_values(self) -> dict[str, str]:
        return self._values(self._globals)

    def for_environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """What a step sees beside its environment: ENV wins over ARG."""
        return {name: value for name, value in self.values().items() if name not in env}

    def is_recorded(self, name: str) -> bool:
        """Whether history and cache take account of it."""
        return name in self._declared or name not in PREDEFINED

    def unused(self) -> list[str]:
        """Names that were given and that no ARG asked for."""
        return sorted(n for n in self._given if n not in self._used and n not in PREDEFINED)

    def _values(self, declared: Mapping[str, str | None]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in (*declared, *PREDEFINED):
            value = self._given.get(name)
            if value is None:
                value = declared.get(name)
            if value is None:
                value = self._globals.get(name)
            if value is not None:
                found[name] = value
        return found
