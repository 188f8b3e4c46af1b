"""TLS below a connection, with what asyncio's own TLS lacks: the client may end its half and read on.

`docker run -i` and exec end stdin by closing the writing half, which in TLS is the alert close_notify (RFC
8446, 6.1; Go's `CloseWrite`). asyncio answers that alert by closing the whole connection, so this file drives
an `ssl.SSLObject` itself, between a TCP transport and the protocol that speaks HTTP. To that protocol
close_notify is `eof_received`, and only the end of the TCP connection is `connection_lost`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkernel.engine.errors import InvalidParameter

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
"""For a client to say who it is; until then it costs a socket and no more."""
HANDSHAKES_LIMIT = 256
"""Clients that have not proved yet who they are; more are cut off at once."""
LINGER_SECONDS = 2.0
"""For a client to take the next bytes, or the end, of a connection that is closed."""
_READ = 256 << 10


def server_context(certificate: Path, key: Path, client_authority: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer for a server; with `client_authority` a client needs a certificate signed by it.

    Raises:
        InvalidParameter: a file is not there, or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # so that a write never has to wait for a read
    for path in filter(None, (certificate, key, client_authority)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise InvalidParameter(f"could not load X509 key pair: {path}: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise InvalidParameter(
            f"could not load X509 key pair (cert: {certificate}, key: {key}): {_reason(error)}",
            hint="both are PEM files, the key has no password, and they belong together",
        ) from None
    if client_authority is not None:
        try:
            context.load_verify_locations(client_authority)
        except ssl.SSLError as error:
            raise InvalidParameter(
                f"could not read CA certificate {client_authority}: {_reason(error)}",
                hint="a PEM file with the certificates that sign the clients' certificates",
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


class TlsTransport(asyncio.Transport):
    """What the protocol above sees of a connection: bytes in the clear."""

    def __init__(self, tls: TlsConnection, tcp: asyncio.Transport) -> None:
        super().__init__()
        self._tls, self._tcp = tls, tcp

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._tls.session if name == "ssl_object" else self._tcp.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._tls.closing or self._tcp.is_closing()

    def pause_reading(self) -> None:
        if not self.is_closing():
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        self._tcp.resume_reading()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self.is_closing():
            try:
                self._tls.session.write(data)
            except ssl.SSLError:
                self.abort()  # the session is broken, and nothing more can be said in it
            self._tls.flush()

    def close(self) -> None:
        self._tls.close()

    def abort(self) -> None:
        self._tcp.abort()


class TlsConnection(asyncio.Protocol):
    """The protocol of the TCP connection. `make_protocol` makes that of the clear one, once the handshake is
    done and the client has proved itself, if it has to; until then it is one of the `handshakes`.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        handshakes: set[TlsConnection],
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._make_protocol = make_protocol
        self._handshakes = handshakes
        self._protocol: asyncio.Protocol | None = None
        self._ended = False  # the client's half
        self._timer: asyncio.TimerHandle | None = None
        self.closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._tcp = transport
        self._clear = TlsTransport(self, transport)
        if len(self._handshakes) >= HANDSHAKES_LIMIT:
            transport.abort()
            return
        self._handshakes.add(self)
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        if self.closing or self._ended:
            return
        self._incoming.write(data)
        try:
            if self._protocol is None and not self._shake_hands():
                return
            self._read()
        except ssl.SSLError as error:
            # The alert that says why goes out before the connection is closed.
            log.info("TLS with %s failed: %s", self._tcp.get_extra_info("peername"), _reason(error))
            self.flush()
            if self._protocol is not None:
                self._tcp.abort()
            self.close()

    def _shake_hands(self) -> bool:
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        self.flush()
        self._stop_timer()
        self._handshakes.discard(self)
        self._protocol = self._make_protocol()
        self._protocol.connection_made(self._clear)
        return True

    def _read(self) -> None:
        assert self._protocol is not None
        while not self._clear.is_closing():
            try:
                data = self.session.read(_READ)
            except ssl.SSLWantReadError:
                break
            if not data:  # close_notify
                self._ended = True
                if not self._protocol.eof_received():
                    self.close()
                break
            self._protocol.data_received(data)
        self.flush()

    def flush(self) -> None:
        """Send what TLS has to say."""
        if self._outgoing.pending and not self._tcp.is_closing():
            self._tcp.write(self._outgoing.read())

    def close(self) -> None:
        """Say the end, and let the client read up to it.

        A TCP socket that is closed while bytes from the client are unread is reset, and a reset may overtake
        the last bytes to the client. So this side's half ends first.
        """
        if self.closing or self._tcp.is_closing():
            return
        # It would wait for the client's close_notify, which we do not; or there was no handshake.
        with contextlib.suppress(ssl.SSLError, ValueError):
            self.session.unwrap()
        self.flush()
        self.closing = True
        self._tcp.resume_reading()
        self._tcp.write_eof()
        self._linger(self._tcp.get_write_buffer_size())

    def _linger(self, unsent: int) -> None:
        """Look again and again whether the client still takes bytes."""

        def look() -> None:
            left = self._tcp.get_write_buffer_size()
            if left and left < unsent:
                self._linger(left)
            else:
                self._tcp.abort()

        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, look)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def eof_received(self) -> bool:
        """The TCP connection ends: the client is gone, whether it said so in TLS or not."""
        self._tcp.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        self._handshakes.discard(self)
        self.closing = True
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()
