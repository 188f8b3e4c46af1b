"""Advice about files that a command does not find in the image."""

from __future__ import annotations

import posixpath
import re

from labkernel.engine.build.advice.situation import Advice, Rule, Situation

_QUOTED = r"['\u2018]?([^'\u2018\u2019:\s]+)['\u2019]?"


def _no_folder(situation: Situation, found: re.Match[str]) -> Advice:
    path = found[1]
    return Advice(
        f"there is no folder {path} in the image at this line: WORKDIR {path} makes it, and is kept for what "
        "follows",
        path,
    )


def _no_file(situation: Situation, found: re.Match[str]) -> Advice:
    path = found[1]
    file = situation.context_file(posixpath.basename(path))
    if file:
        return Advice(
            f"{file.path} is in the build context, and not in the image at this line: COPY it before", path
        )
    return Advice(
        f"{path} is not in the image at this line: files come into it by COPY, and a RUN sees nothing of "
        "this machine",
        path,
    )


# As coreutils, busybox, dash, bash, python and node say it.
RULES = (
    Rule("output", r"can't cd to ([^:\s]+)", _no_folder),
    Rule("output", r"\bcd: ([^:\s]+): No such file or directory", _no_folder),
    Rule("output", r"can't open file '([^']+)': \[Errno 2\]", _no_file),
    Rule("output", r"Cannot find module '([./][^']*)'", _no_file),
    Rule(
        "output",
        rf"(?:cannot stat|can't stat|cannot access|cannot open|can't open|can't read) {_QUOTED}: "
        "No such file",
        _no_file,
    ),
    Rule("output", r"^(?:\S+: )?([^:\s]+): (?:Cannot open: )?No such file or directory$", _no_file),
)
