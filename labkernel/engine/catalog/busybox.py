"""busybox: Debian's statically linked build in the layout of the official image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from debian.debfile import DebFile

from labkernel.engine.catalog.archive import Archive
from labkernel.engine.catalog.debian import image_config
from labkernel.engine.catalog.made import LABEL, PATH, MadeImage, Reporter, RunInRootfs
from labkernel.engine.catalog.names import Entry
from labkernel.engine.catalog.packages import PackageIndex
from labkernel.engine.catalog.rootfs import Rootfs
from labkernel.engine.errors import System, Unavailable

_DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "etc/network/if-down.d": 0o755,
    "etc/network/if-post-down.d": 0o755,
    "etc/network/if-pre-up.d": 0o755,
    "etc/network/if-up.d": 0o755,
    "home": 0o755,
    "proc": 0o755,
    "root": 0o700,
    "sys": 0o755,
    "tmp": 0o1777,
    "usr/bin": 0o755,
    "usr/sbin": 0o755,
    "var/spool/mail": 0o755,
    "var/tmp": 0o1777,
    "var/www": 0o755,
}

# name, uid, gid, home: the accounts that `docker run -u NAME busybox` can count on.
_ACCOUNTS = (
    ("root", 0, 0, "/root", "/bin/sh"),
    ("daemon", 1, 1, "/usr/sbin", "/bin/false"),
    ("bin", 2, 2, "/bin", "/bin/false"),
    ("sys", 3, 3, "/dev", "/bin/false"),
    ("sync", 4, 100, "/bin", "/bin/sync"),
    ("mail", 8, 8, "/var/spool/mail", "/bin/false"),
    ("www-data", 33, 33, "/var/www", "/bin/false"),
    ("operator", 37, 37, "/var", "/bin/false"),
    ("nobody", 65534, 65534, "/home", "/bin/false"),
)
_GROUPS = {
    "root": 0,
    "daemon": 1,
    "bin": 2,
    "sys": 3,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "mail": 8,
    "kmem": 9,
    "wheel": 10,
    "cdrom": 11,
    "dialout": 18,
    "floppy": 19,
    "video": 28,
    "audio": 29,
    "tape": 32,
    "www-data": 33,
    "operator": 37,
    "utmp": 43,
    "plugdev": 46,
    "staff": 50,
    "lock": 54,
    "netdev": 82,
    "users": 100,
    "nobody": 65534,
}

_FILES = {
    "etc/passwd": "".join(
        f"{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n" for name, uid, gid, home, shell in _ACCOUNTS
    ),
    "etc/group": "".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS.items()),
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}


async def make(
    entry: Entry,
    archive: Archive,
    index: PackageIndex,
    directory: Path,
    run: RunInRootfs,
    report: Reporter,
) -> MadeImage:
    """Makes the image in `directory`. Four steps; the first, the index, is the caller's."""
    package = index.candidate("busybox-static")
    if package is None:
        raise Unavailable(
            "the archive has no package busybox-static", hint="use a registry, or another archive"
        )
    report.step(f"Downloading busybox-static {package.version}", package.size, "bytes")
    debs = await report.in_thread(archive.fetch, [package], report.advance)
    report.step("Laying out the root file system")
    rootfs = Rootfs(directory / "rootfs")
    await report.in_thread(_lay_out, rootfs, debs[package.name])
    report.step("Linking the commands that busybox has")
    applets = await _applets(rootfs.root, run)
    _link(rootfs, applets, int(archive.date.timestamp()))
    return MadeImage(
        references=(entry.reference,),
        directory=directory,
        config=image_config(
            archive,
            command=["sh"],
            created_by=f"busybox-static {package.version} of the Debian archive",
            labels={f"{LABEL}.package": f"busybox-static {package.version}"},
        ),
        rootfs=rootfs.root,
    )


def _lay_out(rootfs: Rootfs, deb: Path) -> None:
    rootfs.root.mkdir(parents=True)
    for name, mode in _DIRECTORIES.items():
        path = rootfs.root / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
    for name, text in _FILES.items():
        rootfs.write(name, text)
    rootfs.write("etc/shadow", "".join(f"{name}:*:::::::\n" for name, *_ in _ACCOUNTS), 0o640)
    with DebFile(str(deb)) as opened:
        program = opened.data.get_content(_program(opened.data.tgz().getnames()))
    binary = rootfs.root / "bin/busybox"
    binary.write_bytes(program or b"")
    binary.chmod(0o755)


def _program(names: Sequence[str]) -> str:
    """Where the package has the program: /bin/busybox, below /usr in releases since Debian 13."""
    for name in names:
        if name.lstrip("./") in ("bin/busybox", "usr/bin/busybox"):
            return name
    raise System("the package busybox-static holds no /bin/busybox")


async def _applets(root: Path, run: RunInRootfs) -> list[str]:
    said = bytearray()
    code = await run(root, ["/bin/busybox", "--list"], [f"PATH={PATH}"], network=False, output=said.extend)
    applets = said.decode(errors="replace").split()
    if code != 0 or "sh" not in applets or any("/" in name or name.startswith(".") for name in applets):
        raise System(
            f"busybox does not list its commands (exit code {code}): {said[-200:].decode(errors='replace')}"
        )
    return applets


def _link(rootfs: Rootfs, applets: Sequence[str], date: int) -> None:
    for name in applets:
        if name != "busybox":
            (rootfs.root / "bin" / name).symlink_to("busybox")
    # Scripts begin with #!/usr/bin/env.
    (rootfs.root / "usr/bin/env").symlink_to("../../bin/busybox")
    for name in ("dev", "proc", "sys", "tmp"):
        rootfs.empty(name)
    rootfs.clamp_times(date)
