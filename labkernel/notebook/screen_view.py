"""An output that shows a virtual screen.

In JupyterLab our extension draws it live, from the server (labkernel.jupyter). Everywhere else, and in a
saved notebook, it is a picture; a thread of the kernel brings that up to date.
"""

from __future__ import annotations

import contextlib
import io
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from labkernel.commands import Result, Text
from labkernel.display import DisplayError, FrameBuffer, Screen, connect, windows
from labkernel.notebook.views.picture import MIME

INTERVAL = 3.0
"""Seconds between two pictures, at the least; a finished cell has one at once."""


class ScreenView:
    """One output. `is_live` until the screen ends, or `end` is called."""

    def __init__(self, shell: Any, screen: Screen) -> None:
        self.screen = screen
        self.is_live = True
        self._shell = shell
        self._pixels = FrameBuffer(screen)
        self._shown: bytes | None = None
        self._id = uuid.uuid4().hex
        self._revision = 0
        self._bundle: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def show(self) -> Result:
        """Put it below the cell, and keep it up to date there if the frontend can. As text it is returned."""
        kernel = getattr(self._shell, "kernel", None)
        if kernel is None:
            return Text(self._text())
        self._refresh()
        # Not with the cell's context: a message counts where it names the cell that runs as its parent.
        threading.Thread(target=self._watch, name="labkernel screen", daemon=True).start()
        self._shell.events.register("post_run_cell", self._cell_has_run)
        shown = Text(self._bundle["text/plain"])
        shown.is_shown = True
        return shown

    def end(self, note: str) -> None:
        """Leave the last picture, with a word on what has become of the screen."""
        with self._lock:
            if not self.is_live:
                return
            self._take()
            self.is_live = False
            self._publish(note)
            self._pixels.close()
        self._ended.set()
        with contextlib.suppress(ValueError):  # never registered
            self._shell.events.unregister("post_run_cell", self._cell_has_run)

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._refresh()

    def _cell_has_run(self, result: Any) -> None:
        self._refresh()

    def _refresh(self) -> None:
        if self.is_live and not self.screen.is_running:
            self.end("the screen has ended")
        with self._lock:
            if self.is_live and self._take():
                self._publish("")

    def _take(self) -> bool:
        """Look at the screen; whether it shows something new."""
        pixels = self._pixels.read()
        if pixels == self._shown:
            return False
        self._shown = pixels
        picture = io.BytesIO()
        self._pixels.picture_of(pixels).save(picture, "PNG")
        self._bundle = {"text/plain": self._text(), "image/png": picture.getvalue()}
        return True

    def _publish(self, note: str) -> None:
        from IPython.display import display

        self._revision += 1
        data = {
            "kind": "display",
            "view": self._id,
            "session": self._shell.kernel.session.session if hasattr(self._shell, "kernel") else "",
            "revision": self._revision,
            "live": self.is_live,
            "note": note,
            "taken": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "number": self.screen.number,
            "screen": self.screen.id,
            "width": self.screen.width,
            "height": self.screen.height,
        }
        bundle, again = {**self._bundle, MIME: data}, self._revision > 1
        display(bundle, raw=True, display_id=self._id, update=again)  # type: ignore[no-untyped-call]

    def _text(self) -> str:
        screen = self.screen
        lines = [f"display {screen.name}, {screen.width}x{screen.height}"]
        with contextlib.suppress(DisplayError), connect(screen) as connection:
            for window in windows(connection):
                if window.is_mapped:
                    place = f"{window.width}x{window.height} at {window.x},{window.y}"
                    lines.append(f"window {window.title or window.program}: {place}")
        return "\n".join(lines)
