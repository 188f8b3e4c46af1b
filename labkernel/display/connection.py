"""A program's connection to an X server, by python-xlib."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from labkernel.display.authority import MAGIC_COOKIE
from labkernel.display.errors import DisplayError

if TYPE_CHECKING:
    from Xlib.display import Display

    from labkernel.display.screen import Screen


class Connection:
    """An open connection; close it, or use it in a `with`. For one thread at a time."""

    def __init__(self, display: Display) -> None:
        self.display = display
        self.root: Any = display.screen().root

    def close(self) -> None:
        """Close it once all that was asked for is done, or the server has gone."""
        from Xlib.error import ConnectionClosedError

        with contextlib.suppress(ConnectionClosedError, OSError):
            self.display.sync()  # where something is left unread, closing takes back what is still under way
            self.display.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(screen: Screen) -> Connection:
    """Connect to one of our screens. Raises DisplayError when it has gone."""
    return open_display(screen.name, screen.cookie)


def open_display(name: str, cookie: bytes | None = None) -> Connection:
    """Connect to the display `name`, such as ":3"; without a cookie, with that of XAUTHORITY's file.

    Raises DisplayError where there is no such display, or where it refuses us.
    """
    from Xlib.display import Display
    from Xlib.error import ConnectionClosedError, DisplayConnectionError, DisplayNameError
    from Xlib.support import connect as support

    _give_cookies(support)
    _given.cookie = cookie
    try:
        # `unix/`: never by TCP, which python-xlib tries next.
        return Connection(Display(f"unix/{name}" if name.startswith(":") else name))
    except (DisplayConnectionError, DisplayNameError, ConnectionClosedError, OSError) as error:
        raise DisplayError(
            f'unable to open display "{name}"', why=str(getattr(error, "msg", error)).strip() or None
        ) from None
    finally:
        _given.cookie = None


_given = threading.local()


def _give_cookies(support: Any) -> None:
    """Let python-xlib use the cookie of `_given`; it knows no other way than a variable of the environment.

    That would be every thread's.
    """
    read_file = support.get_auth
    if getattr(read_file, "gives_cookies", False):
        return

    def get_auth(*arguments: Any) -> tuple[bytes, bytes]:
        cookie = getattr(_given, "cookie", None)
        found: tuple[bytes, bytes] = (MAGIC_COOKIE, cookie) if cookie else read_file(*arguments)
        return found

    get_auth.gives_cookies = True  # type: ignore[attr-defined]
    support.get_auth = get_auth
