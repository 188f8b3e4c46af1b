"""A small Debian archive of the test's own: packages, indices, and release files signed with its key."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pysequoia


@cache
def signing_key(user: str) -> pysequoia.Tsk:
    return pysequoia.Tsk.generate(f"{user} <{user}@localhost>")


def sign(text: str, user: str = "archive") -> bytes:
    return pysequoia.sign(signing_key(user).signer(), text.encode(), mode=pysequoia.SignatureMode.CLEAR)


def write_keyring(file: Path, user: str = "archive") -> Path:
    file.write_bytes(bytes(signing_key(user).extract_certificate()))
    return file


def http_date(date: datetime) -> str:
    return date.strftime("%a, %d %b %Y %H:%M:%S UTC")


def tar(files: Mapping[str, bytes], *members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return out.getvalue()


def deb(control: str, files: Mapping[str, bytes]) -> bytes:
    """A .deb file, as deb(5) describes it."""
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": tar({"control": control.encode()}),
        "data.tar.xz": tar(files),
    }
    out = b"!<arch>\n"
    for name, data in parts.items():
        out += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
            + data
            + b"\n" * (len(data) % 2)
        )
    return out


@dataclass
class SignedArchive:
    """Files by path, to be served; `publish` writes a suite's index and its release file."""

    files: dict[str, bytes] = field(default_factory=dict)
    paragraphs: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self, suite: str, name: str, version: str, *fields: str, files: Mapping[str, bytes] | None = None
    ) -> None:
        control = "\n".join([f"Package: {name}", f"Version: {version}", "Architecture: all", *fields]) + "\n"
        data = deb(control, files or {})
        path = f"pool/{name}_{version.replace(':', '_')}.deb"
        self.files[path] = data
        self.paragraphs.setdefault(suite, []).append(
            f"{control}Filename: {path}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )

    def publish(
        self,
        suite: str,
        architecture: str,
        *,
        user: str = "archive",
        by_hash: bool = False,
        suffix: str = ".xz",
        **fields: str,
    ) -> None:
        packages = "\n".join(self.paragraphs.get(suite, [])).encode()
        name = f"main/binary-{architecture}/Packages"
        indices = {name: packages, name + suffix: lzma.compress(packages) if suffix == ".xz" else packages}
        values = {
            "Origin": "Debian",
            "Suite": "test",
            "Codename": suite,
            "Version": "1.0",
            "Date": http_date(datetime.now(UTC) - timedelta(hours=1)),
            "Architectures": architecture,
        }
        if by_hash:
            values["Acquire-By-Hash"] = "yes"
        values |= {key.replace("_", "-"): value for key, value in fields.items()}
        digests = {path: (hashlib.sha256(data).hexdigest(), len(data)) for path, data in indices.items()}
        lines = [f"{key}: {value}" for key, value in values.items()]
        lines += ["SHA256:", *(f" {digest} {size} {path}" for path, (digest, size) in digests.items())]
        folder = f"dists/{suite}"
        self.files[f"{folder}/InRelease"] = sign("\n".join(lines) + "\n", user)
        if by_hash:
            path = f"main/binary-{architecture}/by-hash/SHA256/{digests[name + suffix][0]}"
            self.files[f"{folder}/{path}"] = indices[name + suffix]
        else:
            self.files[f"{folder}/{name}{suffix}"] = indices[name + suffix]


@dataclass
class Server:
    """An HTTP server on loopback. `faults` says what goes wrong, by path: each use takes one away.

    A number is the status to answer with; "cut" ends the connection in the middle of the body.
    """

    files: dict[str, bytes]
    faults: dict[str, list[int | str]] = field(default_factory=dict)
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)  # path, Range header
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.split("://")[-1].partition("/")[2] if "://" in handler.path else handler.path[1:]
        wanted = handler.headers.get("Range", "")
        self.requests.append((path, wanted))
        fault = self.faults[path].pop(0) if self.faults.get(path) else None
        data = self.files.get(path)
        if isinstance(fault, int) or data is None:
            handler.send_response(fault if isinstance(fault, int) else 404)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        body = data[start:]
        if fault == "cut":
            handler.wfile.write(body[: len(body) // 2])
            handler.close_connection = True
        else:
            handler.wfile.write(body)


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Server]:
    server = Server(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.port = listening.server_port
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
