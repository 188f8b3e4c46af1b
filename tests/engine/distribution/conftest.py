"""Registries for the session, and a sink that keeps what is pulled in memory."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkernel.engine.distribution.manifests import Descriptor
from tests.engine.distribution.servers import (
    HTPASSWD,
    TokenServer,
    http_server,
    open_registry,
    running_registry,
)


@pytest.fixture(scope="session", params=["debian", "ours"])
def registry(request: pytest.FixtureRequest) -> Iterator[str]:
    """A registry that is open to everybody: Debian's, and ours."""
    with open_registry(request.param) as domain:
        yield domain


@pytest.fixture(scope="session")
def password_registry() -> Iterator[str]:
    """A registry that asks for a user and a password by basic authentication."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "htpasswd").write_text(HTPASSWD)
        auth = f"auth: {{htpasswd: {{realm: classroom, path: {directory}/htpasswd}}}}"
        with running_registry(Path(directory), auth) as domain:
            yield domain


@pytest.fixture(scope="session")
def token_registry() -> Iterator[tuple[str, TokenServer]]:
    """A registry that asks for tokens, and the server that gives them."""
    with tempfile.TemporaryDirectory() as directory:
        tokens = TokenServer(Path(directory))
        with http_server(tokens.respond) as token_domain:
            auth = (
                f"auth: {{token: {{realm: http://{token_domain}/token, service: registry, issuer: tests, "
                f"rootcertbundle: {tokens.certificate}}}}}"
            )
            with running_registry(Path(directory), auth) as domain:
                yield domain, tokens


class MemorySink:
    """Keeps what was pulled: layers by their diff_ids, images by their id."""

    def __init__(self) -> None:
        self.layers: dict[tuple[str, ...], bytes] = {}
        self.images: list[bytes] = []

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as directory:
            yield Path(directory)

    def has_layer(self, diff_ids: Sequence[str]) -> bool:
        return tuple(diff_ids) in self.layers

    def add_layer(
        self, diff_ids: Sequence[str], file: Path, blob: Descriptor, progress: Callable[[int], None]
    ) -> None:
        progress(blob.size)
        self.layers[tuple(diff_ids)] = file.read_bytes()

    def has_image(self, image_id: str) -> bool:
        return False

    def add_image(self, config: bytes) -> None:
        self.images.append(config)


@pytest.fixture
def sink() -> MemorySink:
    return MemorySink()


@pytest.fixture
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who tries again does so soon."""
    monkeypatch.setattr("labkernel.engine.distribution.retry.DELAYS", (0.01, 0.02, 0.03))


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()
