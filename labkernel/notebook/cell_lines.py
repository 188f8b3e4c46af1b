"""The commands in a cell of `%%docker`: one a line, as on a slide or in a shell script."""

from __future__ import annotations

from collections.abc import Iterator


def commands(cell: str) -> Iterator[str]:
    """Each command of `cell`, without its prompt and a leading `docker`.

    A newline inside quotes or after a backslash does not end a command. Blank lines and comments are none.
    """
    for text in _logical_lines(cell):
        text = text.strip().removeprefix("$ ").lstrip()
        if text and not text.startswith("#"):
            yield without_docker(text)


def without_docker(line: str) -> str:
    """`line` without a leading `docker`."""
    first, _, rest = line.strip().partition(" ")
    return rest if first == "docker" else line.strip()


def _logical_lines(cell: str) -> Iterator[str]:
    start = position = 0
    quote = ""
    comment = False
    while position < len(cell):
        char = cell[position]
        if char == "\\" and quote != "'" and not comment:
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and not comment:
            quote = char
        elif char == "#" and not cell[start:position].strip():
            comment = True  # an apostrophe in a comment opens no quote
        elif char == "\n":
            yield cell[start:position]
            start, comment = position + 1, False
        position += 1
    yield cell[start:]
