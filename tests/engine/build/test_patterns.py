from __future__ import annotations

import pytest

from labkernel.engine.build.patterns import expression, has_wildcards


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("a*", "abc", True),
        ("a*", "a/b", False),
        ("?", "é", True),
        ("?", "/", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a]", "/", False),
        ("[!a]", "!", True),
        (r"[\]]", "]", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.b", "axb", False),
        ("*.go", "x.go\n", False),
    ],
)
def test_matches(pattern: str, path: str, matches: bool) -> None:
    assert bool(expression(pattern).fullmatch(path)) is matches


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**", "a/b/c", True),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("**.go", "a/b.go", True),
    ],
)
def test_any_depth(pattern: str, path: str, matches: bool) -> None:
    assert bool(expression(pattern, any_depth=True).fullmatch(path)) is matches


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[z-a]", "[-a]", "a\\", "[a-"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="syntax error in pattern"):
        expression(pattern)


def test_has_wildcards() -> None:
    assert [has_wildcards(p) for p in ("a", "a*", r"a\*", r"a\\*", "[a]", "?")] == [
        False,
        True,
        False,
        True,
        True,
        True,
    ]
