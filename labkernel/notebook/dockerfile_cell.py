"""The line of `%%dockerfile`, and what its cell needs from the build context."""

from __future__ import annotations

import dataclasses
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from labkernel.commands import CommandError, Invocation, help_text, parse
from labkernel.commands.build_source import is_remote
from labkernel.commands.errors import nearest
from labkernel.commands.flags import FlagError, parse_flags, text
from labkernel.commands.parser import misunderstood
from labkernel.commands.table import COMMANDS

HELP = """Usage:  %%dockerfile [OPTIONS] [CONTEXT]
        FROM ...

Build the cell as a Dockerfile. The options are those of `docker build`, and

  --context DIR   send this directory as the build context, `.` for the notebook's; CONTEXT does the same
  -f, --file NAME write the cell to this file as well

Without a context nothing is sent: COPY and ADD of your files then need one.
"""


@dataclass(frozen=True)
class DockerfileCell:
    """What to execute for a cell: a `build` that reads its Dockerfile from `stdin`."""

    invocation: Invocation
    stdin: BinaryIO


def read_cell(words: list[str], body: str) -> DockerfileCell:
    """Turn the words of the magic's line and the cell's body into a build; write the body to --file.

    Raises CommandError.
    """
    build = COMMANDS["build"]
    ours = [flag for flag in build.flags if flag.name != "file"]
    ours += [text("context", "", "The directory to send"), text("file", "f", "Write the cell to this file")]
    line = " ".join(["%%dockerfile", *words])
    try:
        parsed = parse_flags(ours, words)
    except FlagError as error:
        raise misunderstood(error, "%%dockerfile", ours, line) from None
    if parsed.wants_help:
        # What `docker build --help` says of the options holds here too.
        explanation = HELP + "\n" + help_text(("build",)).partition("\n\n")[2]
        return DockerfileCell(Invocation(("build",), line, build, help=explanation), io.BytesIO())
    contexts = [*filter(None, [parsed.options["context"]]), *parsed.arguments]
    if len(contexts) > 1:
        raise CommandError(
            f"%%dockerfile takes one context, not {len(contexts)}: {' '.join(contexts)}",
            where=line,
            hint="name one directory, '.' for the notebook's",
        )
    lines = [text.strip() for text in body.splitlines()]
    if all(not text or text.startswith("#") for text in lines):
        raise CommandError(
            "the Dockerfile has no instruction yet",
            where=line,
            hint="the first one says which image to start from, as in FROM busybox",
        )
    if not contexts:
        copying = first_copy(body)
        if copying:
            raise CommandError(
                f"this needs files from a build context, and none is given: {copying}",
                where=line,
                hint="%%dockerfile ... --context DIR sends a directory; `.` is the one of this notebook",
            )
    elif contexts[0] != "-" and not is_remote(contexts[0]):
        _check_directory(contexts[0], line)
    if parsed.options["file"]:
        Path(parsed.options["file"]).expanduser().write_text(body)
    invocation = parse(["build", *(["-f", "-", contexts[0]] if contexts else ["-"])])
    options = {name: value for name, value in parsed.options.items() if name not in {"context", "file"}}
    return DockerfileCell(
        dataclasses.replace(
            invocation,
            line=line,
            options={**invocation.options, **options},
            given=frozenset(parsed.given - {"context", "file"}),
        ),
        io.BytesIO(body.encode()),
    )


def _check_directory(name: str, line: str) -> None:
    """Raises CommandError for a context that is no directory."""
    path = Path(name).expanduser()
    if path.is_dir():
        return
    parent = path.parent
    near = nearest(path.name, [d.name for d in parent.iterdir() if d.is_dir()] if parent.is_dir() else [])
    problem = "is not a directory" if path.exists() else "not found"
    raise CommandError(
        f'unable to prepare context: path "{name}" {problem}',
        where=line,
        hint=f"did you mean {parent / near}?"
        if near
        else "--context names the directory to send; `.` is the one of this notebook",
    )


def first_copy(dockerfile: str) -> str | None:
    """The first COPY or ADD of a Dockerfile that takes files from the build context, or None."""
    joined = re.sub(r"\\[ \t]*\n", " ", dockerfile)
    for line in joined.splitlines():
        match = re.match(r"\s*(COPY|ADD)\s+(.*)", line, re.IGNORECASE)
        if not match or re.search(r"--from=|<<", match[2]):
            continue
        sources = [word for word in match[2].split() if not word.startswith("--")][:-1]
        if not all(re.match(r"\[?\"?(https?|git|ftp)://", word) for word in sources):
            return line.strip()
    return None
