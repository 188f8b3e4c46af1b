"""The rules of `docker rmi`: when a name goes, when an image goes, and when neither may.

Docker's own: a name that is one of several is only taken away; the last name takes the image with it; an
image by its id goes if all its names are in one repository, or by force; never one that others were built on
or that a running container uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from labkernel.engine.errors import Conflict, NotFound
from labkernel.engine.image.reference import Reference, parse_reference

if TYPE_CHECKING:
    from labkernel.engine.image.images import Images

_SHORT_ID = 12


class ImageUser(NamedTuple):
    """A container that uses an image."""

    container_id: str
    running: bool


#: Gives the containers that use an image, by its id.
ImageUsers = Callable[[str], Sequence[ImageUser]]
#: The API's ImageDeleteResponseItem objects: {"Untagged": name} and {"Deleted": id}, in the order of doing.
Records = list[dict[str, str]]


def delete(images: Images, name: str, users: ImageUsers, *, force: bool, prune: bool) -> Records:
    """Untag or delete the image that `name` (reference, id or the start of one) names; with `prune` also the
    images without a name that it was built on. Raises NotFound, and Conflict in Docker's words."""
    image = images.resolve(name)
    records: Records = []
    names = images.references(image.id)
    by_name = not _is_id_prefix(image.id, name)
    if by_name:
        if not force and _in_one_repository(names) and (using := users(image.id)):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - container '
                f"{_short(using[0].container_id)} is using its referenced image {_short(image.id)}",
                hint=f"remove the container first: docker rm {_short(using[0].container_id)}",
            )
        removed = parse_reference(name).with_default_tag()
        _untag(images, removed, records)
        remaining = images.references(image.id)
        if not removed.digest and not any(n.name == removed.name and not n.digest for n in remaining):
            # Only digests are left of that repository: nobody asked for those.
            for reference in [n for n in remaining if n.name == removed.name]:
                _untag(images, reference, records)
        if images.references(image.id):
            return records
    elif _in_one_repository(names):
        if conflict := _conflict(images, image.id, users, hard_only=force, ignore_names=True):
            raise conflict
        for reference in names:
            _untag(images, reference, records)
    _delete(images, image.id, users, records, force=force, prune=prune, quiet=by_name)
    return records


def _delete(
    images: Images,
    image_id: str,
    users: ImageUsers,
    records: Records,
    *,
    force: bool,
    prune: bool,
    quiet: bool,
) -> None:
    """With `quiet` an image that may not go simply stays. Up through the unnamed parents in a loop: a build
    has many steps."""
    parent: str | None = image_id
    while parent is not None:
        conflict = _conflict(images, parent, users, hard_only=force)
        if conflict is not None:
            used = users(parent) or images.children(parent) or images.is_held(parent)
            if quiet and (used or images.references(parent)):
                return
            raise conflict
        image_id = parent
        parent = images.get(image_id).parent
        for reference in images.references(image_id):
            _untag(images, reference, records)
        removed_layers = images.forget(image_id)
        records.append({"Deleted": image_id})
        records.extend({"Deleted": chain_id} for chain_id in removed_layers)
        if not prune:
            return
        if parent is not None:
            try:
                images.get(parent)
            except NotFound:
                return
        force, quiet = False, True


def _conflict(
    images: Images, image_id: str, users: ImageUsers, *, hard_only: bool, ignore_names: bool = False
) -> Conflict | None:
    """Why an image may not be deleted; None if it may. Hard conflicts stand even against force."""
    if images.is_held(image_id):
        return held(image_id)
    using = users(image_id)
    running = next((user for user in using if user.running), None)
    message = hint = None
    hard = True
    if images.children(image_id):
        message = "image has dependent child images"
    elif running is not None:
        message = f"image is being used by running container {_short(running.container_id)}"
        hint = f"stop the container first: docker stop {_short(running.container_id)}"
    elif not hard_only:
        hard = False
        if not ignore_names and images.references(image_id):
            message = "image is referenced in multiple repositories"
            hint = "remove it by its names, or with --force"
        elif using:
            message = f"image is being used by stopped container {_short(using[0].container_id)}"
            hint = f"remove the container first: docker rm {_short(using[0].container_id)}"
    if message is None:
        return None
    return _refusal(image_id, message, hint, hard=hard)


def held(image_id: str) -> Conflict:
    """What is said of an image that a build stands on."""
    return _refusal(image_id, "image is being used by a running build", "wait for the build's end", hard=True)


def _refusal(image_id: str, message: str, hint: str | None, *, hard: bool) -> Conflict:
    forced = "cannot be forced" if hard else "must be forced"
    return Conflict(f"conflict: unable to delete {_short(image_id)} ({forced}) - {message}", hint=hint)


def _untag(images: Images, reference: Reference, records: Records) -> None:
    images.untag(reference)
    records.append({"Untagged": reference.familiar})


def _in_one_repository(names: Sequence[Reference]) -> bool:
    """At most one tag, and digests only of that tag's repository."""
    if len(names) <= 1:
        return True
    if sum(1 for name in names if not name.digest) > 1:
        return False
    return len({name.name for name in names}) == 1


def _is_id_prefix(image_id: str, text: str) -> bool:
    return image_id.startswith(text) or image_id.removeprefix("sha256:").startswith(text)


def _short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:_SHORT_ID]
