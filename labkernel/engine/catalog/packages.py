"""The packages of an archive's indices, and which of them an image needs. Pure: text in, lists out."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from debian.deb822 import Deb822, PkgRelation
from debian.debian_support import Version

from labkernel.engine.errors import System

_PRIORITIES = ("required", "important", "standard", "optional", "extra")


@dataclass(frozen=True)
class Relation:
    """One alternative of a dependency: a name and, where there is one, an operator and a version."""

    name: str
    operator: str = ""
    version: str = ""

    def allows(self, version: str) -> bool:
        if not self.operator:
            return True
        ours, theirs = Version(version), Version(self.version)
        # Policy 7.1: the single < and > are old spellings of <= and >=.
        return {
            "<<": ours < theirs,
            "<=": ours <= theirs,
            "<": ours <= theirs,
            "=": ours == theirs,
            ">=": ours >= theirs,
            ">": ours >= theirs,
            ">>": ours > theirs,
        }[self.operator]

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


def parse_relations(text: str) -> list[list[Relation]]:
    """A dependency field: a list of alternatives each."""
    if not text.strip():
        return []
    return [
        [Relation(one["name"], *(one.get("version") or ("", ""))) for one in alternatives]
        for alternatives in PkgRelation.parse_relations(text)
    ]


@dataclass(frozen=True)
class Package:
    """A package's paragraph in an index, and the address of the archive it is from."""

    name: str
    paragraph: bytes
    uri: str

    @cached_property
    def fields(self) -> Deb822:
        return Deb822(self.paragraph)

    @property
    def version(self) -> str:
        return str(self.fields["Version"])

    @property
    def essential(self) -> bool:
        return bool(self.fields.get("Essential") == "yes")

    @property
    def priority(self) -> str:
        return str(self.fields.get("Priority", "optional"))

    @property
    def dependencies(self) -> list[list[Relation]]:
        return [
            *parse_relations(self.fields.get("Pre-Depends", "")),
            *parse_relations(self.fields.get("Depends", "")),
        ]

    @property
    def provides(self) -> list[Relation]:
        return [
            one for alternatives in parse_relations(self.fields.get("Provides", "")) for one in alternatives
        ]

    @property
    def filename(self) -> str:
        return str(self.fields["Filename"])

    @property
    def size(self) -> int:
        """Bytes of the .deb."""
        return int(self.fields["Size"])

    @property
    def sha256(self) -> str:
        return str(self.fields["SHA256"]).lower()


class PackageIndex:
    """The candidates of several indices: for each name the highest version, as apt picks it."""

    def __init__(self) -> None:
        self._packages: dict[str, list[Package]] = {}
        self._providers: dict[str, list[str]] = {}

    def add(self, text: bytes, uri: str) -> None:
        """Adds a Packages file. Paragraphs are cut apart here and parsed on use: there are tens of
        thousands.
        """
        for paragraph in text.split(b"\n\n"):
            match = re.match(rb"\s*Package:[ \t]*(\S+)", paragraph)
            if match is None:
                continue
            name = match[1].decode()
            self._packages.setdefault(name, []).append(Package(name, paragraph, uri))
            start = paragraph.find(b"\nProvides:")
            if start >= 0:
                line = paragraph[start + 10 :].split(b"\n", 1)[0].decode()
                for provided in re.findall(r"(?:^|,)\s*([^\s,(:]+)", line):
                    self._providers.setdefault(provided, []).append(name)

    def candidate(self, name: str) -> Package | None:
        packages = self._packages.get(name)
        return max(packages, key=lambda package: Version(package.version)) if packages else None

    def providers(self, relation: Relation) -> list[Package]:
        """Packages that provide it, the likeliest first: by priority, then by name."""
        found = []
        for name in sorted(set(self._providers.get(relation.name, ()))):
            package = self.candidate(name)
            for provided in package.provides if package is not None else ():
                # Policy 7.5: only a versioned Provides can satisfy a versioned dependency.
                fits = not relation.operator or (provided.version and relation.allows(provided.version))
                if package is not None and provided.name == relation.name and fits:
                    found.append(package)
                    break
        return sorted(found, key=lambda package: _PRIORITIES.index(package.priority))

    def required(self) -> list[Package]:
        """The candidates that are essential or of priority required."""
        marks = (b"\nPriority: required", b"\nEssential: yes")
        names = {
            name
            for name, packages in self._packages.items()
            if any(mark in package.paragraph for package in packages for mark in marks)
        }
        found = [package for name in sorted(names) if (package := self.candidate(name)) is not None]
        return [package for package in found if package.essential or package.priority == "required"]

    def closure(self, wanted: Iterable[Package]) -> list[Package]:
        """The packages wanted and all that they depend on, by name.

        An alternative that is chosen already is kept to, else the first that the archive has is taken.
        Raises System when a dependency cannot be met.
        """
        chosen = {package.name: package for package in wanted}
        queue = deque(chosen.values())
        while queue:
            package = queue.popleft()
            for alternatives in package.dependencies:
                if any(self._met(one, chosen) for one in alternatives):
                    continue
                found = next((match for one in alternatives if (match := self._match(one))), None)
                if found is None:
                    names = " | ".join(map(str, alternatives))
                    raise System(
                        f"{package.name} {package.version} needs {names}, which the archive does not have"
                    )
                chosen[found.name] = found
                queue.append(found)
        return [chosen[name] for name in sorted(chosen)]

    def _match(self, relation: Relation) -> Package | None:
        package = self.candidate(relation.name)
        if package is not None and relation.allows(package.version):
            return package
        return next(iter(self.providers(relation)), None)

    def _met(self, relation: Relation, chosen: dict[str, Package]) -> bool:
        package = chosen.get(relation.name)
        if package is not None and relation.allows(package.version):
            return True
        return any(provider.name in chosen for provider in self.providers(relation))
