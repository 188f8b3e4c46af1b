"""`docker cp`, `docker export` and `docker diff`: a container's files, whether it runs or not."""

from __future__ import annotations

import base64
import errno
import json
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn

from labkernel.engine.containers.container import Container
from labkernel.engine.containers.containers import Containers
from labkernel.engine.containers.mounts import MountPoint
from labkernel.engine.errors import Conflict, Forbidden, InvalidParameter, NotFound, System
from labkernel.engine.image.changeset import extract_tar
from labkernel.engine.image.compression import decompressed
from labkernel.engine.image.layers import Change
from labkernel.engine.image.mounted import mounted
from labkernel.engine.image.tarwriter import Writer, write_tar
from labkernel.engine.linux import mounts
from labkernel.engine.linux.paths import RESOLVE_IN_ROOT, open_source, openat2
from labkernel.engine.timestamps import rfc3339

_MODE_BITS = (
    # os.FileMode of Go, which the header X-Docker-Container-Path-Stat carries: kinds in the upper bits
    (stat.S_ISDIR, 1 << 31),
    (stat.S_ISLNK, 1 << 27),
    (stat.S_ISBLK, 1 << 26),
    (stat.S_ISFIFO, 1 << 25),
    (stat.S_ISSOCK, 1 << 24),
    (stat.S_ISCHR, (1 << 26) | (1 << 21)),
)

_TAKEN_AWAY = (errno.ENOENT, errno.ESTALE)
"""What comes of a directory that was found and is removed before something is made in it."""


@contextmanager
def root_of(container: Container, containers: Containers) -> Iterator[int]:
    """A descriptor of the container's root directory: as its processes see it, or mounted for the while."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    if container.state.running:
        # The root of the first process: its mounts (volumes, binds) are there as well.
        descriptor = os.open(f"/proc/{container.state.pid}/root/", flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        return
    lower = containers.lower(container)
    with mounted(containers.store, lower, container.upper, container.work) as merged:
        descriptor = os.open(merged, flags)
        try:
            for point in container.mounts:
                if point.type != "tmpfs":
                    _mount_inside(descriptor, point)
            yield descriptor
        finally:
            os.close(descriptor)


def _mount_inside(root: int, point: MountPoint) -> None:
    """Show a volume or a bind mount in a container that does not run, where it has a place for it."""
    source = open_source(point.source, follow=point.follow)
    try:
        if stat.S_ISDIR(os.fstat(source).st_mode):
            target = _made_directory(root, point.destination)
        else:
            target = openat2(root, point.destination, os.O_PATH, resolve=RESOLVE_IN_ROOT)
        try:
            flags = mounts.MS_BIND | mounts.MS_REC
            mounts.mount(f"/proc/self/fd/{source}", f"/proc/self/fd/{target}", flags=flags)
        finally:
            os.close(target)
        if not point.writable:
            again = openat2(root, point.destination, os.O_PATH, resolve=RESOLVE_IN_ROOT)
            try:
                # Sets this and keeps the rest: a user namespace may not clear what the machine's mount has.
                mounts.mount_setattr(again, "", mounts.AT_EMPTY_PATH, set=mounts.MOUNT_ATTR_RDONLY)
            finally:
                os.close(again)
    except FileNotFoundError:
        return
    finally:
        os.close(source)


def _made_directory(root: int, path: str) -> int:
    """A descriptor of a directory of the container, made with its parents as starting it would make it."""
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT)
    except FileNotFoundError:
        parent, name = posixpath.split(posixpath.normpath(path))
        above = _made_directory(root, parent)
    try:
        os.mkdir(name, 0o755, dir_fd=above)
    finally:
        os.close(above)
    return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT)


def path_stat(container: Container, containers: Containers, path: str) -> str:
    """The header X-Docker-Container-Path-Stat: name, size, mode (Go's bits), mtime and link target, in
    base64.

    Raises NotFound.
    """
    with root_of(container, containers) as root:
        target, status, link = _lstat(container, root, path)
        kind = sum(bit for test, bit in _MODE_BITS if test(status.st_mode))
        special = (status.st_mode & 0o1000) << 11 | (status.st_mode & 0o6000) << 12
        described = {
            "name": "." if path.endswith("/.") else posixpath.basename(target) or "/",
            "size": status.st_size,
            "mode": kind | special | (status.st_mode & 0o777),
            "mtime": rfc3339(status.st_mtime_ns).replace(".000000000Z", "Z"),
            "linkTarget": link,
        }
    return base64.b64encode(json.dumps(described, separators=(",", ":")).encode()).decode()


def _lstat(container: Container, root: int, path: str) -> tuple[str, os.stat_result, str]:
    """(clean path, lstat of it, absolute target where it is a link)."""
    clean = _absolute(path)
    try:
        if clean == "/":
            return clean, os.fstat(root), ""
        parent = openat2(root, posixpath.dirname(clean), os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT)
        try:
            name = posixpath.basename(clean)
            status = os.lstat(name, dir_fd=parent)
            link = ""
            if stat.S_ISLNK(status.st_mode):
                link = _absolute(posixpath.join(posixpath.dirname(clean), os.readlink(name, dir_fd=parent)))
            if path.endswith("/") and not (stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                raise NotADirectoryError(errno.ENOTDIR, "Not a directory")
            return clean, status, link
        finally:
            os.close(parent)
    except OSError as error:
        _no_such_file(container, path, error)


def _absolute(path: str) -> str:
    # normpath keeps two leading slashes apart from one, as POSIX allows.
    return posixpath.normpath("/" + path.lstrip("/"))


def _no_such_file(container: Container, path: str, error: OSError) -> NoReturn:
    raise NotFound(
        f"Could not find the file {path} in container {container.name}",
        hint=None if error.errno == errno.ENOENT else os.strerror(error.errno or 0),
    ) from None


def write_archive(container: Container, containers: Containers, path: str, out: Writer) -> None:
    """Write what is at `path` as a tar whose top has the path's last component. Raises NotFound."""
    with root_of(container, containers) as root:
        clean, _, link = _lstat(container, root, path)
        if link and (path.endswith(("/", "/."))):
            clean = link
        name = posixpath.basename(clean) or "/"
        if clean == "/" or path.endswith("/."):
            name = "."
        try:
            write_tar(root, clean, out, name=name)
        except FileNotFoundError as error:
            _no_such_file(container, path, error)


def read_archive(
    container: Container, containers: Containers, path: str, tar: BinaryIO, *, no_overwrite_dir_non_dir: bool
) -> None:
    """Unpack a tar into the directory `path` of the container.

    Raises:
        NotFound: no such directory.
        Conflict: a program in the container removed it meanwhile.
        InvalidParameter: not a directory, or a bad archive.
        Forbidden: the container's root file system, or the mount there, is read-only.
    """
    with root_of(container, containers) as root:
        try:
            directory = openat2(root, _absolute(path), os.O_PATH, resolve=RESOLVE_IN_ROOT)
        except OSError as error:
            _no_such_file(container, path, error)
        try:
            if not stat.S_ISDIR(os.fstat(directory).st_mode):
                raise InvalidParameter("extraction point is not a directory")
            in_a_mount = os.fstat(directory).st_dev != os.fstat(root).st_dev
            if container.host_config["ReadonlyRootfs"] and not in_a_mount:
                raise Forbidden("container rootfs is marked read-only")
            if os.fstatvfs(directory).f_flag & os.ST_RDONLY:
                raise Forbidden("mounted volume is marked read-only")
        finally:
            os.close(directory)
        try:
            extract_tar(
                decompressed(tar),
                root,
                path,
                keep_ownership=containers.store.layers.keep_ownership,
                no_overwrite_dir_non_dir=no_overwrite_dir_non_dir,
            )
        except OSError as error:
            if error.errno not in (*_TAKEN_AWAY, errno.ENOTDIR, errno.ELOOP):
                raise
            _no_such_file(container, path, error)  # a program inside was quicker
        except (InvalidParameter, System) as error:
            cause = error.__cause__
            if not (container.state.running and isinstance(cause, OSError) and cause.errno in _TAKEN_AWAY):
                raise
            raise Conflict(
                f"failed to unpack into {path} in container {container.name}: "
                f"{os.strerror(cause.errno or 0).lower()}",
                hint="a program in the container changes its directories at the same time: "
                f"docker pause {container.name} before",
            ) from error


def export(container: Container, containers: Containers, out: Writer) -> None:
    """Write the whole root file system, without what is mounted in it, as a tar."""
    # The merged view of lower and upper, read-only: a running container's own mounts are not in it.
    with mounted(containers.store, [container.upper, *containers.lower(container)]) as merged:
        write_tar(merged, "/", out, name="", one_file_system=True)


def changes(container: Container, containers: Containers) -> list[dict[str, Any]]:
    """`GET /containers/{id}/changes`."""
    found: list[Change] = containers.store.layers.diff(container.upper, container.chain_id)
    return [{"Path": change.path, "Kind": change.kind} for change in found]
