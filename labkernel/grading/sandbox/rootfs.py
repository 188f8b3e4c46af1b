"""The files of a sandbox: the machine's programs, read-only, and a few places of its own.

What it must see is opened outside, as mounts that are attached nowhere yet (open_tree(2)), and attached
inside: the sandbox's root may not even walk to where some of it lies.
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkernel.engine.linux import mounts as m

#: The user that the cells run as, where there is more than one.
LEARNER = 1000
HOME = "/home/learner"
LEARNERS = (HOME, "/tmp", f"/run/user/{LEARNER}")
"""The directories that the learner may write, and share with containers."""
ENGINE = "/var/lib/labkernel"
BASE = "/base"
LOWER = "/lower"
FILES = "/files"
SOCKET = "/run/labkernel/engine.sock"
#: Of the grader's engine only what images are made of: not its volumes, not its containers.
STORE = ("layers", "blobs", "metadata.sqlite", "metadata.sqlite-wal")

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_TOP_LEVEL = ("usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True)
class Tree:
    """A mount to be: the descriptor of a detached mount, and where it goes. `shift`: its owners are the
    machine's and have to be mapped.
    """

    descriptor: int
    target: str
    is_directory: bool
    shift: bool = False


def open_trees(request: Mapping[str, Any]) -> list[Tree]:
    """Open what a sandbox shall see. The caller may mount in the namespace it is in."""
    trees = [_open(path, path, read_only=True) for path in _system()]
    trees += [_open(f"/dev/{name}", f"/dev/{name}") for name in _DEVICES]
    trees.append(_open(request["home"], HOME))
    trees.append(_open(request["files"], FILES, read_only=True))
    if request["engine"]:
        trees.append(_open(request["engine_root"], ENGINE))
        trees += [
            _open(
                f"{request['lower']}/{name}", f"{LOWER}/{name}", read_only=True, shift=not request["rootless"]
            )
            for name in STORE
            if os.path.exists(f"{request['lower']}/{name}")
        ]
        if request["base"]:
            trees.append(_open(request["base"], BASE, read_only=True))
    return trees


def _open(source: str, target: str, *, read_only: bool = False, shift: bool = False) -> Tree:
    flags = m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC | m.AT_RECURSIVE
    descriptor = m.open_tree(m.AT_FDCWD, source, flags)
    if read_only:
        m.mount_setattr(descriptor, "", m.AT_EMPTY_PATH | m.AT_RECURSIVE, set=m.MOUNT_ATTR_RDONLY)
    return Tree(descriptor, target, os.path.isdir(source), shift)


def _system() -> list[str]:
    """The machine's programs, Python and what is installed for it, and this package; none twice."""
    found = [
        f"/{name}" for name in _TOP_LEVEL if not os.path.islink(f"/{name}") and os.path.isdir(f"/{name}")
    ]
    python = [sys.prefix, sys.base_prefix, *site.getsitepackages(), *_packages_on_path(), package_directory()]
    return [*_outermost([*found, *python]), "/sys"]


def package_directory() -> str:
    """Where labkernel lies; in a repository the directories beside it, the solutions, stay outside."""
    return str(Path(__file__).resolve().parents[2])


def _packages_on_path() -> Iterator[str]:
    for entry in sys.path:
        if Path(entry).name in ("site-packages", "dist-packages"):
            yield entry


def _outermost(paths: Iterable[str]) -> list[str]:
    """Each existing directory that lies in no other of them."""
    found: list[str] = []
    for path in sorted({os.path.realpath(path) for path in paths if os.path.isdir(path)}):
        if not any(path == other or path.startswith(f"{other}/") for other in found):
            found.append(path)
    return found


def build(trees: Iterable[Tree], resolv_conf: str, *, memory: int) -> None:
    """Put the root together and move into it. Runs as process 1 of the sandbox."""
    root = "/tmp"
    m.mount("", "/", flags=m.MS_REC | m.MS_PRIVATE)
    m.mount("tmpfs", root, "tmpfs", m.MS_NOSUID, "mode=755,size=16m")
    for name in _TOP_LEVEL:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    for name, options in (
        ("tmp", f"mode=1777,size={memory // 4}"),
        ("run", "mode=755,size=64m"),
        ("dev/shm", f"mode=1777,size={memory // 4}"),
    ):
        os.makedirs(f"{root}/{name}", exist_ok=True)
        m.mount("tmpfs", f"{root}/{name}", "tmpfs", m.MS_NOSUID | m.MS_NODEV, options)
    for tree in trees:  # after the above: this package may lie below /tmp
        _attach(tree, root)
    _hide(f"{root}{package_directory()}/course/solutions")
    os.makedirs(f"{root}/proc")
    m.mount("proc", f"{root}/proc", "proc", m.MS_NOSUID | m.MS_NODEV | m.MS_NOEXEC)
    os.makedirs(f"{root}/dev/pts")
    m.mount("devpts", f"{root}/dev/pts", "devpts", m.MS_NOSUID | m.MS_NOEXEC, "newinstance,ptmxmode=0666")
    for link, place in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        os.symlink(place, f"{root}/dev/{link}")
    for number, link in enumerate(("stdout", "stderr"), 1):
        os.symlink(f"/proc/self/fd/{number}", f"{root}/dev/{link}")
    os.makedirs(f"{root}/var/tmp", exist_ok=True)
    os.chmod(f"{root}/var/tmp", 0o1777)
    os.makedirs(f"{root}{os.path.dirname(SOCKET)}", mode=0o755)
    os.makedirs(f"{root}/run/user/{LEARNER}")
    os.makedirs(f"{root}/tmp/.X11-unix")
    os.chmod(f"{root}/tmp/.X11-unix", 0o1777)
    _write_resolv_conf(root, resolv_conf)
    os.chdir(root)
    m.pivot_root(".", ".")
    m.umount2(".", m.MNT_DETACH)
    os.chdir("/")


def _attach(tree: Tree, root: str) -> None:
    target = f"{root}{tree.target}"
    if tree.is_directory:
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    m.move_mount(tree.descriptor, "", m.AT_FDCWD, target, m.MOVE_MOUNT_F_EMPTY_PATH)
    os.close(tree.descriptor)


def _hide(directory: str) -> None:
    if os.path.isdir(directory):
        m.mount("tmpfs", directory, "tmpfs", m.MS_RDONLY, "size=4k")


def _write_resolv_conf(root: str, text: str) -> None:
    """Over the machine's own, which may be a link into /run."""
    if not text:
        return
    place = f"{root}/run/resolv.conf"
    Path(place).write_text(text)
    target = f"{root}/etc/resolv.conf"
    if os.path.islink(target):
        leads = os.path.normpath(os.path.join("/etc", os.readlink(target)))
        if leads.startswith("/run/"):
            os.makedirs(os.path.dirname(f"{root}{leads}"), exist_ok=True)
            Path(f"{root}{leads}").write_text(text)
        return
    if os.path.exists(target):
        m.mount(place, target, flags=m.MS_BIND)
