"""The access list, in both directions beside the real xhost."""

from __future__ import annotations

import os
import subprocess

import pytest

from labkernel.display import DisplayError, Screen, access, change_access, connect

# Each word, and the one that takes it back.
WORDS = [("+", "-"), ("+si:localuser:nobody", "-si:localuser:nobody"), ("+local:", "-local:")]


def xhost(screen: Screen, *words: str) -> str:
    environment = {**os.environ, **screen.environment}
    return subprocess.run(
        ["xhost", *words], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def can_connect(screen: Screen) -> bool:
    """Whether a program of this user that has no cookie is let in."""
    environment = {**os.environ, "DISPLAY": screen.name, "XAUTHORITY": "/nonexistent"}
    ended = subprocess.run(["xhost"], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 or "unable to open display" in ended.stderr
    return ended.returncode == 0


def test_without_a_cookie_nobody_is_let_in_at_first(screen: Screen) -> None:
    assert not can_connect(screen)
    with connect(screen) as connection:
        assert access(connection).is_controlled
        assert access(connection).allowed == ()
        change_access(connection, "+")
        assert can_connect(screen)
        change_access(connection, "-")
        assert not can_connect(screen)
        change_access(connection, "+si:localuser:root")
        assert can_connect(screen)


@pytest.mark.parametrize(("word", "back"), WORDS)
def test_it_says_what_xhost_says(screen: Screen, word: str, back: str) -> None:
    with connect(screen) as connection:
        for step in (word, back):
            ours = change_access(connection, step)
            listed = str(access(connection))
            assert listed == xhost(screen)
            change_access(connection, back if step == word else word)
            assert xhost(screen, step) == ours
            assert str(access(connection)) == listed


def test_addresses_are_listed_as_xhost_lists_them(screen: Screen) -> None:
    xhost(screen, "+inet:192.0.2.1", "+inet6:2001:db8::1")
    with connect(screen) as connection:
        assert set(access(connection).allowed) == {"INET:192.0.2.1", "INET6:2001:db8::1"}


def test_a_host_is_refused_with_what_can_be_done(screen: Screen) -> None:
    with (
        connect(screen) as connection,
        pytest.raises(DisplayError, match="bad hostname") as caught,
    ):
        change_access(connection, "+example.com")
    assert "+si:localuser:NAME" in str(caught.value.hint)
