"""A Debian archive: which release it offers, its packages, and their .deb files kept on this machine.

Every byte used is covered by the signature on a suite's InRelease file: it holds the digests of the package
indices, and they hold those of the .deb files.
"""

from __future__ import annotations

import gzip
import lzma
import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from labkernel.engine.catalog.apt_conf import AptConf
from labkernel.engine.catalog.apt_sources import HINT, Source, candidates
from labkernel.engine.catalog.download import Downloader, Missing
from labkernel.engine.catalog.packages import Package, PackageIndex
from labkernel.engine.catalog.release import (
    Keyring,
    Release,
    check_dates,
    load_keyring,
    parse_release,
    verify_signature,
)
from labkernel.engine.errors import Unavailable

# https://wiki.debian.org/SupportedArchitectures beside uname(2)'s names.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i686": "i386",
    "ppc64le": "ppc64el",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_RELEASE_LIMIT = 16 << 20
_DOWNLOADS = 6  # at once


def machine_architecture() -> str:
    """This machine's architecture in Debian's words. Raises Unavailable for one Debian is not made for."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise Unavailable(f"Debian has no release for this machine ({machine})", hint=HINT)
    return _ARCHITECTURES[machine]


@dataclass(frozen=True)
class Suite:
    """A source, its verified release file as it was signed, and the keyring that it was verified with."""

    source: Source
    release: Release
    signed: bytes
    keyring: Keyring
    check_valid_until: bool = True


class Archive:
    """One Debian release with its updates and security fixes, as this machine's sources offer it."""

    def __init__(
        self, downloader: Downloader, cache: Path, architecture: str, suites: Sequence[Suite]
    ) -> None:
        self._downloader = downloader
        self._cache = cache
        self.architecture = architecture
        self.suites = suites

    @property
    def release(self) -> Release:
        """The release file of the main suite."""
        return self.suites[0].release

    @property
    def date(self) -> datetime:
        """When the newest of the suites was last changed."""
        return max(suite.release.date for suite in self.suites)

    @classmethod
    def open(
        cls,
        sources: Sequence[Source],
        release: str,
        *,
        downloader: Downloader,
        conf: AptConf,
        cache: Path,
        architecture: str,
    ) -> Archive:
        """Finds the release ("bookworm", "stable"; "" for the one that is configured) and verifies its
        suites.

        Raises Missing when the archive does not have the release, Unavailable when it cannot be reached or
        is not to be trusted.
        """

        def read(source: Source) -> Suite:
            return _read_suite(source, downloader, conf)

        usable = candidates(sources, architecture)
        base = _find_base(usable, release, read)
        suites = [base]
        here = [source.release for source in usable if source.uri == base.source.uri and source.pocket == ""]
        configured = base.source.release if base.source.release in here else here[0]
        for source in usable:
            if source.release != configured or source.pocket == "":
                continue
            try:
                suite = read(source.of(base.release.codename) if release else source)
            except Missing as error:
                if release:  # unstable has no security suite
                    continue
                raise Unavailable(
                    f"{error} does not exist, though this machine's sources name it", hint=HINT
                ) from error
            if suite.release.origin == base.release.origin:
                suites.append(suite)
        return cls(downloader, cache, architecture, suites)

    def index(self) -> PackageIndex:
        """The packages of all suites' component main."""
        index = PackageIndex()
        for suite in self.suites:
            folders = [f"binary-{self.architecture}", *(["binary-all"] if suite.release.separate_all else [])]
            for folder in folders:
                text = self._read_index(suite, f"main/{folder}/Packages")
                if text is not None:
                    index.add(text, suite.source.uri)
                elif folder != "binary-all":
                    raise Unavailable(
                        f"the archive's suite {suite.source.suite} has no packages for {self.architecture}",
                        hint=HINT,
                    )
        return index

    def fetch(self, packages: Iterable[Package], arrived: Callable[[int], None]) -> dict[str, Path]:
        """The .deb files by package name, downloaded where they are not here yet; `arrived` is told of the
        bytes.
        """
        directory = self._cache / "packages"
        directory.mkdir(parents=True, exist_ok=True)

        def fetch(package: Package) -> Path:
            file = directory / f"{package.sha256}.deb"
            url = f"{package.uri}/{package.filename}"
            try:
                self._downloader.fetch(url, file, package.sha256, package.size, arrived)
            except Missing as error:
                raise Unavailable(
                    f"{error} is in the archive's index but not there", hint="try again later"
                ) from error
            return file

        packages = list(packages)
        with ThreadPoolExecutor(_DOWNLOADS, "deb") as pool:
            try:
                return dict(zip((one.name for one in packages), pool.map(fetch, packages), strict=True))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _read_index(self, suite: Suite, name: str) -> bytes | None:
        """The text of an index in the smallest form that the suite lists and the server has."""
        files = suite.release.files
        directory = self._cache / "indices"
        directory.mkdir(parents=True, exist_ok=True)
        base = f"{suite.source.uri}/dists/{suite.source.suite}"
        for suffix in (".xz", ".zst", ".gz", ""):
            listed = files.get(name + suffix)
            if listed is None:
                continue
            file = directory / (listed.sha256 + suffix)
            # By hash first: it cannot change between the release file and now.
            by_hash = (
                [f"{name.rpartition('/')[0]}/by-hash/SHA256/{listed.sha256}"] if suite.release.by_hash else []
            )
            for path in [*by_hash, name + suffix]:
                try:
                    self._downloader.fetch(f"{base}/{path}", file, listed.sha256, listed.size, lambda _: None)
                except Missing:
                    continue
                size = files[name].size if name in files else 1 << 30
                with file.open("rb") as opened:
                    return _decompress(opened, suffix, size, name)
        return None


def _read_suite(source: Source, downloader: Downloader, conf: AptConf) -> Suite:
    what = f"{source.public_uri}/dists/{source.suite}/InRelease"
    keyring = load_keyring(source.signed_by)
    signed = downloader.read(f"{source.uri}/dists/{source.suite}/InRelease", _RELEASE_LIMIT)
    release = parse_release(verify_signature(signed, keyring, what), what)
    check_valid_until = source.check_valid_until
    if check_valid_until is None:
        check_valid_until = conf.flag("Acquire::Check-Valid-Until", True)
    check_dates(
        release,
        what,
        datetime.now(UTC),
        check_valid_until=check_valid_until,
        check_date=conf.flag("Acquire::Check-Date", True),
    )
    return Suite(source, release, signed, keyring, check_valid_until)


def _find_base(usable: Sequence[Source], release: str, read: Callable[[Source], Suite]) -> Suite:
    """The main suite of the release in the first archive that is Debian's and has it."""
    bases = [source for source in usable if source.pocket == ""]
    if release:
        same = [source for source in bases if source.release == release]
        bases = same or [source.of(release) for source in {source.uri: source for source in bases}.values()]
    failure: Unavailable | Missing | None = None
    for source in bases:
        try:
            suite = read(source)
        except (Unavailable, Missing) as error:
            failure = failure or error
            continue
        if suite.release.origin != "Debian":
            continue
        codename = suite.release.codename
        if release and codename != release:
            # "stable" moves on: the image is of the release that it is today, and says so.
            with suppress(Missing):
                return read(source.of(codename))
        return suite
    raise failure or Unavailable("none of this machine's package archives is Debian's", hint=HINT)


def _decompress(file: BinaryIO, suffix: str, size: int, name: str) -> bytes:
    """At most `size` bytes: what the signed release file says the plain text has."""
    openers: dict[str, Callable[[BinaryIO], Any]] = {
        ".xz": lzma.open,
        ".zst": zstandard.ZstdDecompressor().stream_reader,
        ".gz": gzip.open,
        "": lambda plain: plain,
    }
    try:
        text: bytes = openers[suffix](file).read(size + 1)
    except (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError) as error:
        raise Unavailable(f"the archive's index {name} cannot be unpacked: {error}") from error
    if len(text) > size:
        raise Unavailable(f"the archive's index {name} is larger than its release file says")
    return text
