"""What a check may look at on the learner's virtual screens: who is let in, windows, whether they move."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkernel.course.check import Failed

if TYPE_CHECKING:
    from labkernel.display import Screen, Window

NONE = "no virtual screen is there"
HINT = "%display starts one; it ends with the notebook's kernel"


@dataclass(frozen=True)
class SeenWindow:
    """A window that can be seen, and the screen that it is on."""

    window: Window
    screen: Screen

    @property
    def cookie(self) -> bytes:
        """What lets a program in that nobody else has let in."""
        with _gone_as_failed():
            return self.screen.cookie

    def changes(self, seconds: float) -> bool:
        """Whether its picture changes within that time."""
        from labkernel.display import FrameBuffer

        with _gone_as_failed(), closing(FrameBuffer(self.screen)) as pixels:
            first = pixels.picture(self.window.box).tobytes()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(0.05)
                if pixels.picture(self.window.box).tobytes() != first:
                    return True
        return False


def running_screens() -> list[Screen]:
    """All of this user's. Raises Failed where there is none."""
    from labkernel.display import screens

    with _gone_as_failed():
        found = screens()
    if not found:
        raise Failed(NONE, hint=HINT)
    return found


def seen_windows() -> list[SeenWindow]:
    """The programs' windows on all screens. Raises Failed where there is no screen."""
    from labkernel.display import connect, windows

    found = []
    for screen in running_screens():
        with _gone_as_failed(), connect(screen) as connection:
            found += [SeenWindow(window, screen) for window in windows(connection) if window.is_mapped]
    return found


def let_in() -> list[str]:
    """Who may connect to a screen without its cookie: "everybody", or as xhost lists them.

    Raises Failed where there is no screen.
    """
    from labkernel.display import access, connect

    found: list[str] = []
    for screen in running_screens():
        with _gone_as_failed(), connect(screen) as connection:
            now = access(connection)
            found += now.allowed if now.is_controlled else ["everybody"]
    return found


@contextmanager
def _gone_as_failed() -> Iterator[None]:
    from labkernel.display import DisplayError

    try:
        yield
    except DisplayError as error:
        raise Failed(error.message, hint=error.hint) from None
