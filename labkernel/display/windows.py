"""The windows on a screen: titles, places, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labkernel.display.connection import Connection


@dataclass(frozen=True)
class Window:
    """A program's window. `title` is what it calls itself; `program` is its class, such as "XClock".

    `host` is the name of the host that it runs on, in a container the container's; "" where it names none.
    `x`, `y`, `width`, `height` in pixels of the screen, without the border. `is_mapped`: it can be seen, but
    for what lies above.
    """

    id: int
    title: str
    program: str
    host: str
    x: int
    y: int
    width: int
    height: int
    is_mapped: bool

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom, as Pillow writes an area."""
        return self.x, self.y, self.x + self.width, self.y + self.height


def windows(connection: Connection) -> list[Window]:
    """The programs' windows, the lowest first; what has no title (menus, helpers) is left out.

    A window manager's frames are looked into.
    """
    return [window for child in _children(connection.root) if (window := _named(connection, child, 3))]


def _named(connection: Connection, window: Any, depth: int) -> Window | None:
    """The window, or the first below it, that has a title."""
    from Xlib.error import XError

    try:
        found = _read(connection, window)
    except XError:  # it has gone meanwhile
        return None
    if found or not depth:
        return found
    below = (_named(connection, child, depth - 1) for child in _children(window))
    return next(filter(None, below), None)


def _read(connection: Connection, window: Any) -> Window | None:
    from Xlib import X

    title, program = window_title(connection, window), window.get_wm_class()
    if not title and not program:
        return None
    geometry, place = window.get_geometry(), window.translate_coords(connection.root, 0, 0)
    return Window(
        id=window.id,
        title=title,
        program=program[1] if program else "",
        host=window.get_wm_client_machine() or "",
        x=-place.x,
        y=-place.y,
        width=geometry.width,
        height=geometry.height,
        is_mapped=window.get_attributes().map_state == X.IsViewable,
    )


def window_title(connection: Connection, window: Any) -> str:
    """What the window's program calls it: UTF-8, else Latin-1; "" for no title."""
    for name, encoding in (("_NET_WM_NAME", "utf-8"), ("WM_NAME", "latin-1")):
        found = window.get_full_property(connection.display.intern_atom(name), 0)  # of any type
        if found and found.value:
            value = found.value
            return value if isinstance(value, str) else bytes(value).decode(encoding, "replace")
    return ""


def _children(window: Any) -> list[Any]:
    from Xlib.error import XError

    try:
        return list(window.query_tree().children)
    except XError:
        return []
