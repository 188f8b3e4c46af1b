"""What is the same for every container of an engine is told once a session: of a kernel or of a shell."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from labkernel.commands.process_start import started

_STANDING = ("containers here do not reach the outside world",)
"""How warnings begin that are about the engine, and not about what was asked for."""

_told: set[str] = set()


def is_news(engine: str, warning: str) -> bool:
    """Whether to show a warning of the engine at an address; from then on it counts as told."""
    if not warning.startswith(_STANDING):
        return True
    name = hashlib.sha256(f"{engine} {warning}".encode()).hexdigest()[:16]
    if name in _told:
        return False
    _told.add(name)
    return _is_first_of_session(name)


def _is_first_of_session(name: str) -> bool:
    """Leave a mark for the other commands of this shell, where the user has a directory that goes when they
    log out. In doubt it is told again."""
    directory = os.environ.get("XDG_RUNTIME_DIR")
    leader = os.getsid(0)
    start = started(leader)
    if not directory or not start:
        return True
    try:
        Path(directory, f"labkernel-told-{leader}-{start}-{name}").touch(0o600, exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
