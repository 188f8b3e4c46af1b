"""How registries are reached: dockerd's `registry-mirrors` and `insecure-registries`. Pure: no I/O."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from labkernel.engine.errors import InvalidParameter

DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class RegistrySettings:
    """`mirrors` are addresses like `http://classroom:5000`, asked in their order before Docker Hub is;
    `insecure` are hosts (`name` or `name:port`) and networks (`10.0.0.0/8`) that may do without TLS, or have
    any certificate. What runs on this very machine always may, as for Docker."""

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()

    @classmethod
    def of(cls, mirrors: Iterable[str], insecure: Iterable[str]) -> RegistrySettings:
        """Raises InvalidParameter, in dockerd's words where it has some."""
        return cls(
            tuple(dict.fromkeys(_mirror(text) for text in mirrors)),
            tuple(dict.fromkeys(_insecure(text) for text in insecure)),
        )

    def is_insecure(self, host: str) -> bool:
        """Whether `host` (with its port, if any) is trusted without TLS."""
        if is_local(host) or host in self.insecure:
            return True
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        try:
            address = ip_address(name)
        except ValueError:
            return name in self.insecure
        return name in self.insecure or any(address in ip_network(net) for net in self.insecure if "/" in net)


def is_local(host: str) -> bool:
    """Whether a host is this very machine, by its name or address."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _mirror(text: str) -> str:
    url = urllib.parse.urlsplit(text)
    if url.scheme not in ("http", "https") or not url.netloc:
        raise InvalidParameter(
            f'invalid mirror: "{text}" is not a URL with the scheme http or https',
            hint="such as http://classroom:5000",
        )
    if url.path not in ("", "/") or url.query or url.fragment:
        raise InvalidParameter(f'invalid mirror: path, query, or fragment at end of the URI "{text}"')
    if url.username is not None:
        raise InvalidParameter("invalid mirror: username/password not allowed in URI")
    return f"{url.scheme}://{url.netloc}"


def _insecure(text: str) -> str:
    if "://" in text:
        raise InvalidParameter(
            f"insecure registry {text} should not contain '://'", hint="a host, such as classroom:5000"
        )
    if "/" in text:
        try:
            ip_network(text)
        except ValueError as error:
            raise InvalidParameter(f"insecure registry {text} is not valid: {error}") from None
    elif not urllib.parse.urlsplit(f"//{text}").hostname:
        raise InvalidParameter(f"insecure registry {text!r} is not valid: no host")
    return text
