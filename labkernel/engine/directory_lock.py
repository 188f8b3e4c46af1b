"""One process for one directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from labkernel.engine.errors import Conflict


def lock_directory(root: Path, program: str, *, hint: str) -> int:
    """Hold the directory for this process: the kernel lets go when it ends, however it ends. The descriptor
    is to be kept open.

    Raises Conflict, with the hint, when another `program` has it.
    """
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(f"another {program} works on {root}", hint=hint) from None
    return descriptor
