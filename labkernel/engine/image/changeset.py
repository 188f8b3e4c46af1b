"""Tar archives to directories and back, safely."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple


class Extracted(NamedTuple):
    size: int
    entries: int
    skipped: list[str]


def extract_tar(
    tar: BinaryIO,
    root: int | Path,
    destination: str = "/",
    *,
    limit: Callable[[int, int], None] | None = None,
) -> Extracted:
    """root: directory or its descriptor (/proc/PID/root works); destination: a directory inside it"""
    raise NotImplementedError


def write_tar(root: int | Path, path: str, out: BinaryIO, *, name: str | None = None) -> int:
    """path: what is packed, inside root; name: how its top is called in the archive"""
    raise NotImplementedError
