"""The docker-py client that commands use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkernel.commands.errors import unreachable

if TYPE_CHECKING:
    from docker import DockerClient


def connect(host: str | None = None) -> DockerClient:
    """A client for the engine at `host`, or at DOCKER_HOST (with DOCKER_TLS_VERIFY, DOCKER_CERT_PATH) by
    default.

    The API version is the engine's. Waiting for a container has no time limit, so neither has the client.
    Raises CommandError when no engine answers.
    """
    import docker
    from docker.utils import kwargs_from_env

    settings = kwargs_from_env()
    if host:
        settings["base_url"] = host
    try:
        client = docker.DockerClient(version="auto", **settings)
    except (docker.errors.DockerException, OSError, ValueError, ImportError) as error:
        raise unreachable(error, host=settings.get("base_url")) from None
    # From here on `docker wait` and `logs -f` may take as long as they like (the stubs know only seconds).
    client.api.timeout = None  # type: ignore[assignment]
    return client
