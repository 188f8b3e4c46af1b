"""A suite's InRelease file: who signed it, when, and the digests of the indices it vouches for.

Format: the Debian repository format (https://wiki.debian.org/DebianRepository/Format), signatures as
apt-secure(8) has them. Nothing of a release file is used before its signature is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pysequoia
from debian.deb822 import Deb822

from labkernel.engine.errors import Unavailable

# Where packages put Debian's keys, on Debian and elsewhere, when the sources name no keyring.
_DEFAULT_KEYRINGS = (
    "usr/share/keyrings/debian-archive-keyring.pgp",
    "usr/share/keyrings/debian-archive-keyring.gpg",
    "usr/share/keyrings/debian-keyring.gpg",
    "etc/apt/trusted.gpg",
)
KEYRING_HINT = (
    "install the package with the archive's keys (debian-archive-keyring on Debian and Ubuntu, "
    "debian-keyring on Fedora), or name the keyring in the sources: [signed-by=FILE], or Signed-By: FILE"
)


@dataclass(frozen=True)
class Keyring:
    """The certificates that may sign; `fingerprints`, when not empty, says which of them (upper case, no
    spaces).
    """

    certificates: Sequence[pysequoia.Cert]
    where: str
    fingerprints: frozenset[str] = frozenset()


@dataclass(frozen=True)
class IndexFile:
    sha256: str
    size: int  # bytes


@dataclass(frozen=True)
class Release:
    """What a verified release file says."""

    origin: str
    label: str
    suite: str
    codename: str
    version: str
    date: datetime
    valid_until: datetime | None
    architectures: tuple[str, ...]
    by_hash: bool
    separate_all: bool  # packages of architecture all are in an index of their own
    files: dict[str, IndexFile]


def _certificates(file: Path) -> list[pysequoia.Cert]:
    try:
        return list(pysequoia.Cert.split_bytes(file.read_bytes()))
    except (OSError, RuntimeError) as error:
        raise Unavailable(
            f"cannot read the keyring {file}: {_first_line(error)}", hint=KEYRING_HINT
        ) from None  # its own trace is ninety native frames


def load_keyring(signed_by: str, root: Path = Path("/")) -> Keyring:
    """The keyring a source's Signed-By names, else the machine's keyrings for Debian. Raises Unavailable."""
    if "BEGIN PGP" in signed_by:
        try:
            return Keyring(pysequoia.Cert.split_bytes(signed_by.encode()), "the key in the sources")
        except RuntimeError as error:
            raise Unavailable(
                f"cannot read the key in the sources: {_first_line(error)}", hint=KEYRING_HINT
            ) from None
    words = signed_by.split()
    files = [root / word.lstrip("/") for word in words if word.startswith("/")]
    fingerprints = frozenset(word.rstrip("!").upper() for word in words if not word.startswith("/"))
    if not files:
        trusted = sorted((root / "etc/apt/trusted.gpg.d").glob("debian*"))
        files = [file for file in [root / name for name in _DEFAULT_KEYRINGS] + trusted if file.is_file()]
    if not files:
        raise Unavailable("there is no keyring to check the archive's signature with", hint=KEYRING_HINT)
    certificates = [certificate for file in files for certificate in _certificates(file)]
    return Keyring(certificates, ", ".join(map(str, files)), fingerprints)


def verify_signature(signed: bytes, keyring: Keyring, what: str) -> bytes:
    """The signed text of a clear-signed file. Raises Unavailable, with the reason, when the signature is
    not good.
    """
    if not signed.lstrip().startswith(b"-----BEGIN PGP SIGNED MESSAGE-----"):
        raise Unavailable(f"{what} is not signed", hint="an unsigned archive is not used; " + KEYRING_HINT)
    try:
        verified = pysequoia.verify(bytes=signed, store=lambda _: list(keyring.certificates))
    except RuntimeError as error:
        raise Unavailable(
            f"the signature of {what} is not good: {_first_line(error)} (keyring: {keyring.where})",
            hint="the archive is not used; is the keyring up to date, and this archive's? " + KEYRING_HINT,
        ) from None
    signers = {name.upper() for made in verified.valid_sigs for name in (made.certificate, made.signing_key)}
    if keyring.fingerprints and not keyring.fingerprints & signers:
        raise Unavailable(f"{what} is signed by none of the keys that the sources name", hint=KEYRING_HINT)
    return verified.bytes or b""


def parse_release(text: bytes, what: str) -> Release:
    """Raises Unavailable when it is no release file."""
    fields = Deb822(text)
    try:
        files = {
            name: IndexFile(digest, int(size))
            for digest, size, name in (line.split() for line in fields.get("SHA256", "").strip().splitlines())
        }
        valid_until = fields.get("Valid-Until")
        return Release(
            origin=fields.get("Origin", ""),
            label=fields.get("Label", ""),
            suite=fields.get("Suite", ""),
            codename=fields.get("Codename", ""),
            version=fields.get("Version", ""),
            date=_date(fields["Date"]),
            valid_until=_date(valid_until) if valid_until else None,
            architectures=tuple(fields.get("Architectures", "").split()),
            by_hash=fields.get("Acquire-By-Hash", "no").lower() == "yes",
            separate_all="all" in fields.get("Architectures", "").split()
            and "Packages" not in fields.get("No-Support-for-Architecture-all", ""),
            files=files,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise Unavailable(f"{what} is no release file: {error!r}") from error


def check_dates(
    release: Release, what: str, now: datetime, *, check_valid_until: bool = True, check_date: bool = True
) -> None:
    """Refuses, as apt does, a release file that is past its Valid-Until or from the future.

    Raises Unavailable.
    """
    if check_valid_until and release.valid_until is not None and now > release.valid_until:
        raise Unavailable(
            f"{what} is out of date: valid until {release.valid_until:%Y-%m-%d %H:%M} UTC",
            hint="this is an old copy; to use it all the same, set check-valid-until=no in the sources "
            "or Acquire::Check-Valid-Until in apt's configuration",
        )
    # apt's Acquire::Max-FutureTime is ten seconds; a classroom's clocks may be further apart.
    if check_date and release.date > now + timedelta(minutes=10):
        raise Unavailable(
            f"{what} is dated in the future: {release.date:%Y-%m-%d %H:%M} UTC",
            hint="check this machine's clock",
        )


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)


def _first_line(error: Exception) -> str:
    # pysequoia appends a native stack trace to its messages.
    return str(error).strip().split("\n", 1)[0]
