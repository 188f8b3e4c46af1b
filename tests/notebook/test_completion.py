from __future__ import annotations

import pytest

from labkernel.notebook.completion import words_before_cursor
from tests.notebook.conftest import Shell


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("%docker ru", ["ru"]),
        ("%docker docker ru", ["ru"]),
        ("x = %container logs ", ["container", "logs", ""]),
        ("%layers bu", ["%layers", "bu"]),
        ("%%dockerfile -t x --no", ["build", "-t", "x", "--no"]),
        ("%%docker\ndocker run --rm bu", ["run", "--rm", "bu"]),
        ("%%dockerfile\nFROM bu", None),
        ("docker ru", None),
        ("%%docker\n", [""]),
        ("print(1)\n%image l", ["image", "l"]),
    ],
)
def test_the_words_at_the_cursor(text: str, words: list[str] | None) -> None:
    lines = text.split("\n")
    assert words_before_cursor(text, len(lines) - 1, lines[-1]) == words


def test_commands_flags_and_names(lab_shell: Shell) -> None:
    lab_shell.succeeds("%docker create --name complete-me busybox true")
    assert lab_shell.completions("%docker ren") == ["rename"]
    assert lab_shell.completions("%container lo") == ["logs"]
    assert lab_shell.completions("%docker run --privi") == ["--privileged"]
    assert lab_shell.completions("%docker run --rm busy") == ["busybox"]
    assert lab_shell.completions("%docker rm comp") == ["complete-me"]
    assert lab_shell.completions("%%docker\ndocker start comp") == ["complete-me"]
    assert lab_shell.completions("%layers ") == ["busybox", "complete-me"]
    assert "complete-me" not in lab_shell.completions("%image rm comp")
