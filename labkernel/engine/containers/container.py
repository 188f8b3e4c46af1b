"""One container: its description, its state, and what belongs to it while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from labkernel.engine.containers import config, log_options
from labkernel.engine.containers.logs import Log
from labkernel.engine.containers.mounts import MountPoint
from labkernel.engine.containers.state import State
from labkernel.engine.containers.stdio import Stdio
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.runtime.client import Started


@dataclass
class Container:
    """`directory` holds what is the container's own: upper and work of its overlay, its bundle, its log."""

    id: str
    name: str
    created: str
    image: str
    """The image's id."""
    chain_id: str | None
    config: dict[str, Any]
    host_config: dict[str, Any]
    mounts: list[MountPoint]
    directory: Path
    networks: dict[str, EndpointConfig] = field(default_factory=dict)
    """Those it is, or will be, on, by name; none when it shares another container's."""
    state: State = field(default_factory=State)
    restart_count: int = 0
    stopped_by_user: bool = False
    keep_at_exit: bool = False
    """It is about to be started again, or removed by somebody else: AutoRemove waits."""
    links: dict[str, str] = field(default_factory=dict)
    """Alias -> the id of the container that it stands for."""

    def __post_init__(self) -> None:
        self.lock = asyncio.Lock()
        self.process: Started | None = None
        self.link_environment: list[str] = []
        """Of its last start."""
        self.execs: dict[str, Any] = {}
        self.restart: asyncio.Task[None] | None = None
        self.removal: asyncio.Task[None] | None = None
        self.settled: asyncio.Task[None] | None = None
        """Takes in the end of the process; done when the state says exited."""
        self._waiting: dict[str, list[asyncio.Future[int]]] = {"next-exit": [], "removed": []}
        logs = self.host_config["LogConfig"]
        self.log = Log(
            self.directory / f"{self.id}-json.log",
            enabled=logs["Type"] != "none",
            rotation=log_options.rotation(logs) if logs["Config"] or logs["Type"] == "local" else None,
            attributes=self._log_attributes,
        )
        self.stdio = Stdio(terminal=self.config["Tty"], stdin=self.config["OpenStdin"], log=self.log)

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def work(self) -> Path:
        return self.directory / "work"

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def attributes(self) -> dict[str, str]:
        """What its events carry."""
        labels = {str(key): str(value) for key, value in (self.config["Labels"] or {}).items()}
        return labels | {"image": self.config["Image"], "name": self.name}

    @property
    def command(self) -> list[str]:
        return config.command(self.config)

    def _log_attributes(self) -> dict[str, str]:
        options = self.host_config["LogConfig"]["Config"]
        if not options:
            return {}
        image = self.image.removeprefix("sha256:")
        details = {"ID": self.short_id, "FullID": self.id, "Name": self.name, "ImageID": image[:12]}
        details |= {"ImageFullID": self.image, "ImageName": self.config["Image"], "DaemonName": "docker"}
        return log_options.attributes(options, self.config, details | {"Command": " ".join(self.command)})

    # waiting

    def exit_of(self, condition: str) -> asyncio.Future[int]:
        """Done with the exit code when `condition` holds: not-running, next-exit or removed."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if condition in ("", "not-running"):
            if not self.state.running and self.state.status != "restarting":
                future.set_result(self.state.exit_code)
                return future
            condition = "next-exit"
        self._waiting[condition].append(future)
        return future

    def notify(self, condition: str) -> None:
        """Tell who waits for it. Who waits for the next exit of what is removed waits no longer."""
        if condition == "removed":
            self.notify("next-exit")
        for future in self._waiting[condition]:
            if not future.done():
                future.set_result(self.state.exit_code)
        self._waiting[condition].clear()

    # storing

    def document(self) -> str:
        """What the database keeps of it, as JSON."""
        return json.dumps(
            {
                "created": self.created,
                "image": self.image,
                "chain_id": self.chain_id,
                "config": self.config,
                "host_config": self.host_config,
                "mounts": [asdict(mount) for mount in self.mounts],
                "networks": {name: config.stored() for name, config in self.networks.items()},
                "state": self.state.stored(),
                "restart_count": self.restart_count,
                "stopped_by_user": self.stopped_by_user,
                "links": self.links,
            }
        )

    @classmethod
    def from_document(cls, container_id: str, name: str, document: str, directory: Path) -> Container:
        fields: Mapping[str, Any] = json.loads(document)
        return cls(
            id=container_id,
            name=name,
            created=fields["created"],
            image=fields["image"],
            chain_id=fields["chain_id"],
            config=fields["config"],
            host_config=fields["host_config"],
            mounts=[MountPoint(**mount) for mount in fields["mounts"]],
            directory=directory,
            networks={
                # An engine that knew no networks of its user's did not write them down.
                network: EndpointConfig.requested(settings)
                for network, settings in fields.get("networks", {"bridge": {}}).items()
            },
            state=State.restored(fields["state"]),
            restart_count=fields["restart_count"],
            stopped_by_user=fields["stopped_by_user"],
            links=fields.get("links") or {},
        )
