"""Mirrors and insecure registries, as dockerd takes them."""

from __future__ import annotations

import pytest

from labkernel.engine.distribution.settings import RegistrySettings
from labkernel.engine.errors import InvalidParameter


def test_mirrors() -> None:
    given = ["http://classroom:5000/", "https://mirror.example", "http://classroom:5000"]
    settings = RegistrySettings.of(given, [])
    assert settings.mirrors == ("http://classroom:5000", "https://mirror.example")


@pytest.mark.parametrize(
    "text", ["classroom:5000", "ftp://classroom", "http://", "http://a/b", "http://a?b", "http://me:pw@a"]
)
def test_what_is_no_mirror(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid mirror: "):
        RegistrySettings.of([text], [])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.7:5000", True),
        ("[::1]:5000", True),
        ("classroom:5000", True),
        ("classroom", False),
        ("classroom:5001", False),
        ("plain:9", True),
        ("10.1.2.3:5000", True),
        ("11.1.2.3:5000", False),
        ("registry.example", False),
    ],
)
def test_insecure(host: str, expected: bool) -> None:
    settings = RegistrySettings.of([], ["classroom:5000", "plain", "10.0.0.0/8"])
    assert settings.is_insecure(host) is expected


@pytest.mark.parametrize("text", ["http://classroom", "10.0.0.0/99", "", "a/b"])
def test_what_is_no_insecure_registry(text: str) -> None:
    with pytest.raises(InvalidParameter, match="insecure registry"):
        RegistrySettings.of([], [text])
