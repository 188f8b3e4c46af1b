"""Servers for tests of pull and push: Debian's registry, a token server for it, and one that misbehaves to
order."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.engine.network.places import within
from tests.support.room import wait_until

USER, PASSWORD = "learner", "open sesame"
# PASSWORD hashed by bcrypt, the only hash that the registry takes.
HTPASSWD = f"{USER}:$2b$04$b5hox7I9x/P7U0VY8jbls.eYHyZGSXOqHQ.wppkbAGx8SEva3AF7u\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RegistryProcess:
    """A registry with its data below `directory`, at `domain`: it can be killed, and started there again.
    `inside` are words before its command, as a room's that it is to run in."""

    def __init__(
        self, directory: Path, auth: str = "", *, ours: bool = False, inside: Sequence[str] = ()
    ) -> None:
        self.directory = directory
        self.domain = f"127.0.0.1:{free_port()}"
        self._log = directory / "registry.log"
        root = directory / "data"
        self._command = ["docker-registry", "serve", str(directory / "registry.yml")]
        if ours:
            serve = [sys.executable, "-m", "labkernel", "registry", "serve"]
            self._command = [*serve, "--root", str(root), "--host", self.domain]
        (directory / "registry.yml").write_text(
            "version: 0.1\n"
            "log: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n"
            f'http: {{addr: "{self.domain}"}}\n'
            f"{auth}\n"
        )
        self._inside, self._command = inside, [*inside, *self._command]
        self.start()

    def start(self) -> None:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        for _ in wait_until(20):
            if self._process.poll() is not None:
                raise RuntimeError(self._log.read_text())
            asked = [*self._inside, "curl", "-sS", "--noproxy", "*", f"http://{self.domain}/v2/"]
            if subprocess.run(asked, capture_output=True).returncode == 0:
                return
        raise TimeoutError(self._log.read_text())

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@contextmanager
def running_registry(directory: Path, auth: str = "") -> Iterator[str]:
    """Debian's registry: its `127.0.0.1:port`. Its data is below `directory`; `auth` is part of its
    configuration."""
    process = RegistryProcess(directory, auth)
    try:
        yield process.domain
    finally:
        process.stop()


@contextmanager
def our_registry(directory: Path) -> Iterator[RegistryProcess]:
    """`labkernel registry serve`."""
    process = RegistryProcess(directory, ours=True)
    try:
        yield process
    finally:
        process.stop()


Respond = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """A request to answer: `path`, `headers` and `body` are there, `answer` sends all there is to send."""

    protocol_version = "HTTP/1.1"
    body = b""

    def answer(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        """Names of headers with underscores for dashes; Content-Length is set unless given."""
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _handle(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.respond(self)  # type: ignore[attr-defined]

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _handle

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


@contextmanager
def http_server(
    respond: Respond, tls: ssl.SSLContext | None = None, *, netns: str | None = None
) -> Iterator[str]:
    """A server that lets `respond` answer every request: its `127.0.0.1:port`, here or in the network
    namespace whose file `netns` is."""

    def listening() -> ThreadingHTTPServer:
        return ThreadingHTTPServer(("127.0.0.1", 0), Request)

    server = within(netns, listening) if netns else listening()
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.respond = respond  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TokenServer:
    """Gives signed tokens: to USER for all that is asked, to others for pulling from `public/` only."""

    def __init__(self, directory: Path) -> None:
        self.certificate = directory / "certificate.pem"
        self.lifetime = 300
        self.given = 0
        self.key = directory / "key.pem"
        new = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tokens",
        ]
        subprocess.run([*new, "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)
        self._chain = ["".join(self.certificate.read_text().splitlines()[1:-1])]

    def respond(self, request: Request) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        authorization = request.headers.get("Authorization")
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization is not None and authorization != expected:
            request.answer(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]}')
            return
        token = self._token(query.get("scope", []), is_user=authorization is not None)
        request.answer(200, json.dumps({"token": token}).encode())

    def _token(self, scopes: list[str], *, is_user: bool) -> str:
        self.given += 1
        access = []
        for scope in scopes:
            _, name, actions = scope.split(":")
            granted = actions.split(",") if is_user else ["pull"] if name.startswith("public/") else []
            access.append({"type": "repository", "name": name, "actions": granted})
        now = int(time.time())
        claims = {
            "iss": "tests",
            "aud": "registry",
            "nbf": now - 100,
            "exp": now + self.lifetime,
            "iat": now,
            "jti": str(self.given),
            "access": access,
        }
        parts = [{"typ": "JWT", "alg": "RS256", "x5c": self._chain}, claims]
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        sign = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signature = subprocess.run(sign, input=signed.encode(), check=True, capture_output=True).stdout
        return f"{signed}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def open_registry(kind: str) -> Iterator[str]:
    """A registry that is open to everybody, "debian" or "ours": its ADDRESS:PORT."""
    with tempfile.TemporaryDirectory() as directory:
        if kind == "ours":
            with our_registry(Path(directory)) as process:
                yield process.domain
        else:
            with running_registry(Path(directory)) as domain:
                yield domain
