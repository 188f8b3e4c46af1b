"""Slots: containers of the grader's engine in which nothing happens, one for each submission at a time.

A slot is a network with an address and, where asked for, a way out, and control groups with limits: all that
a container has. Sandboxes join them.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkernel.commands.process_start import started
from labkernel.grading.sandbox.limits import Limits, SandboxError

if TYPE_CHECKING:
    from docker import DockerClient

IMAGE = "labkernel/slot"
LABEL = "labkernel.grading"
# The slot's one program is the machine's own: no image has to be made first.
_SYSTEM = ("/usr", "/bin", "/lib", "/lib64")
_COMMAND = ["/bin/sleep", "infinity"]


@dataclass(frozen=True)
class Slot:
    """`pid` is the process whose namespaces and control groups are lent; `resolv_conf` names who answers."""

    container: str
    pid: int
    resolv_conf: bytes


class Slots:
    """All slots of one grading run, marked so that those of a killed run can be told."""

    def __init__(self, client: DockerClient, limits: Limits) -> None:
        self._client: Any = client
        self._limits = limits
        self._make_image()

    def _make_image(self) -> None:
        empty = io.BytesIO()
        with tarfile.open(fileobj=empty, mode="w"):
            pass
        self._client.api.import_image_from_data(empty.getvalue(), repository=IMAGE)

    def remove_left(self) -> None:
        """Remove the slots of runs that are no more."""
        for container in self._client.api.containers(all=True, filters={"label": LABEL}):
            if not _is_alive(container["Labels"][LABEL]):
                self._client.api.remove_container(container["Id"], force=True)

    def make(self, network: str) -> Slot:
        """One on that network: "bridge", "none" for no way out, "host". Raises SandboxError."""
        from docker.errors import APIError

        try:
            api = self._client.api
            config = api.create_host_config(
                network_mode=network,
                binds=[f"{path}:{path}:ro" for path in _existing(_SYSTEM)],
                mem_limit=self._limits.memory,
                pids_limit=4 * self._limits.processes,  # the warden looks closer
            )
            container = api.create_container(
                IMAGE, _COMMAND, labels={LABEL: _mark()}, host_config=config, stop_signal="SIGKILL"
            )["Id"]
            api.start(container)
            pid = api.inspect_container(container)["State"]["Pid"]
            return Slot(container, pid, self._file(container, "/etc/resolv.conf"))
        except APIError as error:
            raise SandboxError(
                f"no place to run submissions in: {error.explanation}",
                "labkernel engine status says what does not work here",
            ) from None

    def _file(self, container: str, path: str) -> bytes:
        stream, _ = self._client.api.get_archive(container, path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
            member = tar.next()
            content = tar.extractfile(member) if member else None
            return content.read() if content else b""

    def is_alive(self, slot: Slot) -> bool:
        """Whether it can be used again: a submission that took all memory may have cost the slot its life."""
        return Path(f"/proc/{slot.pid}").exists()

    def ran_out_of_memory(self, slot: Slot) -> bool:
        """Whether a slot that ended did so because the kernel gave it no more memory."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        try:
            self._client.api.wait(slot.container, timeout=5)
            return bool(self._client.api.inspect_container(slot.container)["State"]["OOMKilled"])
        except (DockerException, RequestException):
            return False

    def remove(self, slot: Slot) -> None:
        from docker.errors import APIError, NotFound

        try:
            self._client.api.remove_container(slot.container, force=True)
        except NotFound:
            return
        except APIError as error:
            raise SandboxError(f"a slot cannot be removed: {error.explanation}") from None


def _existing(paths: Sequence[str]) -> list[str]:
    return [path for path in paths if Path(path).exists()]


def _mark() -> str:
    """This run: a process and when it was started, since numbers are used again."""
    return f"{os.getpid()}-{started(os.getpid())}"


def _is_alive(mark: str) -> bool:
    pid, _, start = mark.partition("-")
    return pid.isdigit() and started(int(pid)) == start
