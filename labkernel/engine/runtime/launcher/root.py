"""The container's root file system: its layers, what is mounted over them, and the move into it.

The image is hostile until proven otherwise: any of its directories may be a symbolic link to somewhere else.
So no path of the container is used as a string while the host's files are still in reach; each is opened
below the root by openat2(RESOLVE_IN_ROOT), and mounts are made on the descriptor.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from labkernel.engine.linux import mounts as m
from labkernel.engine.linux import namespaces
from labkernel.engine.linux.paths import (
    NO_SYMLINKS,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    open_source,
    openat2,
)
from labkernel.engine.runtime.launcher.story import Refused

TYPE_CHECKING = False  # typing itself is not loaded: each page of memory costs every fork
if TYPE_CHECKING:
    from typing import Any

#: mount(2)'s flag for each option that is not passed to the file system itself.
FLAGS = {
    "ro": m.MS_RDONLY,
    "nosuid": m.MS_NOSUID,
    "nodev": m.MS_NODEV,
    "noexec": m.MS_NOEXEC,
    "noatime": m.MS_NOATIME,
    "nodiratime": m.MS_NODIRATIME,
    "relatime": m.MS_RELATIME,
    "strictatime": m.MS_STRICTATIME,
}
#: mount_setattr(2)'s attribute for those that a bind mount can have.
ATTRIBUTES = {
    "ro": m.MOUNT_ATTR_RDONLY,
    "nosuid": m.MOUNT_ATTR_NOSUID,
    "nodev": m.MOUNT_ATTR_NODEV,
    "noexec": m.MOUNT_ATTR_NOEXEC,
}
#: Options that are the default, or are about binding and propagation: no file system is told of them.
SILENT = {"rw", "suid", "dev", "exec", "bind", "rbind", "newinstance"}
PROPAGATION = {"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}

#: (name, major, minor) of the character devices every container has.
DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
)
#: mount(2) copies one page of options, less its final NUL.
LARGEST_DATA = 4095


class Root:
    """The root being put together; `fd` is its top directory once it is mounted."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def enter(self) -> None:
        """Open it, now that it is mounted, and learn its path as the kernel tells it, free of links."""
        self.fd = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.path = os.readlink(f"/proc/self/fd/{self.fd}")

    def open(self, path: str, flags: int = os.O_PATH, *, resolve: int = 0) -> int:
        """A descriptor of a path of the container; links lead where they would lead inside."""
        return openat2(self.fd, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve)

    def make_mount_point(self, path: str, *, directory: bool, resolve: int = 0) -> int:
        """A descriptor of the place to mount on, made with its parents where the image lacks it."""
        try:
            return self.open(path, resolve=resolve)
        except FileNotFoundError:
            pass
        parent, name = posixpath.split(posixpath.normpath("/" + path))
        if not name:
            return self.open("/")
        above = self.make_mount_point(parent, directory=True, resolve=resolve)
        try:
            if directory:
                os.mkdir(name, 0o755, dir_fd=above)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o644, dir_fd=above))
        finally:
            os.close(above)
        return self.open(path, resolve=resolve)


def separate_mounts(keep_slave: bool) -> None:
    """Nothing mounted from here on is seen outside; with `keep_slave` what is mounted outside is still seen
    here.
    """
    m.mount("", "/", "", m.MS_REC | (m.MS_SLAVE if keep_slave else m.MS_PRIVATE))


def mount_layers(root: Root, options: list[str], *, user_namespace: bool) -> None:
    """Mount the overlay that is the root. Its directories are given relative to the one they share, to be
    short.
    """
    values = dict(option.partition("=")[::2] for option in options)
    lower = _split_directories(values.pop("lowerdir"))
    directories = [*lower, values["upperdir"], values["workdir"]]
    top = os.path.commonpath(directories)
    # A common path that ends in an escape would be cut in two: leave such paths alone.
    if "\\" not in top and top != "/":
        os.chdir(top)
        lower = [os.path.relpath(path, top) for path in lower]
        values["upperdir"] = os.path.relpath(values["upperdir"], top)
        values["workdir"] = os.path.relpath(values["workdir"], top)
    if user_namespace:
        values["userxattr"] = ""
    rest = ",".join(f"{key}={value}" if value else key for key, value in values.items())
    data = f"lowerdir={':'.join(lower)},{rest}"
    if len(os.fsencode(data)) <= LARGEST_DATA:
        m.mount("overlay", root.path, "overlay", 0, data)
    else:
        _mount_many_layers(root, lower, values)
    os.chdir("/")
    root.enter()


def _split_directories(value: str) -> list[str]:
    """The directories of lowerdir, still escaped: a colon parts them unless a backslash takes its meaning."""
    found = [""]
    for part in value.split(":"):
        if found[-1].endswith("\\"):
            found[-1] += ":" + part
        elif found == [""]:
            found = [part]
        else:
            found.append(part)
    return found


def _unescape(value: str) -> str:
    return value.replace("\\:", ":").replace("\\,", ",").replace("\\\\", "\\")


def _mount_many_layers(root: Root, lower: list[str], values: dict[str, str]) -> None:
    """More layers than mount(2) has room to name: one fsconfig(2) for each (Linux 6.7)."""
    context = m.fsopen("overlay")
    for directory in lower:
        m.fsconfig_set(context, "lowerdir+", _unescape(directory))
    for key, value in values.items():
        m.fsconfig_set(context, key, _unescape(value) or None)
    m.fsconfig_create(context)
    mounted = m.fsmount(context)
    m.move_mount(mounted, "", m.AT_FDCWD, root.path, m.MOVE_MOUNT_F_EMPTY_PATH)
    os.close(mounted)
    os.close(context)


def mount_directory(root: Root) -> None:
    """Make a plain directory the root: a mount of itself, since only a mount can be pivoted to."""
    m.mount(root.path, root.path, "", m.MS_BIND | m.MS_REC)
    m.mount("", root.path, "", m.MS_PRIVATE | m.MS_REC)
    root.enter()


def mount_on(root: Root, mount: dict[str, Any], cgroup: dict[str, Any]) -> None:
    """One entry of the specification's `mounts`."""
    kind, destination, options = mount["type"], mount["destination"], mount["options"]
    if kind == "bind":
        bind(root, mount["source"], destination, options)
        return
    # A link in the place of /proc or /sys would send these somewhere that the masks below do not cover.
    resolve = RESOLVE_NO_SYMLINKS if kind in ("proc", "sysfs") else 0
    try:
        target = root.make_mount_point(destination, directory=True, resolve=resolve)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Refused(
                "other", f"{destination} must be a directory of the image, not a symbolic link"
            ) from None
        raise
    _refuse_inside_proc(root, target, destination)
    try:
        if kind == "cgroup":
            mount_cgroup(root, target, options, cgroup)
        else:
            _mount_new(kind, mount["source"], target, options)
    finally:
        os.close(target)


def _mount_new(kind: str, source: str, target: int, options: list[str]) -> None:
    flags, data = 0, []
    for option in options:
        if option in FLAGS:
            flags |= FLAGS[option]
        elif option not in SILENT and option not in PROPAGATION:
            data.append(option)
    place = f"/proc/self/fd/{target}"
    try:
        m.mount(source, place, kind, flags, ",".join(data))
    except PermissionError:
        # These show a namespace, and only its owner may mount them. In a namespace of the host's an engine
        # without root shows the host's own sysfs, to read, and processes, and no message queues.
        if kind == "mqueue":
            return
        is_hosts = kind == "sysfs" or (kind == "proc" and os.readlink("/proc/self") == str(os.getpid()))
        if not is_hosts:
            raise
        place, attributes = ("/sys", m.MOUNT_ATTR_RDONLY) if kind == "sysfs" else ("/proc", 0)
        tree = m.open_tree(m.AT_FDCWD, place, m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC | m.AT_RECURSIVE)
        _attach(tree, target, attributes)
    except OSError as error:
        # devpts wants gid 5, "tty"; where only one id is mapped there is no such group.
        if kind != "devpts" or error.errno != errno.EINVAL:
            raise
        m.mount(source, place, kind, flags, ",".join(part for part in data if not part.startswith("gid=")))


def bind(root: Root, source: str, destination: str, options: list[str]) -> None:
    """Show a file or directory of the host in the container, with all that is mounted below it."""
    recursive = m.AT_RECURSIVE if "bind" not in options else 0
    flags = m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC | recursive
    tree = _open_source(source, flags, follow=NO_SYMLINKS not in options)
    directory = stat.S_ISDIR(os.fstat(tree).st_mode)
    target = root.make_mount_point(destination, directory=directory)
    _refuse_inside_proc(root, target, destination)
    attributes = 0
    for option in options:
        attributes |= ATTRIBUTES.get(option, 0)
    slave = bool({"slave", "rslave", "shared", "rshared"} & set(options))
    propagation = m.MS_SLAVE if slave else m.MS_PRIVATE
    m.mount_setattr(tree, "", m.AT_EMPTY_PATH | m.AT_RECURSIVE, set=attributes, propagation=propagation)
    _attach(tree, target)
    os.close(target)


def _open_source(source: str, flags: int, *, follow: bool) -> int:
    """The mount to bind. What another container has mounted can only be copied in its own mount namespace."""
    process, other_root, inside = source.partition("/root/")
    try:
        if not (other_root and process.startswith("/proc/") and process[6:].isdecimal()):
            place = open_source(source, follow=follow)
            try:
                return m.open_tree(place, "", flags | m.AT_EMPTY_PATH)
            finally:
                os.close(place)
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        other = os.open(process + "/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        namespaces.setns(other, namespaces.CLONE_NEWNS)
        try:
            return m.open_tree(m.AT_FDCWD, "/" + inside, flags)
        finally:
            namespaces.setns(own, namespaces.CLONE_NEWNS)
            os.close(own)
            os.close(other)
    except FileNotFoundError:
        raise Refused(
            "other", f'invalid mount config for type "bind": bind source path does not exist: {source}'
        ) from None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Refused("other", f"a symbolic link has been put on the way to {source}") from None


def _attach(tree: int, target: int, attributes: int = 0) -> None:
    """Mount a copied tree on an open place; closes the tree."""
    if attributes:
        m.mount_setattr(tree, "", m.AT_EMPTY_PATH | m.AT_RECURSIVE, set=attributes)
    m.move_mount(tree, "", target, "", m.MOVE_MOUNT_F_EMPTY_PATH | m.MOVE_MOUNT_T_EMPTY_PATH)
    os.close(tree)


def _refuse_inside_proc(root: Root, target: int, destination: str) -> None:
    """Whoever mounts below /proc can undo its masks, and fool security modules (CVE-2019-19921)."""
    where = os.readlink(f"/proc/self/fd/{target}")
    if where.startswith(root.path + "/proc/"):
        raise Refused("other", f'"{destination}" cannot be mounted because it is inside /proc')


def mount_cgroup(root: Root, target: int, options: list[str], plan: dict[str, Any]) -> None:
    """The container's view of its cgroups: v2 as such; of v1 one directory for each controller it is in."""
    flags = 0
    for option in options:
        flags |= FLAGS.get(option, 0)
    place = f"/proc/self/fd/{target}"
    read_only = m.MOUNT_ATTR_RDONLY if flags & m.MS_RDONLY else 0
    if plan["into"]:
        try:
            m.mount("cgroup", place, "cgroup2", flags)
        except OSError:  # an engine without root may not: it shows the container's own directory
            tree = m.open_tree(m.AT_FDCWD, plan["into"], m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC)
            _attach(tree, target, read_only)
        return
    if not plan["views"]:
        return
    m.mount("tmpfs", place, "tmpfs", flags & ~m.MS_RDONLY, "mode=755")
    inside = root.open(os.readlink(place).removeprefix(root.path))
    for name, directory in plan["views"]:
        os.mkdir(name, 0o755, dir_fd=inside)
        tree = m.open_tree(m.AT_FDCWD, directory, m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC)
        m.mount_setattr(
            tree,
            "",
            m.AT_EMPTY_PATH,
            set=read_only | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC,
        )
        m.move_mount(tree, "", inside, name, m.MOVE_MOUNT_F_EMPTY_PATH)
        os.close(tree)
    if read_only:
        m.mount_setattr(inside, "", m.AT_EMPTY_PATH, set=read_only)
    os.close(inside)


def fill_dev(root: Root, devices: list[dict[str, Any]]) -> None:
    """The nodes and links of /dev, unless the user has mounted a /dev of their own."""
    dev = root.open("/dev")
    for name, major, minor in DEVICES:
        make_node(dev, name, stat.S_IFCHR, major, minor, 0o666, 0, 0)
    for name, target in LINKS:
        if name == "core" and not os.path.lexists(target):  # a kernel without it
            continue
        try:
            os.symlink(target, name, dir_fd=dev)
        except FileExistsError:
            continue
    os.close(dev)
    for device in devices:
        parent, name = posixpath.split(posixpath.normpath("/" + device["path"]))
        above = root.make_mount_point(parent, directory=True)
        kind = stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR
        make_node(
            above,
            name,
            kind,
            device["major"],
            device["minor"],
            device.get("fileMode", 0o666),
            device.get("uid", 0),
            device.get("gid", 0),
        )
        os.close(above)


def make_node(
    directory: int, name: str, kind: int, major: int, minor: int, mode: int, uid: int, gid: int
) -> None:
    """A device node; where making one is not permitted (in a user namespace), the host's own is shown
    instead.
    """
    try:
        os.mknod(name, kind | mode, os.makedev(major, minor), dir_fd=directory)
    except FileExistsError:
        return
    except PermissionError:
        tree = m.open_tree(
            m.AT_FDCWD, _host_node(kind, major, minor), m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC
        )
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o666, dir_fd=directory))
        m.move_mount(tree, "", directory, name, m.MOVE_MOUNT_F_EMPTY_PATH)
        os.close(tree)
        return
    if uid or gid:
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)


def _host_node(kind: int, major: int, minor: int) -> str:
    """The path of a device on the host, by the kernel's own name for it."""
    folder = "block" if kind == stat.S_IFBLK else "char"
    with open(f"/sys/dev/{folder}/{major}:{minor}/uevent") as file:
        for line in file:
            if line.startswith("DEVNAME="):
                return "/dev/" + line.removeprefix("DEVNAME=").strip()
    raise FileNotFoundError(errno.ENOENT, "no such device on the host", f"{major}:{minor}")


def mask(root: Root, paths: list[str]) -> None:
    """Hide paths: /dev/null over a file, an empty read-only directory over a directory."""
    empty = -1
    for path in paths:
        try:
            target = root.open(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(os.fstat(target).st_mode):
            m.mount("/dev/null", f"/proc/self/fd/{target}", "", m.MS_BIND)
        elif empty < 0:
            m.mount("tmpfs", f"/proc/self/fd/{target}", "tmpfs", m.MS_RDONLY, "nr_inodes=2,mode=555")
            empty = root.open(path)
        else:
            m.mount(f"/proc/self/fd/{empty}", f"/proc/self/fd/{target}", "", m.MS_BIND)
        os.close(target)
    if empty >= 0:
        os.close(empty)


def make_read_only(root: Root, paths: list[str]) -> None:
    """Let paths be read only: each becomes a read-only mount of itself."""
    for path in paths:
        try:
            tree = openat_tree(root, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        target = root.open(path)
        _attach(tree, target, m.MOUNT_ATTR_RDONLY)
        os.close(target)


def openat_tree(root: Root, path: str) -> int:
    """A copy of the mounts at a path of the container."""
    place = root.open(path)
    try:
        flags = m.OPEN_TREE_CLONE | m.OPEN_TREE_CLOEXEC | m.AT_EMPTY_PATH | m.AT_RECURSIVE
        return m.open_tree(place, "", flags)
    finally:
        os.close(place)


def pivot(root: Root) -> None:
    """Make it the root of this process, and let go of the host's files: nothing leads back."""
    os.fchdir(root.fd)
    m.pivot_root(".", ".")
    # The old root now lies over the new one.
    m.umount2(".", m.MNT_DETACH)
    os.chdir("/")
    os.close(root.fd)
