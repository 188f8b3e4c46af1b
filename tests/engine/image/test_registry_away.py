"""Pull and push while the registry is killed in the middle and comes back; spoiled bytes; mounts; mirrors."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.distribution import manifests
from labkernel.engine.distribution.manifests import Descriptor
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.distribution.settings import RegistrySettings
from labkernel.engine.distribution.upload import Upload
from labkernel.engine.errors import System, Unavailable
from labkernel.engine.image import config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.reference import parse_reference
from labkernel.engine.image.registries import Registries
from tests.engine.distribution.gate import Direction, gate
from tests.engine.distribution.servers import RegistryProcess, Request, http_server
from tests.engine.image.conftest import Tree

SIZE = 3 << 20


@pytest.fixture(params=["debian", "ours"])
def process(request: pytest.FixtureRequest) -> Iterator[RegistryProcess]:
    with tempfile.TemporaryDirectory() as directory:
        process = RegistryProcess(Path(directory), ours=request.param == "ours")
        yield process
        process.stop()


@pytest.fixture
def web(images: Images, tree: Tree) -> Image:
    """Three layers of what cannot be compressed."""
    chain, diff_ids = None, []
    for _ in range(3):
        layer = images.store.layers.adopt(tree({"file": os.urandom(SIZE).hex()}), chain)
        chain, diff_ids = layer.chain_id, [*diff_ids, layer.diff_id]
    history = [config.history_entry("COPY file") for _ in diff_ids]
    image = images.create(config.new_config(diff_ids=diff_ids, history=history))
    images.tag(image.id, parse_reference("me/web:v1"))
    return image


def push(images: Images, image: Image, name: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    reference = parse_reference(name)
    asyncio.run(Registries(images).push([(image, str(reference.tag))], reference, messages.append))
    return messages


def pull(images: Images, name: str, **settings: Any) -> tuple[Image, list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []
    registries = Registries(images, RegistrySettings.of(**settings) if settings else None)
    return asyncio.run(registries.pull(parse_reference(name), messages.append)), messages


def killed_meanwhile(
    process: RegistryProcess, direction: Direction, limit: int, work: Callable[[str], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Do `work`, through a gate, and kill the registry once so many bytes have passed; it comes back."""
    with gate(process.domain, direction, limit) as way:

        def kill() -> None:
            if way.closed.wait(60):
                process.kill()
                way.open()
                process.start()

        killer = threading.Thread(target=kill)
        killer.start()
        messages = work(way.domain)
        killer.join()
        assert way.closed.is_set()
    return messages


def test_a_pull_survives_the_registry(
    process: RegistryProcess, images: Images, web: Image, other: Images
) -> None:
    push(images, web, f"{process.domain}/me/web:v1")
    pulled: list[Image] = []

    def work(domain: str) -> list[dict[str, Any]]:
        image, messages = pull(other, f"{domain}/me/web:v1")
        pulled.append(image)
        return messages

    messages = killed_meanwhile(process, "from the registry", SIZE, work)
    assert pulled[0].id == web.id
    assert any(message["status"].startswith("Retrying in ") for message in messages)
    # Nothing was fetched twice that was there.
    done: dict[str, int] = {}
    for message in messages:
        if message["status"] == "Downloading":
            current = message["progressDetail"]["current"]
            assert current >= done.get(message["id"], 0)
            done[message["id"]] = current


def test_a_push_survives_the_registry(
    process: RegistryProcess, images: Images, web: Image, other: Images
) -> None:
    def work(domain: str) -> list[dict[str, Any]]:
        return push(images, web, f"{domain}/me/web:v1")

    messages = killed_meanwhile(process, "to the registry", SIZE, work)
    assert any(message.get("status", "").startswith("Retrying in ") for message in messages)
    digest = messages[-1]["aux"]["Digest"]
    assert pull(other, f"{process.domain}/me/web@{digest}")[0].id == web.id


def test_a_registry_that_does_not_come_back(
    process: RegistryProcess, images: Images, web: Image, other: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labkernel.engine.distribution.retry.DELAYS", (0.1, 0.2))
    push(images, web, f"{process.domain}/me/web:v1")
    with gate(process.domain, "from the registry", SIZE) as way:

        def kill() -> None:
            if way.closed.wait(60):
                process.kill()
                way.open()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(Unavailable):
            pull(other, f"{way.domain}/me/web:v1")
        killer.join()
    assert nothing_is_stored(other)


def nothing_is_stored(images: Images) -> bool:
    root = images.store.root
    places = ("layers", "tmp", "blobs/sha256")
    return images.list() == [] and not any(any((root / place).iterdir()) for place in places)


def test_a_wrong_byte(process: RegistryProcess, images: Images, web: Image, other: Images) -> None:
    """In the last layer: those before it are good, and not kept."""
    push(images, web, f"{process.domain}/me/web:v1")
    manifest = manifests.parse(
        subprocess.check_output(
            ["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{process.domain}/me/web:v1"]
        )
    )
    assert isinstance(manifest, manifests.Manifest)
    digest = manifest.layers[-1].digest
    (file,) = [
        path
        for path in process.directory.rglob("*")
        if digest[7:] in str(path) and path.stat().st_size > SIZE
    ]
    with file.open("r+b") as spoiled:
        spoiled.seek(SIZE // 2)
        byte = spoiled.read(1)
        spoiled.seek(SIZE // 2)
        spoiled.write(bytes([byte[0] ^ 1]))
    with pytest.raises(System, match=f"filesystem layer verification failed for digest {digest}"):
        pull(other, f"{process.domain}/me/web:v1")
    assert nothing_is_stored(other)


def test_mounted_from_another_repository(process: RegistryProcess, images: Images, web: Image) -> None:
    first = push(images, web, f"{process.domain}/me/web:v1")
    messages = push(images, web, f"{process.domain}/others/web:v1")
    mounted = [message for message in messages if message.get("status") == "Mounted from me/web"]
    assert len(mounted) == 3
    assert messages[-1]["aux"] == first[-1]["aux"]


def test_what_was_pulled_is_mounted_too(
    process: RegistryProcess, images: Images, web: Image, other: Images
) -> None:
    digest = push(images, web, f"{process.domain}/me/web:v1")[-1]["aux"]["Digest"]
    image, _ = pull(other, f"{process.domain}/me/web:v1")
    messages = push(other, image, f"{process.domain}/my/web:v1")
    assert [m["status"] for m in messages if "Mounted" in m.get("status", "")] == ["Mounted from me/web"] * 3
    assert messages[-1]["aux"]["Digest"] == digest


def test_whose_word_counts(process: RegistryProcess, images: Images, web: Image, other: Images) -> None:
    """Somebody's manifest that names the same image with other layers is no reason to push those."""
    push(images, web, f"{process.domain}/me/web:v1")
    theirs = Registry(process.domain, "evil/web", familiar_name="evil/web", actions="pull,push")
    good, _ = Registry(process.domain, "me/web", familiar_name="x").manifest("v1")
    parsed = manifests.parse(good)
    assert isinstance(parsed, manifests.Manifest)
    wrong = []
    for number in range(len(parsed.layers)):
        data = b"wrong" * (number + 1)
        blob = Descriptor(parsed.layers[0].media_type, manifests.digest(data), len(data))
        Upload(theirs, blob, io.BytesIO(data), lambda _: None).run()
        wrong.append(blob)
    assert theirs.mount(parsed.config.digest, "me/web")
    theirs.put_manifest("v1", manifests.docker_manifest(parsed.config, wrong), manifests.DOCKER_MANIFEST)
    pull(other, f"{process.domain}/me/web:v1")
    pull(other, f"{process.domain}/evil/web:v1")
    push(other, other.get(web.id), f"{process.domain}/mine/web:v1")
    mine, _ = Registry(process.domain, "mine/web", familiar_name="x").manifest("v1")
    assert mine == good


def test_a_registry_that_forgot(process: RegistryProcess, images: Images, web: Image, other: Images) -> None:
    """What was pushed there once is pushed again when it is no more."""
    name = f"{process.domain}/me/web:v1"
    push(images, web, name)
    process.stop()
    subprocess.run(["rm", "-r", process.directory / "data"], check=True)
    process.start()
    messages = push(images, web, name)
    assert len([message for message in messages if message.get("status") == "Pushed"]) == 3
    assert pull(other, name)[0].id == web.id


def test_mirrors_come_first(process: RegistryProcess, images: Images, web: Image, other: Images) -> None:
    push(images, web, f"{process.domain}/library/web:v1")
    asked: list[str] = []

    def respond(request: Request) -> None:
        asked.append(request.path)
        request.answer(200 if request.path == "/v2/" else 404)

    with http_server(respond) as empty:
        mirrors = [f"http://{empty}", f"http://{process.domain}"]
        image, messages = pull(other, "web:v1", mirrors=mirrors, insecure=[])
    assert image.id == web.id
    assert asked == ["/v2/", "/v2/library/web/manifests/v1"]
    assert messages[0] == {"status": "Pulling from library/web", "id": "v1"}
    assert other.summary(image)["RepoTags"] == ["web:v1"]
