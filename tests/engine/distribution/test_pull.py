"""Pulling: order, messages, and registries that break off, lie, or send what was not asked for."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from labkernel.engine.distribution import manifests, pull
from labkernel.engine.distribution.manifests import Descriptor, Platform
from labkernel.engine.distribution.messages import short
from labkernel.engine.distribution.progress import Stopped
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.errors import EngineError, InvalidParameter, NotFound, System, Unavailable
from tests.engine.distribution.conftest import MemorySink
from tests.engine.distribution.servers import Request, http_server

AMD64 = Platform("linux", "amd64")
LAYERS = [b"first layer" * 50_000, b"second layer" * 50_000, b"first layer" * 50_000]


class Served:
    """An image on a scripted registry. `blobs` and `manifests` may be changed; `intercept` answers first."""

    def __init__(self) -> None:
        self.diff_ids = [manifests.digest(b"plain " + layer) for layer in LAYERS]
        config = json.dumps({"rootfs": {"diff_ids": self.diff_ids}}).encode()
        self.blobs = {manifests.digest(data): data for data in [config, *LAYERS]}
        self.config = self.descriptor(config)
        self.layers = [self.descriptor(layer) for layer in LAYERS]
        self.manifest = manifests.docker_manifest(self.config, self.layers)
        self.manifests = {"v1": self.manifest, manifests.digest(self.manifest): self.manifest}
        self.intercept: Callable[[Request], bool] = lambda request: False
        self.requests: list[tuple[str, str | None]] = []

    @staticmethod
    def descriptor(data: bytes) -> Descriptor:
        return Descriptor("", manifests.digest(data), len(data))

    def respond(self, request: Request) -> None:
        self.requests.append((request.path, request.headers.get("Range")))
        if self.intercept(request):
            return
        kind, _, name = request.path.removeprefix("/v2/me/web/").partition("/")
        found = {"blobs": self.blobs, "manifests": self.manifests}.get(kind, {}).get(name)
        if request.path == "/v2/":
            request.answer(200)
        elif found is None:
            request.answer(404)
        elif start := (request.headers.get("Range") or "")[len("bytes=") : -1]:
            request.answer(206, found[int(start) :])
        else:
            request.answer(200, found)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    with http_server(served.respond) as domain:
        served.domain = domain  # type: ignore[attr-defined]
        yield served


def pulled(
    served: Served, sink: MemorySink, stop: threading.Event, selector: str = "v1"
) -> tuple[pull.Pulled, list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []
    registry = Registry(served.domain, "me/web", familiar_name="me/web")  # type: ignore[attr-defined]
    return pull.pull(registry, selector, AMD64, sink, messages.append, stop), messages


def test_everything_arrives(served: Served, sink: MemorySink, stop: threading.Event) -> None:
    result, messages = pulled(served, sink, stop)
    assert result == (served.config.digest, manifests.digest(served.manifest), True)
    assert [sink.layers[tuple(served.diff_ids[: n + 1])] for n in range(3)] == LAYERS
    assert sink.images == [served.blobs[served.config.digest]]
    assert messages[0] == {"status": "Pulling from me/web", "id": "v1"}
    assert messages[-1] == {"status": f"Digest: {manifests.digest(served.manifest)}"}
    first = [message["status"] for message in messages if message.get("id") == short(served.layers[0].digest)]
    steps = list(dict.fromkeys(first))
    assert steps[0] == "Pulling fs layer"
    assert [step for step in steps if step not in ("Pulling fs layer", "Downloading", "Extracting")] == [
        "Verifying Checksum",
        "Download complete",
        "Pull complete",
    ]
    # The layer that comes twice was fetched once.
    fetched = [path for path, _ in served.requests if path.endswith(served.layers[0].digest)]
    assert len(fetched) == 1


def test_by_digest(served: Served, sink: MemorySink, stop: threading.Event) -> None:
    result, _ = pulled(served, sink, stop, manifests.digest(served.manifest))
    assert result.image_id == served.config.digest


def test_layers_that_are_there_are_not_fetched(
    served: Served, sink: MemorySink, stop: threading.Event
) -> None:
    sink.layers[tuple(served.diff_ids[:1])] = b"stored before"
    _, messages = pulled(served, sink, stop)
    statuses = [message["status"] for message in messages]
    assert statuses[1] == "Already exists"
    assert statuses.count("Already exists") == 1
    assert sink.layers[tuple(served.diff_ids[:1])] == b"stored before"


def test_through_an_index(served: Served, sink: MemorySink, stop: threading.Event) -> None:
    entries = [
        {"digest": "sha256:" + "0" * 64, "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
        {
            "digest": manifests.digest(served.manifest),
            "size": len(served.manifest),
            "platform": {"os": "linux", "architecture": "amd64"},
        },
    ]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    served.manifests["multi"] = index
    result, _ = pulled(served, sink, stop, "multi")
    assert result.digest == manifests.digest(index)
    assert result.image_id == served.config.digest
    served.manifests["other"] = json.dumps({"manifests": entries[:1]}).encode()
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64"):
        pulled(served, sink, stop, "other")


def test_an_index_that_names_itself(served: Served, sink: MemorySink, stop: threading.Event) -> None:
    served.intercept = lambda request: False
    index = json.dumps({"manifests": [{"digest": "sha256:" + "0" * 64, "size": 1}]}).encode()
    nested = index
    for _ in range(4):
        served.manifests[manifests.digest(nested)] = nested
        nested = json.dumps({"manifests": [{"digest": manifests.digest(nested), "size": 1}]}).encode()
    served.manifests["deep"] = nested
    with pytest.raises(InvalidParameter, match="indexes within indexes"):
        pulled(served, sink, stop, "deep")


@contextmanager
def broken_off(served: Served, times: int, *, ranges: bool = True) -> Iterator[None]:
    """The first layer breaks off in its middle so many times."""
    broken = 0
    path = f"/v2/me/web/blobs/{served.layers[0].digest}"

    def intercept(request: Request) -> bool:
        nonlocal broken
        if request.path != path or broken == times:
            return False
        broken += 1
        start = int((request.headers.get("Range") or "bytes=0-")[len("bytes=") : -1]) if ranges else 0
        data = LAYERS[0][start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data[: len(data) // 2])
        request.wfile.flush()
        request.close_connection = True
        return True

    served.intercept = intercept
    yield


def test_a_download_is_gone_on_with(
    served: Served, sink: MemorySink, stop: threading.Event, short_delays: None
) -> None:
    with broken_off(served, 2):
        pulled(served, sink, stop)
    assert sink.layers[tuple(served.diff_ids[:1])] == LAYERS[0]
    ranges = [range_ for path, range_ in served.requests if path.endswith(served.layers[0].digest)]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={len(LAYERS[0]) // 2}-"
    assert len(ranges) == 3


def test_a_registry_without_ranges(
    served: Served, sink: MemorySink, stop: threading.Event, short_delays: None
) -> None:
    with broken_off(served, 1):
        breaks = served.intercept

        def intercept(request: Request) -> bool:
            if breaks(request):
                return True
            if request.headers.get("Range"):
                request.answer(200, LAYERS[0])
                return True
            return False

        served.intercept = intercept
        pulled(served, sink, stop)
    assert sink.layers[tuple(served.diff_ids[:1])] == LAYERS[0]


def test_a_download_that_breaks_off_again_and_again(
    served: Served, sink: MemorySink, stop: threading.Event, short_delays: None
) -> None:
    with broken_off(served, 100), pytest.raises(Unavailable, match="the download broke off"):
        pulled(served, sink, stop)
    assert sink.images == []


def _wrong_layer(served: Served) -> None:
    served.blobs[served.layers[1].digest] = b"x" * served.layers[1].size


def _long_layer(served: Served) -> None:
    served.blobs[served.layers[1].digest] += b"more"


def _wrong_config(served: Served) -> None:
    served.blobs[served.config.digest] = b"x" * served.config.size


def _manifest(served: Served, config: bytes, layers: list[Descriptor]) -> None:
    served.blobs[manifests.digest(config)] = config
    served.manifests["v1"] = manifests.docker_manifest(served.descriptor(config), layers)


def _fewer_layers(served: Served) -> None:
    _manifest(served, served.blobs[served.config.digest], served.layers[:2])


def _no_layers_in_config(served: Served) -> None:
    _manifest(served, b"{}", served.layers)


def _strange_layers_in_config(served: Served) -> None:
    _manifest(served, b'{"rootfs": {"diff_ids": [1, 2, 3]}}', served.layers)


def _enormous_config(served: Served) -> None:
    served.manifests["v1"] = manifests.docker_manifest(served.config._replace(size=1 << 40), served.layers)


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (_wrong_layer, System, "filesystem layer verification failed for digest"),
        (_long_layer, System, "is longer than"),
        (_wrong_config, System, "verification failed"),
        (_fewer_layers, InvalidParameter, "mismatched image rootfs and manifest layers: 3 and 2"),
        (_no_layers_in_config, InvalidParameter, "no RootFS key"),
        (_strange_layers_in_config, InvalidParameter, "is not a list of digests"),
        (_enormous_config, InvalidParameter, "is longer than"),
    ],
)
def test_what_is_wrong_is_not_stored(
    served: Served,
    sink: MemorySink,
    stop: threading.Event,
    spoil: Callable[[Served], None],
    kind: type[EngineError],
    message: str,
) -> None:
    spoil(served)
    with pytest.raises(kind, match=message):
        pulled(served, sink, stop)
    assert sink.images == []
    assert hashlib.sha256(b"x" * len(LAYERS[1])).digest() not in {
        hashlib.sha256(layer).digest() for layer in sink.layers.values()
    }


def test_stopping(served: Served, sink: MemorySink, stop: threading.Event) -> None:
    def intercept(request: Request) -> bool:
        if request.path.endswith(served.layers[1].digest):
            stop.set()
        return False

    served.intercept = intercept
    with pytest.raises(Stopped):
        pulled(served, sink, stop)
    assert sink.images == []
