"""Registries: one that is open and one that asks for a password, in the daemon's own network."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.differential.recorder import Recorder, json_body
from tests.engine.distribution.servers import HTPASSWD, PASSWORD, USER, RegistryProcess

_NOBODY = {"X_Registry_Auth": "e30="}
_NOWHERE = "sha256:" + "0" * 64


def _auth(**fields: str) -> dict[str, str]:
    return {"X_Registry_Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}


@contextmanager
def _registry(api: Recorder, *, password: bool = False, ours: bool = False) -> Iterator[RegistryProcess]:
    """Known as `<registry>`."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "htpasswd").write_text(HTPASSWD)
        auth = f"auth: {{htpasswd: {{realm: classroom, path: {directory}/htpasswd}}}}" if password else ""
        process = RegistryProcess(Path(directory), auth, ours=ours, inside=api.daemon.room.inside)
        api.know(process.domain, "registry")
        try:
            yield process
        finally:
            process.stop()


def _messages(body: bytes) -> list[Any]:
    """A stream's messages without progress, which nobody can foresee. Each engine compresses in its own way,
    so its digests and sizes are left out."""
    found = json_body(body)
    messages = found if isinstance(found, list) else [found]
    seen = []
    for message in messages:
        if message.get("progressDetail") and "total" in message["progressDetail"]:
            continue
        if "aux" in message:
            message = {"aux": sorted(message["aux"])}
        elif ": digest: " in message.get("status", ""):
            message = {"status": message["status"].partition(" digest: ")[0]}
        elif "Verifying Checksum" in message.get("status", ""):
            continue  # dockerd tells it now and then only
        seen.append(message)
    return seen


def _tag(api: Recorder, domain: str, repository: str, tag: str) -> str:
    name = f"{domain}/{repository}"
    api.need("POST", f"/images/busybox/tag?repo={name}&tag={tag}")
    return name


def there_and_back(api: Recorder) -> None:
    for ours in (False, True):
        which = "ours" if ours else "Debian's"
        with _registry(api, ours=ours) as process:
            name = _tag(api, process.domain, "me/web", "v1")
            api.post(f"push to {which}", f"/images/{name}/push?tag=v1", read=_messages, **_NOBODY)
            api.post(f"push again to {which}", f"/images/{name}/push?tag=v1", read=_messages, **_NOBODY)
            other = _tag(api, process.domain, "others/web", "v2")
            api.post(f"mount in {which}", f"/images/{other}/push?tag=v2", read=_messages, **_NOBODY)
            _tag(api, process.domain, "me/web", "v3")
            api.post(f"push all tags to {which}", f"/images/{name}/push", read=_messages, **_NOBODY)
            for tag in ("v1", "v3"):
                api.need("DELETE", f"/images/{name}:{tag}")
            api.post(f"pull from {which}", f"/images/create?fromImage={name}&tag=v1", read=_messages)
            api.post(f"pull again from {which}", f"/images/create?fromImage={name}&tag=v1", read=_messages)
            api.post(f"pull all tags from {which}", f"/images/create?fromImage={name}", read=_messages)
            api.get(f"distribution of {which}", f"/distribution/{name}:v1/json", read=_described)


def _described(body: bytes) -> Any:
    found = json_body(body)
    del found["Descriptor"]["digest"]
    return found


def layers(api: Recorder) -> None:
    """An image that is not there at all."""
    with _registry(api) as process:
        name = _tag(api, process.domain, "me/web", "v1")
        api.need("POST", f"/images/{name}/push?tag=v1", **_NOBODY)
        api.need("DELETE", f"/images/{name}:v1")
        api.need("DELETE", "/images/busybox?force=1")
        api.post("pull", f"/images/create?fromImage={name}&tag=v1", read=_messages)


def what_is_not_there(api: Recorder) -> None:
    with _registry(api) as process:
        name = _tag(api, process.domain, "me/web", "v1")
        api.need("POST", f"/images/{name}/push?tag=v1", **_NOBODY)
        api.post("unknown tag", f"/images/create?fromImage={name}&tag=none")
        api.post("unknown digest", f"/images/create?fromImage={name}&tag={_NOWHERE}")
        api.post("unknown repository", f"/images/create?fromImage={process.domain}/none&tag=v1")
        api.post("all tags of an unknown repository", f"/images/create?fromImage={process.domain}/none")
        api.post("push what is not here", f"/images/{process.domain}/none/push?tag=v1", **_NOBODY)
        api.post("push no tag that is here", f"/images/{process.domain}/none/push", **_NOBODY)
        api.post("push a digest", f"/images/{name}@{_NOWHERE}/push", **_NOBODY)
        api.get("distribution of an unknown tag", f"/distribution/{name}:none/json")
        api.get("distribution of no name", "/distribution/UPPER/json")


def who_may_come_in(api: Recorder) -> None:
    good = {"username": USER, "password": PASSWORD}
    with _registry(api, password=True) as process:
        name = _tag(api, process.domain, "me/web", "v1")
        login = {"serveraddress": process.domain}
        api.post("log in", "/auth", {**good, **login})
        api.post("log in by address", "/auth", {**good, "serveraddress": f"http://{process.domain}/v2/"})
        api.post("wrong password", "/auth", {**good, **login, "password": "wrong"})
        api.post("push as nobody", f"/images/{name}/push?tag=v1", **_NOBODY)
        api.post(
            "push with a wrong password", f"/images/{name}/push?tag=v1", **_auth(username="x", password="y")
        )
        api.post("push", f"/images/{name}/push?tag=v1", read=_messages, **_auth(**good))
        api.post("pull as nobody", f"/images/create?fromImage={name}&tag=v1")
        api.post(
            "pull with a wrong password",
            f"/images/create?fromImage={name}&tag=v1",
            **_auth(username="x", password="y"),
        )
        api.post("pull", f"/images/create?fromImage={name}&tag=v1", read=_messages, **_auth(**good))
        api.get("distribution as nobody", f"/distribution/{name}:v1/json")
        api.post("a header that is none", f"/images/create?fromImage={name}&tag=v1", X_Registry_Auth="!")


def what_is_no_registry(api: Recorder) -> None:
    api.know("127.0.0.1:1", "nobody")
    api.post("nobody listens", "/images/create?fromImage=127.0.0.1:1/x&tag=v1")
    api.post("log in to nobody", "/auth", {"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"})
    command = ["python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "8000"]
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [*api.daemon.room.inside, *command],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert server.stdout
            server.stdout.readline()
            api.post("a web server", "/images/create?fromImage=127.0.0.1:8000/x&tag=v1")
            api.get("distribution of a web server", "/distribution/127.0.0.1:8000/x/json")
        finally:
            server.kill()
            server.wait()


def wrong_bytes(api: Recorder) -> None:
    with _registry(api, ours=True) as process:
        name = _tag(api, process.domain, "me/web", "v1")
        api.need("POST", f"/images/{name}/push?tag=v1", **_NOBODY)
        api.need("DELETE", f"/images/{name}:v1")
        api.need("DELETE", "/images/busybox?force=1")
        for file in (process.directory / "data" / "blobs" / "sha256").iterdir():
            if file.stat().st_size > 1 << 16:  # the layer, not the configuration
                data = file.read_bytes()
                file.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
        api.post("wrong byte in a layer", f"/images/create?fromImage={name}&tag=v1", read=_messages)
        api.get("nothing is stored", "/images/json")


def searched(api: Recorder) -> None:
    api.get("too many", "/images/search?term=busybox&limit=101")
    api.get("filter that is none", '/images/search?term=busybox&filters={"x":["y"]}')
    api.get("with a scheme", "/images/search?term=https://x/y")
    for limit in ("0", "-1", "x"):
        api.get(f"limit {limit}", f"/images/search?term=https://x/y&limit={limit}")
    for wanted in ({"stars": ["many"]}, {"is-official": ["perhaps"]}, {"is-automated": ["perhaps"]}):
        api.get(
            f"filter {wanted}", f"/images/search?term=busybox&filters={json.dumps(wanted)}".replace(" ", "")
        )
