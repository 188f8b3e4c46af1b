"""Tar archives to directories, whatever they hold; `write_tar`, its counterpart, is in `tarwriter`.

Used for layers, for ADD of archives and for `docker cp` into a container, whose processes may rename
directories while the archive arrives: a name is looked up with openat2(RESOLVE_IN_ROOT), and then only used
as a single component below the directory that was opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from labkernel.engine.errors import Conflict, EngineError, InvalidParameter, System
from labkernel.engine.image import whiteouts
from labkernel.engine.image.tarformat import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARD_LINK,
    REGULAR,
    SYMLINK,
    Entry,
    Reader,
    TarReader,
)
from labkernel.engine.image.whiteouts import Overlay
from labkernel.engine.linux import trees
from labkernel.engine.linux.paths import RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2

Limit = Callable[[int, int], None]

_CHUNK = 1 << 20
_OPEN_DIRECTORIES = 64
# Docker's bounds for times: what is outside them becomes 0 (utimensat's range differs by file system).
_LATEST_TIME = (1 << 34) * 1_000_000_000
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = {CHARACTER: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK}


class Extracted(NamedTuple):
    """What an archive held: bytes of content (a symbolic link's is its target), entries, and the names of
    devices that could not be made."""

    size: int
    entries: int
    skipped: list[str]


def extract_tar(
    tar: Reader,
    root: int | Path,
    destination: str = "/",
    *,
    overlay: Overlay | None = None,
    lower: Sequence[Path] = (),
    keep_ownership: bool = True,
    no_overwrite_dir_non_dir: bool = False,
    limit: Limit | None = None,
) -> Extracted:
    """Unpack a plain tar stream into the directory `destination` inside `root`, and nowhere outside `root`.

    `root` is a directory or a descriptor of one; `/proc/PID/root` works. Absolute names count from
    `destination`, absolute symbolic links from `root`. With `overlay`, the OCI whiteouts in the archive
    become overlayfs's; `lower` (top first) are the directories that the result will be stacked on: a
    directory that the archive leaves out takes owner and mode from there. Without `keep_ownership` all
    files become the caller's. With `no_overwrite_dir_non_dir` a directory is never replaced by a file, nor
    a file by a directory (`docker cp`). `limit(bytes, entries)` is called with what has been met so far,
    before it is written; it raises to stop.

    Devices are made where the caller may (CAP_MKNOD), and skipped and reported where not. A later entry
    replaces an earlier one of the same name. Raises InvalidParameter for a broken or hostile archive,
    NotFound-like OSErrors of the file system as System; what was unpacked before the error stays: layers
    are unpacked into a temporary place.
    """
    with _opened(root) as root_fd:
        extractor = _Extractor(
            TarReader(tar),
            root_fd,
            os.fsencode(destination),
            overlay,
            lower,
            keep_ownership,
            no_overwrite_dir_non_dir,
        )
        try:
            return extractor.run(limit)
        finally:
            extractor.close()


@contextmanager
def _opened(root: int | Path) -> Iterator[int]:
    if isinstance(root, int):
        yield root
        return
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _Extractor:
    def __init__(
        self,
        reader: TarReader,
        root: int,
        destination: bytes,
        overlay: Overlay | None,
        lower: Sequence[Path],
        keep_ownership: bool,
        no_overwrite_dir_non_dir: bool,
    ) -> None:
        self.reader = reader
        self.root = root
        self.destination = destination.strip(b"/")
        self.overlay = overlay
        self.lower = lower
        self.keep_ownership = keep_ownership
        self.no_overwrite_dir_non_dir = no_overwrite_dir_non_dir
        self.skipped: list[str] = []
        self.directories: OrderedDict[bytes, int] = OrderedDict()
        # Times of directories are set last, since every file made in one changes its time.
        self.directory_times: dict[bytes, int] = {}

    def run(self, limit: Limit | None) -> Extracted:
        size = entries = 0
        os.close(self._lookup(b""))  # Raises FileNotFoundError for a missing destination.
        for entry in self.reader:
            size += len(entry.linkname) if entry.type == SYMLINK else entry.size
            entries += 1
            if limit is not None:
                limit(size, entries)
            try:
                self._extract(entry)
            except (OSError, OverflowError) as error:
                raise self._failure(entry, error) from error
        for name, time in reversed(self.directory_times.items()):
            parent, base = _split(name)
            try:
                os.utime(base, ns=(time, time), dir_fd=self._directory(parent), follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue  # Replaced by a later entry.
        return Extracted(size, entries, self.skipped)

    def close(self) -> None:
        while self.directories:
            os.close(self.directories.popitem()[1])

    def _failure(self, entry: Entry, error: OSError | OverflowError) -> EngineError:
        if isinstance(error, OverflowError):
            return self.reader.error("a number too large for this system")
        why = (error.strerror or "").lower()
        if error.errno in (
            errno.ENAMETOOLONG,
            errno.ELOOP,
            errno.ENOENT,
            errno.ENOTDIR,
            errno.EISDIR,
            errno.EXDEV,
        ):
            return self.reader.error(why)
        name = entry.name.decode(errors="backslashreplace")[:200]
        if error.errno == errno.EINVAL and (entry.uid or entry.gid):
            return System(
                f"failed to unpack {name!r}: owner {entry.uid}:{entry.gid} does not exist here: {why}",
                hint="more user ids are needed: see /etc/subuid and /etc/subgid",
            )
        return System(f"failed to unpack {name!r}: {why}")

    # --- names

    def _clean(self, name: bytes, what: str) -> bytes:
        """A name without `.`, `..` and slashes to spare. Raises InvalidParameter if it leads outside."""
        parts: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                if not parts:
                    raise self.reader.error(f"{what} leads outside of the target directory")
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/".join(parts)

    def _lookup(self, name: bytes) -> int:
        path = b"/".join(part for part in (self.destination, name) if part) or b"."
        while True:
            try:
                return openat2(self.root, path, os.O_RDONLY | os.O_DIRECTORY, resolve=RESOLVE_IN_ROOT)
            except BlockingIOError:  # Something was renamed during the look-up: openat2(2), EAGAIN.
                continue

    def _directory(self, name: bytes) -> int:
        """A descriptor of a directory, borrowed: the cache owns it. Missing parents are made."""
        found = self.directories.get(name)
        if found is not None:
            self.directories.move_to_end(name)
            return found
        try:
            found = self._lookup(name)
        except (FileNotFoundError, NotADirectoryError):
            if not name:
                raise
            self._make_parents(name)
            found = self._lookup(name)
        self.directories[name] = found
        if len(self.directories) > _OPEN_DIRECTORIES:
            os.close(self.directories.popitem(last=False)[1])
        return found

    def _make_parents(self, name: bytes) -> None:
        """Make those of a directory and its parents that are missing. Not recursive: a name may be very
        deep."""
        parts = name.split(b"/")
        for depth in range(1, len(parts) + 1):
            ancestor = b"/".join(parts[:depth])
            try:
                os.close(self._lookup(ancestor))
            except FileNotFoundError:
                self._make_parent(ancestor)
            except NotADirectoryError:
                if not self._replace_whiteout(ancestor):
                    raise

    def _make_parent(self, name: bytes) -> None:
        """A directory that the archive leaves out: as in the layers below, where it is there. Otherwise its
        time is that of the entry that needs it, so that the same archive always gives the same layer."""
        status = _find_directory(self.lower, name)
        parent, base = _split(name)
        directory = self._lookup(parent)
        try:
            try:
                os.mkdir(base, 0o700, dir_fd=directory)
            except FileExistsError:
                link = name.decode(errors="backslashreplace")
                raise self.reader.error(f"the link {link!r} on its way leads nowhere,") from None
            descriptor = os.open(base, _DIRECTORY_FLAGS, dir_fd=directory)
            try:
                if self.keep_ownership and status is not None:
                    os.chown(descriptor, status.st_uid, status.st_gid)
                os.chmod(descriptor, stat.S_IMODE(status.st_mode) if status is not None else 0o755)
            finally:
                os.close(descriptor)
        finally:
            os.close(directory)
        entry = self.reader.entry
        time = status.st_mtime_ns if status is not None else entry.mtime if entry is not None else 0
        self.directory_times[name] = _bounded(time)

    def _replace_whiteout(self, name: bytes) -> bool:
        """`.wh.d` and then `d/file` without `d/`: the directory is new, and hides the one below."""
        if self.overlay is None:
            return False
        parent, base = _split(name)
        directory = self._lookup(parent)
        try:
            if not whiteouts.is_whiteout(os.stat(base, dir_fd=directory, follow_symlinks=False)):
                return False
            os.unlink(base, dir_fd=directory)
            self._make_parent(name)
            self._mark_opaque(directory, base)
        finally:
            os.close(directory)
        return True

    def _mark_opaque(self, directory: int, base: bytes) -> None:
        assert self.overlay is not None
        descriptor = os.open(
            base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
        )
        try:
            self.overlay.make_opaque(descriptor)
        finally:
            os.close(descriptor)

    # --- entries

    def _extract(self, entry: Entry) -> None:
        name = self._clean(entry.name, "the name")
        if not name:
            if entry.type != DIRECTORY:
                raise self.reader.error("no name")
            return  # The target itself: it is there, and keeps its owner and mode.
        parent, base = _split(name)
        directory = self._directory(parent)
        if self.overlay is not None and base.startswith(whiteouts.PREFIX):
            self._whiteout(directory, base)
            return
        try:
            self._make(entry, name, directory, base)
        except FileExistsError:
            self._make_room(entry, name, directory, base)

    def _make(self, entry: Entry, name: bytes, directory: int, base: bytes) -> None:
        """Make what the entry says; raises FileExistsError where the name is taken."""
        if entry.type == REGULAR:
            self._regular(entry, directory, base)
        elif entry.type == DIRECTORY:
            os.mkdir(base, 0o700, dir_fd=directory)
            self._dress_directory(entry, name, directory, base)
        elif entry.type == HARD_LINK:
            self._hard_link(entry, directory, base)
        elif entry.type == SYMLINK:
            if not entry.linkname:
                raise self.reader.error("a symbolic link to nowhere")
            os.symlink(entry.linkname, base, dir_fd=directory)
            self._dress_name(entry, directory, base)
        elif entry.type == FIFO:
            os.mkfifo(base, 0o600, dir_fd=directory)
            self._dress_name(entry, directory, base)
        else:
            try:
                device = os.makedev(entry.major, entry.minor)
                os.mknod(base, _DEVICES[entry.type] | 0o600, device, dir_fd=directory)
            except PermissionError:
                self.skipped.append(os.fsdecode(name))
                return
            self._dress_name(entry, directory, base)

    def _make_room(self, entry: Entry, name: bytes, directory: int, base: bytes) -> None:
        """The name is taken: a directory stays one, anything else is replaced."""
        status = os.stat(base, dir_fd=directory, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and entry.type == DIRECTORY:
            self._dress_directory(entry, name, directory, base)
            return
        if self.no_overwrite_dir_non_dir and is_directory != (entry.type == DIRECTORY):
            shown = "/" + os.fsdecode(b"/".join(part for part in (self.destination, name) if part))
            kinds = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
            raise InvalidParameter(f'cannot overwrite {kinds[0]} "{shown}" with {kinds[1]} "{shown}"')
        if entry.type == HARD_LINK and self._clean(entry.linkname, "the link's target") == name:
            return  # A link to itself: replacing it would lose the file.
        if is_directory:
            trees.remove(base, directory=directory)
            self.close()  # Descriptors of what was just removed may be among them.
            directory = self._directory(_split(name)[0])
        else:
            os.unlink(base, dir_fd=directory)
            if stat.S_ISLNK(status.st_mode):
                self.close()  # Names that led through the link lead elsewhere now.
                directory = self._directory(_split(name)[0])
        try:
            self._make(entry, name, directory, base)
        except FileExistsError as error:
            raise Conflict(f"{os.fsdecode(name)!r} is being changed by another process") from error
        if whiteouts.is_whiteout(status) and entry.type == DIRECTORY and self.overlay is not None:
            self._mark_opaque(directory, base)

    def _whiteout(self, directory: int, base: bytes) -> None:
        assert self.overlay is not None
        if base == whiteouts.OPAQUE:
            self.overlay.make_opaque(directory)
            return
        if base.startswith(whiteouts.RESERVED_PREFIX):
            return
        hidden = base.removeprefix(whiteouts.PREFIX)
        if hidden in (b"", b".", b".."):
            raise self.reader.error("a whiteout of nothing")
        try:
            self.overlay.make_whiteout(directory, hidden)
        except FileExistsError:
            # A whiteout hides what lower layers have; what this layer has itself stays (image-spec,
            # layer.md).
            if stat.S_ISDIR(os.stat(hidden, dir_fd=directory, follow_symlinks=False).st_mode):
                self._mark_opaque(directory, hidden)

    def _regular(self, entry: Entry, directory: int, base: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(base, flags, 0o600, dir_fd=directory)
        try:
            left = entry.size
            while left:
                if hole := self.reader.skip_hole():
                    left -= hole
                    os.ftruncate(descriptor, entry.size - left)
                    os.lseek(descriptor, hole, os.SEEK_CUR)
                    continue
                data = memoryview(self.reader.read(min(left, _CHUNK)))
                left -= len(data)
                while data:
                    data = data[os.write(descriptor, data) :]
            self._dress(entry, descriptor)
            time = _bounded(entry.mtime)
            os.utime(descriptor, ns=(time, time))
        except BaseException:
            # Half a file is of use to nobody, and on a full disk it keeps others from ending well.
            with suppress(OSError):
                os.unlink(base, dir_fd=directory)
            raise
        finally:
            os.close(descriptor)

    def _hard_link(self, entry: Entry, directory: int, base: bytes) -> None:
        target = self._clean(entry.linkname, "the link's target")
        if not target:
            raise self.reader.error("a hard link to nowhere")
        target_parent, target_base = _split(target)
        # Looked up without making parents, and apart from the cache, which `directory` is borrowed from.
        source = self._lookup(target_parent)
        try:
            if stat.S_ISDIR(os.stat(target_base, dir_fd=source, follow_symlinks=False).st_mode):
                raise self.reader.error("a hard link to a directory")
            os.link(target_base, base, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            raise self.reader.error(
                f"a hard link to {target.decode(errors='backslashreplace')!r}, which is not there,"
            ) from None
        finally:
            os.close(source)

    def _dress(self, entry: Entry, descriptor: int) -> None:
        """Owner, attributes, mode, in this order: changing the owner clears set-id bits and capabilities."""
        if self.keep_ownership:
            os.chown(descriptor, entry.uid, entry.gid)
        _set_attributes(descriptor, entry)
        os.chmod(descriptor, entry.mode)

    def _dress_directory(self, entry: Entry, name: bytes, directory: int, base: bytes) -> None:
        descriptor = os.open(
            base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
        )
        try:
            self._dress(entry, descriptor)
        finally:
            os.close(descriptor)
        self.directory_times.pop(name, None)
        self.directory_times[name] = _bounded(entry.mtime)

    def _dress_name(self, entry: Entry, directory: int, base: bytes) -> None:
        """Links, fifos and devices: never opened, so all goes by name."""
        if self.keep_ownership:
            os.chown(base, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        if entry.xattrs:
            _set_attributes(b"/proc/self/fd/%d/%b" % (directory, base), entry)
        if entry.type != SYMLINK:
            # fchmodat2(2) is too new to rely on, and plain fchmodat follows links: go through a descriptor.
            descriptor = os.open(base, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                os.chmod(f"/proc/self/fd/{descriptor}", entry.mode)
            finally:
                os.close(descriptor)
        time = _bounded(entry.mtime)
        os.utime(base, ns=(time, time), dir_fd=directory, follow_symlinks=False)


def _find_directory(layers: Sequence[Path], name: bytes) -> os.stat_result | None:
    """The uppermost of the layers' directories of that name; None where that name is no directory, or
    nowhere."""
    for layer in layers:
        with _opened(layer) as root:
            try:
                resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS
                descriptor = openat2(root, name, os.O_PATH | os.O_NOFOLLOW, resolve=resolve)
            except FileNotFoundError:
                continue
            except OSError:
                return None
            try:
                status = os.fstat(descriptor)
            finally:
                os.close(descriptor)
            return status if stat.S_ISDIR(status.st_mode) else None
    return None


def _split(name: bytes) -> tuple[bytes, bytes]:
    parent, _, base = name.rpartition(b"/")
    return parent, base


def _bounded(time: int) -> int:
    return time if 0 <= time < _LATEST_TIME else 0


def _set_attributes(target: int | bytes, entry: Entry) -> None:
    for attribute, value in entry.xattrs.items():
        if not whiteouts.is_kept(attribute):
            continue
        try:
            if isinstance(target, int):
                os.setxattr(target, attribute, value)
            else:
                os.setxattr(target, attribute, value, follow_symlinks=False)
        except OSError as error:
            # As Docker: a file system without attributes, or no right to set them, is no reason to fail.
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
