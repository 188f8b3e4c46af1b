"""Where the engine listens: a unix socket, and TCP with TLS for who asks for it."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from labkernel.engine.errors import Conflict, InvalidParameter, Unavailable
from labkernel.engine.http.tls import server_context

TLS_PORT = 2376


@dataclass(frozen=True)
class Tls:
    """The files of --tlscert, --tlskey and --tlscacert, in PEM, and whether clients need a certificate."""

    certificate: str = ""
    key: str = ""
    client_authority: str = ""
    verify: bool = False

    def context(self, host: str) -> ssl.SSLContext:
        """Raises InvalidParameter: something is missing, or a file is not what it should be."""
        if not self.certificate or not self.key:
            raise InvalidParameter(
                f"{host}: TCP is offered with TLS only: who may speak to the engine is root here",
                hint="--tlsverify --tlscacert CA.pem --tlscert CERT.pem --tlskey KEY.pem, "
                "or ssh -L to the unix socket",
            )
        if self.verify != bool(self.client_authority):
            raise InvalidParameter(
                "--tlsverify and --tlscacert go together: the latter signs clients' certificates",
                hint="--tlsverify --tlscacert CA.pem",
            )
        authority = Path(self.client_authority) if self.verify else None
        return server_context(Path(self.certificate), Path(self.key), authority)

    def __str__(self) -> str:
        if self.verify:
            return "TLS, for clients with a certificate"
        return "TLS, for every client: whoever reaches it is root here; --tlsverify asks for certificates"


def listen_unix(path: Path) -> socket.socket:
    """A socket that only its owner may open; one that a killed engine left is replaced.

    Raises:
        InvalidParameter: the path is too long.
        Conflict: another engine, or another file, has the path.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    if len(os.fsencode(path)) > 107:
        raise InvalidParameter(
            f"{path} is too long for a unix socket", hint="at most 107 bytes: --host unix:///tmp/..."
        )
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise Conflict(f"{path} is there and is not a socket", hint="choose another --host unix://PATH")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise Conflict(f"another engine listens on {path}", hint="`labkernel engine status` shows it")
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def listen_tcp(host: str) -> socket.socket:
    """`host` is `tcp://ADDRESS:PORT`, with 127.0.0.1 and 2376 for what is left out, as dockerd has it.

    Raises:
        InvalidParameter: that is no address.
        Conflict: the port is taken.
        Unavailable: the address is not this machine's.
    """
    try:
        parts = urlsplit(host)
        name, port = parts.hostname or "127.0.0.1", TLS_PORT if parts.port is None else parts.port
        extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    except ValueError:
        extra = host
    if extra or not host.startswith("tcp://"):
        raise InvalidParameter(
            f"invalid bind address ({host})", hint="tcp://ADDRESS:PORT, such as tcp://127.0.0.1:2376"
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except socket.gaierror as error:
        raise Unavailable(f"listen {host}: {error.strerror}") from None
    except OSError as error:
        taken = f"listen tcp {name}:{port}: bind: {(error.strerror or str(error)).lower()}"
        raise Conflict(taken, hint=f"choose another port: --host tcp://{name}:PORT") from None
    listener.listen(1024)
    listener.setblocking(False)
    return listener
