"""A virtual screen for one browser: its pictures out, pointer and keys in, over a websocket.

`labkernel/display/NUMBER?screen=ID`. ID is the screen's own: numbers are given again. Out goes in JSON what
the screen is, {"name", "width", "height"}, then in binary what `labkernel.display.Frames` makes. In come, in
JSON:

    {"kind": "seen"}                                     a picture was drawn: another may come
    {"kind": "look", "visible": true}                    whether anybody looks
    {"kind": "move", "x": 1, "y": 2}
    {"kind": "button", "button": 1, "pressed": true, "x": 1, "y": 2}
    {"kind": "key", "key": "a", "code": "KeyA", "pressed": true}
    {"kind": "release"}                                  let go of what is held

It is closed with 4404 when there is no such screen, or none any more.
"""

from __future__ import annotations

import asyncio
import json

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from labkernel.display import DisplayError, Screen, find
from labkernel.jupyter.hand import Hand
from labkernel.jupyter.viewer import Viewer

GONE = 4404
"""The code of closing: there is no such screen."""


class DisplaySocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One browser's connection to one screen of the server's own user."""

    auth_resource = "kernels"  # who may run code here may see and touch what it shows

    def initialize(self) -> None:
        super().initialize()
        self._viewer: Viewer | None = None
        self._hand: Hand | None = None
        self._task: asyncio.Task[None] | None = None

    def set_default_headers(self) -> None:
        """Jupyter's are for pages."""

    @ws_authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    async def get(self, number: str) -> None:  # type: ignore[override]
        await super().get(number)

    def open(self, number: str) -> None:
        super().open()
        self.set_nodelay(True)
        self._task = asyncio.create_task(self._serve(int(number), self.get_query_argument("screen", "")))

    async def _serve(self, number: int, id: str) -> None:
        try:
            screen = await asyncio.to_thread(find, number)
            if screen and screen.id == id:
                await self._show(screen)
        except DisplayError:  # it has gone meanwhile
            pass
        except WebSocketClosedError:
            return
        self.close(GONE, "there is no such screen")

    async def _show(self, screen: Screen) -> None:
        async def send(message: bytes) -> None:
            await self.write_message(message, binary=True)

        described = {"name": screen.name, "width": screen.width, "height": screen.height}
        await self.write_message(json.dumps(described))
        self._hand, self._viewer = Hand(screen), Viewer(screen, send)
        await self._viewer.run()

    def on_message(self, text: str | bytes) -> None:
        if self._viewer is None or self._hand is None:
            return
        try:
            message = json.loads(text)
            kind = message["kind"]
        except (ValueError, TypeError, KeyError):
            return
        if kind == "seen":
            self._viewer.seen()
        elif kind == "look":
            self._viewer.look(bool(message.get("visible")))
        else:
            self._hand.receive(message)
            self._viewer.stir(soon=kind != "move")

    def on_close(self) -> None:
        if self._task:
            self._task.cancel()
        if self._hand:
            self._hand.close()
