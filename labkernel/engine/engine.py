"""The engine: everything below the API, wired together."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkernel.engine import open_files
from labkernel.engine.base_images import BaseImages, cache_directory
from labkernel.engine.build.builder import Builder
from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.containers.confinement import Confinement
from labkernel.engine.containers.containers import Containers
from labkernel.engine.containers.exec import Execs
from labkernel.engine.containers.health import HealthChecks
from labkernel.engine.database import Database
from labkernel.engine.distribution.settings import RegistrySettings
from labkernel.engine.events import Events
from labkernel.engine.image.images import Images
from labkernel.engine.image.registries import Registries
from labkernel.engine.image.store import LowerStore, Store
from labkernel.engine.linux.mounts import file_system_type
from labkernel.engine.network.networks import Networks
from labkernel.engine.rootfs import make_init_layer
from labkernel.engine.runtime.client import Launcher
from labkernel.engine.runtime.rootless import Mapping
from labkernel.engine.step_runner import StepRunner
from labkernel.engine.volumes import Volumes

log = logging.getLogger(__name__)

DATABASE = "metadata.sqlite"


@dataclass
class Engine:
    """`root` is the engine's directory; only one engine at a time has it open (see `daemon`)."""

    root: Path
    id: str
    mapping: Mapping | None
    """How ids are mapped when the engine runs as an ordinary user; None as root."""
    database: Database
    launcher: Launcher
    networks: Networks
    store: Store
    images: Images
    events: Events
    volumes: Volumes
    containers: Containers
    execs: Execs
    builder: Builder
    base_images: BaseImages
    registries: Registries
    total_memory: int
    listening: list[str] = field(default_factory=list)
    """The addresses that it is reached at, each with who may use it; the daemon sets them."""

    @classmethod
    async def open(
        cls,
        root: Path,
        *,
        mapping: Mapping | None = None,
        lower: Sequence[LowerStore] = (),
        confinement: Confinement | None = None,
        registry_settings: RegistrySettings | None = None,
    ) -> Engine:
        """Open the directory, whatever state a killed engine left it in; nothing of that engine stays
        behind.
        """
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        database = Database(root / DATABASE)
        launcher = await Launcher.start(root / "runtime")
        networks = await Networks.open(
            state_dir=root / "network", database=database, rootless=mapping is not None
        )
        store = Store(
            root,
            database,
            lower=lower,
            userxattr=mapping is not None,
            keep_ownership=mapping is None or not mapping.single,
        )
        for image in store.lost:
            log.warning("image %s was dropped: a layer's directory is gone", image)
        images, events = Images(store), Events()
        volumes = Volumes(root / "volumes", database, events)
        init_layer = make_init_layer(root / "init")
        containers = Containers(
            root / "containers",
            database=database,
            images=images,
            launcher=launcher,
            networks=networks,
            volumes=volumes,
            events=events,
            init_layer=init_layer,
            confinement=confinement,
        )
        execs = Execs(containers, launcher)
        checks = HealthChecks(execs, launcher, containers.lifecycle.publish)
        containers.lifecycle.begin_checks, containers.lifecycle.halt_checks = checks.begin, checks.halt
        runner = StepRunner(launcher, networks, store, init_layer)
        catalog = Catalog(cache_directory(), runner.in_rootfs, work=root / "catalog")
        registries = Registries(images, registry_settings)
        base_images = BaseImages(images, events, catalog, registries)
        builder = Builder(images, runner, base_images)
        base_images.builder = builder
        engine = cls(
            root=root,
            id=_engine_id(root),
            mapping=mapping,
            database=database,
            launcher=launcher,
            networks=networks,
            store=store,
            images=images,
            events=events,
            volumes=volumes,
            containers=containers,
            execs=execs,
            builder=builder,
            base_images=base_images,
            registries=registries,
            total_memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        )
        await containers.resume()
        return engine

    @property
    def file_system(self) -> str:
        """The kernel's name for what the store is on."""
        return file_system_type(self.root)

    def limits(self) -> list[str]:
        """What does not work here, a plain sentence each, with what to do about it where something can be
        done.
        """
        ids = self.mapping.limits() if self.mapping else []
        return [*self.launcher.limits(), *ids, *self.networks.limits(), *open_files.limits()]

    async def close(self) -> None:
        """End every container and leave the machine as it was found."""
        self.containers.lifecycle.closing = True
        running = [container for container in self.containers.all() if container.state.running]
        await asyncio.gather(
            *(self.containers.lifecycle.stop(container, timeout=2) for container in running),
            return_exceptions=True,
        )
        await self.launcher.close()
        await self.networks.close()
        self.volumes.close()
        self.database.close()


def _engine_id(root: Path) -> str:
    """The same for as long as the directory lives: `docker info` shows it."""
    file = root / "engine-id"
    if not file.exists():
        file.write_text(hashlib.sha256(secrets.token_bytes(32)).hexdigest()[:32])
    return file.read_text()
