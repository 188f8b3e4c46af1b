"""`docker build --secret` and `--ssh`: what the steps may see and no image keeps.

The engine takes them in headers of the request, see `labkernel.engine.api.build_secrets`: Docker's API
without BuildKit has no way to send them, so they are not sent to another engine.
"""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labkernel.commands.errors import CommandError
from labkernel.commands.http import call

if TYPE_CHECKING:
    from docker import DockerClient

LARGEST = 500 * 1024
"""Bytes of a secret, as for docker."""


def secret_headers(client: DockerClient, secrets: Sequence[str], agents: Sequence[str]) -> dict[str, str]:
    """The headers for the values of --secret and --ssh. Raises CommandError, also for an engine that could do
    nothing with them."""
    contents = dict(_secret(text) for text in secrets)
    sockets = dict(_agent(text) for text in agents)
    if not contents and not sockets:
        return {}
    if not is_own_engine(client):
        raise CommandError(
            f"{'--secret' if contents else '--ssh'}: this engine's builder has no way to take it",
            hint="labkernel's own engine has one; with Docker itself: docker buildx build",
        )
    if sockets and not str(client.api.base_url).startswith("http+docker://"):
        raise CommandError(
            "--ssh: the engine is on another machine, where the agent's socket is not", hint="use --secret"
        )
    if sum(map(len, contents.values())) > LARGEST:
        raise CommandError("secrets too big: 500KB is the most for all of them")
    encoded = {name: base64.b64encode(value).decode() for name, value in contents.items()}
    return {
        **({"X-Labkernel-Build-Secrets": _header(encoded)} if encoded else {}),
        **({"X-Labkernel-Build-Ssh": _header(sockets)} if sockets else {}),
    }


def is_own_engine(client: DockerClient) -> bool:
    """Whether it is labkernel's engine that answers."""
    return str(call(client, "GET", "/_ping").headers.get("Server", "")).startswith("labkernel/")


def _header(value: Mapping[str, str]) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def _secret(text: str) -> tuple[str, bytes]:
    """`id=x,src=FILE` or `id=x,env=NAME` -> the id and the content."""
    given: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        key = {"source": "src"}.get(key.lower(), key.lower())
        if not equals:
            raise CommandError(f"invalid field '{field}' must be a key=value pair", hint=_EXAMPLE)
        if key not in ("id", "src", "env", "type"):
            raise CommandError(f"unexpected key '{key}' in '{field}'", hint=_EXAMPLE)
        given[key] = value
    kind = given.get("type", "")
    if kind not in ("", "file", "env"):
        raise CommandError(f'unsupported secret type "{kind}"', hint=_EXAMPLE)
    name, path, variable = given.get("id", ""), given.get("src", ""), given.get("env", "")
    if not name:
        raise CommandError("secret missing ID", hint=_EXAMPLE)
    if kind == "env" and not variable:
        path, variable = "", path or name
    if not path and not variable:
        path, variable = ("", name) if name in os.environ else (name, "")
    if variable:
        return name, os.environ.get(variable, "").encode("utf-8", "surrogateescape")
    try:
        content = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise CommandError(
            f"failed to stat {path}: {(error.strerror or '').lower()}", hint=_EXAMPLE
        ) from None
    if len(content) > LARGEST:
        raise CommandError(f"secret {name} too big. max size 500KB")
    return name, content


_EXAMPLE = "for example --secret id=token,src=token.txt, or --secret id=token,env=TOKEN"


def _agent(text: str) -> tuple[str, str]:
    """`default`, or `id=SOCKET` -> the id and the path of the agent's socket."""
    name, _, path = text.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise CommandError(
            "invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set",
            hint="eval $(ssh-agent), then ssh-add: the agent has your keys, and hands none out",
        )
    if not Path(path).is_socket():
        problem = "is no socket of an SSH agent" if Path(path).exists() else "does not exist"
        raise CommandError(
            f"--ssh: {path} {problem}",
            hint="ssh-add FILE gives a key to the agent; --ssh default is all that is needed then",
        )
    return name, str(Path(path).absolute())
