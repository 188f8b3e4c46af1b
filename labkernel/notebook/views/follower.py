"""Keeps the views of one engine up to date: one thread hears its events, one looks and publishes."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labkernel.commands import CommandError, connect
from labkernel.commands.errors import explain
from labkernel.notebook.views.picture import MIME, Picture
from labkernel.notebook.views.view import View

if TYPE_CHECKING:
    from docker import DockerClient

INTERVAL = 0.25
"""Seconds between two pictures of a view, at the least."""
RECONNECT = 2.0
"""Seconds until the next try when the engine does not answer."""
TIMEOUT = 10.0
"""Seconds that a look waits for the engine."""


class Shown:
    """A view in an output, and the display that is its output."""

    def __init__(self, view: View, picture: Picture, session: str) -> None:
        self.view = view
        self.picture = picture
        self.note = ""
        self.is_live = True
        self._id = uuid.uuid4().hex
        self._session = session
        self._revision = 0
        self._published: Any = None
        # Messages from a thread must name the cell that the view is in as their parent: copy what says so.
        self._context = contextvars.copy_context()
        self._due = True
        self._next: float | None = None

    def now_due(self) -> None:
        self._due = True

    def seconds_until_due(self) -> float | None:
        """0.0: it is time to look. None: not before something happens."""
        if self._due:
            return 0.0
        return None if self._next is None else max(0.0, self._next - time.monotonic())

    def look(self, client: DockerClient) -> None:
        """Look again; publish what is other than before. Raises docker's and requests' errors."""
        self._due, self._next = False, None
        try:
            self.picture, self.note = self.view.look(client), ""
        except CommandError as error:
            self.note = error.what
        if self.view.pause is not None:
            self._next = time.monotonic() + self.view.pause
        self.publish()

    def publish(self) -> None:
        """Show the picture in place of the one before, unless they are the same."""
        from IPython.display import display

        bundle = self.picture.bundle(note=self.note, live=self.is_live, view=self._id, session=self._session)
        if bundle == self._published:
            return
        self._published = bundle
        self._revision += 1
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        data = {**bundle, MIME: {**bundle[MIME], "revision": self._revision, "at": now}}
        self._context.run(display, data, raw=True, display_id=self._id, update=self._revision > 1)

    def end(self) -> None:
        """Leave the last picture, as one that does not move any more."""
        self.view.end()
        self.is_live = False
        self.publish()


class Follower:
    """Follows the engine at `host` while it has views; `add` begins, `stop` ends it for good."""

    def __init__(self, host: str | None) -> None:
        self.host = host
        self._shown: list[Shown] = []
        self._lock = threading.Lock()
        """Held while a view looks and publishes, so that `remove` has the last word."""
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._events: Any = None
        self._client: DockerClient | None = None
        self._threads: list[threading.Thread] = []

    def add(self, shown: Shown) -> None:
        with self._lock:
            self._shown = [*self._shown, shown]
        shown.view.missed()
        shown.view.begin(lambda: self._look_at(shown))
        if not self._threads:
            for work in (self._look, self._listen):
                thread = threading.Thread(target=work, name=f"labkernel views: {work.__name__}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._wake.set()

    def look_now(self, shown: Shown) -> None:
        """Look in the caller's thread, so that what it waited for is shown when this returns."""
        with self._lock:
            self._look_once(shown)

    def remove(self, shown: Shown) -> None:
        with self._lock:
            self._shown = [other for other in self._shown if other is not shown]
            shown.end()

    def stop(self) -> None:
        """End the threads; every view's last picture stays."""
        self._ended.set()
        self._wake.set()
        for shown in self._shown:
            self.remove(shown)
        if self._events is not None:
            with contextlib.suppress(Exception):  # it may have ended by itself
                self._events.close()
        for thread in self._threads:
            thread.join(1)

    def _look_at(self, shown: Shown) -> None:
        shown.now_due()
        self._wake.set()

    def _look(self) -> None:
        while not self._ended.is_set():
            times = [seconds for s in self._shown if (seconds := s.seconds_until_due()) is not None]
            self._wake.wait(min(times, default=None))
            self._wake.clear()
            for shown in self._shown:
                if shown.seconds_until_due() == 0.0:
                    with self._lock:
                        if shown in self._shown:
                            self._look_once(shown)
            self._ended.wait(INTERVAL)
        if self._client is not None:
            self._client.close()

    def _look_once(self, shown: Shown) -> None:
        try:
            if self._client is None:
                self._client = connect(self.host)
                self._client.api.timeout = TIMEOUT  # type: ignore[assignment]
            shown.look(self._client)
        except Exception as error:  # whatever it is, the view says so and the others go on
            if self._client is not None:
                self._client.close()
            self._client = None
            shown.note = explain(error, shown.view.line).what
            shown.publish()

    def _listen(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(Exception):  # the engine has gone, or is not there yet
                self._hear()
            self._ended.wait(RECONNECT)

    def _hear(self) -> None:
        """Take events until there are no more; what happened before the first is looked for."""
        client = connect(self.host)
        try:
            self._events = client.api.events(decode=True)
            for shown in self._shown:
                shown.view.missed()
                self._look_at(shown)
            for event in self._events:
                for shown in self._shown:
                    if shown.view.concerns(event):
                        self._look_at(shown)
        finally:
            self._events = None
            client.close()
            for shown in self._shown:
                self._look_at(shown)
