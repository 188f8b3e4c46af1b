"""A minimal Debian root file system: the required packages and apt, installed by dpkg itself in a container.

In outline as debootstrap does it: unpack the essential packages by hand so that there is a dpkg to run;
then let dpkg unpack everything properly, with owners and its own records; then let it configure everything.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from debian.debfile import DebFile

from labkernel.engine.catalog.apt_sources import HINT
from labkernel.engine.catalog.archive import Archive, Suite
from labkernel.engine.catalog.made import LABEL, PATH, MadeImage, Reporter, RunInRootfs
from labkernel.engine.catalog.names import Entry
from labkernel.engine.catalog.packages import Package, PackageIndex
from labkernel.engine.catalog.release import load_keyring, verify_signature
from labkernel.engine.catalog.rootfs import Rootfs
from labkernel.engine.errors import System, Unavailable

# The names that the OCI image-spec takes from Go, by Debian's.
_OCI_ARCHITECTURES = {"armhf": ("arm", "v7"), "i386": ("386", ""), "ppc64el": ("ppc64le", "")}

# Not needed to run dpkg, and half of all files: dpkg unpacks them when its turn comes, or leaves them out.
_UNNEEDED_AT_FIRST = tuple(f"usr/share/{name}/" for name in ("doc", "man", "locale", "info", "lintian"))

_DEBS = "var/cache/apt/archives"

# unsafe-io, since a tree that is thrown away when its making stops needs no fsync for each file. The status
# goes to a descriptor of its own because dpkg keeps it from the maintainer scripts, which write to theirs.
_INSTALL = f"""\
set -e
exec 3>&1
dpkg --force-unsafe-io --force-depends --status-fd 3 --unpack /{_DEBS}/*.deb
dpkg --force-unsafe-io --status-fd 3 --configure --pending
rm /{_DEBS}/*.deb
apt-get check
test -z "$(dpkg --audit)"
"""

_POLICY = """\
#!/bin/sh
# No service is started when its package is installed: a container runs what it is told to run.
exit 101
"""

_APT_CONF = {
    "labkernel-clean": """\
// An image layer keeps no downloaded packages and no caches that apt can make again.
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
""",
    "labkernel-indices": """\
// Package lists stay compressed, and translations of descriptions are not fetched.
Acquire::GzipIndexes "true";
Acquire::Languages "none";
""",
    "labkernel-autoremove": """\
// A package that is only suggested keeps nothing installed.
APT::AutoRemove::SuggestsImportant "false";
""",
    "labkernel-sandbox": """\
// Downloading as user _apt takes a second user id, which an engine run by an ordinary user may not have.
APT::Sandbox::User "root";
""",
}

# What dpkg leaves out of a -slim image, as the official ones do.
_SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/groff/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/linda/*
"""

# Records of this one making: logs, caches, backups, locks and the identity of a machine.
_LEFTOVERS = (
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/machine-id",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/lists/lock",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/random-seed",
    "var/log/*.log",
    "var/log/apt/*",
)


def select_packages(index: PackageIndex, *, https: bool) -> tuple[list[Package], list[Package]]:
    """The packages of a minimal system, and those of them that dpkg and every maintainer script may count on.

    `https` adds the certificates that apt needs to reach an archive by https.
    """
    required = index.required()
    names = ["apt", "usr-is-merged"] + (["ca-certificates"] if https else [])
    wanted = [package for name in names if (package := index.candidate(name)) is not None]
    if not required or not any(package.name == "apt" for package in wanted):
        raise Unavailable(
            "the archive has no required packages or no apt: it is no complete Debian release", hint=HINT
        )
    packages = index.closure([*required, *wanted])
    chosen = PackageIndex()  # alternatives are settled: only what was chosen may meet a dependency
    for package in packages:
        chosen.add(package.paragraph, package.uri)
    return packages, chosen.closure(package for package in packages if package.essential)


async def make(
    entry: Entry,
    archive: Archive,
    index: PackageIndex,
    directory: Path,
    run: RunInRootfs,
    report: Reporter,
) -> MadeImage:
    """Makes the image in `directory`. Five steps; the first, the index, is the caller's."""
    https = any(suite.source.uri.startswith("https:") for suite in archive.suites)
    packages, essential = await report.in_thread(select_packages, index, https=https)
    text = f"Downloading {len(packages)} packages of Debian {archive.release.codename}"
    report.step(text, sum(package.size for package in packages), "bytes")
    debs = await report.in_thread(archive.fetch, packages, report.advance)
    rootfs = Rootfs(directory / "rootfs", merge_usr=True)
    report.step("Unpacking the essential packages", len(essential), "packages")
    await report.in_thread(_unpack, rootfs, [debs[package.name] for package in essential], report)
    await report.in_thread(_prepare, rootfs, entry, packages, debs)
    report.step("Installing with dpkg", 2 * len(packages), "packages")
    await _install(rootfs.root, run, archive.date, report)
    report.step("Configuring apt and cleaning up")
    await report.in_thread(_finish, rootfs, archive)
    return MadeImage(
        references=_references(entry, archive),
        directory=directory,
        config=image_config(
            archive,
            command=["bash"],
            created_by="packages of the Debian archive, installed by dpkg",
            labels={f"{LABEL}.packages": str(len(packages))}
            | ({f"{LABEL}.variant": "slim"} if entry.slim else {}),
        ),
        rootfs=rootfs.root,
    )


def image_config(
    archive: Archive, *, command: list[str], created_by: str, labels: dict[str, str]
) -> dict[str, Any]:
    """The OCI image config, without its rootfs, of an image that was made from the archive."""
    architecture, variant = _OCI_ARCHITECTURES.get(archive.architecture, (archive.architecture, ""))
    created = archive.date.strftime("%Y-%m-%dT%H:%M:%SZ")
    release = archive.release
    return {
        "architecture": architecture,
        **({"variant": variant} if variant else {}),
        "os": "linux",
        "created": created,
        "config": {
            "Env": [f"PATH={PATH}"],
            "Cmd": command,
            "Labels": {
                f"{LABEL}.made": "by labkernel on this machine: packages of the Debian archive, "
                "signatures checked",
                f"{LABEL}.release": f"Debian {release.version} {release.codename}".replace("  ", " "),
                f"{LABEL}.archive-date": created,
                f"{LABEL}.archive-suites": " ".join(suite.source.suite for suite in archive.suites),
                **labels,
            },
        },
        "history": [{"created": created, "created_by": created_by, "comment": "labkernel catalog"}],
    }


def _references(entry: Entry, archive: Archive) -> tuple[str, ...]:
    """What was asked for first, then the release's own name."""
    named = f"debian:{archive.release.codename}" + ("-slim" if entry.slim else "")
    return tuple(dict.fromkeys((entry.reference, named)))


def _unpack(rootfs: Rootfs, debs: Sequence[Path], report: Reporter) -> None:
    def needed(name: str) -> bool:
        return not f"{name}/".startswith(_UNNEEDED_AT_FIRST)

    rootfs.root.mkdir(parents=True)
    rootfs.root.chmod(0o755)
    for deb in debs:
        with DebFile(str(deb)) as opened:
            rootfs.extract(opened.data.tgz(), needed)
        report.advance()


def _prepare(rootfs: Rootfs, entry: Entry, packages: Sequence[Package], debs: dict[str, Path]) -> None:
    # dpkg resolves the names of owners in these two files, which base-passwd makes only when it is
    # configured.
    for name in ("passwd", "group"):
        if not rootfs.path(f"etc/{name}").exists():
            rootfs.write(f"etc/{name}", rootfs.path(f"usr/share/base-passwd/{name}.master").read_text())
    # Its alternative is set up when mawk is configured, but scripts of packages before it may call awk.
    awk = rootfs.path("usr/bin/awk")
    if not awk.exists() and rootfs.path("usr/bin/mawk").exists():
        awk.symlink_to("mawk")
    for name in ("status", "available"):
        rootfs.write(f"var/lib/dpkg/{name}", "")
    for name in ("info", "updates", "triggers", "alternatives", "parts"):
        rootfs.directory(f"var/lib/dpkg/{name}").mkdir(parents=True, exist_ok=True)
    rootfs.write("usr/sbin/policy-rc.d", _POLICY, 0o755)
    for name, text in _APT_CONF.items():
        rootfs.write(f"etc/apt/apt.conf.d/{name}", text)
    if entry.slim:
        rootfs.write("etc/dpkg/dpkg.cfg.d/labkernel-slim", _SLIM)
    archives = rootfs.directory(_DEBS)
    archives.mkdir(parents=True, exist_ok=True)
    for package in packages:
        # Copies, not links: what runs in there must not be able to change what later images are made of.
        shutil.copyfile(debs[package.name], archives / f"{package.name}.deb")


async def _install(root: Path, run: RunInRootfs, date: datetime, report: Reporter) -> None:
    said: list[str] = []
    reached: set[str] = set()
    rest = b""

    def output(data: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace")
            if re.fullmatch(r"status: \S+: (unpacked|installed)", text):
                # dpkg says it again when it configures a package, and after triggers.
                if text not in reached:
                    reached.add(text)
                    report.advance()
            elif not text.startswith(("status: ", "processing: ")):
                said.append(text)

    env = [
        f"PATH={PATH}",
        "HOME=/root",
        "LC_ALL=C.UTF-8",
        "DEBIAN_FRONTEND=noninteractive",
        "DEBCONF_NONINTERACTIVE_SEEN=true",
        f"SOURCE_DATE_EPOCH={int(date.timestamp())}",  # passwd(5)'s tools date a changed password by it
    ]
    code = await run(root, ["/bin/sh", "-c", _INSTALL], env, network=False, output=output)
    if code != 0:
        last = "\n".join([*said, rest.decode(errors="replace")][-15:]).strip()
        raise System(f"dpkg could not install Debian's packages (exit code {code}):\n{last}")


def _finish(rootfs: Rootfs, archive: Archive) -> None:
    rootfs.write("etc/apt/sources.list.d/debian.sources", apt_sources(rootfs, archive.suites))
    for pattern in _LEFTOVERS:
        rootfs.remove(pattern)
    for name in ("dev", "proc", "sys", "tmp", "var/tmp"):
        rootfs.empty(name)
    rootfs.clamp_times(int(archive.date.timestamp()))


def apt_sources(rootfs: Rootfs, suites: Sequence[Suite]) -> str:
    """The image's debian.sources: the suites that it was made from, checked with a keyring that is in the
    image.
    """
    suites_of: dict[tuple[str, str, bool], list[str]] = {}
    for suite in suites:
        key = (suite.source.public_uri, _keyring_inside(rootfs, suite), suite.check_valid_until)
        suites_of.setdefault(key, []).append(suite.source.suite)
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(names)}\nComponents: main\nSigned-By: {keyring}\n"
        + ("" if check_valid_until else "Check-Valid-Until: no\n")
        for (uri, keyring, check_valid_until), names in suites_of.items()
    )


def _keyring_inside(rootfs: Rootfs, suite: Suite) -> str:
    for name in ("debian-archive-keyring.pgp", "debian-archive-keyring.gpg"):
        path = f"/usr/share/keyrings/{name}"
        if rootfs.path(path).is_file():
            try:
                verify_signature(suite.signed, load_keyring(path, rootfs.root), suite.source.suite)
            except Unavailable:
                continue
            return path
    # A copy signed again by someone else: without its key apt inside could not check anything.
    directory = rootfs.directory("etc/apt/keyrings")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{suite.source.suite.replace('/', '-')}.gpg"
    file.write_bytes(b"".join(bytes(certificate) for certificate in suite.keyring.certificates))
    file.chmod(0o644)
    return f"/etc/apt/keyrings/{file.name}"
