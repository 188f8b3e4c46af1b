"""docker search, login, logout: registries and who we are to them."""

from __future__ import annotations

import base64
import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.filters import FILTER, filters
from labkernel.commands.flags import integer, switch, text
from labkernel.commands.http import call
from labkernel.commands.ps import shorten
from labkernel.commands.results import Listing, Result, Text

if TYPE_CHECKING:
    from docker import DockerClient

HUB = "https://index.docker.io/v1/"
HEADINGS = {"Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL"}


def search(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    params: dict[str, Any] = {"term": invocation.arguments[0], "filters": filters(options["filter"])}
    if options["limit"]:
        params["limit"] = options["limit"]
    found = call(client, "GET", "/images/search", params=params).json() or []
    rows = []
    for entry in sorted(found, key=lambda entry: -int(entry["star_count"])):
        description = str(entry["description"]).replace("\n", " ").replace("\r", " ")
        rows.append(
            {
                "Name": str(entry["name"]),
                "Description": description if options["no-trunc"] else shorten(description, 45),
                "StarCount": str(entry["star_count"]),
                "IsOfficial": "[OK]" if entry["is_official"] else "",
            }
        )
    return Listing(rows, found, HEADINGS, tuple(HEADINGS), options["format"])


def config_file() -> Path:
    """The docker client's configuration, which keeps logins: DOCKER_CONFIG, or ~/.docker."""
    directory = os.environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else Path.home() / ".docker") / "config.json"


def _read_config() -> dict[str, Any]:
    path = config_file()
    try:
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise CommandError(
            f"error reading {path}: {error}", hint="correct the file, or move it away"
        ) from None
    return found


def _write_config(config: dict[str, Any]) -> None:
    path = config_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(config, file, indent="\t")
    partial.replace(path)


def login(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    server = invocation.arguments[0] if invocation.arguments else HUB
    user, password = options["username"], options["password"]
    if options["password-stdin"]:
        if not user:
            raise CommandError("the --password-stdin option requires --username to be set")
        if password:
            raise CommandError("--password and --password-stdin are mutually exclusive")
        if console.stdin is None:
            raise CommandError(
                "there is no standard input here", hint="give -u alone: the password is asked for"
            )
        password = console.stdin.read().decode().rstrip("\r\n")
    elif password:
        console.write_error(b"WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    if not (user and password) and console.stdin is not None and console.terminal is None:
        raise CommandError("Cannot perform an interactive login from a non TTY device")
    user = user or input("Username: ")
    password = password or getpass.getpass("Password: ")
    answer: Any = client.api.login(user, password, registry=server, reauth=True)
    _store(server, user, password, str(answer.get("IdentityToken") or ""))
    return Text(str(answer.get("Status") or "Login Succeeded"))


def _helper(config: dict[str, Any], server: str) -> str | None:
    """The program that keeps logins (docker-credential-NAME): one registry's, or everyone's."""
    helpers: dict[str, str] = config.get("credHelpers") or {}
    return helpers.get(server) or config.get("credsStore")


def _store(server: str, user: str, password: str, token: str) -> None:
    """Keep the login where every docker client looks: with the helper named there, or in the file."""
    config = _read_config()
    if helper := _helper(config, server):
        from docker.credentials import Store

        Store(helper).store(server, "<token>" if token else user, token or password)
        return
    entry = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
    if token:
        entry = {"auth": base64.b64encode(f"{user}:".encode()).decode(), "identitytoken": token}
    config.setdefault("auths", {})[server] = entry
    _write_config(config)


def logout(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    server = invocation.arguments[0] if invocation.arguments else HUB
    config = _read_config()
    if helper := _helper(config, server):
        from docker.credentials import Store

        Store(helper).erase(server)
    elif server in config.get("auths", {}):
        del config["auths"][server]
        _write_config(config)
    else:
        return Text(f"Not logged in to {server}")
    return Text(f"Removing login credentials for {server}")


SEARCH = Command(
    "search",
    "[OPTIONS] TERM",
    "Look for images on Docker Hub",
    search,
    (
        FILTER,
        text("format", "", "Rows by a Go template, such as '{{.Name}}'"),
        integer("limit", "", "Most results"),
        switch("no-trunc", "", "Show descriptions in full"),
    ),
    (1, 1),
)
LOGIN = Command(
    "login",
    "[OPTIONS] [SERVER]",
    "Log in to a registry",
    login,
    (
        text("username", "u", "User name"),
        text("password", "p", "Password; seen by others on this machine, so better --password-stdin"),
        switch("password-stdin", "", "Read the password from standard input"),
    ),
    (0, 1),
)
LOGOUT = Command("logout", "[SERVER]", "Forget a login", logout, (), (0, 1))
