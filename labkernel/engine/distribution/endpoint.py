"""One registry's API, found and logged in to: where it is, and what its requests carry.

Methods block; call them from a thread.
"""

from __future__ import annotations

import json
import ssl
import urllib.parse
from collections.abc import Sequence
from http import HTTPStatus
from typing import IO, Any

from labkernel.engine.distribution import challenge
from labkernel.engine.distribution.connection import (
    FIRST_ANSWER_TIMEOUT,
    READ_TIMEOUT,
    Answer,
    Connection,
    unavailable,
)
from labkernel.engine.distribution.credentials import ANONYMOUS, Credentials
from labkernel.engine.distribution.settings import DOCKER_HUB, RegistrySettings, is_local
from labkernel.engine.errors import System, Unauthorized, Unavailable

DOCUMENT_LIMIT = 8 << 20
ERROR_LIMIT = 1 << 16

#: What OpenSSL makes of an answer in plain HTTP, and what Go does.
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"}
_PLAIN = "http: server gave HTTP response to HTTPS client"

_DOCKER_HUB_HOST = "registry-1.docker.io"


class Endpoint:
    """`address` is a domain as in a reference, or a mirror's `http://host:port`. `scopes` are what tokens are
    asked for (`repository:me/web:pull`). `base` is the address of the API, which ends in `/v2/`.

    Raises Unavailable if no registry answers there, Unauthorized.
    """

    def __init__(
        self,
        address: str,
        *,
        credentials: Credentials = ANONYMOUS,
        scopes: Sequence[str] = (),
        settings: RegistrySettings,
    ) -> None:
        scheme, _, host = address.rpartition("://")
        self.host = _DOCKER_HUB_HOST if host == DOCKER_HUB else host
        self._scopes = list(scopes)
        self._credentials = credentials
        self._authorization: str | None = None
        self._identity_token = ""
        # As Docker: what is insecure may have a certificate of its own making, or none.
        insecure = settings.is_insecure(self.host)
        self._connection = Connection(verify=not insecure, proxies=not is_local(self.host))
        schemes = (scheme,) if scheme else ("https", "http") if insecure else ("https",)
        self.base = self._find_base(schemes)

    def _find_base(self, schemes: Sequence[str]) -> str:
        failure: Exception | None = None
        for scheme in schemes:
            base = f"{scheme}://{self.host}/v2/"
            try:
                self._greet(base)
            except (Unavailable, ssl.SSLError) as error:
                failure = failure if isinstance(error, ssl.SSLError) and failure else error
                continue
            return base
        if isinstance(failure, Unavailable):
            raise failure
        no_tls = isinstance(failure, ssl.SSLError) and failure.reason in _NO_TLS
        raised = unavailable("GET", f"https://{self.host}/v2/", _PLAIN if no_tls else failure)
        if no_tls:
            raised.hint = (
                f"if it may do without TLS: labkernel engine start --insecure-registry {self.host}, "
                "once the engine is stopped"
            )
        raise raised from failure

    def _greet(self, base: str) -> None:
        """Ask for the API's version, and log in if the registry wants that (distribution-spec, "Determining
        Support")."""
        answer = self._connection.request("GET", base, timeout=FIRST_ANSWER_TIMEOUT)
        data = read(answer, ERROR_LIMIT)
        if answer.status == 401:
            self._log_in(answer.headers.get("WWW-Authenticate", ""))
        elif answer.status != 200:
            words = error_words(data)[1] or f"answered with status {answer.status}, not as a registry does"
            raise unavailable("GET", base, words)

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        *,
        timeout: float = READ_TIMEOUT,
    ) -> Answer:
        """Send a request with what the registry asked for; log in again once, for tokens end. `url` may be
        relative to `base`. Raises Unavailable, Unauthorized."""
        url = urllib.parse.urljoin(self.base, url)
        for attempt in (1, 2):
            sent = dict(headers or {})
            # An upload may go to another host, which must not see the registry's credentials.
            if (
                self._authorization
                and urllib.parse.urlsplit(url).netloc == urllib.parse.urlsplit(self.base).netloc
            ):
                sent["Authorization"] = self._authorization
            try:
                answer = self._connection.request(method, url, sent, body, timeout=timeout)
            except ssl.SSLError as error:
                raise unavailable(method, url, error) from error
            wants = answer.headers.get("WWW-Authenticate", "")
            can_repeat = body is None or isinstance(body, bytes)
            if answer.status != 401 or attempt == 2 or not wants or not can_repeat:
                return answer
            answer.close()
            self._log_in(wants)
        raise AssertionError("unreachable")

    def check_login(self) -> str:
        """Whether the credentials are good, as `docker login` asks; the token to keep instead of the
        password, if the registry gives one. Raises Unauthorized."""
        answer = self.request("GET", self.base)
        read(answer, ERROR_LIMIT)
        if answer.status != 200:
            raise Unauthorized(
                f"login attempt to {self.base} failed with status: "
                f"{answer.status} {HTTPStatus(answer.status).phrase}",
                hint="is the password right?",
            )
        return self._identity_token

    # --- logging in

    def _log_in(self, header: str) -> None:
        wanted = challenge.parse(header)
        if wanted is None:
            raise Unauthorized(f"{self.host}: unauthorized: authentication required")
        if wanted.scheme == "basic":
            if not self._credentials.username:
                raise Unauthorized(
                    "no basic auth credentials",
                    hint=f"log in first: docker login {self.host}",
                )
            self._authorization = self._credentials.basic
        elif wanted.scheme == "bearer":
            token = self._credentials.registry_token or self._token(wanted.parameters)
            self._authorization = f"Bearer {token}"
        else:
            raise Unauthorized(f"{self.host} asks for {wanted.scheme} authentication, which is not supported")

    def _token(self, parameters: dict[str, str]) -> str:
        """A token from the server that the challenge names (distribution's "Token Authentication")."""
        realm = parameters.get("realm", "")
        if urllib.parse.urlsplit(realm).scheme not in ("http", "https"):
            raise Unauthorized(f"{self.host}: the token server {realm!r} is no address")
        # Not the challenge's own scope: asking for all that is going to be done asks only once.
        query: dict[str, Any] = {"scope": self._scopes} if self._scopes else {}
        if service := parameters.get("service"):
            query["service"] = service
        user, _, identity_token, _ = self._credentials
        if identity_token:
            form = {
                **query,
                "scope": " ".join(self._scopes),
                "grant_type": "refresh_token",
                "refresh_token": identity_token,
                "client_id": "labkernel",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._ask_for_token("POST", realm, headers, urllib.parse.urlencode(form).encode())
        else:
            headers = {"Authorization": self._credentials.basic} if user else {}
            if user:
                query |= {"account": user, "client_id": "labkernel"}
            if user and not self._scopes:  # docker login
                query["offline_token"] = "true"
            separator = "&" if "?" in realm else "?"
            url = f"{realm}{separator}{urllib.parse.urlencode(query, doseq=True)}"
            answer = self._ask_for_token("GET", url, headers, None)
        return self._token_of(realm, answer)

    def _token_of(self, realm: str, answer: Answer) -> str:
        data = read(answer, DOCUMENT_LIMIT)
        if answer.status in (401, 403):
            raise Unauthorized(
                f"{self.host}: unauthorized: {error_words(data)[1] or 'incorrect username or password'}"
            )
        if answer.status != 200:
            raise unavailable("GET", realm, f"answered with status {answer.status}")
        try:
            document = json.loads(data)
            token = document.get("token") or document.get("access_token")
            self._identity_token = str(document.get("refresh_token") or "")
        except (ValueError, AttributeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token or not token.isprintable():
            raise unavailable("GET", realm, "answered without a token")
        return token

    def _ask_for_token(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
        try:
            return self._connection.request(method, url, headers, body, timeout=FIRST_ANSWER_TIMEOUT)
        except ssl.SSLError as error:
            raise unavailable(method, url, error) from error


def read(answer: Answer, limit: int) -> bytes:
    """A document's bytes. Raises System if it is longer than any should be, Unavailable if it ends early."""
    try:
        data = answer.read(limit + 1)
    except Exception as error:
        raise Unavailable(f"the registry's answer ended early: {error}") from error
    finally:
        answer.close()
    if len(data) > limit:
        raise System(f"the registry's answer is longer than {limit} bytes")
    return data


def error_words(data: bytes) -> tuple[str, str]:
    """Code and message of the first error in an answer; empty where it has none."""
    try:
        error = json.loads(data)["errors"][0]
        return str(error.get("code") or ""), str(error.get("message") or "").replace("\n", " ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""
