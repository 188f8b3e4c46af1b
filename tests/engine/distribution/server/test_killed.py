"""The registry is killed, and what it holds is still true; what was on its way in can be gone on with."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.distribution.server.client import Client, artifact, digest_of
from tests.engine.distribution.servers import RegistryProcess, our_registry
from tests.support.room import wait_until


@pytest.fixture
def process(tmp_path: Path) -> Iterator[RegistryProcess]:
    with our_registry(tmp_path) as process:
        yield process


def begin_a_body(domain: str, location: str, data: bytes, size: int) -> socket.socket:
    """A PATCH that promises `size` bytes and has sent `data` so far."""
    connection = socket.create_connection(("127.0.0.1", int(domain.partition(":")[2])))
    head = f"PATCH {location} HTTP/1.1\r\nHost: {domain}\r\nContent-Length: {size}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection


def arrived(client: Client, location: str) -> int:
    """Bytes of an upload that are there."""
    answer = client.call("GET", location)
    assert answer.status == 204
    last = int(answer.headers["Range"].partition("-")[2])
    return last + 1 if last else 0


@pytest.mark.parametrize("how", ["the connection breaks", "the registry is killed"])
def test_an_upload_goes_on_where_it_broke_off(process: RegistryProcess, how: str) -> None:
    client, data = Client(process.domain), os.urandom(9 << 20)
    location = client.begin("me/resumed")
    client.call("PATCH", location, data[: 1 << 20])
    connection = begin_a_body(process.domain, location, data[1 << 20 : 6 << 20], 8 << 20)
    for _ in wait_until(10):
        if arrived(client, location) >= 5 << 20:
            break
    if how == "the registry is killed":
        process.kill()
        process.start()
    connection.close()
    for _ in wait_until(10):
        done = arrived(client, location)
        answer = client.call("PATCH", location, data[done:], Content_Range=f"{done}-{len(data) - 1}")
        if answer.status == 202:
            break
        assert answer.status in (409, 416)  # the server has yet to see that the connection is broken
    assert done >= 5 << 20
    digest = digest_of(data)
    assert client.call("PUT", f"{location}?digest={digest}").status == 201
    assert client.call("GET", f"/v2/me/resumed/blobs/{digest}").body == data


def test_only_one_request_at_a_time_writes(process: RegistryProcess) -> None:
    client = Client(process.domain)
    location = client.begin("me/one")
    with begin_a_body(process.domain, location, b"begun", 100):
        for _ in wait_until(10):
            answer = client.call("PATCH", location)
            if answer.status == 409:
                break
        assert answer.code == "BLOB_UPLOAD_INVALID"


def test_uploads_that_nobody_ends_make_room(process: RegistryProcess) -> None:
    client = Client(process.domain)
    left = [client.begin("me/many") for _ in range(1001)]
    assert client.call("GET", left[0]).code == "BLOB_UPLOAD_UNKNOWN"
    assert client.call("GET", left[-1]).status == 204
    assert len(list((process.directory / "data" / "uploads").iterdir())) == 1000


def push_for_ever(domain: str, number: int, stop: threading.Event) -> None:
    """Push images of one new layer each, and delete some; what fails because the server is gone is left."""
    client, chance = Client(domain), random.Random(number)
    while not stop.is_set():
        name = f"me/repository-{number}"
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            data = chance.randbytes(chance.randrange(1, 400_000))
            location = client.begin(name)
            client.call("PATCH", location, data[:1000])
            digest = digest_of(data)
            client.call("PUT", f"{location}?digest={digest}", data[1000:])
            layer = {"mediaType": "x/y", "digest": digest, "size": len(data)}
            tag = f"v{chance.randrange(20)}"
            client.push_blob(name, b"{}")
            client.push_manifest(name, tag, artifact(layers=[layer], annotations={"for": tag}))
            if chance.random() < 0.3:
                client.call("DELETE", f"/v2/{name}/manifests/v{chance.randrange(20)}")
                client.call("DELETE", f"/v2/{name}/blobs/{digest_of(b'{}')}")


def check(process: RegistryProcess) -> int:
    """Every tag stands for a manifest, every blob that the registry says it has is whole; how many tags."""
    client, tags = Client(process.domain), 0
    for name in client.call("GET", "/v2/_catalog").json()["repositories"]:
        for tag in client.call("GET", f"/v2/{name}/tags/list").json()["tags"]:
            tags += 1
            answer = client.call("GET", f"/v2/{name}/manifests/{tag}")
            assert digest_of(answer.body) == answer.headers["Docker-Content-Digest"]
            manifest = answer.json()
            assert manifest["annotations"] == {"for": tag}
            for layer in manifest["layers"]:
                data = client.call("GET", f"/v2/{name}/blobs/{layer['digest']}")
                assert (data.status, digest_of(data.body)) == (200, layer["digest"])
    for file in (process.directory / "data" / "blobs").glob("*/*"):
        assert digest_of(file.read_bytes(), file.parent.name) == f"{file.parent.name}:{file.name}"
    return tags


def test_killed_at_any_moment(process: RegistryProcess) -> None:
    stop, chance = threading.Event(), random.Random(1)
    pushers = [
        threading.Thread(target=push_for_ever, args=(process.domain, number, stop)) for number in range(4)
    ]
    for pusher in pushers:
        pusher.start()
    try:
        for _ in range(8):
            time.sleep(chance.uniform(0.2, 0.6))
            process.kill()
            process.start()
    finally:
        stop.set()
        for pusher in pushers:
            pusher.join()
    assert check(process) > 10
    process.kill()
    process.start()
    assert check(process) > 10


def test_what_a_killed_registry_left_is_removed(process: RegistryProcess) -> None:
    client, root = Client(process.domain), process.directory / "data"
    digest = client.push_blob("me/kept", b"kept")
    location = client.begin("me/kept")
    process.kill()
    (root / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"no row speaks of it")
    (root / "uploads" / ("1" * 32)).write_bytes(b"nor of this")
    upload = root / "uploads" / location.rpartition("/")[2]
    os.utime(upload, (1, 1))  # nobody went on with it since 1970
    process.start()
    assert [f"sha256:{file.name}" for file in (root / "blobs").glob("*/*")] == [digest]
    assert list((root / "uploads").iterdir()) == []
    assert client.call("GET", location).code == "BLOB_UPLOAD_UNKNOWN"
    assert client.call("GET", f"/v2/me/kept/blobs/{digest}").body == b"kept"


def test_a_full_disk(process: RegistryProcess, tmp_path: Path) -> None:
    """Refused in the registry's words; what is there stays, and more is taken once there is room."""
    process.stop()
    root = tmp_path / "data"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", root], check=True)
    try:
        process.start()
        client, data = Client(process.domain), os.urandom(8 << 20)
        location = client.begin("me/full")
        answer = client.call("PATCH", location, data)
        assert (answer.status, answer.code) == (507, "UNKNOWN")
        assert answer.json()["errors"][0]["message"] == "No space left on device"
        subprocess.run(["mount", "-o", "remount,size=64m", root], check=True)
        done = arrived(client, location)
        assert client.call("PUT", f"{location}?digest={digest_of(data)}", data[done:]).status == 201
        process.stop()
    finally:
        subprocess.run(["umount", root], check=True)
    process.start()


def test_what_nothing_needs_goes_after_a_day(process: RegistryProcess) -> None:
    """Space comes back: manifests are deleted by the API, their blobs when the registry starts again."""
    client, name = Client(process.domain), "me/old"
    kept, gone = client.push_blob(name, b"kept"), client.push_blob(name, b"gone")
    layers = {digest: {"mediaType": "x/y", "digest": digest, "size": 4} for digest in (kept, gone)}
    client.push_artifact(name, "kept", layers=[layers[kept]])
    digest = client.push_artifact(name, "gone", layers=[layers[gone]])
    client.call("DELETE", f"/v2/{name}/manifests/{digest}")
    fresh = client.push_blob(name, b"a manifest of it may be on its way")
    process.stop()
    database = sqlite3.connect(process.directory / "data" / "registry.sqlite")
    database.execute("UPDATE blobs SET added = added - 90000 WHERE digest != ?", (fresh,))
    database.commit()
    database.close()
    process.start()
    found = {d: client.call("HEAD", f"/v2/{name}/blobs/{d}").status for d in (kept, gone, fresh)}
    assert found == {kept: 200, gone: 404, fresh: 200}
    names = {file.name for file in (process.directory / "data" / "blobs").glob("*/*")}
    assert gone[7:] not in names
