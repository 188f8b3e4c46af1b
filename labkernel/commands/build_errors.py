"""A build's failure: where it is in the Dockerfile, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from labkernel.commands.build_context import file_names
from labkernel.commands.build_failure import from_engine, guessed
from labkernel.commands.build_source import BuildSource
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.results import BuildStep


def explain_build_error(error: CommandError, source: BuildSource, steps: Sequence[BuildStep]) -> CommandError:
    """Add where it failed. What labkernel's engine says of it counts most; of another's error, the nearest
    name for a missing file, and the slips with apt."""
    name = source.shown_name
    if "failure" in error.details:
        error.failure = from_engine(error.details["failure"], name)
        error.hint = error.engine_hint or error.hint
        return error
    error.failure = guessed(error.what, error.exit_code, name, source.dockerfile_text, steps)
    missing = re.search(r"l?stat (?:/\S*/)?(\S+?): (?:file does not exist|no such file)", error.what)
    missing = missing or re.search(r'"?/?([^\s"]+)"?: not found$', error.what)
    if missing and source.directory:
        names = file_names(source.directory, source.ignore)
        near = nearest(missing[1], names)
        if near:
            error.hint = f"did you mean {near}?"
        elif names:
            error.hint = f"the context {source.directory} has: {', '.join(names[:8])}"
        else:
            error.hint = f"the context {source.directory} has no files that COPY can see"
    if steps:
        error.hint = _apt_hint(steps[-1]) or error.hint
    return error


def _apt_hint(step: BuildStep) -> str | None:
    """What to do about the two slips that everybody makes with apt once."""
    unknown = re.search(r"Unable to locate package (\S+)", step.output)
    if unknown and re.search(r"\bapt(-get)? update\b", step.instruction):
        return (
            f"there is no package of that name: {unknown[1]}; after an update, apt-cache search finds names"
        )
    if unknown:
        return "package lists are not part of the image: RUN apt-get update && apt-get install -y ..."
    if re.search(r"Do you want to continue\? \[Y/n\]\s*Abort", step.output):
        return "nobody can answer here: apt-get install -y takes yes for an answer"
    return None
