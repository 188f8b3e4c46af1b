"""What a screen without a window manager lacks most: a background, and a place for each new window.

Programs open their windows in the upper left corner, one upon the other, and leave it to a window manager to
find a better place. No manager is in the way of one that a learner starts: new windows are only moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labkernel.display.authority import cookie_in
from labkernel.display.connection import open_display
from labkernel.display.placement import place

BACKGROUND = 0x47525E


class Desk:
    """The desk of one screen, in the screen's keeper."""

    def __init__(self, number: int, authority: Path) -> None:
        from Xlib import X

        connection = open_display(f":{number}", cookie_in(authority.read_bytes()))
        self._display: Any = connection.display
        self._root = connection.root
        self._root.change_attributes(background_pixel=BACKGROUND, event_mask=X.SubstructureNotifyMask)
        self._root.clear_area()
        self._display.sync()
        self._seen: set[int] = set()

    def keep(self) -> None:
        """Find a place for each new window, until the screen ends."""
        from Xlib import X
        from Xlib.error import ConnectionClosedError, XError

        self._display.set_error_handler(lambda *_: None)  # windows go at any time
        while True:
            try:
                event = self._display.next_event()
                if event.type == X.MapNotify and not event.override and event.window.id not in self._seen:
                    self._place(event.window)
                    self._seen.add(event.window.id)
                elif event.type == X.DestroyNotify:
                    self._seen.discard(event.window.id)
            except XError:
                continue
            except (ConnectionClosedError, OSError):
                return

    def _place(self, window: Any) -> None:
        from Xlib import X

        own = window.get_geometry()
        if (own.x, own.y) != (0, 0):  # its program, or its user with -geometry, has chosen
            return
        others = []
        for child in self._root.query_tree().children:
            if child.id in self._seen and child.get_attributes().map_state == X.IsViewable:
                found = child.get_geometry()
                others.append((found.x, found.y, *_size(found)))
        x, y = place(_size(own), others, _size(self._root.get_geometry()))
        window.configure(x=x, y=y)
        self._display.flush()


def _size(geometry: Any) -> tuple[int, int]:
    """With the border, which lies outside."""
    return geometry.width + 2 * geometry.border_width, geometry.height + 2 * geometry.border_width
