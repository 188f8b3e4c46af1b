"""Writing into a root file system under construction, never outside it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from labkernel.engine.errors import System
from labkernel.engine.linux import trees

# Every one is a link into /usr since Debian 12; lib64 and the like are there on some architectures only.
_MERGED = re.compile(r"s?bin|lib(32|64|x32|o32)?")


class Rootfs:
    """A directory that is to become `/`: paths are looked up as a process with that root would, `..`
    included.

    Only for a tree nobody else writes to meanwhile: lookups are remembered and not atomic.
    With `merge_usr`, /bin, /sbin and the /lib directories are made links into /usr as they are met.
    """

    def __init__(self, root: Path, *, merge_usr: bool = False) -> None:
        self.root = root
        self._merge_usr = merge_usr
        self._known: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """The real path of `name`; its last component need not exist and is not followed."""
        parts = PurePosixPath("/", name).parts[1:]
        if not parts:
            return self.root
        if parts[-1] == "..":
            raise System(f"{name} names no file")
        return Path(self._directory("/".join(parts[:-1])), parts[-1])

    def directory(self, name: str) -> Path:
        """The real path of a directory, all its symbolic links followed inside the root."""
        return Path(self._directory("/".join(PurePosixPath("/", name).parts[1:])))

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Makes a file, and the directories above it."""
        self.directory(str(PurePosixPath("/", name).parent)).mkdir(parents=True, exist_ok=True)
        path = self.path(name)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def extract(self, archive: tarfile.TarFile, wanted: Callable[[str], bool] = lambda name: True) -> None:
        """Unpacks a tar archive: content, links and modes, but no owners, set-id bits or device nodes.

        Directories of another owner than root are not made: dpkg, which unpacks everything again, leaves the
        owner and mode of a directory that is there as they are.
        """
        for member in archive:
            name = "/".join(part for part in PurePosixPath("/", member.name).parts[1:])
            if not name or not wanted(name):
                continue
            if self._merge_usr:
                self._link_into_usr(name.partition("/")[0])
            if member.isdir():
                if (member.uid, member.gid) == (0, 0):
                    directory = self.directory(name)
                    directory.mkdir(parents=True, exist_ok=True)
                    directory.chmod(member.mode & 0o1777)
                continue
            path = self.path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.is_file():
                path.unlink()
            if member.issym():
                path.symlink_to(member.linkname)
                self._known.clear()
            elif member.islnk():
                os.link(self.path(member.linkname), path, follow_symlinks=False)
            elif member.isreg():
                content = archive.extractfile(member)
                assert content is not None  # tarfile's promise for a regular file
                with open(
                    os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, member.mode & 0o777), "wb"
                ) as out:
                    shutil.copyfileobj(content, out, 1 << 20)
                    os.fchmod(out.fileno(), member.mode & 0o777)

    def empty(self, name: str) -> None:
        """Removes all that is in a directory, if it is there."""
        directory = self.directory(name)
        if not directory.is_dir():
            return
        for entry in list(os.scandir(directory)):
            if entry.is_dir(follow_symlinks=False):
                trees.remove(Path(entry.path))
            else:
                os.unlink(entry.path)

    def remove(self, pattern: str) -> None:
        """Removes the files that a shell pattern names, if there are any."""
        for path in self.root.glob(pattern):
            path.unlink()

    def clamp_times(self, latest: int) -> None:
        """Sets back to `latest` (seconds) what is newer: what a making leaves must not depend on when it
        was.
        """
        for directory, subdirectories, files in os.walk(self.root, topdown=False):
            for path in [*(os.path.join(directory, name) for name in [*subdirectories, *files]), directory]:
                if os.lstat(path).st_mtime > latest:
                    os.utime(path, (latest, latest), follow_symlinks=False)

    def size(self) -> int:
        """Bytes of file content, hard links once."""
        seen = set()
        total = 0
        for directory, _, files in os.walk(self.root):
            for name in files:
                status = os.lstat(os.path.join(directory, name))
                if stat.S_ISREG(status.st_mode) and status.st_ino not in seen:
                    seen.add(status.st_ino)
                    total += status.st_size
        return total

    def _link_into_usr(self, name: str) -> None:
        link = self.root / name
        if _MERGED.fullmatch(name) and not os.path.lexists(link):
            (self.root / "usr" / name).mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"usr/{name}")
            self._known.clear()

    def _directory(self, name: str) -> str:
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._walk(name)
        return known

    def _walk(self, name: str) -> str:
        pending = [part for part in name.split("/") if part]
        done: list[str] = []
        links = 0
        while pending:
            part = pending.pop(0)
            if part == "..":
                del done[-1:]
                continue
            path = os.path.join(self.root, *done, part)
            if not os.path.islink(path):
                done.append(part)
                continue
            links += 1
            if links > 40:  # as the kernel: ELOOP
                raise System(f"too many symbolic links in {name}")
            target = os.readlink(path)
            if target.startswith("/"):
                done = []
            pending = [one for one in target.split("/") if one not in ("", ".")] + pending
        return os.path.join(self.root, *done)
