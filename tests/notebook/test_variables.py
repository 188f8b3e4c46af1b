from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands import Text, split_line
from labkernel.notebook.variables import Environment, as_text, expand

VARIABLES: dict[str, Any] = {
    "name": "web",
    "port": 8080,
    "id": Text("0123abcd"),
    "rows": [1],
    "here": Path("/a b"),
}


@pytest.mark.parametrize(
    ("line", "expanded"),
    [
        ("logs {name}", "logs web"),
        ("run -p {port}:80 x", "run -p 8080:80 x"),
        ("stop {id}", "stop 0123abcd"),
        ("ps --format '{{.Names}}'", "ps --format '{{.Names}}'"),
        ("ps --format '{{.name}} {{name}}'", "ps --format '{{.name}} {{name}}'"),
        ("run x awk '{print $1}'", "run x awk '{print $1}'"),
        ("echo {rows} {unknown}", "echo {rows} {unknown}"),
        ("echo ${name}", "echo ${name}"),
    ],
)
def test_only_known_names_between_single_braces_expand(line: str, expanded: str) -> None:
    assert expand(line, VARIABLES) == expanded


def test_dollar_names_are_the_notebooks_first() -> None:
    environment = Environment(VARIABLES, {"name": "of the shell", "HOME": "/root"})
    words = split_line("run $name $HOME $port '$name' \"$here\"", environ=environment)
    assert words == ["run", "web", "/root", "8080", "$name", "/a b"]


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (1.5, "1.5"), (None, None), ({}, None)])
def test_values_have_a_text_or_none(value: Any, text: str | None) -> None:
    assert as_text(value) == text


@given(st.text(alphabet=string.printable))
def test_a_line_without_variables_stays_as_it_is(line: str) -> None:
    assert expand(line, {}) == line
