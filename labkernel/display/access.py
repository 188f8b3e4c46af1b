"""Who may connect to a display: access control, and the list of those that need no cookie.

In the words of xhost(1), which does the same.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from labkernel.display.connection import Connection
from labkernel.display.errors import DisplayError

_INTERNET, _SERVER_INTERPRETED, _INTERNET6, _LOCAL = 0, 5, 6, 252
_ENABLED = "access control enabled, only authorized clients can connect"
_DISABLED = "access control disabled, clients can connect from any host"


@dataclass(frozen=True)
class Access:
    """`is_controlled`: who is not in the list needs a cookie. `allowed` as xhost lists: SI:localuser:root."""

    is_controlled: bool
    allowed: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([_ENABLED if self.is_controlled else _DISABLED, *self.allowed])


def access(connection: Connection) -> Access:
    """How it is now."""
    listed = connection.display.list_hosts()
    return Access(bool(listed.mode), tuple(_listed(host.family, bytes(host.name)) for host in listed.hosts))


def change_access(connection: Connection, word: str) -> str:
    """Do what xhost does for a word (`+`, `-`, `+local:`, `-si:localuser:NAME`); return what it prints.

    Who is connected stays so. Raises DisplayError for a word it does not know.
    """
    from Xlib import X

    display, adds = connection.display, not word.startswith("-")
    if word in ("+", "-"):
        display.set_access_control(X.DisableAccess if adds else X.EnableAccess)
        said = _DISABLED if adds else _ENABLED
    else:
        family, name, shown = _host(word.removeprefix("+").removeprefix("-"))
        _change_hosts(connection, X.HostInsert if adds else X.HostDelete, family, name)
        said = f"{shown} being {'added to' if adds else 'removed from'} access control list"
    display.sync()
    return said


def _host(word: str) -> tuple[int, bytes, str]:
    """Family, name, and how xhost calls it."""
    kind, _, rest = word.partition(":")
    if kind.lower() == "local":  # what follows has no meaning, though tutorials write local:docker
        return _LOCAL, b"", "non-network local connections"
    if kind.lower() == "si" and ":" in rest:
        return _SERVER_INTERPRETED, rest.replace(":", "\0", 1).encode(), rest
    raise DisplayError(
        f'bad hostname "{word}"',
        why="this screen listens on no network, so no host can be let in",
        hint="+ or - for all; +si:localuser:NAME for a user of this machine; +local: for all of its users",
    )


def _listed(family: int, name: bytes) -> str:
    if family in (_INTERNET, _INTERNET6):
        return f"{'INET6' if family else 'INET'}:{ipaddress.ip_address(name)}"
    if family == _LOCAL:
        return "LOCAL:"
    kind = "SI" if family == _SERVER_INTERPRETED else f"FAMILY{family}"
    return f"{kind}:{name.replace(bytes(1), b':').decode(errors='replace')}"


def _change_hosts(connection: Connection, mode: int, family: int, name: bytes) -> None:
    """python-xlib's own refuses the family LOCAL, which is newer."""
    from Xlib.protocol import rq

    class ChangeHosts(rq.Request):
        _request = rq.Struct(
            rq.Opcode(109),
            rq.Card8("mode"),
            rq.RequestLength(),
            rq.Card8("family"),
            rq.Pad(1),
            rq.LengthOf("name", 2),
            rq.List("name", rq.Card8Obj),
        )

    ChangeHosts(display=connection.display.display, mode=mode, family=family, name=list(name))
