"""The official parser (PyPI's `dockerfile`) is the oracle."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import dockerfile
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from labkernel.engine.build.errors import DockerfileError
from labkernel.engine.build.nodes import Heredoc
from labkernel.engine.build.parser import parse
from labkernel.engine.build.words import INSTRUCTIONS

TABLE = [
    "FROM a",
    "from a as b\nRUN x",
    "FROM --platform=linux/amd64 a AS b\n",
    "FROM a\nRUN a \\\n # c\n\n b\\\n  c\nRUN d",
    "FROM a\nRUN a \\\n",
    "FROM a\nRUN a \\  \n  b\n",
    "FROM a\nRUN a \\\\\nRUN b",
    "FROM a\r\nRUN a \\\r\n b\r\n",
    "\ufeffFROM a\n",
    "# escape=`\nFROM a\nRUN a `\n b\nRUN c\\\nENV x=`y",
    "# syntax=x\n# escape=\\\n#escape=`\nFROM a",
    "# comment\n# escape=`\nFROM a\nRUN a\\\nb",
    "#escape=x\nFROM a",
    "# escape=`\n# escape=`\nFROM a",
    'FROM a\nRUN ["a", "b c"]\nCMD [ ]\nCMD ["a" "b"]\nENTRYPOINT [a]\nRUN ["a"] b',
    'FROM a\nCMD ["a", 1]',
    'FROM a\nCMD ["\\ud83d\\ude00", "\\u00e9"]',
    "FROM a\nCMD [NaN]",
    'FROM a\nCOPY ["a b", "c"]\nCOPY a  b\tc\nADD --chown=1:2 x y\nCOPY --from="a b" x y\nCOPY -- x y',
    'FROM a\nENV a=b "c d"=\'e f\' g\\ h=i\nENV a b  c\nENV a=\nLABEL a.b=c d="\\"e"',
    "FROM a\nENV a=b c",
    "FROM a\nENV a",
    "FROM a\nENV",
    "FROM a\nARG a b=c d='e f'",
    'FROM a\nHEALTHCHECK --interval=3s CMD ["a"]\nHEALTHCHECK NONE\nHEALTHCHECK CMD a b',
    "FROM a\nONBUILD RUN x\nonbuild copy --from=x a b",
    "FROM a\nONBUILD",
    "FROM a\nONBUILD ENV a",
    'FROM a\nVOLUME /a /b\nVOLUME ["/a"]\nEXPOSE 80 90\nUSER a\nWORKDIR a b\nMAINTAINER a <b>\nSTOPSIGNAL 9',
    'FROM a\nSHELL ["a", "-c"]\nSHELL a',
    "FROM a\nRUN <<EOF\necho a\nEOF\nRUN b",
    "FROM a\nRUN <<-EOF cat\n\techo a\n\tEOF\nRUN 3<<X cat <<Y\n1\nX\n2\nY",
    'FROM a\nCOPY <<a <<"b" /c/\n1\na\n$2\nb\n',
    "FROM a\nRUN <<EOF\nno end",
    "FROM a\nRUN cat '<<EOF'\nRUN b <<< c\nCMD <<EOF\n",
    'FROM a\nRUN ["<<EOF"]\nRUN x',
    "FROM a\nONBUILD RUN <<EOF\nx\nEOF\n",
    "FRMO a\n",
    "# only a comment",
    "",
    "\n\n  \n",
    "\\\n",
    "FROM a\nRUN --mount=type=cache,target=/x --network=none foo",
    "FROM a\nRUN " + "x" * 70000,
]


def theirs(text: str) -> Any:
    try:
        commands = dockerfile.parse_string(text)
    except dockerfile.GoParseError:
        return "error"
    return [
        (
            command.cmd or "",
            command.sub_cmd,
            command.json,
            # The oracle puts here-documents back into the line.
            "" if command.heredocs else command.original or "",
            (command.start_line, command.end_line),
            command.flags,
            command.value,
            [(h.name, h.file_descriptor, h.content) for h in command.heredocs],
        )
        for command in commands
    ]


def ours(text: str) -> Any:
    try:
        parsed = parse(text)
    except DockerfileError:
        return "error"
    found = []
    for node in parsed.nodes:
        inner = node.trigger or node
        arguments = inner.arguments
        if inner.name not in INSTRUCTIONS or (node.trigger and inner.trigger):
            # The oracle has an empty word for what it does not know, and does not look into ONBUILD ONBUILD.
            arguments = ("",)
        heredocs = [] if node.trigger else node.heredocs
        found.append(
            (
                node.keyword,
                node.trigger.keyword if node.trigger else None,
                inner.is_json,
                "" if heredocs else node.original,
                (node.line, node.end_line),
                node.flags,
                arguments,
                [(h.name, h.file_descriptor, h.content) for h in heredocs],
            )
        )
    return found


@pytest.mark.parametrize("text", TABLE)
def test_agrees_with_the_official_parser(text: str) -> None:
    assert ours(text) == theirs(text)


# Pieces that mean something, so that most of what is made of them reaches deep into the parser. No letters
# beyond ASCII: the official one goes through flags and HEALTHCHECK byte by byte and breaks such letters.
PIECES = [
    *(f"{name} " for name in INSTRUCTIONS),
    *(
        "FROM a\n",
        "\n",
        "\n",
        " ",
        "  ",
        "\t",
        "\r",
        "\\",
        "\\\n",
        "`",
        "'",
        '"',
        "#",
        "# escape=`\n",
        "=",
        "a",
    ),
    *(
        "<<EOF",
        "<<-",
        "'EOF'",
        "3<<",
        "\nEOF\n",
        "EOF",
        "[",
        "]",
        ",",
        '"a"',
        "1",
        "null",
        "--",
        "--from=",
        "-",
    ),
    *("$", "${", "}", "$x", "x", "foo\n", "syntax=x"),
]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
@example("COPY <<-\nEOF\n")
@example("ADD []EOF\n")
def test_agrees_on_anything(text: str) -> None:
    assert ours(text) == theirs(text)


def _lines(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(" ".join)


FLAGS = st.lists(
    st.sampled_from(
        [
            "--from=build",
            "--chown=1:2",
            "--chmod=u=rwX,go=rX",
            "--link",
            "--parents",
            "--exclude=**/*.md",
            '--mount=type=cache,target=/c,"id=a b"',
            "--mount=type=bind,rw,target='/x y'",
            "--network=none",
            "--start-interval=2s",
            "--checksum=sha256:00",
            "--keep-git-dir=true",
            "--platform=$BUILDPLATFORM",
        ]
    ),
    max_size=2,
).map(" ".join)
# No ${x#a} and no ${x/a/b}: the oracle's shell words are of a BuildKit older than these (see below).
WORDS = st.lists(
    st.sampled_from(
        [
            "a",
            "/b/",
            "a=b",
            "a='b c'",
            'a="b \\" c"',
            "x\\ y",
            "${x:-y z}",
            "$x",
            "as",
            "CMD",
            "NONE",
            '["a", "b"]',
            "[a]",
            "&&",
            "\\\n",
            "\\\n # note\n",
            "\\  \n\n",
            "#x",
        ]
    ),
    max_size=5,
).map(" ".join)
KEYWORDS = st.sampled_from([*INSTRUCTIONS, "run", "Copy", "ONBUILD RUN", "ONBUILD copy", "HEALTHCHECK CMD"])
HEREDOCS = st.sampled_from(
    [
        "RUN <<A\nx $y\nA",
        "COPY --chmod=600 <<A <<-'B' /d/\n1\nA\n\t2\n\tB",
        'ADD <<"A" /f\n\\\nA',
        "RUN 3<<A cat <<A >&3\n1\nA\n2\nA",
        "RUN <<A\n#!/bin/sh\nRUN x\nA",
        "RUN <<A",
        "ONBUILD RUN <<A\nx\nA",
        "ENV x=<<A",
    ]
)
DIRECTIVES = st.sampled_from(
    [
        "",
        "# syntax=x/y:1\n",
        "# escape=`\n",
        "#ESCAPE = \\\n",
        "# a=b\n",
        "\ufeff",
    ]
)
DOCKERFILES = st.tuples(
    st.lists(DIRECTIVES, max_size=3).map("".join),
    st.lists(
        st.one_of(_lines(KEYWORDS, FLAGS, WORDS), HEREDOCS, st.just(""), st.just("  # note")), max_size=8
    ).map("\n".join),
    st.sampled_from(["", "\n", "\r\n"]),
).map("".join)


@settings(max_examples=400, deadline=None)
@given(DOCKERFILES)
def test_agrees_on_what_looks_like_a_dockerfile(text: str) -> None:
    assert ours(text) == theirs(text)


SPLICED = [
    *("\\\n", "\\", "\\\\", "`", " \\ \n", "\n", "\r\n", "\r", "\n\n", "\n#x\n", "# escape=`\n", "\ufeff"),
    *("'", '"', "$", "${", "}", "<<EOF", "<<-", '<<"E"', "<<'A b'", "EOF\n", "\nE\n", "[", "]", '["a"]'),
    *("\t", "  ", "\v", "\f", "\u00a0", "\x85", "--", "=", "--x=", "ONBUILD ", "ENV a\n", "é", "🙂"),
]
#: Where a letter beyond ASCII is taken to pieces by the oracle.
BYTEWISE = re.compile(r"(?i)--|HEALTHCHECK")


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(TABLE[:-1]),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 6), st.sampled_from(SPLICED)), max_size=5),
    st.booleans(),
)
def test_agrees_on_what_was_spoilt(
    text: str, splices: list[tuple[int, int, str]], has_carriage_returns: bool
) -> None:
    """Pieces put into the table's texts, and others cut out."""
    for place, cut, piece in splices:
        text = text[:place] + piece + text[place + cut :]
    assume(text.isascii() or not BYTEWISE.search(text))
    if has_carriage_returns:
        text = text.replace("\n", "\r\n")
    assert ours(text) == theirs(text)


def _dockerfiles() -> list[Path]:
    """Those of this repository, and of the directory that LABKERNEL_DOCKERFILES names."""
    here = Path(__file__).parents[3]
    roots = [here / "exercises", here / "solutions", here / "notebooks", here / "tests" / "clients"]
    if more := os.environ.get("LABKERNEL_DOCKERFILES"):
        roots.append(Path(more))
    return [path for root in roots for path in sorted(root.rglob("*ockerfile*")) if path.is_file()]


def test_agrees_on_real_dockerfiles() -> None:
    """Any collection of Dockerfiles can be given: the repository's own are few."""
    files = _dockerfiles()
    assert files
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in files}
    differing = [
        str(path)
        for path, text in texts.items()
        # A null byte ends the text on its way to the oracle.
        if "\0" not in text and ours(text) != theirs(text)
    ]
    assert differing == []


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(content: bytes) -> None:
    with contextlib.suppress(DockerfileError):
        assert parse(content).nodes


def test_heredocs() -> None:
    node = parse("RUN cat <<A <<-'B'\n$x\nA\n\ttab\n\tB\n").nodes[0]
    assert node.heredocs == (
        Heredoc("A", "$x\n", expand=True, chomp=False),
        Heredoc("B", "\ttab\n", expand=False, chomp=True),
    )
    assert node.heredocs[1].text == "tab\n"


def test_positions() -> None:
    node = parse("FROM a\n\n  RUN a \\\n   b\n").nodes[1]
    assert (node.line, node.end_line, node.column) == (3, 4, 3)


def test_warnings_of_empty_continuation_lines() -> None:
    assert parse("FROM a\nRUN a \\\n\n b\n").warnings == (
        "[WARNING]: Empty continuation line found in:\n    RUN a  b",
        "[WARNING]: Empty continuation lines will become errors in a future release.",
    )


@pytest.mark.parametrize("text", ["FROM a\n" + "ONBUILD " * 8000, "FROM a\nRUN " + "[" * 60000])
def test_hostile_nesting(text: str) -> None:
    with contextlib.suppress(DockerfileError):
        assert parse(text).nodes


@pytest.mark.parametrize(
    ("text", "syntax", "escape"),
    [
        ("# syntax = docker/dockerfile:1 \n#ESCAPE=`\nFROM a", "docker/dockerfile:1", "`"),
        # The oracle is older than `check`, and takes it for a comment.
        ("# check=skip=all;error=true\n# escape=`\nFROM a", None, "`"),
        ("#check=error=true\n#syntax=x\nFROM a", "x", "\\"),
        ("# checks=x\n# escape=`\nFROM a", None, "\\"),
        ("FROM a\n# escape=`\nRUN b", None, "\\"),
        ("\n# escape=`\nFROM a", None, "\\"),
    ],
)
def test_directives(text: str, syntax: str | None, escape: str) -> None:
    parsed = parse(text)
    assert (parsed.syntax, parsed.escape) == (syntax, escape)


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("FROM a\nENV a", "ENV must have two arguments", 2),
        ("FROM a\n\nLABEL a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value', 3),
        ("FROM a\nRUN <<X\ny", "unterminated heredoc", 2),
        ("# x\n", "file with no instructions", 1),
        ("#escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", 1),
        ('FROM a\nCMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only", 2),
    ],
)
def test_errors_know_their_line(text: str, message: str, line: int) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert (caught.value.message, caught.value.line) == (message, line)


@pytest.mark.parametrize("word", ["${x#a}", "${x%%a}", "${x/a/b}", "${x//a/b}"])
def test_expansions_that_the_oracle_does_not_know_hide_no_here_document(word: str) -> None:
    """It takes such a word for an error, and the line then for one without here-documents."""
    copy = parse(f"FROM a\nADD {word} <<A /d/\nx\nA\n".encode()).nodes[1]
    assert [heredoc.text for heredoc in copy.heredocs] == ["x\n"]
