"""All containers of the engine: made, found by name or id, listed, removed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labkernel.engine.containers import config as container_config
from labkernel.engine.containers import inspect as views
from labkernel.engine.containers import networking
from labkernel.engine.containers.confinement import Confinement
from labkernel.engine.containers.container import Container
from labkernel.engine.containers.lifecycle import Lifecycle
from labkernel.engine.containers.links import parse_link
from labkernel.engine.containers.mounts import MountPoint, mount_points, resolve
from labkernel.engine.containers.names import random_name
from labkernel.engine.database import Database
from labkernel.engine.errors import Conflict, InvalidParameter, NotFound
from labkernel.engine.events import Events
from labkernel.engine.filters import check_keys, labels_pass, until
from labkernel.engine.image.images import Image, Images, ImageUser
from labkernel.engine.image.platforms import check_platform
from labkernel.engine.linux.trees import remove as remove_tree
from labkernel.engine.network.networks import Networks
from labkernel.engine.rootfs import fill_volume, has_path
from labkernel.engine.runtime.client import Launcher
from labkernel.engine.timestamps import ZERO, rfc3339
from labkernel.engine.volumes import Volumes

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL               -- JSON: see Container.document
);
"""
_KILLED = 137


class Containers:
    """The engine's containers. Everything here runs on its one loop."""

    def __init__(
        self,
        root: Path,
        *,
        database: Database,
        images: Images,
        launcher: Launcher,
        networks: Networks,
        volumes: Volumes,
        events: Events,
        init_layer: Path,
        confinement: Confinement | None = None,
    ) -> None:
        self._root = root
        self._init_layer = init_layer
        self._database = database
        self._images = images
        self.store = images.store
        self._networks = networks
        self._volumes = volumes
        self.confinement = confinement
        self._by_id: dict[str, Container] = {}
        self._by_name: dict[str, Container] = {}
        self._filling = asyncio.Lock()
        self.lifecycle = Lifecycle(
            launcher=launcher,
            networks=networks,
            volumes=volumes,
            lower=self.lower,
            events=events,
            save=self.save,
            find=self.get,
            remove=self._remove_soon,
        )
        self.lifecycle.linked_from = self.linked_from
        root.mkdir(mode=0o710, parents=True, exist_ok=True)
        database.create_tables(_SCHEMA)
        self._load()

    def _load(self) -> None:
        """Read what the last engine left. Its containers died with it: what says it runs, does not."""
        for row in self._database.rows("SELECT * FROM containers ORDER BY rowid"):
            container = Container.from_document(
                row["id"], row["name"], row["document"], self._root / row["id"]
            )
            if container.state.status not in ("created", "exited"):
                container.state.status = "exited"
                container.state.exit_code = container.state.exit_code or _KILLED
                container.state.pid, container.state.finished_at = 0, rfc3339()
                self.save(container)
            self._by_id[container.id] = self._by_name[container.name] = container
        for entry in set(os.listdir(self._root)) - self._by_id.keys():
            try:
                remove_tree(self._root / entry)
            except OSError as error:  # what cannot be removed must not keep the others from their engine
                log.warning("%s of a container that is no more is left: %s", self._root / entry, error)
        self._volumes.keep_uses(self._by_id)
        self.store.layers.keep_holds(self._by_id)

    async def resume(self) -> None:
        """Remove those that should be gone, start again those whose restart policy asks for it."""
        for container in list(self._by_id.values()):
            policy = container.host_config["RestartPolicy"]["Name"]
            ran = container.state.started_at > container.created
            wanted = policy == "always" or (policy == "unless-stopped" and not container.stopped_by_user)
            try:
                if container.host_config["AutoRemove"] and container.state.status == "exited":
                    await self.remove(container, volumes=True)
                elif ran and wanted:
                    await self.lifecycle.start(container)
            except Exception as error:
                log.warning("container %s: %s", container.short_id, error)

    # finding

    def get(self, name: str) -> Container:
        """By id, name, or the beginning of an id that no other shares.

        Raises:
            NotFound, InvalidParameter: none, or several.
        """
        bare = name.removeprefix("/")
        if not bare:
            raise InvalidParameter(f'invalid name or ID supplied: "{name}"')
        found = self._by_id.get(bare) or self._by_name.get(bare)
        if found is not None and found.id in self._by_id:  # not while it is being made
            return found
        if "/" in bare and (linked := self._linked_as(bare)):
            return linked
        matching = [container for key, container in self._by_id.items() if key.startswith(bare)]
        if len(matching) > 1:
            raise InvalidParameter(f"Multiple IDs found with provided prefix: {bare}")
        if not matching:
            raise NotFound(f"No such container: {bare}", hint=self._names_hint(bare))
        return matching[0]

    def _names_hint(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, self._by_name, n=3)
        if near:
            return f"did you mean {' or '.join(near)}?"
        return "docker ps -a lists the containers there are"

    def running(self, name: str) -> Container:
        """As `get`, and it must be running. Raises NotFound, Conflict."""
        container = self.get(name)
        if not container.state.running:
            raise Conflict(
                f"Container {container.id} is not running", hint=f"docker start {container.name} starts it"
            )
        return container

    def _linked_as(self, name: str) -> Container | None:
        """The container that another's link gave the name `OTHER/ALIAS`."""
        parent, _, alias = name.partition("/")
        other = self._by_name.get(parent)
        return self._by_id.get(other.links.get(alias, "")) if other else None

    def linked_from(self, container: Container) -> list[tuple[Container, str]]:
        """The containers that are linked to this one, each with its alias for it."""
        return [
            (other, alias)
            for other in self.all()
            for alias, key in other.links.items()
            if key == container.id
        ]

    def unlink(self, name: str) -> None:
        """Take away the name `OTHER/ALIAS` that a link gave a container. Raises NotFound, Conflict."""
        container = self.get(name)
        parent, slash, alias = name.removeprefix("/").partition("/")
        if not slash:
            raise Conflict("Conflict, cannot remove the default link name of the container")
        other = self.get(parent)
        if other.links.pop(alias, None) is None:
            raise NotFound(f"No such container: {container.name}")
        self.save(other)

    def _links(self, host_config: Mapping[str, Any]) -> dict[str, str]:
        """Alias -> id, of HostConfig.Links. Raises InvalidParameter."""
        mode, found = host_config["NetworkMode"], {}
        for text in host_config["Links"] or [] if mode in ("default", "bridge", "host") else []:
            name, alias = parse_link(text)
            try:
                other = self.get(name)
            except NotFound as error:
                raise InvalidParameter(
                    f"could not get container for {name}: {error.message}", hint=error.hint
                ) from None
            while (joined := other.host_config["NetworkMode"]).startswith("container:"):
                other = self.get(joined.removeprefix("container:"))
            if other.host_config["NetworkMode"] == "host":
                raise InvalidParameter(
                    "conflicting options: host type networking can't be used with links. "
                    "This would result in undefined behavior"
                )
            found[alias] = other.id
        return found

    def all(self) -> list[Container]:
        return list(self._by_id.values())

    def image_users(self, image_id: str) -> list[ImageUser]:
        return [
            ImageUser(container.id, container.state.running)
            for container in self.all()  # a copy: this is asked from other threads
            if container.image == image_id
        ]

    # making

    async def create(
        self, body: dict[str, Any], name: str = "", *, platform: str = ""
    ) -> tuple[Container, list[str]]:
        """Make a container; returns it and the warnings.

        Raises:
            InvalidParameter: the description makes no sense.
            Forbidden: this engine is confined, and the container would not be.
            NotFound: no such image, or not for that platform.
            Conflict: the name is taken.
        """
        if not body or not any(key for key in body if key.lower() not in ("hostconfig", "networkingconfig")):
            raise InvalidParameter("Config cannot be empty in order to create a container")
        config, host_config = container_config.complete(body)
        if name:
            name = container_config.check_name(name)
        warnings = container_config.validate(config, host_config)
        points = mount_points(config, host_config)
        linked = self._links(host_config)
        for mode in ("PidMode", "IpcMode"):
            if host_config[mode].startswith("container:"):
                self.get(host_config[mode].removeprefix("container:"))
        image = self._images.resolve(config["Image"])
        check_platform(config["Image"], image.config, platform)
        container_config.merge_image(config, image.config.get("config") or {})
        points += self._from_image(config, points)
        if host_config["VolumesFrom"]:
            points += self._volumes_from(host_config["VolumesFrom"], points)
        if self.confinement:
            self.confinement.check(host_config, points)
        if name and (other := self._by_name.get(name)):
            raise self._name_taken(other)
        container_id = secrets.token_hex(32)
        if (
            not config["Hostname"]
            and host_config["UTSMode"] != "host"
            and host_config["NetworkMode"] != "host"
        ):
            config["Hostname"] = container_id[:12]
        elif host_config["NetworkMode"] == "host" and not config["Hostname"]:
            config["Hostname"] = os.uname().nodename
        container = Container(
            id=container_id,
            name=name or random_name(self._by_name),
            created=rfc3339(),
            image=image.id,
            chain_id=image.chain_id,
            config=config,
            host_config=host_config,
            mounts=points,
            directory=self._root / container_id,
            networks=networking.requested(body, config, host_config, self._networks),
            links=linked,
        )
        self._by_name[container.name] = (
            container  # taken from here on, whoever asks while the volumes are filled
        )
        try:
            await self._make(container, image)
        except BaseException:
            self._by_name.pop(container.name, None)
            for volume in self._volumes.release(container_id):
                self._volumes.remove(volume)
            remove_tree(container.directory)
            raise
        self._by_id[container_id] = container
        self.lifecycle.publish(container, "create")
        return container, warnings

    async def _make(self, container: Container, image: Image) -> None:
        for directory in (container.directory, container.upper, container.work):
            directory.mkdir(mode=0o755 if directory is container.upper else 0o710)
        container.upper.chmod(0o755)
        for point in container.mounts:
            if resolve(point, self._volumes, container.id) and point.copy:
                lower = [self._init_layer, *self.store.layers.directories(image.chain_id)]
                if has_path(lower, point.destination):
                    await self._fill(point, lower)
        with self._database.transaction():
            if image.chain_id is not None:
                self.store.layers.hold(image.chain_id, container.id)
            self._database.execute(
                "INSERT INTO containers VALUES (?, ?, ?)",
                (container.id, container.name, container.document()),
            )

    async def _fill(self, point: MountPoint, lower: Sequence[Path]) -> None:
        """Fill an empty volume from the image. One at a time: two containers may ask for the same."""
        async with self._filling:
            try:
                self._volumes.mount(point.name, "what fills volumes")
                if not os.listdir(point.source):
                    target = Path(point.source)
                    await asyncio.to_thread(fill_volume, self.store, lower, point.destination, target)
            finally:
                self._volumes.unmount("what fills volumes")

    @staticmethod
    def _from_image(config: Mapping[str, Any], points: Sequence[MountPoint]) -> list[MountPoint]:
        """The image's VOLUMEs that nothing else is mounted over."""
        taken = {point.destination for point in points}
        return [
            point
            for volume in config.get("Volumes") or {}
            if (point := MountPoint("volume", os.path.normpath(volume), anonymous=True)).destination
            not in taken
        ]

    def _volumes_from(self, sources: Sequence[str], points: Sequence[MountPoint]) -> list[MountPoint]:
        taken = {point.destination for point in points}
        found = []
        for source in sources:
            name, _, mode = source.partition(":")
            try:
                other = self.get(name)
            except NotFound as error:
                raise InvalidParameter(error.message, hint=error.hint) from None
            for point in other.mounts:
                if point.type != "tmpfs" and point.destination not in taken:
                    writable = point.writable and mode != "ro"
                    found.append(
                        MountPoint(
                            point.type,
                            point.destination,
                            point.source,
                            point.name,
                            point.mode,
                            writable,
                            point.propagation,
                            copy=False,
                        )
                    )
        return found

    def save(self, container: Container) -> None:
        self._database.execute(
            "UPDATE containers SET name = ?, document = ? WHERE id = ?",
            (container.name, container.document(), container.id),
        )

    @staticmethod
    def _name_taken(by: Container) -> Conflict:
        return Conflict(
            f'Conflict. The container name "/{by.name}" is already in use by container "{by.id}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
            hint=f"it is {by.state.status} and runs {by.config['Image']}; docker rm -f {by.name} removes it",
        )

    def rename(self, container: Container, name: str) -> None:
        """Raises InvalidParameter, Conflict."""
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        try:
            name = container_config.check_name(name, shown=f"/{name.removeprefix('/')}")
        except InvalidParameter as error:
            raise InvalidParameter(f"Error when allocating new name: {error.message}") from None
        if name == container.name:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        if other := self._by_name.get(name):
            taken = self._name_taken(other)
            raise Conflict(f"Error when allocating new name: {taken.message}", hint=taken.hint)
        old = container.name
        del self._by_name[old]
        container.name = name
        self._by_name[name] = container
        self.save(container)
        self._networks.rename(container.id, name)
        self.lifecycle.publish(container, "rename", oldName=f"/{old}")

    # removing

    async def remove(self, container: Container, *, force: bool = False, volumes: bool = False) -> None:
        """Raises Conflict while it runs, unless forced."""
        while not await self._mark_for_removal(container):
            if not force:
                if container.state.status == "paused":
                    raise Conflict(
                        f"You cannot remove a paused container {container.id}. "
                        "Unpause and then stop the container before attempting removal or force remove"
                    )
                raise Conflict(
                    f"You cannot remove a running container {container.id}. "
                    "Stop the container before attempting removal or force remove",
                    hint=f"docker rm -f {container.name} ends and removes it",
                )
            await self.lifecycle.end(container)
        try:
            with self._database.transaction(freeing=True):
                self._database.execute("DELETE FROM containers WHERE id = ?", (container.id,))
                anonymous = self._volumes.release(container.id)
                unneeded = self.store.layers.release(container.id)
        except BaseException:  # it is still there, for another attempt
            container.state.status = "created" if container.state.started_at == ZERO else "exited"
            raise
        self._by_id.pop(container.id, None)
        self._by_name.pop(container.name, None)
        for other, alias in self.linked_from(container):
            del other.links[alias]
            self.save(other)
        try:
            await asyncio.to_thread(self._clean_up, container, anonymous if volumes else [], unneeded)
        finally:
            self.lifecycle.publish(container, "destroy")
            container.notify("removed")

    async def _mark_for_removal(self, container: Container) -> bool:
        """Whether it could be: not while it runs or is about to. Raises Conflict if it is marked already."""
        async with container.lock:
            if container.state.status == "removing":
                raise Conflict(f"removal of container {container.name} is already in progress")
            if container.state.running or container.state.status == "restarting":
                return False
            container.state.status = "removing"
            return True

    def _clean_up(self, container: Container, volumes: Sequence[str], unneeded_layers: bool) -> None:
        """The files of a container whose rows are gone: after a crash the next start removes them."""
        remove_tree(container.directory)
        for volume in volumes:
            self._volumes.remove(volume)
        if unneeded_layers:
            self.store.layers.collect()

    def _remove_soon(self, container: Container) -> None:
        async def remove() -> None:
            with contextlib.suppress(Conflict):  # somebody else removes it
                await self.remove(container, force=True, volumes=True)

        container.removal = asyncio.get_running_loop().create_task(remove())

    async def prune(self, filters: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Remove every container that does not run; `{"ContainersDeleted": ids, "SpaceReclaimed": bytes}`."""
        check_keys(filters, ("label", "label!", "until"))
        latest = until(filters)
        deleted, reclaimed = [], 0
        for container in sorted(self.all(), key=lambda container: container.created, reverse=True):
            if container.state.status not in ("created", "exited", "dead"):
                continue
            if latest is not None and container.created > rfc3339(latest):
                continue
            if not labels_pass(filters, container.config["Labels"]):
                continue
            with contextlib.suppress(Conflict, NotFound):  # it has been started or removed meanwhile
                size = await asyncio.to_thread(views.own_size, container)
                await self.remove(container)
                reclaimed += size
                deleted.append(container.id)
        return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed}

    # showing

    def select(
        self, *, all: bool = False, limit: int = 0, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Container]:
        """The containers that `docker ps` means, newest first. Raises InvalidParameter, NotFound."""
        wanted = dict(filters or {})
        views.check_filters(wanted)
        if "status" in wanted or "exited" in wanted:
            all = True
        ancestors = self._ancestors(wanted.get("ancestor", ()))
        newest_first = sorted(self.all(), key=lambda container: container.created, reverse=True)
        newest_first = self._between(newest_first, wanted)
        shown = [
            container
            for container in newest_first
            if (all or limit > 0 or container.state.running or container.state.status == "restarting")
            and views.passes(container, wanted, ancestors, self._networks)
        ]
        return shown[:limit] if limit > 0 else shown

    def summaries(self, containers: Sequence[Container], *, size: bool = False) -> list[dict[str, Any]]:
        """`GET /containers/json`. With `size` all their files are looked at, which may take long: what is
        removed meanwhile is left out.
        """
        shown = []
        images: dict[str, str] = {}
        for container in containers:
            with contextlib.suppress(NotFound):
                image_size = self._image_size(container) if size else None
                names = [f"{other.name}/{alias}" for other, alias in self.linked_from(container)]
                summary = views.summary(container, self._networks, image_size, names)
                name = container.config["Image"]
                if name not in images:
                    images[name] = self._image_named(name)
                if images[name] != container.image:
                    summary["Image"] = container.image  # the name is another's now, or nobody's
                shown.append(summary)
        return shown

    def _image_named(self, name: str) -> str:
        """The id of the image that has the name, "" without one."""
        try:
            return self._images.resolve(name).id
        except (NotFound, InvalidParameter):
            return ""

    def _between(
        self, newest_first: list[Container], filters: Mapping[str, Sequence[str]]
    ) -> list[Container]:
        if before := filters.get("before"):
            moment = self.get(before[0]).created
            newest_first = [container for container in newest_first if container.created < moment]
        if since := filters.get("since"):
            moment = self.get(since[0]).created
            newest_first = [container for container in newest_first if container.created > moment]
        return newest_first

    def _ancestors(self, names: Sequence[str]) -> frozenset[str]:
        """The ids of the named images and of all that were built on them."""
        found: set[str] = set()
        for name in names:
            try:
                pending = [self._images.resolve(name)]
            except NotFound:
                continue
            while pending:
                image = pending.pop()
                if image.id not in found:
                    found.add(image.id)
                    pending += self._images.children(image.id)
        return frozenset(found)

    def _image_size(self, container: Container) -> int:
        return sum(layer.size for layer in self.store.layers.chain(container.chain_id))

    def inspect(self, container: Container, *, size: bool = False) -> dict[str, Any]:
        image_size = self._image_size(container) if size else None
        linked = {alias: self._by_id[key].name for alias, key in container.links.items()}
        return views.inspect(container, self._networks, self.lower(container), image_size, linked)

    def lower(self, container: Container) -> list[Path]:
        """The directories below the container's own layer, top first."""
        return [self._init_layer, *self.store.layers.directories(container.chain_id)]
