"""Finding the program that a command names, inside the container, with the failures told apart as runc tells
them.
"""

from __future__ import annotations

import os
import stat

from labkernel.engine.runtime.launcher.story import Refused


def find(name: str, search_path: str) -> str:
    """The path to execute. Raises Refused: "not_found" is Docker's code 127, "not_executable" its 126."""
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if "/" in name:
        try:
            status = os.stat(name)
        except OSError as error:
            kind = "not_executable" if isinstance(error, PermissionError) else "not_found"
            reason = (error.strerror or "").lower()
            raise Refused(kind, f"exec: {quoted}: stat {name}: {reason}") from None
        if stat.S_ISDIR(status.st_mode) or not _executable(name):
            raise Refused("not_executable", f"exec: {quoted}: permission denied")
        return name
    for directory in search_path.split(":") if name else ():
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate) and _executable(candidate):
            return candidate
    raise Refused("not_found", f"exec: {quoted}: executable file not found in $PATH")


def _executable(path: str) -> bool:
    return os.access(path, os.X_OK, effective_ids=True)
