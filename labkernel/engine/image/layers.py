"""Layers: directories that overlayfs stacks, each known by its chain_id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple


@dataclass(frozen=True)
class Layer:
    chain_id: str
    diff_id: str
    parent: str | None
    directory: Path
    size: int


class Change(NamedTuple):
    """One line of `docker diff`: kind 0 is modified, 1 added, 2 deleted."""

    path: str
    kind: int


class Layers:
    def get(self, chain_id: str) -> Layer:
        raise NotImplementedError

    def has(self, chain_id: str) -> bool:
        raise NotImplementedError

    def directories(self, chain_id: str | None) -> list[Path]:
        """top first, as overlayfs's lowerdir wants; all below one directory, with short names"""
        raise NotImplementedError

    def adopt(self, upper: Path, parent: str | None, *, newest: int | None = None) -> Layer:
        """by rename; newest (Unix seconds, SOURCE_DATE_EPOCH) clamps modification times"""
        raise NotImplementedError

    def capture(self, upper: Path, parent: str | None, *, newest: int | None = None) -> Layer:
        """like adopt, by copying: the upper directory stays in use (docker commit)"""
        raise NotImplementedError

    def unpack(
        self,
        tar: BinaryIO,
        parent: str | None,
        *,
        expected_diff_id: str | None = None,
        limit: Callable[[int, int], None] | None = None,
    ) -> Layer:
        raise NotImplementedError

    def pack(self, layer: Layer, out: BinaryIO) -> None:
        raise NotImplementedError

    def diff(self, upper: Path, parent: str | None) -> list[Change]:
        raise NotImplementedError

    def hold(self, chain_id: str, holder: str) -> None:
        """persistent: the layer and its parents stay while a holder (a container id) has them"""
        raise NotImplementedError

    def release(self, holder: str) -> None:
        raise NotImplementedError
