"""The image the tests start from: a busybox as a `docker save` archive, with one id for every engine."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

BUSYBOX = "busybox:latest"
_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "nobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nwheel:x:10:root\nnobody:x:65534:\n",
}


@cache
def busybox_archive() -> bytes:
    """The archive to load; made from the machine's static busybox."""
    layer = busybox_layer()
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = {
        "architecture": subprocess.run(
            ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
        ).stdout.strip(),
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["sh"],
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [
            {"created": "2024-01-01T00:00:00Z", "created_by": "busybox of the machine", "comment": "test"}
        ],
    }
    encoded = json.dumps(config, sort_keys=True).encode()
    name = hashlib.sha256(encoded).hexdigest()
    manifest = [{"Config": f"{name}.json", "RepoTags": [BUSYBOX], "Layers": ["layer/layer.tar"]}]
    return _tar(
        {f"{name}.json": encoded, "layer/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    )


def busybox_layer() -> bytes:
    """The image's only layer: a tar of the root file system."""
    program = Path(shutil.which("busybox", path="/bin:/usr/bin") or "busybox-static is not installed")
    applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in {"bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755}.items():
            _add(tar, name, tarfile.DIRTYPE, mode)
        for name, mode in {"root": 0o700, "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "var": 0o755}.items():
            _add(tar, name, tarfile.DIRTYPE, mode)
        _add(tar, "bin/busybox", tarfile.REGTYPE, 0o755, program.read_bytes())
        for applet in sorted(set(applets) - {"busybox"}):
            _add(tar, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        for name, text in _ETC.items():
            _add(tar, name, tarfile.REGTYPE, 0o644, text.encode())
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, kind: bytes, mode: int, data: bytes = b"", link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size, member.linkname = kind, mode, len(data), link
    member.mtime = 1704067200
    tar.addfile(member, io.BytesIO(data))


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            _add(tar, name, tarfile.REGTYPE, 0o644, data)
    return out.getvalue()
