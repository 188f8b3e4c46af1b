"""One Dockerfile and context built by us and by dockerd, and what is compared of the two."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import posixpath
import re
import tarfile
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

from labkernel.engine.image.images import Image
from tests.engine.build.conftest import Files, Workshop, context_tar, member
from tests.support.daemons import Daemon

DIRECTORY, SYMLINK = tarfile.DIRTYPE, tarfile.SYMTYPE


@dataclass(frozen=True)
class Case:
    dockerfile: str
    files: Files = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def archive() -> bytes:
    """A tar with owners, modes and times of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, mode, owner in (
            ("in", DIRECTORY, 0o750, 5),
            ("in/file", tarfile.REGTYPE, 0o4711, 6),
            ("link", SYMLINK, 0o777, 7),
            ("deep/er/file", tarfile.REGTYPE, 0o600, 8),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = kind, mode, 1_400_000_000
            entry.uid, entry.gid = owner, owner + 1
            data = b"unpacked\n" if kind == tarfile.REGTYPE else b""
            entry.size, entry.linkname = len(data), "in/file" if kind == SYMLINK else ""
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


TREE: Files = {
    "a.txt": "a\n",
    "b.txt": "b\n",
    "dir": member(DIRECTORY, mode=0o700, uid=3, gid=4),
    "dir/one": "1\n",
    "dir/sub": member(DIRECTORY, mode=0o1777),
    "dir/sub/two": "2\n",
    "dir/link": member(SYMLINK, target="../a.txt"),
    "dir/away": member(SYMLINK, target="/etc/passwd"),
    "link": member(SYMLINK, target="dir/one"),
    "dirlink": member(SYMLINK, target="dir"),
    "empty": member(DIRECTORY),
}

# --- dockerd


def messages(dockerd: Daemon, case: Case, **parameters: Any) -> list[dict[str, Any]]:
    options = case.options
    query: dict[str, Any] = {
        "buildargs": json.dumps(options.get("build_args", {})),
        "labels": json.dumps(options.get("labels", {})),
        "target": options.get("target", ""),
        "rm": 1,
        "t": "".join(options.get("tags", [])),
        **({"nocache": 1} if parameters.get("nocache") else {}),
    }
    tar = context_tar({"Dockerfile": case.dockerfile, **case.files})
    answer = dockerd.http.call(
        "POST", f"/v1.41/build?{urlencode(query)}", tar, {"Content-Type": "application/x-tar"}
    )
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json_lines()
    return found


def build_with(dockerd: Daemon, case: Case) -> str:
    return image_id(messages(dockerd, case))


def image_id(found: list[dict[str, Any]]) -> str:
    assert "error" not in found[-1], found[-1]
    last: str = [message["aux"]["ID"] for message in found if "aux" in message][-1]
    return last


class Saved(NamedTuple):
    config: dict[str, Any]
    layers: list[dict[str, str]]


def saved(dockerd: Daemon, image_id: str) -> Saved:
    answer = dockerd.http.call("GET", f"/images/{image_id}/get")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        manifest = json.loads(read(tar, "manifest.json"))[0]
        return Saved(
            json.loads(read(tar, manifest["Config"])),
            [layer_files(read(tar, name)) for name in manifest["Layers"]],
        )


def read(tar: tarfile.TarFile, name: str) -> bytes:
    """dockerd stores a layer that occurs twice as a link to the first."""
    found = tar.getmember(name)
    if found.issym():
        found = tar.getmember(posixpath.normpath(posixpath.join(posixpath.dirname(name), found.linkname)))
    stream = tar.extractfile(found)
    assert stream
    return stream.read()


# --- what is compared


def differences(ours: Any, theirs: Any) -> list[str]:
    """The lines in which two JSON values differ: `-` ours, `+` theirs."""
    our_page, their_page = (
        json.dumps(value, sort_keys=True, indent=1).splitlines() for value in (ours, theirs)
    )
    return [line for line in difflib.ndiff(our_page, their_page) if line.startswith(("-", "+"))]


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Configuration and history without what names a moment, a machine's ids, or the way files are hashed."""
    config = {**document["config"], "Image": ""}
    history = [
        {
            **{key: value for key, value in entry.items() if key != "created"},
            "created_by": re.sub(
                r"((?:file|dir|multi):|ADD |:\d)[0-9a-f]{64}", r"\1HASH", entry.get("created_by", "")
            ),
        }
        for entry in document["history"]
    ]
    kept = {key: document.get(key) for key in ("architecture", "os", "author")}
    return {"config": config, "history": history, **kept}


def layers_of(workshop: Workshop, image: Image) -> list[dict[str, str]]:
    found = []
    for layer in workshop.images.layers(image):
        out = io.BytesIO()
        workshop.store.layers.pack(layer, out)
        found.append(layer_files(out.getvalue()))
    return found


def layer_files(tar_bytes: bytes) -> dict[str, str]:
    """Every entry by name. Times only where they are older than this test: those were copied."""
    found: dict[str, str] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        for entry in tar:
            name = entry.name.rstrip("/")
            stream = tar.extractfile(entry) if entry.isfile() or entry.islnk() else None
            content = hashlib.sha256(stream.read()).hexdigest()[:12] if stream else ""
            if entry.islnk():
                links[name] = entry.linkname
            kind = "0" if entry.islnk() else entry.type.decode()
            mode = "" if entry.issym() else oct(entry.mode & 0o7777)
            target = entry.linkname if entry.issym() else ""
            time = int(entry.mtime) if entry.mtime < 1_650_000_000 else "now"
            if posixpath.basename(name).startswith(".wh."):
                found[name] = "whiteout"
                continue
            device = f" {entry.devmajor},{entry.devminor}" if entry.ischr() or entry.isblk() else ""
            attributes = "".join(
                f" {key.removeprefix('SCHILY.xattr.')}={value!r}"
                for key, value in sorted(entry.pax_headers.items())
                if key.startswith("SCHILY.xattr.")
            )
            found[name] = (
                f"{kind} {mode} {entry.uid}:{entry.gid} {time} {content}{target}{device}{attributes}"
            )
    for name, target in links.items():
        # Which of the names is the link depends on the order alone.
        group = " = ".join(sorted({name, target}))
        found[name] += f" ({group})"
        found[target] += f" ({group})"
    return found


def normal(message: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(message)
    text = re.sub(r"sha256:[0-9a-f]{64}", "sha256:ID", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "ID", text)
    changed: dict[str, Any] = json.loads(text)
    return changed
