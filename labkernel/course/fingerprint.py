"""Whether an exercise is still as it was made: a digest of its files, kept in its notebook's metadata.

What somebody did in it since (answers, outputs of a run, files of their own) changes the digest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from labkernel.commands import CommandError
from labkernel.course.files import files
from labkernel.course.notebook import notebook_text, read_notebook

_KEY = "made"


def put_fingerprint(notebook: Path) -> None:
    """Write the digest of the files of the notebook's directory into it. Raises CommandError, OSError."""
    content = read_notebook(notebook)
    fingerprint = _fingerprint(notebook, content)
    content["metadata"].setdefault("labkernel", {})[_KEY] = fingerprint
    notebook.write_text(notebook_text(content), encoding="utf-8")


def is_as_made(notebook: Path) -> bool:
    """Whether nothing was changed in the notebook's directory, added or taken away, since the digest was put.

    False where that cannot be told: no digest, or files that cannot be read.
    """
    try:
        content = read_notebook(notebook)
        kept = content["metadata"].get("labkernel", {}).get(_KEY)
        return isinstance(kept, str) and kept == _fingerprint(notebook, content)
    except (CommandError, OSError, AttributeError):
        return False


def _fingerprint(notebook: Path, content: dict[str, Any]) -> str:
    """Of all files in order of names; of the notebook without the digest, and as Jupyter would save it."""
    ours = {key: value for key, value in content["metadata"].get("labkernel", {}).items() if key != _KEY}
    metadata = {key: value for key, value in content["metadata"].items() if key != "labkernel"}
    bare = notebook_text({**content, "metadata": metadata | ({"labkernel": ours} if ours else {})})
    whole = hashlib.sha256()
    for name in files(notebook.parent):
        path = notebook.parent / name
        data = bare.encode("utf-8", "surrogatepass") if path == notebook else path.read_bytes()
        for part in (str(name).encode("utf-8", "surrogateescape"), data):
            whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()
