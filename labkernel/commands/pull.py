"""docker pull and docker push."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError, explain, image_hint, is_offline, local_names
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call, messages
from labkernel.commands.progress import show_progress
from labkernel.commands.results import Result, Text

if TYPE_CHECKING:
    from docker import DockerClient


def split_reference(name: str) -> tuple[str, str]:
    """(repository, tag or digest): "host:5000/a/b:v1" -> ("host:5000/a/b", "v1"); "" for neither."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    return f"{head}{slash}{repository}", tag


def registry_of(name: str) -> str:
    """The registry that a name belongs to: its first part when that looks like a host, else Docker Hub."""
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def auth_header(client: DockerClient, name: str) -> dict[str, str]:
    """X-Registry-Auth with what `docker login` stored for the name's registry."""
    registry = registry_of(name)
    stored: Any = client.api._auth_configs  # type: ignore[attr-defined]  # set by docker-py from config.json
    found = stored.resolve_authconfig(None if registry == "docker.io" else registry)
    encoded = base64.urlsafe_b64encode(json.dumps(found or {}).encode()).decode()
    return {"X-Registry-Auth": encoded}


def pull_image(
    client: DockerClient, name: str, console: Console, *, quiet: bool = False, platform: str = ""
) -> None:
    """Pull one image and show how it goes. Raises CommandError."""
    from docker.errors import APIError

    repository, tag = split_reference(name)
    params = {"fromImage": repository, "tag": tag or "latest", **({"platform": platform} if platform else {})}
    headers = auth_header(client, name)
    try:
        response = call(client, "POST", "/images/create", params=params, headers=headers, stream=True)
        show_progress(messages(response), console, quiet=quiet)
    except (CommandError, APIError) as error:
        raise _not_pulled(client, repository, explain(error, "", client)) from None


_NOT_THE_NAME = "no matching manifest|HTTP response to HTTPS|no basic auth credentials|verification failed"
"""Failures for which another name is no advice."""


def _not_pulled(client: DockerClient, repository: str, error: CommandError) -> CommandError:
    """A pull that failed is most often a slip in the name, or a room without the registry."""
    offline = is_offline(error.what)
    if offline:
        error.why = f"the registry {registry_of(repository)} does not answer"
    if repository in local_names(client):
        error.hint = f"an image {repository} is stored here, and works without a registry"
    elif not re.search(_NOT_THE_NAME, error.what):
        error.hint = f"{'no registry answers here; ' if offline else ''}{image_hint(repository, client)}"
    error.where = None
    return error


def familiar(name: str) -> str:
    """The full name that the docker client reports after a pull: docker.io/library/busybox:latest."""
    repository, tag = split_reference(name)
    if registry_of(repository) == "docker.io":
        repository = repository.removeprefix("docker.io/")
        repository = f"docker.io/{repository}" if "/" in repository else f"docker.io/library/{repository}"
    separator = "@" if "@" in name else ":"
    return f"{repository}{separator}{tag or 'latest'}"


def pull(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    name, options = invocation.arguments[0], invocation.options
    if options["all-tags"]:
        if split_reference(name)[1]:
            raise CommandError("tag can't be used with --all-tags/-a")
        response = call(
            client,
            "POST",
            "/images/create",
            params={"fromImage": name},
            headers=auth_header(client, name),
            stream=True,
        )
        show_progress(messages(response), console, quiet=options["quiet"])
    else:
        if not split_reference(name)[1] and not options["quiet"]:
            console.write(b"Using default tag: latest\n")
        pull_image(client, name, console, quiet=options["quiet"], platform=options["platform"] or "")
    return Text(familiar(name))


def push(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    name, options = invocation.arguments[0], invocation.options
    repository, tag = split_reference(name)
    if not options["all-tags"] and not tag:
        tag = "latest"
        if not options["quiet"]:
            console.write(b"Using default tag: latest\n")
    response = call(
        client,
        "POST",
        f"/images/{quote(repository)}/push",
        params={"tag": tag} if tag else {},
        headers=auth_header(client, name),
        stream=True,
    )
    if not options["quiet"]:
        console.write(f"The push refers to repository [{familiar(repository).rpartition(':')[0]}]\n".encode())
    show_progress(
        (m for m in messages(response) if not str(m.get("status", "")).startswith("The push refers to")),
        console,
        quiet=options["quiet"],
    )
    return Text(familiar(name) if options["quiet"] else "")


PULL = Command(
    "pull",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    "Fetch an image from a registry",
    pull,
    (
        switch("all-tags", "a", "Fetch every tag of the repository"),
        switch("quiet", "q", "Show no progress"),
        text("platform", "", "Platform of the image, such as linux/amd64"),
    ),
    (1, 1),
)

PUSH = Command(
    "push",
    "[OPTIONS] NAME[:TAG]",
    "Send an image to a registry",
    push,
    (
        switch("all-tags", "a", "Send every tag of the repository"),
        switch("quiet", "q", "Show no progress"),
    ),
    (1, 1),
)
