"""Where a user's screens are written down: a directory that nobody else may look into."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from labkernel.display.errors import DisplayError


def run_directory() -> Path:
    """The directory of this user's screens, made if it is not there.

    Raises DisplayError where the place cannot be written, or where somebody else could.
    """
    uid = os.geteuid()
    # What a session has inherited from another user does not count.
    runs = (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}", "/run")
    own = next((Path(run) for run in runs if run and _is_own(run, uid)), None)
    parent = own / "labkernel" if own else Path(tempfile.gettempdir()) / f"labkernel-{uid}"
    directory = parent / "displays"
    for place, mode in ((parent, 0o711), (directory, 0o700)):
        try:
            place.mkdir(mode=mode, exist_ok=True)
            found = place.lstat()
        except OSError as error:
            raise DisplayError(
                f"cannot make {place}, where screens are written down: {error.strerror}"
            ) from None
        if found.st_uid != uid or found.st_mode & 0o777 & ~mode:
            raise DisplayError(
                f"{place} should belong to this user alone",
                why="who can write there could show another screen in place of yours",
                hint=f"look at it with: ls -ld {place}",
            )
    return directory


def _is_own(place: str, uid: int) -> bool:
    try:
        return os.stat(place).st_uid == uid and os.access(place, os.W_OK | os.X_OK)
    except OSError:
        return False
