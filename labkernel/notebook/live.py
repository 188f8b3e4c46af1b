"""An output that changes in place while a cell runs, and stays as a static one.

It is a display with an id: text and HTML, no widget. Frontends replace it; nbclient and nbconvert keep what
it was last.
"""

from __future__ import annotations

import contextvars
import threading
import uuid
from collections.abc import Callable

INTERVAL = 0.2
"""Seconds between two looks at whether there is something new to show."""


class Live:
    """From `start` to `finish`, show what `render` returns, (text, html), whenever it has changed.

    Rendering happens in a thread of its own, so that output is never late when the container falls silent and
    never rendered more often than a reader can see.
    """

    def __init__(self, render: Callable[[], tuple[str, str]]) -> None:
        self._render = render
        self._shown: tuple[str, str] | None = None
        self._id = uuid.uuid4().hex
        self._ended = threading.Event()
        # Messages from the thread must name the same parent as the cell's own: copy what says so.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._watch,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._show(self._render())

    def _show(self, shown: tuple[str, str]) -> None:
        from IPython.display import display

        if shown == self._shown or not any(shown):
            return
        again, self._shown = self._shown is not None, shown
        bundle = {"text/plain": shown[0], "text/html": shown[1]}
        display(bundle, raw=True, display_id=self._id, update=again)  # type: ignore[no-untyped-call]

    def finish(self, shown: tuple[str, str] | None = None) -> None:
        """Stop watching; show `shown`, or what there is now, for good."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._show(shown or self._render())
