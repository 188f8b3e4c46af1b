"""What `docker login` left, as clients send it along (the API's AuthConfig). Pure: no I/O."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple


class Credentials(NamedTuple):
    """User and password, or a token for the token server, or one for the registry."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    @classmethod
    def of(cls, auth: dict[str, Any] | None) -> Credentials:
        """From the API's AuthConfig object (header X-Registry-Auth). Capitals do not matter, as in Go:
        docker-py passes on what a credential helper said as it is."""
        auth = {key.lower(): value for key, value in (auth or {}).items()}
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

    @property
    def basic(self) -> str:
        """The value of a header Authorization (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credentials()


def of_registry(auths: Mapping[str, Any], domain: str) -> dict[str, Any] | None:
    """The AuthConfig for a registry out of many (header X-Registry-Config); Docker Hub's has the address of
    its old index for a name."""
    wanted = "index.docker.io" if domain == "docker.io" else domain
    for address, auth in auths.items():
        host = address.partition("://")[2] or address
        if host.partition("/")[0] == wanted and isinstance(auth, dict):
            return auth
    return None
