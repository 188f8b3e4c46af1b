"""Questions to a registry that transfer no image: what a name stands for, what there is, who may come in."""

from __future__ import annotations

import json
import tempfile
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from labkernel.engine.distribution import manifests
from labkernel.engine.distribution.connection import FIRST_ANSWER_TIMEOUT, Connection
from labkernel.engine.distribution.credentials import Credentials
from labkernel.engine.distribution.endpoint import DOCUMENT_LIMIT, Endpoint, read
from labkernel.engine.distribution.manifests import Manifest
from labkernel.engine.distribution.pull import fetch_config
from labkernel.engine.distribution.registry import Registry, next_page
from labkernel.engine.distribution.settings import DOCKER_HUB, RegistrySettings
from labkernel.engine.errors import System

_HUB_SEARCH = "https://index.docker.io/"
_REPOSITORIES_LIMIT = 10_000


def describe(registry: Registry, selector: str, *stops: threading.Event) -> dict[str, Any]:
    """What a tag or digest stands for, as `GET /distribution/{name}/json` answers. Raises as `pull`."""
    data, media_type = registry.manifest(selector)
    descriptor = {"mediaType": media_type, "digest": manifests.digest(data), "size": len(data)}
    found = manifests.parse(data)
    if isinstance(found, Manifest):
        with tempfile.TemporaryDirectory() as directory:
            data = fetch_config(registry, found, Path(directory, "config"), *stops)
        try:
            config = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise System("the image's configuration is not JSON") from error
        platforms = [config if isinstance(config, dict) else {}]
    else:
        platforms = [entry["platform"] for entry in found if isinstance(entry.get("platform"), dict)]
    keys = ("architecture", "os", "os.version", "os.features", "variant")
    return {
        "Descriptor": descriptor,
        "Platforms": [{key: item[key] for key in keys if item.get(key)} for item in platforms],
    }


def log_in(address: str, credentials: Credentials, settings: RegistrySettings) -> str:
    """Check what `docker login` was given, for a registry by its host or address; the token to keep instead
    of the password, or nothing. Raises Unauthorized, Unavailable."""
    scheme, _, rest = address.rpartition("://")
    host = rest.partition("/")[0]
    if host in ("", "index.docker.io", DOCKER_HUB):
        host = DOCKER_HUB
    elif scheme == "http" and settings.is_insecure(host):
        host = f"http://{host}"
    return Endpoint(host, credentials=credentials, settings=settings).check_login()


def search(
    domain: str, term: str, limit: int, credentials: Credentials, settings: RegistrySettings
) -> list[dict[str, Any]]:
    """Repositories that fit a term, as `GET /images/search` answers: by the registry's own search where it
    has one (Docker's API, version 1), else by name among those it lists. Raises Unavailable, Unauthorized."""
    query = urllib.parse.urlencode({"q": term, "n": limit})
    if domain == DOCKER_HUB:
        # The index is another host than the registry, which asks for a login before it says anything.
        answer = Connection().request("GET", f"{_HUB_SEARCH}v1/search?{query}", timeout=FIRST_ANSWER_TIMEOUT)
        return _results(read(answer, DOCUMENT_LIMIT))
    endpoint = Endpoint(domain, credentials=credentials, scopes=["registry:catalog:*"], settings=settings)
    answer = endpoint.request("GET", f"/v1/search?{query}")
    data = read(answer, DOCUMENT_LIMIT)
    if answer.status == 200:
        return _results(data)
    names: list[str] = []
    url = "_catalog?n=1000"
    while url and len(names) < _REPOSITORIES_LIMIT:
        answer = endpoint.request("GET", url)
        data = read(answer, DOCUMENT_LIMIT)
        if answer.status != 200:
            break
        try:
            names += [str(name) for name in json.loads(data)["repositories"] or ()]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise System(f"{endpoint.host}: the catalog is no list of repositories") from None
        url = next_page(url, answer)
    shown = "" if "://" in domain else f"{domain}/"
    return [result(shown + name, "") for name in names if term in name]


def result(name: str, description: str, *, official: bool = False) -> dict[str, Any]:
    """A repository as a search shows it."""
    return {
        "name": name,
        "description": description,
        "is_official": official,
        "is_automated": False,
        "star_count": 0,
    }


def _results(data: bytes) -> list[dict[str, Any]]:
    try:
        return [
            {
                "name": str(item.get("name") or ""),
                "description": str(item.get("description") or ""),
                "is_official": bool(item.get("is_official")),
                "is_automated": bool(item.get("is_automated")),
                "star_count": int(item.get("star_count") or 0),
            }
            for item in json.loads(data)["results"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise System("the registry's answer holds no results") from None
