"""Questions to a registry: what a name stands for, who may come in, what there is."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from labkernel.engine.distribution import manifests
from labkernel.engine.distribution.credentials import ANONYMOUS, Credentials, of_registry
from labkernel.engine.distribution.lookup import describe, log_in, search
from labkernel.engine.distribution.manifests import OCI_INDEX
from labkernel.engine.distribution.push import push
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.distribution.settings import RegistrySettings
from labkernel.engine.errors import System, Unauthorized, Unavailable
from tests.engine.distribution.servers import PASSWORD, USER, Request, TokenServer, http_server
from tests.engine.distribution.test_push import FileLayer, config_of

SETTINGS = RegistrySettings()


def pushed(domain: str, directory: Path, repository: str) -> Registry:
    registry = Registry(domain, repository, familiar_name=repository, actions="pull,push")
    layers = [FileLayer(directory, b"layer")]
    config = json.loads(config_of(layers)) | {"os": "linux", "architecture": "arm", "variant": "v7", "x": "y"}
    push(registry, "v1", json.dumps(config).encode(), layers, lambda _: None, threading.Event())
    return registry


def test_an_image_and_an_index(registry: str, tmp_path: Path) -> None:
    opened = pushed(registry, tmp_path, "look/up")
    data, media_type = opened.manifest("v1")
    found = describe(opened, "v1")
    platform = {"architecture": "arm", "os": "linux", "variant": "v7"}
    described = {"mediaType": media_type, "digest": manifests.digest(data), "size": len(data)}
    assert found == {"Descriptor": described, "Platforms": [platform]}
    entry = {**described, "platform": {"architecture": "arm", "os": "linux"}}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
    opened.put_manifest("all", index, OCI_INDEX)
    found = describe(opened, "all")
    assert found["Descriptor"]["mediaType"] == OCI_INDEX
    assert found["Platforms"] == [{"architecture": "arm", "os": "linux"}]


def test_tags_page_by_page(registry: str, tmp_path: Path) -> None:
    opened = pushed(registry, tmp_path, "look/tags")
    data, media_type = opened.manifest("v1")
    tags = sorted(f"t{number:04}" for number in range(120))
    for tag in tags:
        opened.put_manifest(tag, data, media_type)
    assert sorted(opened.tags()) == [*tags, "v1"]


def test_links_are_followed() -> None:
    pages = {"": (["a"], '</v2/me/tags/list?last=a>; rel="next"'), "a": (["b"], "?last=b>; rel=next")}

    def respond(request: Request) -> None:
        last = parse_qs(urlsplit(request.path).query).get("last", [""])[0]
        tags, link = pages.get(last, (["c"], ""))
        link = link if not link or link.startswith("<") else f"<{link}"
        request.answer(200, json.dumps({"tags": tags}).encode(), **({"Link": link} if link else {}))

    with http_server(respond) as domain:
        assert Registry(domain, "me", familiar_name="me").tags() == ["a", "b", "c"]


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"tags": 3}', b"[" * 60_000])
def test_what_is_no_list_of_tags(answer: bytes) -> None:
    with http_server(lambda request: request.answer(200, answer)) as domain:
        opened = Registry(domain, "me", familiar_name="me")
        with pytest.raises(System, match="no list of tags"):
            opened.tags()


@pytest.mark.parametrize("address", ["{}", "http://{}/v2/", "https://{}"])
def test_logging_in_with_a_password(password_registry: str, address: str) -> None:
    there = address.format(password_registry)
    assert log_in(there, Credentials(USER, PASSWORD), SETTINGS) == ""
    with pytest.raises(Unauthorized, match="failed with status: 401 Unauthorized"):
        log_in(there, Credentials(USER, "wrong"), SETTINGS)


def test_logging_in_for_tokens(token_registry: tuple[str, TokenServer]) -> None:
    domain, tokens = token_registry
    given = tokens.given
    assert log_in(domain, Credentials(USER, PASSWORD), SETTINGS) == ""
    assert tokens.given == given + 1
    with pytest.raises(Unauthorized, match="wrong password"):
        log_in(domain, Credentials(USER, "wrong"), SETTINGS)


def test_a_token_to_keep() -> None:
    asked: list[dict[str, list[str]]] = []

    def respond(request: Request) -> None:
        url = urlsplit(request.path)
        if url.path == "/token":
            asked.append(parse_qs(url.query))
            request.answer(200, b'{"token": "short", "refresh_token": "long"}')
        elif request.headers.get("Authorization") == "Bearer short":
            request.answer(200)
        else:
            realm = f'Bearer realm="http://{request.headers["Host"]}/token",service="all"'
            request.answer(401, WWW_Authenticate=realm)

    with http_server(respond) as domain:
        assert log_in(domain, Credentials(USER, PASSWORD), SETTINGS) == "long"
    assert asked[0]["offline_token"] == ["true"]
    assert "scope" not in asked[0]


def test_nobody_to_log_in_to() -> None:
    with pytest.raises(Unavailable, match="connection refused"):
        log_in("127.0.0.1:1", Credentials(USER, PASSWORD), SETTINGS)


def test_search_by_name(registry: str, tmp_path: Path) -> None:
    pushed(registry, tmp_path, "find/apple")
    pushed(registry, tmp_path, "find/pear")
    assert [item["name"] for item in search(registry, "appl", 25, ANONYMOUS, SETTINGS)] == [
        f"{registry}/find/apple"
    ]


def test_search_where_it_is_offered() -> None:
    result = {"name": "me/web", "description": "a web server", "star_count": 3, "is_official": False}

    def respond(request: Request) -> None:
        url = urlsplit(request.path)
        if url.path == "/v1/search":
            assert parse_qs(url.query) == {"q": ["web"], "n": ["7"]}
            request.answer(200, json.dumps({"results": [result]}).encode())
        else:
            request.answer(200)

    with http_server(respond) as domain:
        assert search(domain, "web", 7, ANONYMOUS, SETTINGS) == [{**result, "is_automated": False}]


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b'{"results": 3}', b'{"results": [{"star_count": "many"}]}', b"[" * 60_000]
)
def test_what_is_no_result(answer: bytes) -> None:
    def respond(request: Request) -> None:
        request.answer(200, answer if request.path.startswith("/v1/") else b"")

    with http_server(respond) as domain, pytest.raises(System, match="holds no results"):
        search(domain, "web", 7, ANONYMOUS, SETTINGS)


def test_a_configuration_that_is_none() -> None:
    config = b"[" * 60_000
    blob = manifests.Descriptor("", manifests.digest(config), len(config))
    manifest = manifests.docker_manifest(blob, [])

    def respond(request: Request) -> None:
        body = config if "blobs" in request.path else manifest if "manifests" in request.path else b""
        request.answer(200, body)

    with http_server(respond) as domain, pytest.raises(System, match="configuration is not JSON"):
        describe(Registry(domain, "me", familiar_name="me"), "v1")


def test_capitals_of_credentials_do_not_matter() -> None:
    """docker-py, with a credential helper: its keys are the helper's."""
    said = {"ServerAddress": "x", "Username": USER, "Password": PASSWORD}
    assert Credentials.of(said) == Credentials(USER, PASSWORD)
    assert Credentials.of({"IdentityToken": "t"}) == Credentials(identity_token="t")


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("docker.io", "hub"),
        ("plain:5000", "plain"),
        ("secure.example", "secure"),
        ("other.example", None),
    ],
)
def test_the_login_of_a_registry_among_many(domain: str, found: str | None) -> None:
    auths = {
        "https://index.docker.io/v1/": {"username": "hub"},
        "plain:5000": {"username": "plain"},
        "https://secure.example": {"username": "secure"},
        "other.example": "no object",
    }
    auth = of_registry(auths, domain)
    assert (auth or {}).get("username") == found
