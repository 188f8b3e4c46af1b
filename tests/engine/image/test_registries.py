"""Images to a registry and back, with skopeo as a witness."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.distribution import manifests
from labkernel.engine.errors import EngineError, InvalidParameter, NotFound, Unavailable
from labkernel.engine.image import config
from labkernel.engine.image.images import Image, Images
from labkernel.engine.image.platforms import check_platform, own_platform, parse_platform
from labkernel.engine.image.reference import parse_reference
from labkernel.engine.image.registries import Registries
from tests.engine.distribution.servers import Request, free_port, http_server, open_registry
from tests.engine.image.conftest import Tree
from tests.engine.image.test_images import make


@pytest.fixture(scope="module", params=["debian", "ours"])
def registry(request: pytest.FixtureRequest) -> Iterator[str]:
    """A registry that is open to everybody: Debian's, and ours."""
    with open_registry(request.param) as domain:
        yield domain


@pytest.fixture
def web(images: Images, tree: Tree) -> Image:
    base = make(images, tree, "1" * 1000, "me/base")
    return make(images, tree, "2", "me/web:v1", base)


def push(images: Images, image: Image, name: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    reference = parse_reference(name).with_default_tag()
    asyncio.run(Registries(images).push([(image, str(reference.tag))], reference, messages.append))
    return messages


def pull(images: Images, name: str, platform: str = "") -> tuple[Image, list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []
    image = asyncio.run(Registries(images).pull(parse_reference(name), messages.append, platform=platform))
    return image, messages


def skopeo(*args: str) -> str:
    ended = subprocess.run(["skopeo", *args], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_there_and_back(images: Images, web: Image, other: Images, registry: str) -> None:
    name = f"{registry}/me/web:v1"
    messages = push(images, web, name)
    assert messages[0] == {"status": f"The push refers to repository [{registry}/me/web]"}
    digest = messages[-1]["aux"]["Digest"]
    assert images.summary(web)["RepoDigests"] == [f"{registry}/me/web@{digest}"]

    image, messages = pull(other, name)
    assert image.id == web.id
    assert messages[-1] == {"status": f"Status: Downloaded newer image for {name}"}
    assert other.summary(image)["RepoTags"] == [name]
    assert other.summary(image)["RepoDigests"] == [f"{registry}/me/web@{digest}"]
    assert [layer.diff_id for layer in other.layers(image)] == config.diff_ids(web.config)
    assert [layer.size for layer in other.layers(image)] == [layer.size for layer in images.layers(web)]
    assert pull(other, name)[1][-1] == {"status": f"Status: Image is up to date for {name}"}

    # What came as gzip goes on as it came: the digest stays.
    again = push(other, image, f"{registry}/me/copy:v1")
    assert again[-1]["aux"]["Digest"] == digest
    assert pull(other, f"{registry}/me/web@{digest}")[0].id == web.id


def test_what_a_name_stands_for(images: Images, web: Image, registry: str) -> None:
    name = f"{registry}/me/described:v1"
    push(images, web, name)
    found = asyncio.run(Registries(images).describe(parse_reference(name), None))
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert found["Descriptor"]["digest"] == seen["Digest"]
    assert found["Descriptor"]["mediaType"] == manifests.DOCKER_MANIFEST
    assert found["Platforms"] == [{"architecture": seen["Architecture"], "os": seen["Os"]}]
    with pytest.raises(NotFound):
        asyncio.run(Registries(images).describe(parse_reference(f"{registry}/me/described:v2"), None))


def test_skopeo_agrees(images: Images, web: Image, other: Images, registry: str, place: Path) -> None:
    push(images, web, f"{registry}/skopeo/web:v1")
    source = f"docker://{registry}/skopeo/web:v1"
    assert json.loads(skopeo("inspect", "--tls-verify=false", "--config", "--raw", source)) == web.config
    skopeo("copy", "--tls-verify=false", source, f"oci:{place}/layout:v1")
    target = f"docker://{registry}/skopeo/oci:v1"
    for compression in ("gzip", "zstd"):
        options = ["--dest-tls-verify=false", "--dest-compress-format", compression]
        skopeo("copy", *options, f"oci:{place}/layout:v1", target)
        image, _ = pull(other, f"{registry}/skopeo/oci:v1")
        assert config.diff_ids(image.config) == config.diff_ids(web.config)
        other.delete(image.id, lambda image_id: [], force=True)
        assert other.store.blobs.digests() == []


def test_layers_that_are_here_are_not_fetched(
    images: Images, web: Image, other: Images, registry: str, tree: Tree
) -> None:
    push(images, web, f"{registry}/part/web:v1")
    push(images, images.resolve("me/base"), f"{registry}/part/base:v1")
    pull(other, f"{registry}/part/base:v1")
    _, messages = pull(other, f"{registry}/part/web:v1")
    statuses = [message["status"] for message in messages]
    assert statuses.count("Already exists") == 1
    assert statuses.count("Pulling fs layer") == 1


def test_a_layer_that_is_not_what_the_configuration_says(other: Images, registry: str, place: Path) -> None:
    """The blobs have the digests of the manifest, but the layer is none of the image's."""
    layer = b"not a tar of that digest"
    image = json.dumps({"rootfs": {"diff_ids": ["sha256:" + "0" * 64]}}).encode()
    blobs = {manifests.digest(data): data for data in (layer, image)}
    described = [manifests.Descriptor("", digest, len(data)) for digest, data in blobs.items()]
    manifest = manifests.docker_manifest(described[1], described[:1])

    def respond(request: Request) -> None:
        digest = request.path.rpartition("/")[2]
        request.answer(200, blobs.get(digest, manifest))

    with http_server(respond) as domain, pytest.raises(InvalidParameter, match="invalid tar archive"):
        pull(other, f"{domain}/x:v1")
    root = other.store.root
    assert not any(list((root / name).iterdir()) for name in ("layers", "tmp", "blobs/sha256"))
    assert other.list() == []


def test_refusals(images: Images, web: Image, registry: str) -> None:
    with pytest.raises(NotFound, match=r"manifest for .* not found"):
        pull(images, f"{registry}/me/web:nowhere")
    with pytest.raises(Unavailable):
        pull(images, f"127.0.0.1:{free_port()}/me/web:v1")
    with pytest.raises(EngineError, match="cannot parse platform specifier"):
        pull(images, f"{registry}/me/web:v1", platform="linux/../x")


def test_cancelling(other: Images) -> None:
    """The client goes away in the middle: the request's thread ends soon after."""
    asked, gone = threading.Event(), threading.Event()

    def respond(request: Request) -> None:
        if request.path == "/v2/":
            request.answer(200)
            return
        asked.set()
        gone.wait(10)
        request.answer(404)

    async def pull_and_cancel(domain: str) -> None:
        task = asyncio.ensure_future(
            Registries(other).pull(parse_reference(f"{domain}/x:v1"), lambda _: None)
        )
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gone.set()

    with http_server(respond) as domain:
        asyncio.run(pull_and_cancel(domain))
    assert other.list() == []


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("", own_platform()),
        ("linux", own_platform()),
        ("arm64", ("linux", "arm64", None)),
        ("linux/arm/v7", ("linux", "arm", "v7")),
        ("windows/amd64", ("windows", "amd64", None)),
        ("windows", own_platform()._replace(os="windows")),
        ("Linux/AArch64", ("linux", "arm64", None)),
    ],
)
def test_platforms(text: str, platform: tuple[str, ...]) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", '"nonsense": unknown operating system or architecture: invalid argument'),
        ("linux/a/b/c", '"linux/a/b/c": cannot parse platform specifier: invalid argument'),
        ("linux/", '"linux/": cannot parse platform specifier: invalid argument'),
    ],
)
def test_no_platforms(text: str, said: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        parse_platform(text)
    assert error.value.message == said


@pytest.mark.parametrize(
    ("image", "wanted", "fits"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/arm64", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64", "", True),
        ("linux", "linux/arm64", True),
    ],
)
def test_whether_an_image_fits_a_platform(image: str, wanted: str, fits: bool) -> None:
    document = dict(zip(("os", "architecture", "variant"), image.split("/"), strict=False))
    if fits:
        check_platform("one", document, wanted)
    else:
        with pytest.raises(NotFound) as error:
            check_platform("one", document, wanted)
        assert error.value.message == (
            "image with reference one was found but does not match the specified platform: "
            f"wanted {wanted}, actual: {image}"
        )
