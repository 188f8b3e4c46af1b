"""Which layer may import which: the picture in the design, stated and checked.

Imports point downwards. The seam is the Docker Engine API: above it nothing imports the engine, but for the
one module that starts the engine's process.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.source_tree import Import, imports, modules


@dataclass(frozen=True)
class Layer:
    """What a package's (or module's) files may import beside themselves and the standard library."""

    ours: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


_JUPYTER = ("IPython", "ipykernel", "traitlets")
_CLIENT = ("docker", "requests")  # docker-py, and the HTTP below it for what it has no call for

_BUILD, _IMAGE, _DISTRIBUTION, _CATALOG, _NETWORK, _RUNTIME, _LINUX = _PARTS = (
    "labkernel.engine.build",
    "labkernel.engine.image",
    "labkernel.engine.distribution",
    "labkernel.engine.catalog",
    "labkernel.engine.network",
    "labkernel.engine.runtime",
    "labkernel.engine.linux",
)
_HTTP = "labkernel.engine.http"
# The objects that the API speaks of: containers have a package, the others a module each.
_OBJECTS = ("labkernel.engine", "labkernel.engine.containers")

# Above the seam, then below it from the top down. The longest matching name is a module's layer.
LAYERS = {
    "labkernel": Layer(("labkernel.notebook", "labkernel.jupyter"), _JUPYTER),
    "labkernel.__main__": Layer(("labkernel.cli",)),
    "labkernel.cli": Layer(
        (
            *("labkernel.notebook", "labkernel.course", "labkernel.grading", "labkernel.commands"),
            "labkernel.engine_process",
        ),
        _CLIENT,
    ),
    "labkernel.notebook": Layer(
        ("labkernel.course", "labkernel.commands", "labkernel.display", "labkernel.engine_process"),
        (*_CLIENT, *_JUPYTER),
    ),
    "labkernel.grading": Layer(
        ("labkernel.course", "labkernel.commands", "labkernel.engine_process", "labkernel.grading.sandbox"),
        (*_CLIENT, *_JUPYTER, "nbformat"),
    ),
    # What is not trusted runs in namespaces, and the system calls for them are written once.
    "labkernel.grading.sandbox": Layer(
        (
            *("labkernel.notebook", "labkernel.course", "labkernel.commands", "labkernel.engine_process"),
            _LINUX,
        ),
        (*_CLIENT, *_JUPYTER),
    ),
    "labkernel.course": Layer(("labkernel.commands", "labkernel.display"), _CLIENT),
    "labkernel.jupyter": Layer(("labkernel.display",), ("jupyter_server", "tornado")),
    # A virtual screen: the program that shows it, and its pixels and keys.
    "labkernel.display": Layer((), ("Xlib", "PIL")),
    "labkernel.commands": Layer((), _CLIENT),
    # The one door in the seam.
    "labkernel.engine_process": Layer(
        (
            "labkernel.engine.daemon",
            "labkernel.engine.distribution.server",
            "labkernel.engine.errors",
            "labkernel.commands",
        ),
        ("docker", "platformdirs"),
    ),
    # The daemon puts the parts together, so it stands above them all.
    "labkernel.engine.daemon": Layer(
        ("labkernel.engine.api", "labkernel.engine.listeners", _HTTP, *_OBJECTS, *_PARTS)
    ),
    "labkernel.engine.api": Layer((*_OBJECTS, _BUILD, _IMAGE, _HTTP), ("websockets",)),
    "labkernel.engine": Layer((*_OBJECTS, *_PARTS), ("platformdirs",)),
    "labkernel.engine.containers": Layer((*_OBJECTS, _IMAGE, _NETWORK, _RUNTIME, _LINUX)),
    _BUILD: Layer((_IMAGE, _LINUX)),
    _IMAGE: Layer((_DISTRIBUTION, _LINUX), ("isal", "zstandard")),
    _DISTRIBUTION: Layer(),
    # The classroom's registry: a process of its own.
    "labkernel.engine.distribution.server": Layer((_DISTRIBUTION, _HTTP)),
    # HTTP for who serves it: the API and the classroom's registry.
    _HTTP: Layer((), ("httptools",)),
    "labkernel.engine.listeners": Layer(("labkernel.engine.errors", _HTTP)),
    _CATALOG: Layer((_LINUX,), ("debian", "pysequoia", "zstandard", "requests", "urllib3")),
    _NETWORK: Layer((_LINUX,), ("dns",)),
    _RUNTIME: Layer((_LINUX, "labkernel.engine.runtime.launcher"), ("pyseccomp",)),
    # Started as `python -I -S`: nothing installed is within its reach.
    "labkernel.engine.runtime.launcher": Layer((_LINUX,)),
    _LINUX: Layer(),
    "labkernel.engine.timestamps": Layer(("labkernel.engine.errors",)),
    "labkernel.engine.database": Layer(("labkernel.engine.errors", "labkernel.engine.reserve")),
    "labkernel.engine.reserve": Layer(),
    "labkernel.engine.directory_lock": Layer(("labkernel.engine.errors",)),
    "labkernel.engine.errors": Layer(),
}

# At the bottom of the engine, for all of it but what runs without the package.
_BOTTOM = (
    "labkernel.engine.errors",
    "labkernel.engine.database",
    "labkernel.engine.reserve",
    "labkernel.engine.directory_lock",
    "labkernel.engine.timestamps",
)
_ALONE = (_LINUX, "labkernel.engine.runtime.launcher", *_BOTTOM)


def layer_of(module: str) -> str:
    """The longest name in LAYERS that is `module` or a package around it."""
    name = module
    while name not in LAYERS:
        name = name.rpartition(".")[0]
    return name


def is_allowed(found: Import) -> bool:
    """Whether the layer of the importing module may import the target."""
    own = layer_of(found.module)
    layer = LAYERS[own]
    top = found.target.partition(".")[0]
    if top != "labkernel":
        return top in sys.stdlib_module_names or top in layer.others
    target = layer_of(found.target)
    if target == own or target in layer.ours:
        return True
    if own in _ALONE:
        return False
    if own.startswith("labkernel.engine") and target in _BOTTOM:
        return True
    # The package itself holds the version and nothing else at import time.
    return found.target == "labkernel"


def violations(root: Path | None = None) -> list[str]:
    tree = modules(root) if root else modules()
    return [f"{i.path}:{i.line}: {i.module} imports {i.target}" for i in imports(tree) if not is_allowed(i)]


def test_every_import_is_allowed() -> None:
    assert violations() == []


def test_every_package_has_a_row_of_its_own() -> None:
    """Else the row of the package around it would speak for it."""
    parts = {
        name
        for name, path in modules().items()
        if name.rpartition(".")[0] == "labkernel"
        or (name.rpartition(".")[0] == "labkernel.engine" and path.name == "__init__.py")
    }
    assert parts - set(LAYERS) == set()


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("labkernel.notebook.magics", "import labkernel.engine.image.store"),
        ("labkernel.notebook.magics", "from labkernel.engine import daemon"),
        ("labkernel.cli.main", "def f():\n    from labkernel import engine"),
        ("labkernel.commands.run", "from ..engine.errors import NotFound"),
        ("labkernel.engine.image.layers", "from labkernel.engine.build import parser"),
        ("labkernel.engine.image.layers", "from .. import containers"),
        (
            "labkernel.engine.network.networks",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import labkernel.engine.api",
        ),
        (
            "labkernel.engine.network.networks",
            "import importlib\nimportlib.import_module('labkernel.commands')",
        ),
        ("labkernel.engine.linux.mount", "from labkernel.engine.errors import System"),
        ("labkernel.engine.runtime.launcher.birth", "import pyseccomp"),
        ("labkernel.engine.runtime.launcher.birth", "from labkernel.engine.runtime import spec"),
        ("labkernel.engine.containers", "import docker"),
        ("labkernel.engine.errors", "from labkernel.engine import database"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, module: str, statement: str) -> None:
    """The check itself: one forbidden statement in an otherwise empty copy of the tree is reported."""
    for name, path in modules().items():
        copy = tmp_path / Path(*name.split("."))
        copy = copy / "__init__.py" if path.name == "__init__.py" else copy.with_suffix(".py")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    for name in ("containers", "daemon", "build.parser", "runtime.spec"):
        (tmp_path / "labkernel/engine" / Path(*name.split("."))).with_suffix(".py").touch()
    (tmp_path / Path(*module.split("."))).with_suffix(".py").write_text(statement + "\n")
    assert len(violations(tmp_path)) == 1
