"""Advice about steps that reach for what is not there: the network, the disk, memory."""

from __future__ import annotations

import re

from labkernel.engine.build.advice.situation import Advice, Rule, Situation

_NAMED = (
    r"Temporary failure resolving '([^']+)'|Could not resolve host: (\S+)|bad address '([^']+)'"
    r"|EAI_AGAIN (\S+)|unable to resolve host address .([^\s\u2019'\"]+)"
)
_NO_NAME = (
    r"Temporary failure in name resolution|Name or service not known|EAI_AGAIN"
    r"|no such host|Name does not resolve|DNS lookup error"
)
_NO_WAY = r"Network is unreachable|Connection timed out|Connection refused|No route to host|ETIMEDOUT"


def _no_name(situation: Situation, found: re.Match[str]) -> Advice:
    if network := _without_network(situation):
        return network
    host = next((group for group in found.groups() if group), "")
    what = f"the name {host} could not be resolved" if host else "a name could not be resolved"
    return Advice(
        f"{what}: is it spelt right, and is this machine on the network? A RUN step uses the machine's "
        "own name servers (/etc/resolv.conf)",
        host,
    )


def _no_way(situation: Situation, found: re.Match[str]) -> Advice:
    return _without_network(situation) or Advice(
        "the step found no way to that address: is this machine on the network, and does it need a proxy "
        "(--build-arg http_proxy=...)?"
    )


def _without_network(situation: Situation) -> Advice | None:
    if re.search(r"--network=none\b", situation.text):
        return Advice("--network=none: this RUN has no network", "--network=none")
    if situation.network == "none":
        return Advice("the build was started with --network none: its RUN steps have no network")
    return None


RULES = (
    Rule("output", _NAMED, _no_name),
    Rule("output", _NO_NAME, _no_name),
    Rule("output", _NO_WAY, _no_way),
    Rule(
        "output",
        r"certificate verify failed|unable to get local issuer|SSL certificate problem"
        r"|certificate is not trusted|x509: certificate signed by unknown",
        "the image knows no authority that vouches for this server: install ca-certificates first, in the "
        "same RUN or before",
    ),
    Rule(
        "output",
        r"The requested URL returned error: 404|HTTP/1\.[01] 404|ERROR 404",
        "the server answers, but has nothing at that address: is the URL right?",
    ),
    Rule(
        "output",
        r"could not read Username for '([^']+)'",
        "git was asked for a login that a build cannot give: is the address right, is the repository public?",
    ),
    Rule(
        "output",
        r"No space left on device",
        "the disk is full: docker system df shows what takes space, docker system prune frees it",
    ),
    Rule(
        "output",
        r"JavaScript heap out of memory|java\.lang\.OutOfMemoryError|MemoryError\b"
        r"|[Cc]annot allocate memory|virtual memory exhausted",
        "the program ran out of memory: give the build more (--memory), or let the step do less at once",
    ),
)


def _killed(situation: Situation, found: re.Match[str]) -> str:
    if situation.memory:
        return (
            f"something killed the command, and this build may use {situation.memory / 1e6:.0f} MB of "
            "memory: give it more (--memory), or let the step do less at once"
        )
    return (
        "something killed the command from outside; most often the memory was used up: "
        "give the build more (--memory), or let the step do less at once"
    )


LAST_RULES = (
    Rule("message", r"non-zero code: 137$", _killed),
    Rule(
        "message",
        r"non-zero code: 139$",
        "the program itself is faulty, or made for another processor or C library (glibc, musl)",
    ),
)
