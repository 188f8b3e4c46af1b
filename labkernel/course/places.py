"""Where the course's own exercises and solutions are: in the installed package, or in the repository."""

from __future__ import annotations

from pathlib import Path


def exercises() -> Path:
    """The directory of the exercises as learners get them, one directory each."""
    return _place("exercises")


def solutions() -> Path:
    """The directory of the instructor's solutions, one directory each."""
    return _place("solutions")


def _place(name: str) -> Path:
    packaged = Path(__file__).parent / name
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / name
