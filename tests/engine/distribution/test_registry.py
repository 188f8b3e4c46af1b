"""The client of a registry: what it says of one that is not there, logging in, errors in Docker's words."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkernel.engine.distribution import connection
from labkernel.engine.distribution.credentials import Credentials
from labkernel.engine.distribution.manifests import Descriptor, digest, docker_manifest
from labkernel.engine.distribution.registry import Registry
from labkernel.engine.distribution.settings import RegistrySettings
from labkernel.engine.distribution.upload import Upload
from labkernel.engine.errors import EngineError, Forbidden, NotFound, System, Unauthorized, Unavailable
from tests.engine.distribution.servers import (
    PASSWORD,
    USER,
    Request,
    TokenServer,
    free_port,
    http_server,
)

CREDENTIALS = Credentials(USER, PASSWORD)


def opened(domain: str, repository: str = "me/web", **options: object) -> Registry:
    return Registry(domain, repository, familiar_name=f"{domain}/{repository}", **options)  # type: ignore[arg-type]


def store(registry: Registry, data: bytes) -> Descriptor:
    blob = Descriptor("application/octet-stream", digest(data), len(data))
    Upload(registry, blob, io.BytesIO(data), lambda _: None).run()
    return blob


# --- registries that are not there


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_nobody_listens() -> None:
    port = free_port()
    with pytest.raises(Unavailable) as raised:
        opened(f"127.0.0.1:{port}")
    assert raised.value.message == f'Get "http://127.0.0.1:{port}/v2/": connection refused'
    assert raised.value.hint == "the registry 127.0.0.1 cannot be reached from here"


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(Unavailable, match=r'Get "https://no\.such\.invalid/v2/": lookup no\.such\.invalid: '):
        opened("no.such.invalid")


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(20))
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.2)
    before = time.monotonic()
    with pytest.raises(Unavailable, match=r"lookup slow\.example: no answer within 0\.2 seconds"):
        opened("slow.example")
    assert time.monotonic() - before < 5


def test_a_server_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for client in waiting:  # The queue of connections is full then, and further ones hang.
            client.setblocking(False)
            client.connect_ex(address)
        with pytest.raises(Unavailable, match="no answer in time"):
            opened(f"127.0.0.1:{address[1]}")
        for client in waiting:
            client.close()


def test_a_server_that_says_nothing(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.2)
    monkeypatch.setattr("labkernel.engine.distribution.endpoint.FIRST_ANSWER_TIMEOUT", 0.2)
    with pytest.raises(Unavailable, match="no answer in time"):
        opened(silent)


@pytest.mark.parametrize("status", [403, 404, 429, 500, 502, 503])
def test_something_that_is_no_registry(status: int) -> None:
    answered = pytest.raises(Unavailable, match=f"answered with status {status}, not as a registry does")
    with http_server(lambda request: request.answer(status, b"<html>")) as domain, answered:
        opened(domain)


def test_only_a_local_registry_does_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server(lambda request: request.answer(200)) as domain:
        opened(domain)
        # The same server under a name that is not local is asked by https only.
        port = domain.partition(":")[2]
        address = socket.getaddrinfo("127.0.0.1", int(port), type=socket.SOCK_STREAM)
        monkeypatch.setattr(connection, "_look_up", lambda *_: address)
        with pytest.raises(Unavailable) as raised:
            opened(f"registry.test:{port}")
        assert raised.value.message == (
            f'Get "https://registry.test:{port}/v2/": http: server gave HTTP response to HTTPS client'
        )
        assert f"--insecure-registry registry.test:{port}" in str(raised.value.hint)
        # Unless it may.
        insecure = RegistrySettings.of([], [f"registry.test:{port}"])
        Registry(f"registry.test:{port}", "me/web", familiar_name="me/web", settings=insecure)


def test_only_a_local_registry_does_without_a_good_certificate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens = TokenServer(tmp_path)  # For its certificate, which nobody has signed.
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tokens.certificate, tokens.key)
    with http_server(lambda request: request.answer(200), context) as domain:
        opened(domain)
        port = domain.partition(":")[2]
        address = socket.getaddrinfo("127.0.0.1", int(port), type=socket.SOCK_STREAM)
        monkeypatch.setattr(connection, "_look_up", lambda *_: address)
        with pytest.raises(Unavailable, match="certificate verify failed"):
            opened(f"registry.test:{port}")


def test_a_local_registry_is_reached_past_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with http_server(lambda request: request.answer(200)) as domain:
        opened(domain)
    with pytest.raises(Unavailable, match="connection refused"):
        opened("registry.test")


# --- a real registry


def test_blobs_and_manifests(registry: str) -> None:
    opened_registry = opened(registry, actions="pull,push")
    data = b"content of a blob" * 1000
    assert not opened_registry.has_blob(digest(data))
    blob = store(opened_registry, data)
    assert opened_registry.has_blob(blob.digest)
    answer = opened_registry.blob(blob)
    assert answer.read() == data
    answer.close()
    answer = opened_registry.blob(blob, 10)
    assert (answer.status, answer.read()) == (206, data[10:])
    answer.close()
    manifest = docker_manifest(store(opened_registry, b"{}"), [blob])
    opened_registry.put_manifest("v1", manifest, "application/vnd.docker.distribution.manifest.v2+json")
    for selector in ("v1", digest(manifest)):
        assert opened_registry.manifest(selector)[0] == manifest


def test_unknown_things_in_dockers_words(registry: str) -> None:
    with pytest.raises(NotFound) as raised:
        opened(registry).manifest("nowhere")
    assert raised.value.message == (
        f"manifest for {registry}/me/web:nowhere not found: manifest unknown: manifest unknown"
    )
    missing = digest(b"never stored")
    with pytest.raises(NotFound, match=f"manifest for .*@{missing} not found: manifest unknown: "):
        opened(registry).manifest(missing)
    with pytest.raises(NotFound, match="blob unknown"):
        opened(registry).blob(Descriptor("", missing, 1))


def test_a_wrong_digest_is_not_stored(registry: str) -> None:
    wrong = Descriptor("", digest(b"something else"), 7)
    with pytest.raises(System, match="digest invalid"):
        Upload(opened(registry, actions="pull,push"), wrong, io.BytesIO(b"content"), lambda _: None).run()


def test_basic_authentication(password_registry: str) -> None:
    with pytest.raises(Unauthorized) as raised:
        opened(password_registry)
    assert raised.value.message == "no basic auth credentials"
    assert raised.value.hint == f"log in first: docker login {password_registry}"
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    for credentials in (
        CREDENTIALS,
        Credentials.of({"auth": auth}),
        Credentials.of({"username": USER, "password": PASSWORD}),
    ):
        store(opened(password_registry, actions="pull,push", credentials=credentials), b"x")
    wrong = opened(password_registry, credentials=Credentials(USER, "wrong"))
    with pytest.raises(
        NotFound, match=r"pull access denied for .*, repository does not exist or may require"
    ):
        wrong.manifest("v1")


def test_tokens(token_registry: tuple[str, TokenServer]) -> None:
    domain, tokens = token_registry
    data = b"public content"
    public = opened(domain, "public/web", actions="pull,push", credentials=CREDENTIALS)
    blob = store(public, data)
    assert opened(domain, "public/web").blob(blob).read() == data
    with pytest.raises(NotFound, match=r"pull access denied for .*: unauthorized: authentication required"):
        opened(domain, "private/web").manifest("v1")
    with pytest.raises(Forbidden, match="unauthorized: authentication required"):
        store(opened(domain, "public/web", actions="pull,push"), data)
    with pytest.raises(Unauthorized, match="unauthorized: wrong password"):
        opened(domain, credentials=Credentials(USER, "wrong"))
    given = tokens.given
    token = tokens._token(["repository:private/web:pull,push"], is_user=True)
    registered = opened(
        domain, "private/web", actions="pull,push", credentials=Credentials(registry_token=token)
    )
    store(registered, b"with a token of the caller's")
    assert tokens.given == given + 1


def test_a_token_that_ends_is_renewed(token_registry: tuple[str, TokenServer]) -> None:
    domain, tokens = token_registry
    tokens.lifetime = -80  # The registry allows a minute: this one is over.
    try:
        registry = opened(domain, "public/old", actions="pull,push", credentials=CREDENTIALS)
    finally:
        tokens.lifetime = 300
    given = tokens.given
    assert not registry.has_blob(digest(b"nothing"))
    assert tokens.given == given + 1


# --- to order


def test_credentials_go_to_nobody_else() -> None:
    """A download is redirected to another host, as to the stores that big registries use."""
    seen: list[str | None] = []
    data = b"content"

    def elsewhere(request: Request) -> None:
        seen.append(request.headers.get("Authorization"))
        request.answer(200, data)

    with http_server(elsewhere) as other:

        def respond(request: Request) -> None:
            if request.headers.get("Authorization") is None:
                request.answer(401, WWW_Authenticate='Basic realm="x"')
            elif "/blobs/" in request.path:
                request.answer(307, Location=f"http://{other}/stored")
            else:
                request.answer(200)

        with http_server(respond) as domain:
            registry = opened(domain, credentials=CREDENTIALS)
            assert registry.blob(Descriptor("", digest(data), len(data))).read() == data
    assert seen == [None]


def test_an_identity_token_is_exchanged() -> None:
    forms: list[bytes] = []

    def respond(request: Request) -> None:
        if request.path == "/token":
            forms.append(request.body)
            request.answer(200, b'{"access_token": "exchanged"}')
        elif request.headers.get("Authorization") == "Bearer exchanged":
            request.answer(404)
        else:
            realm = f"http://{request.headers['Host']}/token"
            request.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')

    with http_server(respond) as domain:
        assert not opened(domain, credentials=Credentials(identity_token="secret")).has_blob(digest(b""))
    assert forms == [
        b"scope=repository%3Ame%2Fweb%3Apull&service=s&grant_type=refresh_token&refresh_token=secret&client_id=labkernel"
    ]


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (404, "NAME_UNKNOWN", NotFound, "repository {name} not found: name unknown: words"),
        (404, "MANIFEST_UNKNOWN", NotFound, "manifest for {name}:v1 not found: manifest unknown: words"),
        (403, "DENIED", NotFound, "pull access denied for {name}, repository does not exist or may require"),
        (429, "TOOMANYREQUESTS", Unavailable, "toomanyrequests: words"),
        (503, "UNAVAILABLE", Unavailable, "unavailable: words"),
        (400, "UNSUPPORTED", System, "unsupported: words"),
        (404, "", NotFound, "not found: status 404"),
    ],
)
def test_errors(status: int, code: str, kind: type[EngineError], message: str) -> None:
    body = json.dumps({"errors": [{"code": code, "message": "words"}] if code else []}).encode()

    def respond(request: Request) -> None:
        request.answer(*((200, b"{}") if request.path == "/v2/" else (status, body)))

    with http_server(respond) as domain, pytest.raises(kind) as raised:
        opened(domain).manifest("v1")
    assert re.search(re.escape(message.format(name=f"{domain}/me/web")), raised.value.message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "unauthorized: authentication required"),
        ("Negotiate", "asks for negotiate authentication"),
        ('Bearer realm="file:///etc/passwd"', "is no address"),
        ('Bearer realm="http://{domain}/notoken"', "answered without a token"),
        ('Bearer realm="http://{domain}/broken"', "answered without a token"),
        ('Bearer realm="http://{domain}/missing"', "answered with status 404"),
    ],
)
def test_strange_challenges(header: str, message: str) -> None:
    def respond(request: Request) -> None:
        host = request.headers["Host"]
        answers = {"/notoken": (200, b"{}"), "/broken": (200, b"["), "/missing": (404, b"")}
        path = request.path.partition("?")[0]
        if path in answers:
            request.answer(*answers[path])
        else:
            request.answer(401, WWW_Authenticate=header.format(domain=host))

    with http_server(respond) as domain, pytest.raises((Unauthorized, Unavailable), match=message):
        opened(domain)


def test_a_manifest_of_another_digest() -> None:
    refused = pytest.raises(System, match="manifest verification failed for digest")
    with http_server(lambda request: request.answer(200, b"{}")) as domain, refused:
        opened(domain).manifest(digest(b"what was asked for"))


def test_a_document_longer_than_any() -> None:
    def respond(request: Request) -> None:
        request.answer(200, b"" if request.path == "/v2/" else b" " * (9 << 20))

    with http_server(respond) as domain, pytest.raises(System, match="longer than"):
        opened(domain).manifest("v1")


# --- docker login
