"""A websocket (RFC 6455) in place of a hijacked connection's raw bytes: what a browser can attach to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.http.hijacked import HijackedStream
from labkernel.engine.http.server import Request

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

LARGEST_MESSAGE = 1 << 20
"""Bytes that a client may send at once."""


class WebSocket:
    """Read and written as `HijackedStream` is; what is written becomes one binary message."""

    def __init__(self, stream: HijackedStream, protocol: ServerProtocol) -> None:
        self._stream = stream
        self._protocol = protocol
        self._received: list[bytes] = []
        self.lost = stream.lost

    @classmethod
    async def accept(cls, request: Request) -> WebSocket:
        """Raises InvalidParameter: the client does not ask for a websocket."""
        from websockets.http11 import Request as Handshake
        from websockets.server import ServerProtocol

        protocol = ServerProtocol(max_size=LARGEST_MESSAGE)
        # It reads the head itself, which our own parser has taken apart already.
        lines = ["GET / HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
        protocol.receive_data("\r\n".join(lines).encode("utf-8", "surrogateescape"))
        handshake = next(iter(protocol.events_received()), None)
        response = protocol.accept(handshake) if isinstance(handshake, Handshake) else None
        if response is None or response.status_code != 101:
            reason = protocol.handshake_exc or protocol.parser_exc
            raise InvalidParameter("not websocket protocol", hint=f"this URL is for websockets: {reason}")
        protocol.send_response(response)
        return cls(await request.take_over(b"".join(protocol.data_to_send())), protocol)

    async def read(self) -> bytes:
        """The next message's bytes, b"" when the client closed, or is gone."""
        from websockets.frames import Frame, Opcode

        while not self._received:
            data = await self._stream.read()
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    self._received.append(bytes(event.data))
            await self._flush()
            if not data or self._protocol.close_rcvd is not None or self._protocol.parser_exc is not None:
                self._received.append(b"")
        return self._received.pop(0)

    async def write(self, data: bytes) -> None:
        """Raises Disconnected."""
        from websockets.protocol import State

        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(data)
        await self._flush()

    async def _flush(self) -> None:
        for piece in self._protocol.data_to_send():
            if piece:  # an empty one stands for the end, which `close` makes
                await self._stream.write(piece)

    async def finish(self) -> None:
        """Say goodbye to a client that is still there. Raises Disconnected."""
        from websockets.protocol import State

        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
        await self._flush()

    def close(self) -> None:
        self._stream.close()
