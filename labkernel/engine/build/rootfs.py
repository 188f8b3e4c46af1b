"""An image's file system seen through its layers, without mounting it, and written to as overlayfs would.

Layers are directories, top first, with overlayfs's whiteouts. Symbolic links lead where they would lead in a
container: the root is never left. Writes go to one more directory, the upper one: the next layer.

Source: kernel documentation, filesystems/overlayfs.rst ("Upper and Lower", "whiteouts and opaque
directories").
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkernel.engine.build.sources import File, Found, metadata_hash, transfer
from labkernel.engine.errors import System
from labkernel.engine.image.images import Image
from labkernel.engine.image.store import Store
from labkernel.engine.image.tarformat import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    REGULAR,
    SYMLINK,
)
from labkernel.engine.image.whiteouts import Overlay, is_kept, is_whiteout
from labkernel.engine.linux import trees

_LINK_LIMIT = 255  # as many as Docker follows
_TYPES = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
_DEVICES = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}

Owner = tuple[int, int]  # uid, gid
ROOT: Owner = (0, 0)


class Directory:
    """One directory of the merged view: what it is in the upper layer, and in each of those below."""

    __slots__ = ("_children", "_overlay", "lowers", "name", "parent", "upper")

    def __init__(
        self, name: str, parent: Directory | None, upper: str | None, lowers: Sequence[str], overlay: Overlay
    ) -> None:
        self.name = name
        self.parent = parent
        self.upper = upper
        self.lowers = tuple(lowers)
        self._overlay = overlay
        self._children: dict[str, Directory] = {}

    @property
    def path(self) -> str:
        """From the root, without a leading slash."""
        if self.parent is None:
            return ""
        above = self.parent.path
        return f"{above}/{self.name}" if above else self.name

    @property
    def real(self) -> str:
        """The directory whose owner and mode count."""
        return self.upper if self.upper is not None else self.lowers[0]

    def lookup(self, name: str) -> tuple[str, os.stat_result] | None:
        """Where a name is really, and its lstat; None where there is none."""
        for directory in (self.upper, *self.lowers):
            if directory is None:
                continue
            path = f"{directory}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            return None if is_whiteout(status) else (path, status)
        return None

    def child(self, name: str) -> Directory | None:
        """A directory in this one; None if the name is no directory."""
        known = self._children.get(name)
        if known is not None:
            return known
        upper: str | None = None
        lowers: list[str] = []
        for directory in (self.upper, *self.lowers):
            if directory is None:
                continue
            path = f"{directory}/{name}"
            try:
                status = os.lstat(path)
            except FileNotFoundError:
                continue
            # What is no directory hides all below it.
            if not stat.S_ISDIR(status.st_mode):
                break
            if directory is self.upper:
                upper = path
            else:
                lowers.append(path)
            if self._overlay.is_opaque(trees.attributes(os.fsencode(path))):
                break
        if upper is None and not lowers:
            return None
        self._children[name] = Directory(name, self, upper, lowers, self._overlay)
        return self._children[name]

    def names(self) -> list[str]:
        """Everything visible, sorted."""
        hidden: set[str] = set()
        found: set[str] = set()
        for directory in (self.upper, *self.lowers):
            if directory is None:
                continue
            with os.scandir(directory) as entries:
                here = {entry.name: entry for entry in entries}
            for name, entry in here.items():
                if name in hidden or name in found:
                    continue
                is_hidden = not entry.is_file(follow_symlinks=False) and is_whiteout(
                    entry.stat(follow_symlinks=False)
                )
                (hidden if is_hidden else found).add(name)
        return sorted(found, key=os.fsencode)

    def adopt(self, name: str) -> Directory:
        """Take note of a directory just made in the upper layer, which hides whatever was below."""
        self._children[name] = Directory(name, self, f"{self.upper}/{name}", (), self._overlay)
        return self._children[name]

    def forget(self, name: str) -> None:
        self._children.pop(name, None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads. `directory` is set if it is one; otherwise the last `name` is in `parent`.

    `real` and `status` are None if nothing is there; `missing` are the components that do not exist.
    """

    parent: Directory
    name: str
    directory: Directory | None = None
    real: str | None = None
    status: os.stat_result | None = None
    missing: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.directory is not None or self.real is not None


class Rootfs:
    """The merged view. It is a SourceTree. With `upper` (an empty directory) it can be written to."""

    def __init__(
        self,
        layers: Sequence[Path],
        *,
        upper: Path | None = None,
        overlay: Overlay,
        keep_ownership: bool = True,
    ) -> None:
        lowers = [str(layer) for layer in layers]
        self.top = Directory("", None, None if upper is None else str(upper), lowers, overlay)
        self.overlay = overlay
        self._keep_ownership = keep_ownership
        self._directory_times: dict[str, int] = {}

    # --- reading

    def resolve(self, path: str, *, top: Directory | None = None, follow: bool = True) -> Place:
        """Where a path leads, links followed inside the root (or `top`). Raises OSError (ENOTDIR, ELOOP)."""
        top = top or self.top
        stack = [top]
        parts = _parts(path)
        links = 0
        while parts:
            name = parts.pop()
            if name == "..":
                if len(stack) > 1:
                    stack.pop()
                continue
            here = stack[-1]
            child = here.child(name)
            if child is not None:
                stack.append(child)
                continue
            found = here.lookup(name)
            if found is None:
                return Place(here, name, missing=(name, *(part for part in reversed(parts) if part != "..")))
            real, status = found
            if stat.S_ISLNK(status.st_mode) and (follow or parts):
                links += 1
                if links > _LINK_LIMIT:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(real)
                if target.startswith("/"):
                    stack = [top]
                parts.extend(_parts(target))
                continue
            if parts:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            return Place(here, name, real=real, status=status)
        last = stack[-1]
        return Place(last.parent or last, last.name, directory=last)

    def read(self, path: str) -> bytes | None:
        """The content of a regular file; None if there is none."""
        try:
            place = self.resolve(path)
        except OSError:
            return None
        if place.real is None or place.status is None or not stat.S_ISREG(place.status.st_mode):
            return None
        return Path(place.real).read_bytes()

    def find(self, path: str) -> Found | None:
        try:
            place = self.resolve(path)
        except OSError:
            return None
        if place.directory is not None:
            return self._found_directory(place.directory)
        if place.real is None or place.status is None or stat.S_IFMT(place.status.st_mode) not in _TYPES:
            return None
        above = place.parent.path
        return self._found(f"{above}/{place.name}" if above else place.name, place.real, place.status)

    def children(self, directory: Found) -> Iterator[Found]:
        here: Directory = directory.place
        for name in here.names():
            child = here.child(name)
            if child is not None:
                yield self._found_directory(child)
            elif (found := here.lookup(name)) and stat.S_IFMT(found[1].st_mode) in _TYPES:
                yield self._found(f"{directory.path}/{name}" if directory.path else name, *found)

    def digest(self, found: Found) -> str:
        digest = metadata_hash(found.path, found.file)
        if found.file.type == REGULAR:
            with open(found.place, "rb", buffering=0) as content:
                while data := content.read(1 << 20):
                    digest.update(data)
        text: str = digest.hexdigest()
        return text

    def copy_content(self, found: Found, out: int) -> None:
        source = os.open(found.place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            transfer(source, 0, found.file.size, out)
        finally:
            os.close(source)

    def read_at(self, found: Found, offset: int, size: int) -> bytes:
        with open(found.place, "rb") as content:
            content.seek(offset)
            return content.read(size)

    def _found_directory(self, directory: Directory) -> Found:
        return Found(directory.path, _file(directory.real, os.lstat(directory.real)), directory)

    def _found(self, path: str, real: str, status: os.stat_result) -> Found:
        return Found(path, _file(real, status), real)

    # --- writing

    def make_directories(self, path: str, owner: Owner = ROOT, *, top: Directory | None = None) -> Directory:
        """The directory at a path, made with its parents (mode 755) where it is missing.

        Raises NotADirectoryError where something else is in the way.
        """
        while True:
            place = self.resolve(path, top=top)
            if place.directory is not None:
                return place.directory
            if not place.missing:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            self._make_directory(place.parent, place.missing[0], 0o755, owner)

    def put(
        self,
        parent: Directory,
        name: str,
        file: File,
        owner: Owner,
        write: Callable[[int], None] | None = None,
    ) -> str:
        """Put a file into a directory in place of what has its name; the answer is its real path.

        `write` fills a regular file's descriptor. Raises OSError, among them PermissionError for a device
        that may not be made here.
        """
        directory = self._in_upper(parent)
        path = f"{directory}/{name}"
        try:
            self._make(path, file, owner, write)
        except FileExistsError:
            self._remove(parent, name, path)
            self._make(path, file, owner, write)
        parent.forget(name)
        return path

    def put_directory(self, parent: Directory, name: str, file: File, owner: Owner) -> Directory:
        """Like `put`; a directory that is there stays, with a new owner, mode and time."""
        directory = parent.child(name)
        if directory is None:
            directory = self._make_directory(parent, name, file.mode, owner)
        path = self._in_upper(directory)
        self._dress(path, file, owner)
        self._directory_times[path] = file.mtime
        return directory

    def link(self, parent: Directory, name: str, real: str) -> None:
        """Another name for a file of the upper layer."""
        path = f"{self._in_upper(parent)}/{name}"
        try:
            os.link(real, path, follow_symlinks=False)
        except FileExistsError:
            if os.path.samefile(real, path):
                return
            self._remove(parent, name, path)
            os.link(real, path, follow_symlinks=False)
        parent.forget(name)

    def hide(self, parent: Directory, name: str) -> None:
        """Take away what the layers below have at a name that the upper one has not."""
        directory = os.open(self._in_upper(parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.overlay.make_whiteout(directory, os.fsencode(name))
        finally:
            os.close(directory)
        parent.forget(name)

    def change_owner(self, directory: Directory, owner: Owner, mode: int | None = None) -> None:
        path = self._in_upper(directory)
        self._own(path, owner)
        if mode is not None:
            os.chmod(path, mode)

    def finish(self) -> None:
        """Set the times of directories, which writing into them has changed."""
        for path, time in reversed(self._directory_times.items()):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                _set_time(path, time)
        self._directory_times.clear()

    def _make_directory(self, parent: Directory, name: str, mode: int, owner: Owner) -> Directory:
        path = f"{self._in_upper(parent)}/{name}"
        replaces = parent.lookup(name) is not None
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            os.unlink(path)
            os.mkdir(path, 0o700)
        if replaces:
            self._mark_opaque(path)
        self._own(path, owner)
        os.chmod(path, mode)
        return parent.adopt(name)

    def _mark_opaque(self, path: str) -> None:
        """As overlayfs does with a directory that takes the place of something else."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.overlay.make_opaque(descriptor)
        finally:
            os.close(descriptor)

    def _in_upper(self, directory: Directory) -> str:
        """The directory in the upper layer, copied up with its parents if it is only below."""
        if directory.upper is not None:
            return directory.upper
        chain = [directory]
        while (parent := chain[-1].parent) is not None and parent.upper is None:
            chain.append(parent)
        for missing in reversed(chain):
            above = missing.parent
            if above is None or above.upper is None:
                raise TypeError("this file system has no upper layer to write to")
            path = f"{above.upper}/{missing.name}"
            status = os.lstat(missing.real)
            os.mkdir(path, 0o700)
            self._dress(path, _file(missing.real, status), (status.st_uid, status.st_gid))
            missing.upper = path
        return directory.real

    def _make(self, path: str, file: File, owner: Owner, write: Callable[[int], None] | None) -> None:
        if file.type == REGULAR:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if write is not None:
                    write(descriptor)
                self._dress(descriptor, file, owner)
                _set_time(descriptor, file.mtime)
            finally:
                os.close(descriptor)
            return
        if file.type == SYMLINK:
            os.symlink(file.linkname, path)
        elif file.type == FIFO:
            os.mkfifo(path, 0o600)
        else:
            os.mknod(path, _DEVICES[file.type] | 0o600, os.makedev(file.major, file.minor))
        self._own(path, owner)
        if file.type != SYMLINK:
            os.chmod(path, file.mode)
        _set_time(path, file.mtime)

    def _remove(self, parent: Directory, name: str, path: str) -> None:
        parent.forget(name)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            trees.remove(os.fsencode(path))
            self._directory_times = {
                known: time
                for known, time in self._directory_times.items()
                if known != path and not known.startswith(path + "/")
            }
        else:
            os.unlink(path)

    def _dress(self, target: int | str, file: File, owner: Owner) -> None:
        """Owner, attributes, mode, in this order: a change of owner clears set-id bits and capabilities."""
        self._own(target, owner)
        for name, value in file.xattrs.items():
            try:
                os.setxattr(target, name, value)
            except OSError as error:
                # As Docker: no attributes here, or no right to set them, is no reason to fail.
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
        os.chmod(target, file.mode)

    def _own(self, target: int | str, owner: Owner) -> None:
        if not self._keep_ownership:
            return
        try:
            if isinstance(target, int):
                os.fchown(target, *owner)
            else:
                os.lchown(target, *owner)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise System(
                f"owner {owner[0]}:{owner[1]} does not exist here",
                hint="more user ids are needed: see /etc/subuid and /etc/subgid",
            ) from error


def _parts(path: str) -> list[str]:
    """A path's components, last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _file(real: str, status: os.stat_result) -> File:
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    return File(
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == REGULAR else 0,
        mtime=status.st_mtime_ns,
        linkname=os.readlink(real) if kind == SYMLINK else "",
        major=os.major(status.st_rdev) if kind in _DEVICES else 0,
        minor=os.minor(status.st_rdev) if kind in _DEVICES else 0,
        xattrs={name: value for name, value in trees.attributes(os.fsencode(real)).items() if is_kept(name)}
        if kind in (REGULAR, DIRECTORY)
        else {},
        identity=(status.st_dev, status.st_ino) if kind == REGULAR and status.st_nlink > 1 else None,
    )


def _set_time(target: int | str, time: int) -> None:
    if isinstance(target, int):
        os.utime(target, ns=(time, time))
    else:
        os.utime(target, ns=(time, time), follow_symlinks=False)


def rootfs_of(store: Store, image: Image | None = None, upper: Path | None = None) -> Rootfs:
    """The files of a store's image, of none for scratch, with `upper` to write to. Raises NotFound."""
    layers = store.layers.directories(image.chain_id if image else None)
    return Rootfs(layers, upper=upper, overlay=store.overlay, keep_ownership=store.keep_ownership)
