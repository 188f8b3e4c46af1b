"""Part of a tree, for `COPY --exclude` and `COPY --parents`.

Source: docs.docker.com/reference/dockerfile "COPY --parents", "COPY --exclude".
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labkernel.engine.build.context import check_inside
from labkernel.engine.build.dockerignore import Dockerignore
from labkernel.engine.build.patterns import expression, has_wildcards
from labkernel.engine.build.sources import Found, SourceTree, walk
from labkernel.engine.errors import InvalidParameter


@dataclass(frozen=True)
class FilteredTree:
    """A SourceTree that shows of another what `shows` says of a path; what a path's folder is has no say."""

    tree: SourceTree
    shows: Callable[[str], bool]

    def find(self, path: str) -> Found | None:
        return self.tree.find(path)

    def children(self, directory: Found) -> Iterator[Found]:
        return (found for found in self.tree.children(directory) if self.shows(found.path))

    def digest(self, found: Found) -> str:
        return self.tree.digest(found)

    def copy_content(self, found: Found, out: int) -> None:
        self.tree.copy_content(found, out)

    def read_at(self, found: Found, offset: int, size: int) -> bytes:
        return self.tree.read_at(found, offset, size)


def without(tree: SourceTree, top: Found, patterns: Dockerignore) -> SourceTree:
    """A directory without what the patterns exclude; they begin at that directory."""
    kept: set[str] = set()
    for found in walk(tree, top):
        relative = found.path[len(top.path) :].lstrip("/")
        if not patterns.excludes(relative):
            # A folder that is excluded stays for what an exception keeps in it.
            path = found.path
            while path and path != top.path and path not in kept:
                kept.add(path)
                path = posixpath.dirname(path)
    return FilteredTree(tree, kept.__contains__)


def with_parents(tree: SourceTree, path: str) -> tuple[SourceTree, Found]:
    """What a source word of `COPY --parents` means: the directory at its pivot (`/./`, else the top), which
    shows what matches with the folders above and all below. Raises InvalidParameter."""
    pivot, found_pivot, rest = path.partition("/./")
    if not found_pivot:
        pivot, rest = "", path
    base = check_inside(pivot) if pivot else ""
    clean = posixpath.normpath(rest.lstrip("/"))
    if clean.startswith(".."):
        raise InvalidParameter(f"Forbidden path outside the build context: {path} ()")
    top = tree.find("" if base == "." else base)
    if top is None or top.file.type != b"5":
        raise InvalidParameter(f"stat {pivot}: file does not exist")
    if clean == ".":
        return tree, top
    try:
        pattern = expression(clean, any_depth=True) if has_wildcards(clean) else None
    except ValueError as error:
        raise InvalidParameter(str(error)) from None
    shown: set[str] = set()
    folders: set[str] = set()  # that match: all below them does too
    for found in walk(tree, top):
        relative = found.path[len(top.path) :].lstrip("/")
        matches = pattern.fullmatch(relative) is not None if pattern else relative == clean
        if matches or posixpath.dirname(found.path) in folders:
            if found.file.type == b"5":
                folders.add(found.path)
            above = found.path
            while above and above != top.path and above not in shown:
                shown.add(above)
                above = posixpath.dirname(above)
    if not shown:
        raise InvalidParameter(
            f"stat {path}: file does not exist" if pattern is None else "no source files were specified"
        )
    return FilteredTree(tree, shown.__contains__), top
