"""A sandbox's birth: from a fork of the zygote into namespaces of its own.

Two things cannot be done by who has left: the ids of a user namespace are mapped from outside, and so are the
owners of a mount. A helper stays behind for them.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkernel.engine.linux import mounts as m
from labkernel.engine.linux.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    setns,
    unshare,
)
from labkernel.engine.linux.processes import die_with_parent, set_dumpable
from labkernel.grading.sandbox import rootfs, warden
from labkernel.grading.sandbox.messages import send

FIRST_ID, IDS = 1_800_000_000, 65536
"""Root's sandboxes have these ids of the machine, which belong to nobody (as systemd's UIDS-GIDS has it)."""


def live(request: Mapping[str, Any], control: socket.socket, cells: socket.socket, output: int) -> None:
    """Make the sandbox and wait until it ends; `control` is the warden's, the others are the runner's."""
    die_with_parent()
    _join_control_groups(request["slot_pid"])
    slot = os.pidfd_open(request["slot_pid"])
    # A slot on the host's network is where this is, and an ordinary user may not even come back to it.
    network = 0 if _same_network(request["slot_pid"]) else CLONE_NEWNET
    if namespaces := network | (CLONE_NEWUSER if request["rootless"] else 0):
        setns(slot, namespaces)
    os.close(slot)
    unshare(CLONE_NEWNS)
    m.mount("", "/", flags=m.MS_REC | m.MS_SLAVE)
    trees = rootfs.open_trees(request)
    helper = _Helper(trees)
    unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)
    helper.finish()
    with contextlib.suppress(PermissionError):  # with a single id groups are as they are
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    die_with_parent()
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        set_dumpable(True)  # a check joins its namespaces, which a change of user would forbid
        socket.sethostname("lab")
        rootfs.build(trees, request["resolv_conf"], memory=request["limits"]["memory"])
        warden.watch(request, control, cells, output)
        return
    cells.close()
    os.close(output)
    send(control, {"born": pid, "parent": os.getpid()})
    _wait(pid, control)


def _same_network(pid: int) -> bool:
    return os.path.samefile("/proc/self/ns/net", f"/proc/{pid}/ns/net")


def _wait(pid: int, control: socket.socket) -> None:
    """Until the warden ends, or until the grader has closed its end: then the warden is killed."""
    descriptor = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.register(control, 0)  # hang-up is always told; what is said there is for the warden
    poll.poll()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _join_control_groups(pid: int) -> None:
    """Be limited as the slot is. Where that may not be done the warden's own watch has to do."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        tree = Path("/sys/fs/cgroup", controllers.removeprefix("name="))
        if not controllers and not (tree / "cgroup.controllers").exists():
            tree = tree / "unified"
        with contextlib.suppress(OSError):
            (Path(f"{tree}{path}") / "cgroup.procs").write_text(str(os.getpid()))


class _Helper:
    """A child outside that maps the ids of its parent's new user namespace, and the owners of `trees`."""

    def __init__(self, trees: list[rootfs.Tree]) -> None:
        parent = os.getpid()
        reading, self._go = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(reading)
            return
        os.close(self._go)
        code = 1
        try:
            os.read(reading, 1)
            _map_ids(parent)
            namespace = os.open(f"/proc/{parent}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            for tree in trees:
                if tree.shift:
                    m.mount_setattr(
                        tree.descriptor, "", m.AT_EMPTY_PATH, set=m.MOUNT_ATTR_IDMAP, userns=namespace
                    )
            code = 0
        except OSError as error:
            os.write(2, f"labkernel: {error.filename or 'mapping ids'}: {error.strerror}\n".encode())
        finally:
            os._exit(code)

    def finish(self) -> None:
        os.close(self._go)
        _, status = os.waitpid(self._pid, 0)
        if status:
            raise OSError(1, "the ids of a sandbox could not be mapped", "user namespace")


def _map_ids(pid: int) -> None:
    """All ids there are, to themselves; on the machine itself a range that nobody has."""
    for kind in ("uid", "gid"):
        ranges = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text().splitlines()]
        lines = [f"{inside} {inside} {count}" for inside, _, count in ranges]
        if ranges == [["0", "0", str(2**32 - 1)]]:
            lines = [f"0 {FIRST_ID} {IDS}"]
        Path(f"/proc/{pid}/{kind}_map").write_text("\n".join(lines) + "\n")
