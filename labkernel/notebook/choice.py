"""Which engine the notebook's commands go to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labkernel.commands import CommandError, connect
from labkernel.commands.http import call

if TYPE_CHECKING:
    from docker import DockerClient


@dataclass
class Choice:
    """The engine named by DOCKER_HOST, or our own where that is not set.

    `started` is the address of our own engine, once it was started or found; DOCKER_HOST then names it for
    the kernel and for what the kernel starts.
    """

    started: str | None = None

    def client(self, host: str | None = None) -> DockerClient:
        """A client, made anew for each command: DOCKER_HOST may have changed, the engine may have gone.

        `host` is that of a `-H`. Our own engine is started again when it no longer runs. Raises CommandError
        when no engine answers.
        """
        chosen = host or os.environ.get("DOCKER_HOST")
        if not chosen or chosen == self.started:
            from labkernel.engine_process import start

            self.started = start()
            os.environ["DOCKER_HOST"] = self.started
        try:
            return connect(host)
        except CommandError as error:
            if not host and chosen != self.started:
                error.why = error.why or f"DOCKER_HOST names another engine than labkernel's own: {chosen}"
                error.hint = (
                    'for labkernel\'s own engine: del os.environ["DOCKER_HOST"] (after import os), '
                    "then %reload_ext labkernel"
                )
            raise

    def forget(self) -> None:
        """Take back what we set in the environment. The engine runs on: other notebooks may use it."""
        if self.started and os.environ.get("DOCKER_HOST") == self.started:
            del os.environ["DOCKER_HOST"]
        self.started = None


def greeting(client: DockerClient) -> str:
    """Which engine answers, its version, and where, on one line; on a second, that something is limited."""
    version = client.version()
    # Docker's packages from Debian leave the platform's name empty.
    name = (version.get("Platform") or {}).get("Name") or "Docker Engine"
    host = os.environ.get("DOCKER_HOST", "the default socket")
    line = f"{name} {version['Version']} (API {version['ApiVersion']}) answers at {host}"
    return (
        f"{line}\nlimited on this machine: !labkernel engine status says how"
        if _is_limited(client, name)
        else line
    )


def _is_limited(client: DockerClient, name: str) -> bool:
    """Whether our own engine says that something does not work here."""
    if name != "labkernel":
        return False
    return bool(call(client, "GET", "/labkernel/status", versioned=False).json().get("Limits"))
