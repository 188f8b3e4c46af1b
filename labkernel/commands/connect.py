"""The docker-py client that commands use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    import requests
    from docker.utils import kwargs_from_env

    settings: dict[str, Any] = {}
    try:
        settings.update(kwargs_from_env())
        if host:
            settings["base_url"] = host
        if settings.get("tls"):
            # Before the version is asked: requests would trust REQUESTS_CA_BUNDLE in place of the ca.pem
            # that belongs to this engine.
            first = docker.DockerClient(version="1.24", **settings)
            first.api.trust_env = False
            settings["version"] = first.api.version(api_version=False)["ApiVersion"]
            first.close()
        client = docker.DockerClient(**{"version": "auto", **settings})
        client.api.trust_env = client.api.trust_env and not settings.get("tls")
    except (
        docker.errors.DockerException,
        requests.RequestException,
        OSError,
        ValueError,
        ImportError,
    ) as error:
        raise unreachable(error, host=settings.get("base_url")) from None
    # From here on `docker wait` and `logs -f` may take as long as they like (the stubs know only seconds).
    client.api.timeout = None  # type: ignore[assignment]
    return client
