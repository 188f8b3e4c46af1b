"""`labkernel lab`: JupyterLab on the first lesson, lessons and exercises in the learner's own directory."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from labkernel.commands import CommandError
from labkernel.course import places
from labkernel.course.files import copy_file, files

FIRST_LESSON = "00-first-light.ipynb"


def open_lab(directory: Path | None = None) -> int:
    """Run JupyterLab on the lessons in `directory` (`places.learners` by default) until the user stops it.

    It listens on the loopback address only and asks for a token, which the browser that it opens is given.
    The process becomes Jupyter's; it returns only by raising CommandError.
    """
    directory = (directory or places.learners()).expanduser().resolve()
    if places.is_source(directory):
        raise CommandError(
            "this is labkernel's source, where exercises are made anew: no place for a learner's work",
            where=str(directory),
            hint=f"without a directory, `labkernel lab` takes {places.learners()}",
        )
    if importlib.util.find_spec("jupyterlab") is None:
        raise CommandError(
            "JupyterLab is not installed here", where="labkernel lab", hint="pip install 'labkernel[lab]'"
        )
    try:
        for name in _in_short(copy_lessons(directory)):
            print(f"labkernel: new in {directory}: {name}")
    except OSError as error:
        raise CommandError(
            f"cannot write the lessons to {directory}: {(error.strerror or str(error)).lower()}"
            + (f": {error.filename}" if error.filename else ""),
            where="labkernel lab",
            hint="labkernel lab DIRECTORY takes one that you may write to",
        ) from None
    for url in running_at(directory):
        print(f"labkernel: note: a lab runs already on {directory}, at {url}; this is another one")
    command = lab_command(directory)
    sys.stdout.flush()
    os.execve(command[0], command, lab_environment(os.environ))


def running_at(directory: Path) -> list[str]:
    """The addresses of Jupyter servers of this user that serve `directory`."""
    command = [sys.executable, "-m", "jupyter_server", "list", "--jsonlist"]
    try:
        listed = subprocess.run(command, capture_output=True, timeout=10, check=True).stdout
        return [server["url"] for server in json.loads(listed) if server.get("root_dir") == str(directory)]
    except (subprocess.SubprocessError, ValueError, KeyError):  # no note is no reason not to start
        return []


def lab_command(directory: Path) -> list[str]:
    """The command line that serves `directory`."""
    return [
        sys.executable,
        *["-m", "jupyterlab"],
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={directory}",
        f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
        # Neither news nor updates are looked up: a classroom may have no way out.
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        # The extension as it lies beside this file: of an editable installation, Jupyter's copy ages.
        f"--LabApp.extra_labextensions_path={Path(__file__).parent / 'labextensions'}",
        # Jupyter refuses to run as root unless told; containers and lab machines often have no other user.
        *(["--ServerApp.allow_root=True"] if os.geteuid() == 0 else []),
    ]


def lab_environment(environ: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """`environ` with our page settings on Jupyter's search path, after the user's own."""
    settings = str(Path(__file__).parent / "lab_settings")
    path = [*filter(None, environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep)), settings]
    return {**environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(path)}


def lessons() -> Path:
    """Where the lessons come from: the installed package, or the repository it is used from."""
    packaged = Path(__file__).parent / "lessons"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "notebooks"


def copy_lessons(directory: Path) -> list[str]:
    """Put every file of the lessons, and of the exercises into `exercises`, that is not there yet; return
    their names.

    What is there is the learner's work and stays as it is. Raises OSError.
    """
    copied = []
    for source, place in ((lessons(), Path()), (places.exercises(), Path("exercises"))):
        for name in files(source):
            target = directory / place / name
            if os.path.lexists(target):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # Complete under another name first: an interrupted copy must not pass for the learner's work.
            unfinished = target.with_name(f".{target.name}.part")
            copy_file(source / name, unfinished)
            unfinished.replace(target)
            copied.append(str(place / name))
    return copied


def _in_short(names: Iterable[str]) -> list[str]:
    """Of files in directories, only these: app, exercises/01-web-base."""
    parts = [Path(name).parts for name in names]
    return list(dict.fromkeys(str(Path(*part[: 2 if part[0] == "exercises" else 1])) for part in parts))
