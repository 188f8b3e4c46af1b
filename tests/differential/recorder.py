"""Calls to one daemon, each recorded under the name of its step as plain data that can be compared."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from tests.differential.comparison import normalised, shape
from tests.support.daemons import Daemon
from tests.support.http import Hijacked, Response, frames
from tests.support.room import wait_until

# The version that both speak. An answer must not depend on what a newer one added, but may hold it.
PREFIX = "/v1.41"

# How a body is cut into pieces on the way is HTTP's business and the date is nobody's.
_UNCOMPARED_HEADERS = {"date", "content-length", "transfer-encoding", "connection"}

Reading = Callable[[bytes], Any]


class Recorder:
    """The steps that a scenario took on `daemon`: step name -> {"status", "headers", "body"}.

    Urls are without the version. The daemon's ids that a scenario made known are replaced by their names.
    """

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.steps: dict[str, Any] = {}
        self.known: dict[str, str] = {
            str(daemon.root): "<root>",
            str(daemon.directory): "<directory>",
            "2024-01-01T00:00:00Z": "<base image's time>",
            "1704067200": "<base image's time>",
        }

    def know(self, value: str, name: str) -> str:
        """From now on `value` (an id, with or without its algorithm) is shown as `<name>`; returns it."""
        bare = value.removeprefix("sha256:")
        self.known |= {bare: f"<{name}>", bare[:12]: f"<{name} short>"}
        return value

    def send(self, method: str, url: str, body: Any = None, **headers: str) -> Response:
        """One call that is not compared: it only gets the daemon to where a step needs it."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.daemon.http.call(method, PREFIX + url, body, named)

    def need(self, method: str, url: str, body: Any = None, **headers: str) -> Response:
        """As `send`, and it must succeed."""
        answer = self.send(method, url, body, **headers)
        assert answer.status < 400, f"{self.daemon.kind}: {method} {url}: {answer.status} {answer.body!r}"
        return answer

    def step(
        self, name: str, method: str, url: str, body: Any = None, read: Reading | None = None, **headers: str
    ) -> Response:
        """One call whose answer is compared. `read` turns the body's bytes into what is compared."""
        answer = self.send(method, url, body, **headers)
        self.record(name, answer, read)
        return answer

    def record(self, name: str, answer: Response, read: Reading | None = None) -> None:
        # An error's body is read as an error whatever a success would have held.
        reading = read if read and answer.status < 400 else _read_by_type(answer)
        self.note(
            name,
            {
                "status": answer.status,
                "headers": _compared_headers(answer.headers),
                "body": reading(answer.body),
            },
        )

    def note(self, name: str, value: Any) -> None:
        """Record a value that is no HTTP answer: a stream, a state seen."""
        assert name not in self.steps, f"two steps are named {name!r}"
        self.steps[name] = normalised(value, self.known)

    def get(self, name: str, url: str, read: Reading | None = None) -> Response:
        return self.step(name, "GET", url, read=read)

    def post(
        self, name: str, url: str, body: Any = None, read: Reading | None = None, **headers: str
    ) -> Response:
        return self.step(name, "POST", url, body, read, **headers)

    def delete(self, name: str, url: str) -> Response:
        return self.step(name, "DELETE", url)

    def create(self, name: str, **config: Any) -> str:
        """A container of busybox named `name`, not compared; its id, which is known by that name."""
        answer = self.need("POST", f"/containers/create?name={name}", {"Image": "busybox", **config})
        return self.know(str(answer.json()["Id"]), name)

    def run(self, name: str, *command: str, **config: Any) -> str:
        """As `create`, and started."""
        identifier = self.create(name, Cmd=list(command), **config)
        self.need("POST", f"/containers/{identifier}/start")
        return identifier

    def finish(self, name: str, *command: str, **config: Any) -> str:
        """As `run`, and ended."""
        identifier = self.run(name, *command, **config)
        self.need("POST", f"/containers/{identifier}/wait")
        return identifier

    def until(self, url: str, reached: Callable[[Any], bool], timeout: float = 10) -> Any:
        """GET until `reached` holds for the JSON answer, and return that."""
        for _ in wait_until(timeout, 0.05):
            answer = self.need("GET", url).json()
            if reached(answer):
                return answer
        raise TimeoutError(f"{self.daemon.kind}: {url} stays {answer}")

    def stream(self, url: str, body: Any = None) -> Hijacked:
        """A POST whose connection becomes a raw stream."""
        return self.daemon.http.hijack(PREFIX + url, body)


def _compared_headers(headers: dict[str, str]) -> dict[str, Any]:
    compared: dict[str, Any] = {}
    for name, value in headers.items():
        if name.lower() == "x-docker-container-path-stat":
            compared[name] = json.loads(base64.b64decode(value))
        elif name.lower() not in _UNCOMPARED_HEADERS:
            compared[name] = value
    return compared


def _read_by_type(answer: Response) -> Reading:
    kind = answer.headers.get("Content-Type", "")
    return json_body if kind.startswith("application/json") else text


def json_body(body: bytes) -> Any:
    """The JSON value, or the list of them when the body holds several; the text where it is no JSON."""
    values = []
    decoder, rest = json.JSONDecoder(), body.decode(errors="replace").lstrip()
    try:
        while rest:
            value, end = decoder.raw_decode(rest)
            values.append(value)
            rest = rest[end:].lstrip()
    except ValueError:
        return text(body)
    return values[0] if len(values) == 1 else values


def text(body: bytes) -> str:
    return body.decode(errors="backslashreplace")


def streams(body: bytes) -> list[list[Any]]:
    """Framed output as [stream number, text] pairs; joined per stream, for the two have no common order."""
    found: dict[int, bytes] = {}
    for number, payload in frames(body):
        found[number] = found.get(number, b"") + payload
    return [[number, text(found[number])] for number in sorted(found)]


def shape_of_json(body: bytes) -> Any:
    """The keys and the types of the values, where the values are the machine's."""
    return shape(json_body(body))


def sorted_by(*keys: str) -> Reading:
    """A JSON list whose order is not part of the answer, sorted by these keys of its elements."""
    return lambda body: sorted(json_body(body) or [], key=lambda item: [str(item.get(key)) for key in keys])


def tar_members(body: bytes) -> list[dict[str, Any]]:
    """A tar's members in their order: name, type, mode, owner, link and the start of the content."""
    members = []
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            members.append(
                {
                    "name": str(PurePosixPath(member.name)) + ("/" if member.name.endswith("/") else ""),
                    "type": member.type.decode(),
                    "mode": oct(member.mode & 0o7777),  # some writers add the type
                    "owner": [member.uid, member.gid],
                    "link": str(PurePosixPath(member.linkname)) if member.linkname else "",
                    "content": text(content.read(60)) if content else "",
                }
            )
    return members
