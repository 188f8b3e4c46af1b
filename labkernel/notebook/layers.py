"""What an image is made of: its layers with their sizes, and which other images hold the same ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labkernel.commands import CommandError
from labkernel.commands.history import SETTINGS, instruction
from labkernel.notebook.views.layer_files import ADDED, CHANGED, DELETED, Change, LayerFiles, chain_ids

if TYPE_CHECKING:
    from docker import DockerClient


SHOWN_CHANGES = 100
"""Paths of a container's layer that are listed by name."""


@dataclass(frozen=True)
class Layer:
    """One entry of an image's history. `size` is in bytes of file content.

    `diff_id` is None for an instruction that only changed the configuration. `shared_with` names the other
    images that hold this very layer, above the same ones below it. `files` is None while they are not known.
    """

    instruction: str
    size: int
    diff_id: str | None
    shared_with: tuple[str, ...] = ()
    files: LayerFiles | None = None


@dataclass(frozen=True)
class Writable:
    """The layer that the container `id` writes into: bytes, and the paths it added, changed and deleted.

    A directory that is only there, or changed, because of what is in it is not among them. `changes` are the
    first of them.
    """

    id: str
    is_running: bool
    size: int
    added: int
    changed: int
    deleted: int
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Stack:
    """An image's history, newest entry first, and a container's own layer above it where there is one."""

    name: str
    image: str
    size: int
    layers: tuple[Layer, ...]
    container: str | None = None
    writable: Writable | None = None

    @property
    def own_size(self) -> int:
        """Bytes in layers that no other image has."""
        return sum(layer.size for layer in self.layers if layer.diff_id and not layer.shared_with)

    @property
    def chain(self) -> tuple[str | None, ...]:
        """For each of `layers` its chain id (image-spec, config.md), None for an entry without a layer."""
        ids = iter(chain_ids([layer.diff_id for layer in reversed(self.layers) if layer.diff_id]))
        return tuple(reversed([next(ids) if layer.diff_id else None for layer in reversed(self.layers)]))


def stack_of(client: DockerClient, name: str) -> Stack:
    """The layers of the image or container `name`. Raises CommandError when there is neither."""
    from docker.errors import APIError, NotFound

    try:
        inspected = _api(client).inspect_image(name)
    except NotFound:
        try:
            container = _api(client).inspect_container(name)
        except NotFound:
            raise CommandError(
                f"No such image or container: {name}",
                where=f"%layers {name}",
                hint="%image ls and %container ps -a list what there is",
            ) from None
        except APIError as error:
            raise CommandError(str(error.explanation), where=f"%layers {name}") from None
        return _container_stack(client, container)
    return _image_stack(client, inspected, name)


def _image_stack(client: DockerClient, inspected: Mapping[str, Any], name: str) -> Stack:
    history = _api(client).history(inspected["Id"])
    return Stack(
        name=_shown_name(inspected, name),
        image=inspected["Id"],
        size=inspected["Size"],
        layers=layers_of(history, inspected["RootFS"].get("Layers") or [], _others(client, inspected["Id"])),
    )


def _container_stack(client: DockerClient, container: Mapping[str, Any]) -> Stack:
    image = _api(client).inspect_image(container["Image"])
    below = _image_stack(client, image, container["Config"]["Image"])
    return Stack(
        name=below.name,
        image=below.image,
        size=below.size,
        layers=below.layers,
        container=container["Name"].lstrip("/"),
        writable=writable_of(client, container["Id"]),
    )


def writable_of(client: DockerClient, container: str) -> Writable:
    """What the container with this id has written so far. Raises docker.errors.NotFound."""
    from docker.errors import NotFound

    listed = _api(client).containers(all=True, size=True, filters={"id": container})
    if not listed:
        raise NotFound(f"No such container: {container}")
    changes = changes_of(_api(client).diff(container) or [])
    kinds = [change.kind for change in changes]
    return Writable(
        id=container,
        is_running=listed[0]["State"] == "running",
        size=listed[0].get("SizeRw") or 0,
        added=kinds.count(ADDED),
        changed=kinds.count(CHANGED),
        deleted=kinds.count(DELETED),
        changes=tuple(changes[:SHOWN_CHANGES]),
    )


def changes_of(answer: Sequence[Mapping[str, Any]]) -> list[Change]:
    """The answer of GET /containers/{id}/changes, without the directories that other entries are in."""
    parents = {entry["Path"].rpartition("/")[0] for entry in answer}
    kinds = {0: CHANGED, 1: ADDED, 2: DELETED}
    return [
        Change(kinds[entry["Kind"]], entry["Path"].lstrip("/"))
        for entry in answer
        if entry["Path"] not in parents
    ]


def _api(client: DockerClient) -> Any:
    """docker-py's calls; the stubs leave half of them untyped."""
    return client.api


def _shown_name(inspected: Mapping[str, Any], name: str) -> str:
    """The name that was asked for; an image id becomes a name where the image has one."""
    tags: list[str] = inspected.get("RepoTags") or []
    is_id = re.fullmatch(r"(sha256:)?[0-9a-f]{6,64}", name)
    return tags[0].removesuffix(":latest") if is_id and tags else name


def _others(client: DockerClient, image_id: str) -> dict[str, list[str]]:
    """The layers of every other image that has a name: name -> diff_ids, lowest first."""
    from docker.errors import NotFound

    found: dict[str, list[str]] = {}
    for listed in _api(client).images():
        tags = [tag for tag in listed.get("RepoTags") or [] if tag != "<none>:<none>"]
        if listed["Id"] == image_id or not tags:
            continue
        try:
            inspected = _api(client).inspect_image(listed["Id"])
        except NotFound:  # removed since it was listed
            continue
        found[tags[0].removesuffix(":latest")] = inspected["RootFS"].get("Layers") or []
    return found


def layers_of(
    history: Sequence[Mapping[str, Any]], diff_ids: Sequence[str], others: Mapping[str, Sequence[str]]
) -> tuple[Layer, ...]:
    """The history (newest first, as the API gives it) with each entry's layer (diff_ids: lowest first).

    The API does not say which entries made a layer. Those with a size did; those that only configure did not;
    of the rest, such as a RUN that wrote nothing, the likeliest are taken until the number is right.
    """
    entries = list(reversed(history))
    certain = {index for index, entry in enumerate(entries) if entry["Size"] > 0}
    doubtful = [index for index, entry in enumerate(entries) if index not in certain and _may_write(entry)]
    doubtful.sort(key=lambda index: not _is_run(entries[index]))
    with_layer = sorted([*certain, *doubtful[: max(0, len(diff_ids) - len(certain))]])
    position = {index: place for place, index in enumerate(with_layer)}
    found = []
    for index, entry in enumerate(entries):
        place = position.get(index)
        in_image = place is not None and place < len(diff_ids)
        upto = list(diff_ids[: place + 1]) if place is not None and in_image else None
        sharing = [name for name, theirs in others.items() if upto and list(theirs[: len(upto)]) == upto]
        sharing.sort(key=lambda name: (len(others[name]), name))  # what others are made from comes first
        found.append(Layer(instruction(entry), entry["Size"], upto[-1] if upto else None, tuple(sharing)))
    return tuple(reversed(found))


def _may_write(entry: Mapping[str, Any]) -> bool:
    return not instruction(entry).startswith(SETTINGS)


def _is_run(entry: Mapping[str, Any]) -> bool:
    return instruction(entry).startswith("RUN")
