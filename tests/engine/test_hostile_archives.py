"""Archives that mean harm, through every door: nothing lands outside, nothing is half-stored."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.distribution.servers import Request, http_server
from tests.support.daemons import Daemon
from tests.support.room import wait_until

Entry = Callable[[tarfile.TarFile], None]


def entry(name: str, kind: bytes, content: bytes = b"", **fields: Any) -> Entry:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mode = kind, len(content), 0o777
        for field, value in fields.items():
            setattr(info, field, value)
        tar.addfile(info, io.BytesIO(content))

    return add


def file(name: str, content: bytes = b"evil") -> Entry:
    return entry(name, tarfile.REGTYPE, content)


def directory(name: str) -> Entry:
    return entry(name, tarfile.DIRTYPE)


def symlink(name: str, target: str) -> Entry:
    return entry(name, tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Entry:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def device(name: str) -> Entry:
    return entry(name, tarfile.BLKTYPE, devmajor=8, devminor=0)


def archive(*entries: Entry) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for add in entries:
            add(tar)
    return out.getvalue()


UP = "../" * 12
# {} is a directory of the machine's, without its first slash.
ATTACKS: dict[str, list[tuple[Callable[..., Entry], tuple[str, ...]]]] = {
    "up": [(file, (UP + "{}/new",))],
    "absolute": [(file, ("/{}/new",))],
    "up in the middle": [(directory, ("a",)), (file, ("a/" + UP + "{}/new",))],
    "through a link": [(symlink, ("l", "/{}")), (file, ("l/new",))],
    "through a link upwards": [(symlink, ("l", UP + "{}")), (file, ("l/new",))],
    "through two links": [(symlink, ("a", "b")), (symlink, ("b", UP + "{}")), (file, ("a/new",))],
    "through a directory that becomes a link": [
        (directory, ("d",)),
        (symlink, ("d", "/{}")),
        (file, ("d/new",)),
    ],
    "over a link": [(symlink, ("l", "/{}/secret")), (file, ("l",))],
    "a hard link outside": [(hard_link, ("h", "/{}/secret")), (file, ("h",))],
    "a hard link upwards": [(hard_link, ("h", UP + "{}/secret"))],
    "a hard link through a link": [(symlink, ("l", "/{}")), (hard_link, ("h", "l/secret"))],
    "whiteouts through a link": [
        (symlink, ("l", "/{}")),
        (file, ("l/.wh.secret",)),
        (file, ("l/.wh..wh..opq",)),
    ],
    "a whiteout of what is above": [(file, (".wh...",)), (file, ("a/.wh..",)), (file, (".wh.",))],
    "a directory above": [(directory, ("../",)), (directory, ("/..",))],
    "the same name again and again": [
        (file, ("x",)),
        (directory, ("x",)),
        (symlink, ("x", "/{}")),
        (directory, ("x",)),
        (file, ("x/new",)),
    ],
    "a device": [(device, ("sda",)), (device, (UP + "{}/sda",))],
}


def attack(name: str, outside: Path) -> bytes:
    where = str(outside).lstrip("/")
    return archive(*(make(*(word.format(where) for word in words)) for make, words in ATTACKS[name]))


# The doors: each takes an archive in and says what the engine said, status and words.


def copied_in(daemon: Daemon, content: bytes) -> tuple[int, str]:
    made = daemon.http.call("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]})
    answer = daemon.http.call("PUT", f"/containers/{made.json()['Id']}/archive?path=/", content)
    return answer.status, answer.body.decode()


def added(daemon: Daemon, content: bytes) -> tuple[int, str]:
    context = archive(file("Dockerfile", b"FROM busybox\nADD hostile.tar /\n"), file("hostile.tar", content))
    answer = daemon.http.call("POST", "/build?t=me/hostile", context, {"Content-Type": "application/x-tar"})
    return answer.status, answer.body.decode()


def as_context(daemon: Daemon, content: bytes) -> tuple[int, str]:
    with_dockerfile = archive(file("Dockerfile", b"FROM busybox\nCOPY . /copied\n"))
    # A tar ends with two blocks of zeros or more: what follows the first archive is then read as well.
    end = with_dockerfile.rstrip(b"\0")
    padded = end + bytes(-len(end) % 512)
    answer = daemon.http.call(
        "POST", "/build?t=me/hostile", padded + content, {"Content-Type": "application/x-tar"}
    )
    return answer.status, answer.body.decode()


def imported(daemon: Daemon, content: bytes) -> tuple[int, str]:
    answer = daemon.http.call("POST", "/images/create?fromSrc=-&repo=me/hostile", content)
    return answer.status, answer.body.decode()


def image_config(layer: bytes) -> bytes:
    """The configuration of an image of this one layer."""
    described = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created_by": "somebody"}],
    }
    return json.dumps(described).encode()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def loaded(daemon: Daemon, content: bytes) -> tuple[int, str]:
    encoded = image_config(content)
    name = hashlib.sha256(encoded).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": ["me/hostile:latest"], "Layers": ["layer.tar"]}]
    whole = archive(
        file(f"{name}.json", encoded),
        file("layer.tar", content),
        file("manifest.json", json.dumps(manifest).encode()),
    )
    answer = daemon.http.call("POST", "/images/load", whole)
    return answer.status, answer.body.decode()


def pulled(daemon: Daemon, content: bytes) -> tuple[int, str]:
    """From a registry that serves what it likes, with digests that are right."""
    config, layer = image_config(content), gzip.compress(content, 1, mtime=0)
    blobs = {digest(data): data for data in (config, layer)}
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": described("application/vnd.docker.container.image.v1+json", config),
        "layers": [described("application/vnd.docker.image.rootfs.diff.tar.gzip", layer)],
    }

    def respond(request: Request) -> None:
        what = request.path.rpartition("/")[2]
        if what == "latest":
            request.answer(200, json.dumps(manifest).encode(), Content_Type=kind)
        else:
            request.answer(200, blobs.get(what, b"{}"))

    with http_server(respond, netns=f"/proc/{daemon.room.pid}/ns/net") as domain:
        name = f"{domain}/me/hostile"
        answer = daemon.http.call("POST", f"/images/create?fromImage={name}&tag=latest")
        said = answer.body.decode()
        if answer.status == 200 and '"error"' not in said:
            daemon.http.call("POST", f"/images/{name}/tag?repo=me/hostile&tag=latest")
        else:
            assert daemon.http.call("GET", f"/images/{name}/json").status == 404
            assert "failed to register layer" in said
            assert digest(layer) in said, "the layer is named"
            assert not list((daemon.root / "blobs").rglob(digest(layer)[7:]))
        return answer.status, said


def described(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


DOORS = {door.__name__: door for door in (copied_in, added, as_context, imported, loaded, pulled)}


@pytest.fixture(params=["engine", "user_engine"])
def host(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    daemon: Daemon = request.getfixturevalue(request.param)
    yield daemon
    daemon.clear()


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the machine's that whoever runs an engine may write to, and a secret there."""
    with tempfile.TemporaryDirectory(prefix="outside-") as place:
        path = Path(place)
        path.chmod(0o777)
        (path / "secret").write_text("secret")
        (path / "secret").chmod(0o666)
        yield path


def untouched(outside: Path) -> bool:
    found = {path.name: (path.read_text(), path.stat().st_nlink) for path in outside.iterdir()}
    return found == {"secret": ("secret", 1)} and stat.S_IMODE(outside.stat().st_mode) == 0o777


def stored(daemon: Daemon) -> set[str]:
    """What lies about in the engine's directory outside of what its images and containers are made of."""
    return (
        {str(path) for path in (daemon.root / "tmp").rglob("*")} if (daemon.root / "tmp").exists() else set()
    )


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_lands_outside(host: Daemon, outside: Path, name: str, door: str) -> None:
    before = stored(host)
    status, said = DOORS[door](host, attack(name, outside))
    assert untouched(outside), said
    assert "Traceback" not in said
    assert stored(host) == before
    if status >= 400 or '"error"' in said:
        assert host.http.call("GET", "/images/me/hostile/json").status != 200, "half of it is stored"
        return
    # Taken in, it is harmless: a container of it sees its own files and nobody's secret.
    image = "busybox" if door == "copied_in" else "me/hostile"
    looked = host.docker("run", "--rm", "-v", "/bin/busybox:/busybox:ro", "--entrypoint", "/busybox", image,
                         "grep", "-rs", "^secret$", "/h", "/l", "/copied")  # fmt: skip
    assert looked.stdout == ""
    assert untouched(outside)


@pytest.mark.parametrize("door", DOORS)
def test_an_archive_that_stops_in_the_middle(host: Daemon, door: str) -> None:
    """Its header promises a terabyte."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        huge = tarfile.TarInfo("huge")
        huge.size = 1 << 40
        out.write(huge.tobuf(tarfile.PAX_FORMAT))
        out.write(b"x" * 5000)
        tar.offset = out.tell()
    before = stored(host)
    status, said = DOORS[door](host, out.getvalue())
    assert status >= 400 or '"error"' in said, said
    assert "Traceback" not in said
    assert stored(host) == before
    assert host.http.call("GET", "/images/me/hostile/json").status == 404


@pytest.mark.parametrize("door", ["imported", "pulled"])
def test_a_bomb_takes_no_memory(host: Daemon, door: str) -> None:
    """A hundred megabytes of zeros in a few hundred kilobytes."""
    zeros = archive(file("zeros", bytes(100 << 20)))
    memory = Path(f"/proc/{host.pid}/statm")
    pages = int(memory.read_text().split()[1])
    status, said = DOORS[door](host, zeros if door == "pulled" else gzip.compress(zeros, 1))
    assert status == 200, said
    assert '"error"' not in said
    grown = (int(memory.read_text().split()[1]) - pages) * os.sysconf("SC_PAGE_SIZE")
    assert grown < 50 << 20


def test_links_that_are_swapped_while_files_are_copied(host: Daemon, outside: Path) -> None:
    """A program in the container turns a directory into a link to the machine's and back all the time."""
    swap = f"while :; do rm -rf /a/d; mkdir -p /a/d; rm -rf /a/d; ln -s {outside} /a/d; done"
    host.docker("run", "-d", "--name", "swapper", "busybox", "sh", "-c", swap)
    content = archive(file("new"))
    seen: list[bytes] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            for path in ("/a/d/secret", "/a/d"):
                answer = host.http.call("GET", f"/containers/swapper/archive?path={path}")
                seen.append(answer.body)

    reader = threading.Thread(target=read)
    reader.start()
    statuses = set()
    for _ in wait_until(4, 0):
        answer = host.http.call("PUT", "/containers/swapper/archive?path=/a/d", content)
        statuses.add(answer.status)
        assert answer.status in (200, 404, 409), answer.body
        assert untouched(outside)
    ended.set()
    reader.join()
    assert statuses >= {200, 404}, "it was seen as a directory, and as a link to what the container has not"
    assert not any(b"secret\0" in body[512:] for body in seen)
    assert host.http.call("GET", "/_ping").status == 200
