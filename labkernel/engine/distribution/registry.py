"""A client of one repository in a registry (OCI distribution-spec; Docker's token authentication).

Methods block; call them from a thread.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.parse
from ipaddress import ip_address
from typing import IO, Any, NamedTuple

from labkernel.engine.distribution import challenge
from labkernel.engine.distribution.connection import FIRST_ANSWER_TIMEOUT, Answer, Connection, unavailable
from labkernel.engine.distribution.manifests import ACCEPTED, Descriptor, digest
from labkernel.engine.errors import EngineError, Forbidden, NotFound, System, Unauthorized, Unavailable

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_DOCUMENT_LIMIT = 8 << 20
_ERROR_LIMIT = 1 << 16
#: Statuses by which something says that it is busy, or no registry at all.
_NOT_SERVING = {429, 500, 502, 503, 504}


class Credentials(NamedTuple):
    """What `docker login` left: user and password, or a token for the token server, or one for the
    registry."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @classmethod
    def of(cls, auth: dict[str, Any] | None) -> Credentials:
        """From the API's AuthConfig object (header X-Registry-Auth)."""
        auth = auth or {}
        username, password = str(auth.get("username") or ""), str(auth.get("password") or "")
        if not username and auth.get("auth"):
            try:
                pair = base64.b64decode(str(auth["auth"])).decode()
            except ValueError:
                pair = ""
            username, _, password = pair.partition(":")
        return cls(
            username, password, str(auth.get("identitytoken") or ""), str(auth.get("registrytoken") or "")
        )


ANONYMOUS = Credentials()


class Registry:
    """`domain` and `repository` as in a reference (`docker.io`, `library/busybox`); `actions`: `pull` or
    `pull,push`. `familiar_name` is what messages call the repository."""

    def __init__(
        self,
        domain: str,
        repository: str,
        *,
        familiar_name: str,
        actions: str = "pull",
        credentials: Credentials = ANONYMOUS,
    ) -> None:
        self.repository = repository
        self.familiar_name = familiar_name
        self._host = _DOCKER_HUB_HOST if domain == _DOCKER_HUB else domain
        self._actions = actions
        self._credentials = credentials
        self._authorization: str | None = None
        # As Docker: what runs on this very machine may have a certificate of its own making, or none.
        self._is_local = _is_local(self._host)
        self._connection = Connection(local=self._is_local)
        self._base = self._find_base()

    # --- manifests and blobs

    def manifest(self, selector: str) -> tuple[bytes, str]:
        """A manifest by tag or digest: its bytes, checked against a digest, and its media type. Raises
        NotFound..."""
        answer = self._request("GET", self._url("manifests", selector), {"Accept": ", ".join(ACCEPTED)})
        data = _read(answer, _DOCUMENT_LIMIT)
        if answer.status != 200:
            raise self._error(answer, data, selector)
        if selector.startswith("sha256:") and digest(data) != selector:
            raise System(f"manifest verification failed for digest {selector}")
        return data, answer.headers.get("Content-Type", "").partition(";")[0]

    def blob(self, descriptor: Descriptor, offset: int = 0) -> Answer:
        """A blob's bytes from `offset` on (status 206), or from the start if the registry will not do that
        (200). The caller checks size and digest, and closes it."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        answer = self._request("GET", self._url("blobs", descriptor.digest), headers)
        if answer.status not in (200, 206):
            raise self._error(answer, _read(answer, _ERROR_LIMIT), descriptor.digest)
        return answer

    def has_blob(self, blob_digest: str) -> bool:
        answer = self._request("HEAD", self._url("blobs", blob_digest))
        data = _read(answer, _ERROR_LIMIT)
        if answer.status in (200, 404):
            return answer.status == 200
        raise self._error(answer, data, blob_digest)

    def upload(self, body: IO[bytes], descriptor: Descriptor) -> None:
        """Store a blob: one POST to begin, one PUT with all of it (distribution-spec, "POST then PUT")."""
        begun = self._request("POST", self._url("blobs", "uploads/"), {"Content-Length": "0"}, b"")
        data = _read(begun, _ERROR_LIMIT)
        if begun.status != 202:
            raise self._error(begun, data, descriptor.digest)
        location = urllib.parse.urljoin(self._base, begun.headers.get("Location", ""))
        separator = "&" if "?" in location else "?"
        url = f"{location}{separator}digest={urllib.parse.quote(descriptor.digest)}"
        headers = {"Content-Length": str(descriptor.size), "Content-Type": "application/octet-stream"}
        answer = self._request("PUT", url, headers, body)
        data = _read(answer, _ERROR_LIMIT)
        if answer.status not in (201, 204):
            raise self._error(answer, data, descriptor.digest)

    def put_manifest(self, selector: str, data: bytes, media_type: str) -> None:
        answer = self._request("PUT", self._url("manifests", selector), {"Content-Type": media_type}, data)
        body = _read(answer, _ERROR_LIMIT)
        if answer.status not in (201, 202):
            raise self._error(answer, body, selector)

    # --- requests

    def _url(self, kind: str, name: str) -> str:
        return f"{self._base}{self.repository}/{kind}/{name}"

    def _find_base(self) -> str:
        """The address of the registry's API: https, or http too on this machine. Raises Unavailable,
        Unauthorized."""
        failure: Exception | None = None
        for scheme in ("https", "http") if self._is_local else ("https",):
            base = f"{scheme}://{self._host}/v2/"
            try:
                self._greet(base)
            except (Unavailable, ssl.SSLError) as error:
                failure = failure if isinstance(error, ssl.SSLError) and failure else error
                continue
            return base
        if isinstance(failure, Unavailable):
            raise failure
        raise unavailable("GET", f"https://{self._host}/v2/", failure) from failure

    def greet(self) -> None:
        """Ask for the API's version once more, with what the registry asked for. Raises Unauthorized."""
        answer = self._request("GET", self._base)
        data = _read(answer, _ERROR_LIMIT)
        if answer.status in (401, 403):
            words = _error_words(data)[1] or "incorrect username or password"
            raise Unauthorized(f"login attempt to {self._base} failed: unauthorized: {words}")
        if answer.status != 200:
            raise self._error(answer, data, "")

    def _greet(self, base: str) -> None:
        """Ask for the API's version, and log in if the registry wants that (distribution-spec, "Determining
        Support")."""
        answer = self._connection.request("GET", base, timeout=FIRST_ANSWER_TIMEOUT)
        data = _read(answer, _ERROR_LIMIT)
        if answer.status == 401:
            self._log_in(answer.headers.get("WWW-Authenticate", ""))
        elif answer.status != 200:
            words = _error_words(data)[1] or f"answered with status {answer.status}, not as a registry does"
            raise unavailable("GET", base, words)

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
    ) -> Answer:
        """Send a request with what the registry asked for; log in again once, for tokens end."""
        for attempt in (1, 2):
            sent = dict(headers or {})
            # An upload may go to another host, which must not see the registry's credentials.
            if (
                self._authorization
                and urllib.parse.urlsplit(url).netloc == urllib.parse.urlsplit(self._base).netloc
            ):
                sent["Authorization"] = self._authorization
            try:
                answer = self._connection.request(method, url, sent, body)
            except ssl.SSLError as error:
                raise unavailable(method, url, error) from error
            wants = answer.headers.get("WWW-Authenticate", "")
            if (
                answer.status != 401
                or attempt == 2
                or not wants
                or not (body is None or isinstance(body, bytes))
            ):
                return answer
            answer.close()
            self._log_in(wants)
        raise AssertionError("unreachable")

    # --- logging in

    def _log_in(self, header: str) -> None:
        wanted = challenge.parse(header)
        user, password, _, registry_token = self._credentials
        if wanted is None:
            raise Unauthorized(f"{self._host}: unauthorized: authentication required")
        if wanted.scheme == "basic":
            if not user:
                raise Unauthorized(
                    f"{self._host}: no basic auth credentials",
                    hint=f"log in first: docker login {self._host}",
                )
            self._authorization = _basic(user, password)
        elif wanted.scheme == "bearer":
            self._authorization = f"Bearer {registry_token or self._token(wanted.parameters)}"
        else:
            raise Unauthorized(
                f"{self._host} asks for {wanted.scheme} authentication, which is not supported"
            )

    def _token(self, parameters: dict[str, str]) -> str:
        """A token from the server that the challenge names (distribution's "Token Authentication")."""
        realm = parameters.get("realm", "")
        if urllib.parse.urlsplit(realm).scheme not in ("http", "https"):
            raise Unauthorized(f"{self._host}: the token server {realm!r} is no address")
        # Not the challenge's own scope: asking for all that is going to be done asks only once.
        query = {"scope": f"repository:{self.repository}:{self._actions}"} if self.repository else {}
        if service := parameters.get("service"):
            query["service"] = service
        user, password, identity_token, _ = self._credentials
        if identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": identity_token,
                "client_id": "labkernel",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._ask_for_token("POST", realm, headers, urllib.parse.urlencode(form).encode())
        else:
            headers = {"Authorization": _basic(user, password)} if user else {}
            if user:
                query["account"] = user
            separator = "&" if "?" in realm else "?"
            answer = self._ask_for_token(
                "GET", f"{realm}{separator}{urllib.parse.urlencode(query)}", headers, None
            )
        data = _read(answer, _DOCUMENT_LIMIT)
        if answer.status in (401, 403):
            raise Unauthorized(
                f"{self._host}: unauthorized: {_error_words(data)[1] or 'incorrect username or password'}"
            )
        if answer.status != 200:
            raise unavailable("GET", realm, f"answered with status {answer.status}")
        try:
            document = json.loads(data)
            token = document.get("token") or document.get("access_token")
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

    # --- errors

    def _error(self, answer: Answer, data: bytes, subject: str) -> EngineError:
        """A registry's refusal in the words dockerd has for it (distribution-spec, "Error Codes")."""
        code, words = _error_words(data)
        name = self.familiar_name
        separator = "@" if subject.startswith("sha256:") else ":"
        reason = f"{code.lower().replace('_', ' ')}: {words}" if code else f"status {answer.status}"
        if code == "TOOMANYREQUESTS" or answer.status in _NOT_SERVING:
            return Unavailable(
                f"{self._host}: {reason}", hint=f"the registry {self._host} does not serve now"
            )
        if self._actions != "pull" and answer.status in (401, 403):
            return Forbidden(reason if code else "denied: requested access to the resource is denied")
        if code == "MANIFEST_UNKNOWN":
            return NotFound(f"manifest for {name}{separator}{subject} not found: {reason}")
        if code == "NAME_UNKNOWN":
            return NotFound(f"repository {name} not found: {reason}")
        if code == "DENIED" or answer.status in (401, 403):
            return NotFound(
                f"pull access denied for {name}, repository does not exist or may require 'docker login': "
                f"{reason}"
            )
        if answer.status == 404:
            return NotFound(f"{self._host}: {name}{separator}{subject} not found: {reason}")
        return System(f"{self._host}: {reason}")


def _is_local(host: str) -> bool:
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _read(answer: Answer, limit: int) -> bytes:
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


def _error_words(data: bytes) -> tuple[str, str]:
    """Code and message of the first error in an answer; empty where it has none."""
    try:
        error = json.loads(data)["errors"][0]
        return str(error.get("code") or ""), str(error.get("message") or "").replace("\n", " ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""
