"""Where the machine gets its Debian packages: apt's source lists, in both forms (sources.list(5)).

The text form is parsed here and nothing is fetched. Which entries are really Debian's is known only from
the Origin field of the release file that each one signs: `candidates` gives those worth asking, in order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from debian.deb822 import Deb822

from labkernel.engine.errors import InvalidParameter, Unavailable

VARIABLE = "LABKERNEL_APT_SOURCES"
HINT = (
    "use a registry, load images from a file (labkernel images load FILE), or name a Debian archive in "
    f"{VARIABLE}: an apt sources file, or a line such as 'deb [signed-by=KEYRING] ADDRESS SUITE main'"
)

# The pockets of a release that belong in an image of it: fixes, not backports or proposed updates.
_SUITE = re.compile(r"(?P<release>[a-z]+)(?P<pocket>|-updates|-security|/updates)")


@dataclass(frozen=True)
class Source:
    """One suite of one archive, as apt's configuration has it."""

    uri: str  # without a slash at its end
    suite: str
    components: tuple[str, ...]
    architectures: tuple[str, ...] = ()  # empty: all
    signed_by: str = ""  # paths, fingerprints or an armoured key block, as in the file
    check_valid_until: bool | None = None  # None: as apt.conf says
    where: str = ""  # the file it came from

    @property
    def release(self) -> str:
        """The release it is of: "bookworm" for bookworm, bookworm-updates and bookworm-security; "" if
        unclear.
        """
        match = _SUITE.fullmatch(self.suite)
        return match["release"] if match else ""

    @property
    def pocket(self) -> str:
        match = _SUITE.fullmatch(self.suite)
        return match["pocket"] if match else ""

    @property
    def public_uri(self) -> str:
        """The address without a user's name and password, for all that is shown or stored."""
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def of(self, release: str) -> Source:
        """The same pocket of another release in the same archive."""
        # Until buster the security suite was called RELEASE/updates; ever since RELEASE-security.
        return replace(self, suite=release + ("-security" if self.pocket == "/updates" else self.pocket))


def _truth(value: str | None) -> bool | None:
    return None if value is None else value.strip().lower() in ("yes", "true", "on", "1")


def parse_one_line(text: str, where: str = "") -> list[Source]:
    """The `deb` entries of a one-line sources.list; comments, deb-src and what is malformed are passed
    over.
    """
    sources = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>[^#]*)", line)
        words = match["rest"].split() if match else []
        if match is None or len(words) < 2:
            continue
        options = {
            key.lower(): value
            for key, _, value in (option.partition("=") for option in (match["options"] or "").split())
        }
        sources.append(
            Source(
                uri=words[0].rstrip("/"),
                suite=words[1],
                components=tuple(words[2:]),
                architectures=tuple(options.get("arch", "").split(",")) if options.get("arch") else (),
                signed_by=options.get("signed-by", "").replace(",", " "),
                check_valid_until=_truth(options.get("check-valid-until")),
                where=where,
            )
        )
    return sources


def parse_deb822(text: str, where: str = "") -> list[Source]:
    """The `deb` entries of a deb822 .sources file, one Source for each address and suite; disabled ones
    left out.
    """
    sources = []
    for paragraph in Deb822.iter_paragraphs(text, use_apt_pkg=False):
        if (
            "deb" not in paragraph.get("Types", "").split()
            or _truth(paragraph.get("Enabled", "yes")) is False
        ):
            continue
        signed_by = paragraph.get("Signed-By", "")
        if "BEGIN PGP" in signed_by:  # an embedded key: each line indented by one space, an empty one a dot
            lines = [line[1:] if line[:1] == " " else line for line in signed_by.splitlines()]
            signed_by = "\n".join("" if line.strip() == "." else line for line in lines).strip() + "\n"
        sources += [
            Source(
                uri=uri.rstrip("/"),
                suite=suite,
                components=tuple(paragraph.get("Components", "").split()),
                architectures=tuple(paragraph.get("Architectures", "").split()),
                signed_by=signed_by,
                check_valid_until=_truth(paragraph.get("Check-Valid-Until")),
                where=where,
            )
            for uri in paragraph.get("URIs", "").split()
            for suite in paragraph.get("Suites", "").split()
        ]
    return sources


def parse_sources(text: str, where: str = "") -> list[Source]:
    """Either form; which one shows in the text."""
    if re.search(r"^(types|uris|suites)\s*:", text, re.MULTILINE | re.IGNORECASE):
        return parse_deb822(text, where)
    return parse_one_line(text, where)


def read_sources(option: str | None, environ: Mapping[str, str], root: Path = Path("/")) -> list[Source]:
    """The sources from the option, else from LABKERNEL_APT_SOURCES, else from the machine's apt
    configuration.

    Option and variable are the path of a file in either form, or the text itself. Raises InvalidParameter
    when one of them is given and has no entry.
    """
    given, name = (option, "the given apt sources") if option else (environ.get(VARIABLE), VARIABLE)
    if given:
        text = given
        if "\n" not in given and not re.match(r"\s*deb\s", given):
            try:
                text = Path(given).expanduser().read_text(errors="replace")
            except OSError as error:
                raise InvalidParameter(f"{name}: cannot read {given}: {error.strerror}", hint=HINT) from error
        sources = parse_sources(text, name)
        if not sources:
            raise InvalidParameter(f"{name}: no 'deb' entry in it", hint=HINT)
        return sources
    apt = root / "etc/apt"
    files = [apt / "sources.list"]
    if (apt / "sources.list.d").is_dir():
        files += sorted(apt.glob("sources.list.d/*.list")) + sorted(apt.glob("sources.list.d/*.sources"))
    return [
        source
        for file in files
        if file.is_file()
        for source in (parse_deb822 if file.suffix == ".sources" else parse_one_line)(
            file.read_text(errors="replace"), str(file)
        )
    ]


def candidates(sources: Sequence[Source], architecture: str) -> list[Source]:
    """Those entries that can be a Debian release's: fetched by HTTP, for this architecture, with component
    main.

    Raises Unavailable when none is left.
    """
    found: dict[tuple[str, str], Source] = {}
    for source in sources:
        usable = (
            source.release
            and urlsplit(source.uri).scheme in ("http", "https")
            and any(component.rpartition("/")[2] == "main" for component in source.components)
            and (not source.architectures or architecture in source.architectures)
        )
        if usable:
            found.setdefault((source.uri, source.suite), replace(source, components=("main",)))
    if not any(source.pocket == "" for source in found.values()):
        raise Unavailable("this machine names no Debian archive to make images from", hint=HINT)
    return list(found.values())
