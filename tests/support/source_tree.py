"""The package's modules and what each imports, read with `ast`: nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One import statement's target: `module` imports `target` at `path:line`."""

    module: str
    target: str
    path: Path
    line: int


def modules(root: Path = REPOSITORY, package: str = "labkernel") -> dict[str, Path]:
    """Dotted name -> file, for every module below `root/package`."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: dict[str, Path]) -> Iterator[Import]:
    """Every import in `tree`: in functions, under TYPE_CHECKING and import_module("name") too."""
    for module, path in tree.items():
        is_package = path.name == "__init__.py"
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            for target in _targets(node, module, is_package, tree):
                yield Import(module, target, path, getattr(node, "lineno", 0))


def _targets(node: ast.AST, module: str, is_package: bool, tree: dict[str, Path]) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=name, names=names, level=level):
            base = name or ""
            if level:
                parents = module.split(".")
                parents = parents[: len(parents) - level + is_package]
                base = ".".join([*parents, base] if base else parents)
            # `from package import name` means the module package.name where there is one.
            return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in tree else base for alias in names]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            return [name] if called in {"import_module", "__import__"} else []
    return []
