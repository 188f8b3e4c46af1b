"""The image store: one directory and the tables of the engine's database that describe it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from labkernel.engine.database import Database
from labkernel.engine.image.layers import Layers


@dataclass(frozen=True)
class LowerStore:
    """Another engine's image store, read and never written: its root and its database file."""

    root: Path
    database: Path


class Store:
    layers: Layers

    def __init__(
        self,
        root: Path,
        database: Database,
        *,
        lower: Sequence[LowerStore] = (),
        userxattr: bool = False,
        keep_ownership: bool = True,
    ) -> None:
        raise NotImplementedError

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """An empty directory on the layers' file system, removed at the end and at the next open."""
        raise NotImplementedError
