"""System calls, each tried for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from labkernel.engine.linux import (
    capabilities,
    mounts,
    namespaces,
    paths,
    processes,
    seccomp,
    terminals,
)


def in_a_child(work: Callable[[], None]) -> int:
    """The exit code of a child that does the work: 0 when nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: mounts.mount("none", "/no/such/place", "tmpfs"), "mount"),
        (lambda: mounts.umount2("/no/such/place"), "umount2"),
        (lambda: mounts.pivot_root("/no/such", "/place"), "pivot_root"),
        (lambda: mounts.open_tree(-100, "/no/such/place", 0), "open_tree"),
        (lambda: mounts.move_mount(-1, "", -1, "", mounts.MOVE_MOUNT_F_EMPTY_PATH), "move_mount"),
        (lambda: mounts.fsopen("no-such-type"), "fsopen"),
        (lambda: mounts.mount_setattr(-100, "/no/such", 0, set=mounts.MOUNT_ATTR_RDONLY), "mount_setattr"),
        (lambda: namespaces.setns(-1, 0), "setns"),
        (lambda: namespaces.unshare(1), "unshare"),
        (lambda: paths.openat2(-100, "/no/such/place", os.O_RDONLY), "openat2"),
        (lambda: processes.fork_into(1 << 63), "clone3"),
        (lambda: seccomp.set_filter(b""), "seccomp"),
    ],
)
def test_errors_name_the_call(call: Callable[[], None], name: str) -> None:
    with pytest.raises(OSError, match=name) as caught:
        call()
    assert caught.value.errno
    assert caught.value.filename == name


FORK = """
import os
from labkernel.engine.linux import namespaces, processes
pid = processes.fork_into(namespaces.CLONE_NEWPID | namespaces.CLONE_NEWUTS)
if pid == 0:
    print(os.getpid(), os.readlink("/proc/self/ns/uts"), flush=True)
    os._exit(9)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_fork_into_new_namespaces(root: None) -> None:
    """In a process of its own: the tests' may have threads, which such a fork does not allow for."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=30)
    assert done.returncode == 9, done.stderr
    number, uts = done.stdout.split()
    assert number == "1"
    assert uts != os.readlink("/proc/self/ns/uts")


def test_openat2_stays_in_its_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hostname").write_text("inside")
    (tmp_path / "absolute").symlink_to("/etc")
    (tmp_path / "upwards").symlink_to("../../../../../../etc")
    root = os.open(tmp_path, os.O_PATH)
    for start in ("etc", "/etc", "absolute", "upwards", "../../etc"):
        with os.fdopen(paths.openat2(root, f"{start}/hostname", os.O_RDONLY), "r") as file:
            assert file.read() == "inside"
    with pytest.raises(OSError, match="openat2"):
        paths.openat2(root, "absolute/hostname", os.O_RDONLY, resolve=paths.RESOLVE_NO_SYMLINKS)
    os.close(root)


def test_capability_names_and_numbers() -> None:
    assert capabilities.mask(["CAP_CHOWN", "CAP_NET_RAW", "CAP_NO_SUCH"]) == 1 | 1 << 13
    assert capabilities.names(0x00000000A80425FB)[0] == "CAP_CHOWN"
    assert capabilities.mask(capabilities.names(0x00000000A80425FB)) == 0x00000000A80425FB
    assert len(capabilities.NAMES) == int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1


def test_capability_sets(root: None) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    effective, permitted, inheritable = capabilities.capget()
    assert effective == int(status["CapEff"], 16)
    assert permitted == int(status["CapPrm"], 16)
    assert inheritable == int(status["CapInh"], 16)
    assert capabilities.bounding_set() == int(status["CapBnd"], 16)

    def drop() -> None:
        kill = capabilities.mask(["CAP_KILL"])
        capabilities.drop_bounding(capabilities.bounding_set() & ~kill)
        capabilities.capset(kill, kill, kill)
        capabilities.set_ambient(kill)
        found = Path("/proc/self/status").read_text()
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{name}:\t{kill:016x}" in found

    assert in_a_child(drop) == 0


def test_die_with_parent(root: None) -> None:
    code = (
        "import os, time\nfrom labkernel.engine.linux import processes\n"
        "child = os.fork()\n"
        "if child == 0:\n    processes.die_with_parent()\n    os.write(1, b'%d' % os.getpid())\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(os.read(parent.stdout.fileno(), 20))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists()


def test_a_filter_refuses(root: None) -> None:
    """ld number; if it is getpid's return ERRNO(EACCES), else ALLOW: four instructions by hand."""
    number = {"x86_64": 39, "aarch64": 172}[os.uname().machine]
    program = b"".join(
        code.to_bytes(2, sys.byteorder) + bytes([true, false]) + value.to_bytes(4, sys.byteorder)
        for code, true, false, value in (
            (0x20, 0, 0, 0),
            (0x15, 0, 1, number),
            (0x06, 0, 0, 0x0005000D),
            (0x06, 0, 0, 0x7FFF0000),
        )
    )

    def work() -> None:
        seccomp.set_filter(program)
        # The C library returns the error as it is, and Python hands the -1 on.
        assert os.getpid() in (-1, -13)

    assert in_a_child(work) == 0


def test_terminals() -> None:
    master, slave, number = terminals.open_pair("/dev/ptmx")
    assert os.ttyname(slave) == f"/dev/pts/{number}"
    terminals.set_size(slave, 12, 34)
    assert os.get_terminal_size(master) == (34, 12)
    os.close(slave)
    os.close(master)


def test_a_mount_made_by_parts(root: None, tmp_path: Path) -> None:
    """fsopen, fsconfig, fsmount, move_mount, mount_setattr: a read-only tmpfs that only this child sees."""

    def work() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE)
        context = mounts.fsopen("tmpfs")
        mounts.fsconfig_set(context, "size", "1M")
        mounts.fsconfig_create(context)
        mounted = mounts.fsmount(context)
        mounts.move_mount(mounted, "", -100, str(tmp_path), mounts.MOVE_MOUNT_F_EMPTY_PATH)
        (tmp_path / "x").touch()
        mounts.mount_setattr(-100, str(tmp_path), 0, set=mounts.MOUNT_ATTR_RDONLY)
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "y").touch()

    assert in_a_child(work) == 0
    assert list(tmp_path.iterdir()) == []
