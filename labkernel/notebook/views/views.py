"""The live views of one shell."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from labkernel.commands import connect
from labkernel.commands.errors import explain
from labkernel.notebook.views.follower import Follower, Shown
from labkernel.notebook.views.layer_reader import LayerReader
from labkernel.notebook.views.picture import Picture
from labkernel.notebook.views.view import View

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MOST = 8
"""Views that move at once; when there are more, the oldest stands still."""
PATIENCE = 2.0
"""Seconds that a cell waits for what takes a view a moment to find out."""


class Views:
    """Shows views and keeps them up to date; where the frontend cannot, shows them once."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._shown: list[Shown] = []
        self._followers: dict[str | None, Follower] = {}
        self._layer_readers: dict[str | None, LayerReader] = {}

    def layer_reader(self, host: str | None) -> LayerReader:
        """What is known of the files in the layers of the engine at `host`."""
        return self._layer_readers.setdefault(host, LayerReader(host))

    def picture(self, view: View, client: Any) -> Picture:
        """The view's first picture, which shows itself when it is a cell's result. Raises CommandError."""
        try:
            picture = view.look(client)
        except Exception as error:
            raise explain(error, view.line, client) from None
        picture.show = lambda: self.show(view, picture)
        return picture

    def show(self, view: View, picture: Picture) -> None:
        """Put `picture` below the cell and follow what it shows."""
        kernel = getattr(self._shell, "kernel", None)
        if kernel is None:
            self._show_once(view)
            return
        for older in [shown for shown in self._shown if shown.view.line == view.line]:
            self._remove(older)
        while len(self._shown) >= MOST:
            self._remove(self._shown[0])
        shown = Shown(view, picture, kernel.session.session)
        if not view.moves:
            shown.end()
            return
        shown.publish()
        if not self._followers:
            atexit.register(self.stop)
        self._shown.append(shown)
        follower = self._follower(view.host)
        follower.add(shown)
        if view.settle(PATIENCE):
            follower.look_now(shown)

    def _show_once(self, view: View) -> None:
        from IPython.display import display

        view.begin(lambda: None)
        view.settle(PATIENCE)
        client = connect(view.host)
        try:
            picture = view.look(client)
        finally:
            client.close()
            view.end()
        display({"text/plain": picture.text, "text/html": picture._repr_html_()}, raw=True)  # type: ignore[no-untyped-call]

    def _follower(self, host: str | None) -> Follower:
        if host not in self._followers:
            self._followers[host] = Follower(host)
        return self._followers[host]

    def _remove(self, shown: Shown) -> None:
        self._shown.remove(shown)
        self._followers[shown.view.host].remove(shown)

    def stop(self) -> None:
        """End all views; their last pictures stay."""
        for follower in self._followers.values():
            follower.stop()
        for reader in self._layer_readers.values():
            reader.stop()
        self._followers.clear()
        self._layer_readers.clear()
        self._shown.clear()
        atexit.unregister(self.stop)
