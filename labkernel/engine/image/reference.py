"""Image references: `[domain/]repository[:tag][@digest]`, parsed and normalised as Docker does.

The grammar is the one documented in the `reference` package of the CNCF distribution project; the defaults
(`docker.io`, `library/`, `latest`) are Docker's. Pure: no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from labkernel.engine.errors import InvalidParameter

DEFAULT_DOMAIN = "docker.io"
OFFICIAL_PREFIX = "library/"
DEFAULT_TAG = "latest"
NAME_LENGTH_LIMIT = 255

_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_IPV6 = r"\[(?:[a-fA-F0-9:]+)\]"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|{_IPV6})(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_NAME = rf"(?:(?P<domain>{_DOMAIN})/)?(?P<path>{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*)"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE_RE = re.compile(rf"{_NAME}(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII)
_TAG_RE = re.compile(_TAG, re.ASCII)
_IDENTIFIER_RE = re.compile(r"[a-f0-9]{64}")
_SHA256_RE = re.compile(r"sha256:[a-f0-9]{64}")


@dataclass(frozen=True)
class Reference:
    """A normalised reference: `domain` and `repository` are always there, `tag` and `digest` where given."""

    domain: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Domain and repository: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name without Docker's defaults: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.repository.removeprefix(OFFICIAL_PREFIX)
        short = self.repository if "/" in rest else rest
        # Were the first component read as a domain, the short form would be another repository.
        return short if _split_domain(short) == (self.domain, self.repository) else self.name

    @property
    def canonical(self) -> str:
        """The whole reference, nothing left out: the key under which it is stored."""
        return self.name + self._suffix

    @property
    def familiar(self) -> str:
        """The reference as a user reads it: `busybox:latest`."""
        return self.familiar_name + self._suffix

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_default_tag(self) -> Reference:
        """`busybox` -> `busybox:latest`; a reference with a tag or a digest is left as it is."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same repository under another tag. Raises InvalidParameter."""
        if not _TAG_RE.fullmatch(tag):
            raise InvalidParameter("invalid tag format", hint=f"{tag!r} is no tag; one looks like v1.0")
        return Reference(self.domain, self.repository, tag=tag)

    def with_digest(self, digest: str) -> Reference:
        """The same repository at a digest, without a tag."""
        return Reference(self.domain, self.repository, digest=digest)

    def __str__(self) -> str:
        return self.familiar


def is_digest(text: str) -> bool:
    """Whether `text` is a whole sha256 digest, `sha256:` and 64 lower-case hexadecimal digits."""
    return _SHA256_RE.fullmatch(text) is not None


def is_identifier(text: str) -> bool:
    """Whether `text` is 64 lower-case hexadecimal digits: an image id, never a name."""
    return _IDENTIFIER_RE.fullmatch(text) is not None


def parse_reference(text: str) -> Reference:
    """Parse and normalise what a user wrote; no tag is added. Raises InvalidParameter in Docker's words."""
    if is_identifier(text):
        raise InvalidParameter(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_domain(text)
    remote_name = remainder.split("@", 1)[0]
    if ":" in remote_name:
        remote_name = remote_name.split(":", 1)[0]
    if remote_name.lower() != remote_name:
        raise InvalidParameter(
            f"invalid reference format: repository name ({remote_name}) must be lowercase",
            hint=f"write {remote_name.lower()!r}",
        )
    match = _REFERENCE_RE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidParameter(
            "invalid reference format",
            hint=f"{text!r} is not an image name; one looks like registry.example:5000/me/web:v1",
        )
    if len(match["path"]) > NAME_LENGTH_LIMIT:
        raise InvalidParameter(
            "invalid reference format: repository name must not be more than 255 characters"
        )
    digest = match["digest"]
    if digest is not None and not is_digest(digest):
        algorithm = digest.split(":", 1)[0]
        words = "invalid checksum digest length" if algorithm == "sha256" else "unsupported digest algorithm"
        raise InvalidParameter(words if algorithm == "sha256" else f"{words}: {algorithm}")
    return Reference(match["domain"], match["path"], match["tag"], digest)


def _split_domain(text: str) -> tuple[str, str]:
    """Docker's rule: the part before the first slash is a domain if it has a dot, a colon or a capital
    letter, or is `localhost`."""
    first, slash, rest = text.partition("/")
    if not slash or (not set(first) & {".", ":"} and first != "localhost" and first.lower() == first):
        domain, remainder = DEFAULT_DOMAIN, text
    else:
        domain, remainder = first, rest
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = OFFICIAL_PREFIX + remainder
    return domain, remainder
