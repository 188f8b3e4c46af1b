from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.notebook.cell_lines import commands, without_docker


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("docker ps\ndocker images\n", ["ps", "images"]),
        ("$ docker ps -a\n", ["ps -a"]),
        ("\n# it's a comment\n  # another\nps\n", ["ps"]),
        ("docker run \\\n  busybox \\\n  true\nps", ["run \\\n  busybox \\\n  true", "ps"]),
        ("run busybox sh -c 'echo a\necho b'\nps", ["run busybox sh -c 'echo a\necho b'", "ps"]),
        ('run x sh -c "echo \\"\n"\nps', ['run x sh -c "echo \\"\n"', "ps"]),
        ("", []),
    ],
)
def test_each_command_is_one(cell: str, expected: list[str]) -> None:
    assert list(commands(cell)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("docker ps", "ps"), ("ps", "ps"), ("docker", ""), ("dockerd x", "dockerd x"), (" docker  ps ", " ps")],
)
def test_a_leading_docker_is_dropped(line: str, expected: str) -> None:
    assert without_docker(line) == expected


@given(st.text(alphabet="ab '\"\\\n#$"))
def test_nothing_but_blanks_comments_and_prompts_is_lost(cell: str) -> None:
    kept = "".join("".join(commands(cell)).split())
    position = 0
    for char in kept:
        position = cell.index(char, position) + 1
