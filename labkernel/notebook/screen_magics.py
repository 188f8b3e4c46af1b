"""`%display` and `%xhost`: the kernel's virtual screen, and who may show windows on it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from labkernel.commands import CommandError, Result, Text
from labkernel.display import (
    DisplayError,
    Screen,
    access,
    change_access,
    connect,
    open_display,
    screens,
    start,
)
from labkernel.notebook.screen_view import ScreenView

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

DISPLAY_HELP = """Usage:  %display [WIDTHxHEIGHT]
        %display --stop

Show this kernel's virtual screen (800x600 unless told), and start it where there is none. It sets DISPLAY and
XAUTHORITY for what the kernel starts, so that this shows a window:

  %docker run -d --rm -e DISPLAY=$DISPLAY -v /tmp/.X11-unix:/tmp/.X11-unix IMAGE xclock

once access control lets it in: %xhost + for all, or the cookie for this one container:

  -v $XAUTHORITY:/cookie:ro -e XAUTHORITY=/cookie"""
XHOST_HELP = """Usage:  %xhost [+|-] [[+|-]local:] [[+|-]si:localuser:NAME]

Say who may connect to the display: + lets everybody in, - those who have the cookie or are in the list"""


class ScreenMagics:
    """The screen of one kernel, and the outputs that show it."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._views: list[ScreenView] = []
        self._before: dict[str, str | None] = {}

    def display(self, words: Sequence[str]) -> Result:
        """Start or find the screen and show it, or stop it. Raises CommandError."""
        line = " ".join(["%display", *words])
        if list(words) == ["--help"]:
            return Text(DISPLAY_HELP)
        with _shown_as_failures(line):
            if list(words) == ["--stop"]:
                return self._stop()
            size = _size(words)
            screen = self._own() or start(*(size or ()))
            if size and size != (screen.width, screen.height):
                raise DisplayError(
                    f"this kernel's screen is {screen.width}x{screen.height} and stays so",
                    hint="%display --stop ends it, with the windows on it",
                )
            self._enter(screen)
            view = ScreenView(self._shell, screen)
            self._views = [*(other for other in self._views if other.is_live), view]
            return view.show()

    def xhost(self, words: Sequence[str]) -> Result:
        """Do what xhost does, without that program. Raises CommandError."""
        if list(words) == ["--help"]:
            return Text(XHOST_HELP)
        with _shown_as_failures(" ".join(["%xhost", *words])):
            name = os.environ.get("DISPLAY", "")
            if not name:
                raise DisplayError('unable to open display ""', hint="%display starts one")
            own = next((screen for screen in screens() if screen.name == name), None)
            with connect(own) if own else open_display(name) as connection:
                if not words:
                    return Text(str(access(connection)))
                return Text("\n".join(change_access(connection, word) for word in words))

    def remove(self) -> None:
        """Leave the outputs as they are now. The screen stays, as containers do."""
        for view in self._views:
            view.end("")
        self._views = []

    def _own(self) -> Screen | None:
        return next((screen for screen in screens() if screen.owner == os.getpid()), None)

    def _stop(self) -> Result:
        screen = self._own()
        if screen is None:
            raise DisplayError("this kernel has no screen", hint="%display starts one")
        for view in self._views:
            view.end("the screen was stopped")
        self._views = []
        screen.stop()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}
        return Text()

    def _enter(self, screen: Screen) -> None:
        """Let what the kernel starts find the screen."""
        if not self._before:
            self._before = {name: os.environ.get(name) for name in screen.environment}
        os.environ.update(screen.environment)


def _size(words: Sequence[str]) -> tuple[int, int] | None:
    if not words:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", words[0])
    if not match or len(words) > 1:
        raise DisplayError(
            f"`{' '.join(words)}` is no size of a screen", hint="%display 800x600, or %display --help"
        )
    return int(match[1]), int(match[2])


@contextmanager
def _shown_as_failures(line: str) -> Iterator[None]:
    try:
        yield
    except DisplayError as error:
        hint = error.hint or "%display shows this kernel's screen, and starts one"
        raise CommandError(error.message, where=line, why=error.why, hint=hint) from None
