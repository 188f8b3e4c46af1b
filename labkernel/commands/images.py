"""docker images, history, tag, rmi: the images that are stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.each import for_each
from labkernel.commands.filters import FILTER, filters
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call
from labkernel.commands.ps import local_time, shorten
from labkernel.commands.pull import split_reference
from labkernel.commands.results import Listing, Result, Text
from labkernel.commands.units import ago, human_size

if TYPE_CHECKING:
    from docker import DockerClient

HEADINGS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}


def images(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    wanted = filters(options["filter"])
    if invocation.arguments:
        wanted.setdefault("reference", []).append(invocation.arguments[0])
    found = client.api.images(all=options["all"], filters=wanted)
    rows, data = [], []
    for image in found:
        for repository, tag, digest in names(image, digests=options["digests"]):
            rows.append(row(image, repository, tag, digest, truncate=not options["no-trunc"]))
            data.append(image)
    columns = (
        "Repository",
        "Tag",
        *(("Digest",) if options["digests"] else ()),
        "ID",
        "CreatedSince",
        "Size",
    )
    return Listing(rows, data, HEADINGS, columns, options["format"], "ID" if options["quiet"] else None)


def names(image: Mapping[str, Any], *, digests: bool) -> list[tuple[str, str, str]]:
    """(repository, tag, digest) for every row that the image has: one for each tag, or one without a name."""
    tags = [split_reference(tag) for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
    known = [
        split_reference(digest) for digest in image.get("RepoDigests") or [] if digest != "<none>@<none>"
    ]
    if not digests:
        untagged = [
            (repository, "<none>") for repository, _ in known if repository not in {r for r, _ in tags}
        ]
        return [(repository, tag, "<none>") for repository, tag in [*tags, *dict.fromkeys(untagged)]] or [
            ("<none>", "<none>", "<none>")
        ]
    rows = []
    for repository, tag in tags:
        of_tag = [digest for name, digest in known if name == repository] or ["<none>"]
        rows += [(repository, tag, digest) for digest in of_tag]
    rows += [(name, "<none>", digest) for name, digest in known if name not in {r for r, _ in tags}]
    return rows or [("<none>", "<none>", "<none>")]


def row(
    image: Mapping[str, Any], repository: str, tag: str, digest: str, *, truncate: bool
) -> dict[str, str]:
    """The fields of one image under one name, named as --format names them."""
    size, shared = image["Size"], image.get("SharedSize", -1)
    count = image.get("Containers", -1)
    return {
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "ID": image["Id"].removeprefix("sha256:")[:12] if truncate else image["Id"],
        "CreatedSince": ago(image["Created"]),
        "CreatedAt": local_time(image["Created"]),
        "Size": human_size(size, precision=3),
        "VirtualSize": human_size(size),
        "SharedSize": human_size(shared) if shared >= 0 else "N/A",
        "UniqueSize": human_size(size - shared) if shared >= 0 else "N/A",
        "Containers": str(count) if count >= 0 else "N/A",
    }


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat().replace("+00:00", "Z")


HISTORY_HEADINGS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}


def history(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    truncate = not options["no-trunc"]
    layers: Any = client.api.history(invocation.arguments[0])
    rows = []
    for layer in layers:
        image = str(layer["Id"])
        created_by = layer["CreatedBy"].replace("\t", " ")
        human = options["human"]
        rows.append(
            {
                "ID": image.removeprefix("sha256:")[:12] if truncate and image != "<missing>" else image,
                "CreatedSince": ago(layer["Created"]) if human else _rfc3339(layer["Created"]),
                "CreatedAt": local_time(layer["Created"]),
                "CreatedBy": shorten(created_by, 45) if truncate else created_by,
                "Size": human_size(layer["Size"], precision=3) if human else str(layer["Size"]),
                "Comment": layer["Comment"],
            }
        )
    columns = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
    headings = HISTORY_HEADINGS if options["human"] else {**HISTORY_HEADINGS, "CreatedSince": "CREATED AT"}
    return Listing(
        rows, list(layers), headings, columns, options["format"], "ID" if options["quiet"] else None
    )


def tag(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    source, target = invocation.arguments
    repository, name = split_reference(target)
    call(client, "POST", f"/images/{source}/tag", params={"repo": repository, "tag": name})
    return Text()


def rmi(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options

    def one(name: str) -> str:
        answer: Any = client.api.remove_image(name, force=options["force"], noprune=options["no-prune"])
        return "\n".join(f"{what}: {which}" for entry in answer for what, which in entry.items())

    return for_each(client, invocation, console, one, may_be_missing=options["force"])


IMAGES = Command(
    "images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    images,
    (
        switch("all", "a", "Show the unnamed images of build steps too"),
        switch("digests", "", "Show digests"),
        FILTER,
        text(
            "format",
            "",
            "Rows by a Go template, such as '{{.Repository}}'; 'table ...' adds headings; 'json'",
        ),
        switch("no-trunc", "", "Show ids in full"),
        switch("quiet", "q", "Show ids only"),
    ),
    (0, 1),
)
HISTORY = Command(
    "history",
    "[OPTIONS] IMAGE",
    "Show how an image came about",
    history,
    (
        text(
            "format", "", "Rows by a Go template, such as '{{.CreatedBy}}'; 'table ...' adds headings; 'json'"
        ),
        switch("human", "H", "Sizes and times for people", default=True),
        switch("no-trunc", "", "Show commands and ids in full"),
        switch("quiet", "q", "Show ids only"),
    ),
    (1, 1),
)
TAG = Command("tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image one more name", tag, (), (2, 2))
RMI = Command(
    "rmi",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove images, or names of images",
    rmi,
    (
        switch("force", "f", "Remove it although it has other names or stopped containers"),
        switch("no-prune", "", "Keep its unnamed parents"),
    ),
    (1, None),
)
