"""How many files the engine's process may have open, and how many of those streams may take."""

from __future__ import annotations

import resource

WANTED = 65536


def allow_open_files() -> int:
    """Raise this process's soft limit as far as the hard one lets it; what the limit is then.

    Not before the launcher runs: what it starts is to have the limits that the engine was started with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED))
    if wanted != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def most_for_streams() -> int:
    """The descriptor from which on no client gets another stream: a fourth is left for containers, images
    and logs.

    The lowest free number is given (open(2), accept(2)), so that a number tells how many are taken.
    """
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4 * 3


def limits() -> list[str]:
    """A sentence where this is little."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= 4096:
        return []
    return [
        f"open files: {soft} at most, and {most_for_streams()} with streams to clients; "
        "`ulimit -Hn` raises it for an engine that is started after it"
    ]
