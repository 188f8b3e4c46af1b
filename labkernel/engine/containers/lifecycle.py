"""What happens to a container between its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from labkernel.engine.containers import config as container_config
from labkernel.engine.containers import links, networking
from labkernel.engine.containers.bundle import resources, rewrite_etc, write_bundle
from labkernel.engine.containers.config import HOST_CONFIG
from labkernel.engine.containers.container import Container
from labkernel.engine.containers.mounts import MountPoint, resolve
from labkernel.engine.containers.updating import UNLIMITED
from labkernel.engine.errors import Conflict, InvalidParameter, NotModified, System
from labkernel.engine.events import Events
from labkernel.engine.network.definition import EndpointConfig
from labkernel.engine.network.descriptions import Endpoint
from labkernel.engine.network.network import Network
from labkernel.engine.network.networks import Networks
from labkernel.engine.network.ports import requested_ports
from labkernel.engine.runtime.cgroups import BLOCK_IO_WEIGHT
from labkernel.engine.runtime.client import Launcher, Started, StartFailed
from labkernel.engine.timestamps import rfc3339
from labkernel.engine.volumes import Volumes

log = logging.getLogger(__name__)

STOP_TIMEOUT = 10
"""Seconds between the stop signal and SIGKILL."""
_RESTART_DELAYS = (0.1, 60.0)
"""Seconds before the first restart, doubled for each further one up to the second figure."""
EXIT_CODES = {"not_found": 127, "not_executable": 126}
"""By a failed start's kind, as a shell has them."""
_HINTS = {
    "not_found": "is the command spelt as in the image, and is the program installed there?",
    "not_executable": "is it a program, and executable (chmod +x)?",
}


def start_error(failure: StartFailed) -> InvalidParameter | System:
    """A failed start in Docker's words; docker run reads its exit code 126 or 127 from them."""
    if failure.kind == "bad_user":
        return System(failure.message)
    message = (
        "failed to create shim task: OCI runtime create failed: runc create failed: "
        f"unable to start container process: {failure.message}: unknown"
    )
    if failure.kind in EXIT_CODES:
        return InvalidParameter(message, hint=_HINTS[failure.kind])
    return System(message)


class Lifecycle:
    """Starts, signals and ends containers; one for the whole engine."""

    def __init__(
        self,
        *,
        launcher: Launcher,
        networks: Networks,
        volumes: Volumes,
        lower: Callable[[Container], list[Path]],
        events: Events,
        save: Callable[[Container], None],
        find: Callable[[str], Container],
        remove: Callable[[Container], None],
    ) -> None:
        self._launcher = launcher
        self._networks = networks
        self._volumes = volumes
        self._lower = lower
        self._events = events
        self._save = save
        self._find = find
        self._remove = remove
        self.linked_from: Callable[[Container], list[tuple[Container, str]]] = lambda container: []
        """The containers that are linked to one, each with what it calls it."""
        self.begin_checks: Callable[[Container], None] = lambda container: None
        """The container runs from now on: its health may be checked."""
        self.halt_checks: Callable[[Container], None] = lambda container: None
        """Nothing can be run in it any more, or for now."""
        self.closing = False
        """The engine ends: what it stops was not stopped by the user, and is not started again."""

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        self._events.publish_attributes("container", action, container.id, container.attributes | attributes)

    def network_event(self, container: Container, action: str, endpoint: Endpoint) -> None:
        self._events.publish(
            "network",
            action,
            endpoint.network_id,
            container=container.id,
            name=endpoint.network_name,
            type=endpoint.driver,
        )

    async def connect(
        self, container: Container, network: Network, settings: Mapping[str, Any] | None
    ) -> None:
        """Put the container on one more network, now or when it starts; `settings` are EndpointSettings.

        Raises Forbidden, Conflict, InvalidParameter, System.
        """
        config = EndpointConfig.requested(settings)
        async with container.lock:
            networking.check_connect(container, network.name, config)
            sandbox = self._networks.sandbox(container.id)
            if sandbox is not None and container.state.running:
                endpoint = await sandbox.join(network, config)
                rewrite_etc(container, sandbox)
                self.network_event(container, "connect", endpoint)
            container.networks[network.name] = config
            self._save(container)

    async def disconnect(self, container: Container, network: Network) -> None:
        """Undo `connect`. Raises Forbidden, InvalidParameter."""
        async with container.lock:
            networking.check_disconnect(container, network.name)
            sandbox = self._networks.sandbox(container.id)
            if sandbox is not None and container.state.running:
                endpoint = await sandbox.leave(network)
                rewrite_etc(container, sandbox)
                self.network_event(container, "disconnect", endpoint)
            del container.networks[network.name]
            self._save(container)

    # start

    async def start(self, container: Container) -> None:
        """Start the container.

        Raises:
            NotModified: it runs already.
            Conflict: it is paused.
            InvalidParameter, System, NotFound: it cannot start; nothing of it is left running.
        """
        async with container.lock:
            if container.state.status == "paused":
                raise Conflict("cannot start a paused container, try unpause instead")
            if container.state.running:
                raise NotModified("container already started")
            if container.state.status in ("removing", "dead"):
                raise Conflict("container is marked for removal and cannot be started")
            if container.restart is not None and container.restart is not asyncio.current_task():
                container.restart.cancel()
            container.restart = None
            container.stopped_by_user = False
            try:
                await self._start(container)
            except BaseException as error:
                await self._failed(container, error)
                raise

    async def _start(self, container: Container) -> None:
        host_config = container.host_config
        exposed = container.config.get("ExposedPorts") or {}
        shared = {kind: self._shared_namespace(container, kind) for kind in ("pid", "ipc", "uts")}
        for point in container.mounts:
            resolve(point, self._volumes, container.id)
            if point.type == "volume":
                self._mount(container, point)
        sandbox = await self._networks.connect(
            container.id,
            self._network_mode(container),
            name=container.name,
            hostname=container.config["Hostname"],
            ports=requested_ports(host_config, exposed),
            exposed=exposed,
            nameservers=host_config["Dns"] or (),
            wanted=container.networks,
        )
        linked_hosts = self._linked(container)
        bundle = write_bundle(container, self._lower(container), sandbox, shared, linked_hosts)
        stdin, stdout, stderr = container.stdio.open()
        rows, columns = host_config["ConsoleSize"] or (0, 0)
        try:
            started = await self._launcher.run(
                container.id, bundle, stdin, stdout, stderr, terminal_size=(rows, columns) if rows else None
            )
        except StartFailed as failure:
            container.state.exit_code = EXIT_CODES.get(failure.kind, 128)
            raise start_error(failure) from None
        container.stdio.started(started.terminal)
        container.process = started
        state = container.state
        state.status, state.pid, state.error, state.oom_killed = "running", started.pid, "", False
        state.exit_code, state.started_at = 0, rfc3339()
        if state.health is not None:
            state.health.restart()
        self.begin_checks(container)
        self._save(container)
        for endpoint in sandbox.endpoints.values():
            self.network_event(container, "connect", endpoint)
        for point in self._volumes_of(container):
            self._events.publish_attributes(
                "volume", "mount", point.name, _mount_attributes(container, point)
            )
        self._tell_linked(container)
        self.publish(container, "start")
        container.settled = asyncio.get_running_loop().create_task(self._settle(container, started))

    @staticmethod
    def _volumes_of(container: Container) -> list[MountPoint]:
        return sorted(
            (point for point in container.mounts if point.type == "volume"),
            key=lambda point: point.destination,
        )

    def _mount(self, container: Container, point: MountPoint) -> None:
        try:
            self._volumes.mount(point.name, container.id)
        except System as error:
            raise System(f"error while mounting volume '{point.source}': {error.message}") from None

    # links

    def _address(self, container: Container) -> str:
        """On the default bridge. Raises InvalidParameter: it is not on it."""
        settings = self._networks.network_settings(container.id, container.networks)
        address: str = settings["Networks"].get("bridge", {}).get("IPAddress", "")
        if not address:
            raise InvalidParameter(
                f"Cannot link to /{container.name}, as it does not belong to the default network"
            )
        return address

    def _linked(self, container: Container) -> list[str]:
        """Lines for /etc/hosts; the variables become the container's. Raises InvalidParameter."""
        lines, variables = [], []
        for alias, other in ((alias, self._find(key)) for alias, key in container.links.items()):
            if not other.state.running:
                raise InvalidParameter(
                    f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}",
                    hint=f"docker start {other.name} starts it",
                )
            address = self._address(other)
            lines.append(f"{links.hosts_names(alias, other.config['Hostname'], other.name)}:{address}")
            exposed, environment = other.config.get("ExposedPorts") or (), other.config["Env"] or ()
            variables += links.link_environment(container.name, alias, address, environment, exposed)
        container.link_environment = variables
        return lines

    def _tell_linked(self, container: Container) -> None:
        """The address of a container that is started again is written to those that are linked to it."""
        for other, alias in self.linked_from(container):
            hosts = other.directory / "hosts"
            if other.state.running and hosts.exists():
                hosts.write_text(links.with_address(hosts.read_text(), alias, self._address(container)))

    async def _failed(self, container: Container, error: BaseException) -> None:
        container.stdio.failed()
        self._volumes.unmount(container.id)
        await self._networks.disconnect(container.id)
        container.state.error = str(error)
        if not container.state.exit_code:
            container.state.exit_code = 128
        self._save(container)
        container.notify("next-exit")
        if container.host_config["AutoRemove"]:
            self._remove(container)

    def _network_mode(self, container: Container) -> str:
        """HostConfig.NetworkMode, with another container's whole id in `container:ID`."""
        mode: str = container.host_config["NetworkMode"]
        if container.config.get("NetworkDisabled"):
            return "none"
        if mode.startswith("container:"):
            return f"container:{self._find(mode.removeprefix('container:')).id}"
        return mode

    def _shared_namespace(self, container: Container, kind: str) -> str:
        """HostConfig's PidMode, IpcMode, UTSMode -> "", "host" or the path of another container's
        namespace.
        """
        mode: str = container.host_config[{"pid": "PidMode", "ipc": "IpcMode", "uts": "UTSMode"}[kind]]
        if mode == "host":
            return "host"
        if mode.startswith("container:"):
            other = self._find(mode.removeprefix("container:"))
            if not other.state.running:
                raise Conflict(f"cannot join {kind.upper()} of a non running container: {other.id}")
            return f"/proc/{other.state.pid}/ns/{kind}"
        return ""

    # end

    async def _settle(self, container: Container, started: Started) -> None:
        """Take in the end of the container's process."""
        code = await started.exited
        self.halt_checks(container)
        container.state.pid = 0  # from now on the number may be another process's
        await container.stdio.finish()
        self._volumes.unmount(container.id)
        endpoints = self._networks.endpoints(container.id)
        try:
            await self._networks.disconnect(container.id)
        except Exception:  # whatever it is: the container has ended, and who waits for that is told
            log.exception("container %s could not be taken off its network", container.short_id)
        state = container.state
        state.status, state.pid, state.exit_code = "exited", 0, code
        state.oom_killed, state.finished_at = started.oom_killed, rfc3339()
        container.process = None
        if state.oom_killed:
            self.publish(container, "oom")
        self.publish(container, "die", exitCode=str(code))
        for endpoint in endpoints:
            self.network_event(container, "disconnect", endpoint)
        for point in self._volumes_of(container):
            self._events.publish("volume", "unmount", point.name, container=container.id, driver="local")
        again = self._restarts(container, code)
        if again:
            state.status = "restarting"
        container.notify("next-exit")
        try:
            self._save(container)
        except Exception:  # a full disk: the next engine takes it for killed
            log.exception("the end of container %s could not be stored", container.short_id)
        if again:
            container.restart = asyncio.get_running_loop().create_task(self._start_again(container))
        elif container.host_config["AutoRemove"] and not container.keep_at_exit:
            self._remove(container)

    def _restarts(self, container: Container, code: int) -> bool:
        policy = container.host_config["RestartPolicy"]
        if container.stopped_by_user or self.closing:
            return False
        if policy["Name"] == "on-failure":
            most = policy["MaximumRetryCount"]
            return code != 0 and (most == 0 or container.restart_count < most)
        return policy["Name"] in ("always", "unless-stopped")

    async def _start_again(self, container: Container) -> None:
        first, longest = _RESTART_DELAYS
        await asyncio.sleep(min(first * 2 ** min(container.restart_count, 20), longest))
        container.restart_count += 1
        try:
            await self.start(container)
        except Exception as error:
            log.warning("container %s could not be restarted: %s", container.short_id, error)
            container.state.status = "exited"
            self._save(container)

    # signals

    async def stop(
        self, container: Container, timeout: int | None = None, signal_name: str | None = None
    ) -> None:
        """Ask the container to end, and end it after `timeout` seconds (None: its own, or 10; -1: wait for
        ever). The signal is `signal_name`, or the container's own.

        Raises:
            NotModified: it does not run.
            InvalidParameter: no such signal.
        """
        wanted = container_config.signal_number(
            signal_name or container.config.get("StopSignal") or "SIGTERM"
        )
        if await self._stay_ended(container):
            return
        if not container.state.running:
            raise NotModified("container already stopped")
        container.stopped_by_user = not self.closing
        if timeout is None:
            timeout = container.config.get("StopTimeout")
        if timeout is None:
            timeout = STOP_TIMEOUT
        await self._signal(container, wanted)
        self.publish(container, "kill", signal=str(wanted))
        if not await self._ends_within(container, None if timeout < 0 else timeout):
            await self._signal(container, signal.SIGKILL)
            self.publish(container, "kill", signal=str(int(signal.SIGKILL)))
            await self._ends_within(container, None)
        self.publish(container, "stop")

    async def _stay_ended(self, container: Container) -> bool:
        """Give up the restarts of a container that is between two runs; whether it was, and is ended now."""
        if container.restart is not None:
            container.restart.cancel()
            await asyncio.gather(container.restart, return_exceptions=True)
            container.restart = None
        async with container.lock:  # an attempt that has begun comes to its end first
            if container.state.status != "restarting":
                return False
            container.state.status = "exited"
            container.stopped_by_user = not self.closing
            self._save(container)
            container.notify("next-exit")
            return True

    async def end(self, container: Container) -> None:
        """Whatever it does, it does not run afterwards; it is not removed for it."""
        container.keep_at_exit = True
        if not await self._stay_ended(container):
            with contextlib.suppress(Conflict):
                await self.kill(container)

    async def kill(self, container: Container, number: int = signal.SIGKILL) -> None:
        """Send a signal to the container's first process.

        Raises:
            Conflict: it does not run.
        """
        if not container.state.running:
            raise Conflict(f"Container {container.id} is not running")
        if number == signal.SIGKILL:
            container.stopped_by_user = True
        await self._signal(container, number)
        self.publish(container, "kill", signal=str(int(number)))
        if number == signal.SIGKILL:
            await self._ends_within(container, None)

    async def _signal(self, container: Container, number: int) -> None:
        self._launcher.kill(container.id, number)
        if container.state.status == "paused":
            await self._resume(container)  # a frozen process takes no signal

    async def _resume(self, container: Container) -> None:
        await self._launcher.resume(container.id)
        if container.state.status == "paused":  # it may have ended meanwhile
            container.state.status = "running"
            self.begin_checks(container)

    async def _ends_within(self, container: Container, seconds: float | None) -> bool:
        if container.settled is None:
            return True
        done, _ = await asyncio.wait([container.settled], timeout=seconds)
        return bool(done)

    async def restart(
        self, container: Container, timeout: int | None = None, signal_name: str | None = None
    ) -> None:
        container.keep_at_exit = True
        try:
            with contextlib.suppress(NotModified):
                await self.stop(container, timeout, signal_name)
            await self.start(container)
        finally:
            container.keep_at_exit = False
        self.publish(container, "restart")

    async def pause(self, container: Container) -> None:
        """Raises Conflict unless the container runs unpaused."""
        if not container.state.running:
            raise Conflict(f"Container {container.id} is not running")
        if container.state.status == "paused":
            raise Conflict(f"Container {container.id} is already paused")
        await self._launcher.pause(container.id)
        if not container.state.running:
            raise Conflict(f"Container {container.id} is not running")
        container.state.status = "paused"
        self.halt_checks(container)
        self._save(container)
        self.publish(container, "pause")

    async def unpause(self, container: Container) -> None:
        """Raises Conflict unless the container is paused."""
        if container.state.status != "paused":
            raise Conflict(f"Container {container.id} is not paused")
        await self._resume(container)
        self._save(container)
        self.publish(container, "unpause")

    def unenforceable(self, container: Container) -> list[str]:
        """A warning for each of its limits that cannot be enforced. What dockerd discards besides, is
        discarded.
        """
        warnings = self._launcher.unenforceable(resources(container.host_config))
        if BLOCK_IO_WEIGHT in warnings:
            container.host_config["BlkioWeight"] = 0
            self._save(container)
        return warnings

    async def update(self, container: Container, changed: Mapping[str, Any]) -> list[str]:
        """Change fields of HostConfig, limits or the restart policy; returns warnings, of these fields only.

        Raises System when the kernel refuses a limit; HostConfig stays as it was then.
        """
        warnings = self._launcher.unenforceable(resources({**HOST_CONFIG, **changed}))
        if BLOCK_IO_WEIGHT in warnings:
            changed = {field: value for field, value in changed.items() if field != "BlkioWeight"}
        async with container.lock:
            if container.state.running:
                known = self._launcher.unenforceable(resources(container.host_config))
                limits = resources({**container.host_config, **changed})
                updated = await self._launcher.update(container.id, limits)
                warnings += [warning for warning in updated if warning not in (*warnings, *known)]
            container.host_config.update(changed)
            if container.host_config["PidsLimit"] == UNLIMITED:
                container.host_config["PidsLimit"] = 0
            self._save(container)
        self.publish(container, "update")
        return warnings

    def resize(self, container: Container, rows: int, columns: int) -> None:
        """Raises Conflict when the container does not run."""
        if not container.state.running:
            raise Conflict(f"Container {container.id} is not running")
        container.stdio.resize(rows, columns)
        self.publish(container, "resize", height=str(rows), width=str(columns))


def _mount_attributes(container: Container, point: MountPoint) -> dict[str, str]:
    return {
        "container": container.id,
        "destination": point.destination,
        "driver": "local",
        "propagation": point.propagation,
        "read/write": str(point.writable).lower(),
    }
