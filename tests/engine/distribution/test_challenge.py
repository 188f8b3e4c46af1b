"""The header WWW-Authenticate."""

from __future__ import annotations

import pytest

from labkernel.engine.distribution.challenge import parse


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ('Basic realm="Registry Realm"', "basic", {"realm": "Registry Realm"}),
        (
            'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
            "bearer",
            {
                "realm": "https://auth.example/token",
                "service": "registry.example",
                "scope": "repository:a/b:pull,push",
            },
        ),
        ('BEARER Realm = "a" , Service=b', "bearer", {"realm": "a", "service": "b"}),
        (r'Bearer realm="a \"quoted\" \\ name"', "bearer", {"realm": r"a " + '"quoted" \\ name'}),
        ("Negotiate", "negotiate", {}),
        ('Bearer realm="unclosed', "bearer", {}),
    ],
)
def test_challenges(header: str, scheme: str, parameters: dict[str, str]) -> None:
    assert parse(header) == (scheme, parameters)


@pytest.mark.parametrize("header", ["", "   ", '"quoted"'])
def test_no_challenge(header: str) -> None:
    assert parse(header) is None
