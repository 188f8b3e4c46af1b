from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands.dockerignore import DockerIgnore


@pytest.mark.parametrize(
    ("rules", "left_out", "kept"),
    [
        ("node_modules", ["node_modules", "node_modules/a/b"], ["src/node_modules", "node_modules2"]),
        ("*.pyc", ["a.pyc"], ["src/a.pyc", "a.py"]),
        ("**/*.pyc", ["a.pyc", "x/y/a.pyc"], ["a.py"]),
        ("*/temp*", ["a/temp", "a/temporary/b"], ["temp", "a/b/temp"]),
        ("te?t", ["test", "text"], ["tet", "te/t"]),
        ("docs\n!docs/README.md", ["docs/a", "docs"], ["docs/README.md"]),
        ("*\n!src\nsrc/secret", ["a", "src/secret"], ["src", "src/a"]),
        ("# comment\n\n  a  ", ["a"], ["# comment"]),
        ("/abs/", ["abs", "abs/x"], ["x/abs"]),
        ("a/../b", ["b"], ["a"]),
        (".", [], ["a"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt"]),
        ("a\\*", ["a*"], ["ab"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["z"]),
        ("**", ["a", "a/b"], []),
    ],
)
def test_patterns_match_as_dockers_do(rules: str, left_out: list[str], kept: list[str]) -> None:
    ignore = DockerIgnore(rules)
    assert [path for path in left_out if not ignore.excludes(path)] == []
    assert [path for path in kept if ignore.excludes(path)] == []


@pytest.mark.parametrize("rules", ["!", "[a", "[b-a]"])
def test_patterns_that_cannot_be(rules: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        DockerIgnore(rules)


@given(st.text(alphabet="ab*?[]!/\\.#- ^\n", max_size=20), st.text(alphabet="ab/.", min_size=1, max_size=8))
def test_any_rules_decide_or_raise_the_one_error(rules: str, path: str) -> None:
    try:
        ignore = DockerIgnore(rules)
    except ValueError:
        return
    assert ignore.excludes(path) in {True, False}
