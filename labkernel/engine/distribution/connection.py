"""HTTP to a registry: short patience until it answers, proxies as the environment says, redirects without
secrets.

Built on the standard library's urllib, whose own look-up of names may take half a minute where no name server
answers; here the look-up counts as part of connecting.
"""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import IO, Any, Protocol

from labkernel.engine.errors import Unavailable

#: Seconds until a registry must have taken a connection: the catalog makes images where none does.
CONNECT_TIMEOUT = 2.0
#: Seconds between two pieces of an answer.
READ_TIMEOUT = 30.0
#: Seconds until the first answer of a registry that took the connection.
FIRST_ANSWER_TIMEOUT = 5.0

_SENT_AT_ONCE = 1 << 18


class Answer(Protocol):
    """An HTTP response, of any status."""

    status: int
    headers: Message

    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


def connect(
    address: tuple[str, int], timeout: float | None = None, source_address: tuple[str, int] | None = None
) -> socket.socket:
    """As `socket.create_connection`, but the look-up of the name counts, and each address gets its share of
    the time. Raises OSError."""
    host, port = address
    deadline = time.monotonic() + CONNECT_TIMEOUT
    found = _look_up(host, port, CONNECT_TIMEOUT)
    failure: OSError = OSError("no address")
    for number, (family, kind, protocol, _, target) in enumerate(found):
        left = (deadline - time.monotonic()) / (len(found) - number)
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(left, 0.1))
            connection.connect(target)
            connection.settimeout(CONNECT_TIMEOUT)  # For the TLS handshake that may follow.
            return connection
        except OSError as error:
            connection.close()
            failure = error
    raise failure


def _look_up(host: str, port: int, timeout: float) -> list[Any]:
    """getaddrinfo, given up after a time: the thread that waits for the answer is left behind."""
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"look up {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"lookup {host}: no answer within {timeout:g} seconds") from None
    if isinstance(answer, OSError):
        raise OSError(f"lookup {host}: no such host") from answer
    return answer


class _HTTPConnection(http.client.HTTPConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"blocksize": _SENT_AT_ONCE, **options})
        self._create_connection = connect

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self.timeout)


class _HTTPSConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"blocksize": _SENT_AT_ONCE, **options})
        self._create_connection = connect

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self.timeout)


class _HTTPHandler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HTTPConnection, request)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._ssl_context = context

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HTTPSConnection, request, context=self._ssl_context)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects of downloads; credentials go to nobody but the registry that asked for them."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if (
            request is not None
            and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc
        ):
            request.remove_header("Authorization")
        return request


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Gives answers of every status to the caller, but follows redirects."""

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        if response.status in (301, 302, 303, 307, 308) and request.get_method() in ("GET", "HEAD"):
            return super().http_response(request, response)
        return response

    https_response = http_response


class Connection:
    """Sends requests to one registry: whose certificate is verified or may be any, through the proxy that the
    environment names or directly."""

    def __init__(self, *, verify: bool = True, proxies: bool = True) -> None:
        context = ssl.create_default_context()
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        handler = urllib.request.ProxyHandler(None if proxies else {})
        self._opener = urllib.request.build_opener(
            handler, _HTTPHandler(), _HTTPSHandler(context), _Redirects(), _AnyStatus()
        )

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        *,
        timeout: float = READ_TIMEOUT,
    ) -> Answer:
        """Raises Unavailable that names what did not answer, and ssl.SSLError where TLS is not spoken."""
        request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
        try:
            answer: Answer = self._opener.open(request, timeout=timeout)
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLCertVerificationError):
                raise reason from error
            raise unavailable(method, url, reason) from error
        return answer


def unavailable(method: str, url: str, reason: object) -> Unavailable:
    """In dockerd's words: `Get "https://registry.example/v2/": ...`."""
    if isinstance(reason, TimeoutError) and not str(reason).startswith("lookup"):
        words = "no answer in time"
    elif isinstance(reason, OSError) and not isinstance(reason, ssl.SSLError) and reason.strerror:
        words = reason.strerror.lower()
    else:
        words = str(reason) or type(reason).__name__
    host = urllib.parse.urlsplit(url).hostname
    return Unavailable(
        f'{method.capitalize()} "{url}": {words}', hint=f"the registry {host} cannot be reached from here"
    )
