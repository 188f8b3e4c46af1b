"""Where the course's own exercises and solutions are (in the installed package, or in the repository), and
where a learner's are.
"""

from __future__ import annotations

from pathlib import Path

_THIS = Path("labkernel", "course", "places.py")


def exercises() -> Path:
    """The directory of the exercises as learners get them, one directory each."""
    return _place("exercises")


def solutions() -> Path:
    """The directory of the instructor's solutions, one directory each."""
    return _place("solutions")


def learners() -> Path:
    """The learner's own directory if nobody names another: ~/labkernel, or a name beside it where that is
    where `git clone` put the source.
    """
    home = Path.home()
    return home / ("labkernel-work" if is_source(home / "labkernel") else "labkernel")


def is_source(directory: Path) -> bool:
    """Whether it is labkernel's source tree, or in it: no place for anybody's work."""
    directory = directory.resolve()
    return any((above / _THIS).is_file() for above in (directory, *directory.parents))


def _place(name: str) -> Path:
    packaged = Path(__file__).parent / name
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / name
