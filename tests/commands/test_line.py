from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands import CommandError, parse, split_line

ENVIRON = {"HOME": "/home/me", "NAME": "web", "SPACED": "a  b", "EMPTY": ""}


def split(text: str) -> list[str]:
    ran: list[list[str]] = []

    def nested(words: list[str]) -> str:
        ran.append(words)
        return "0123456789ab\n"

    words = split_line(text, nested=nested, environ=ENVIRON, directory="/work dir")
    return [*words, *(f"ran:{' '.join(each)}" for each in ran)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("docker ps -a", ["docker", "ps", "-a"]),
        ('run busybox echo "Hello World"', ["run", "busybox", "echo", "Hello World"]),
        (
            "run -d busybox sh -c 'while true; do echo \"hello\"; sleep 1; done;'",
            ["run", "-d", "busybox", "sh", "-c", 'while true; do echo "hello"; sleep 1; done;'],
        ),
        ("run -v $(pwd):/src x", ["run", "-v", "/work", "dir:/src", "x"]),
        ('run -v "$(pwd)":/src x', ["run", "-v", "/work dir:/src", "x"]),
        ("run -v `pwd`/a x", ["run", "-v", "/work", "dir/a", "x"]),
        ("run \\\n  -d \\\n  x", ["run", "-d", "x"]),
        ("a \\ b", ["a", " b"]),
        ("a\\ b", ["a b"]),
        ("$NAME ${NAME}s '$NAME' \"$NAME\"", ["web", "webs", "$NAME", "web"]),
        ('$EMPTY a "$EMPTY"', ["a", ""]),
        ("x$SPACED", ["xa", "b"]),
        ('"$SPACED"', ["a  b"]),
        ("~ ~/x a~ '~'", ["/home/me", "/home/me/x", "a~", "~"]),
        ("ps # the newest", ["ps"]),
        ("a#b", ["a#b"]),
        ("'' \"\"", ["", ""]),
        ("a'b'\"c\"d", ["abcd"]),
        ('"\\$NAME \\" \\x"', ['$NAME " \\x']),
        ("cost: 5$", ["cost:", "5$"]),
        ("commit `docker ps -q -l` me/x", ["commit", "0123456789ab", "me/x", "ran:ps -q -l"]),
        ('stop "$(docker ps -lq)"', ["stop", "0123456789ab", "ran:ps -lq"]),
        ("inspect -f '{{.State.Status}}' $(docker ps -q -f name=$NAME)", None),
    ],
)
def test_a_slides_line(text: str, words: list[str] | None) -> None:
    if words is None:
        words = ["inspect", "-f", "{{.State.Status}}", "0123456789ab", "ran:ps -q -f name=web"]
    assert split(text) == words


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("ps | grep web", "`|` is a pipe"),
        ("logs web > file", "`>` is a redirection"),
        ("build - < Dockerfile", "`<` is a redirection"),
        ("ps; ls", "`;` is a second command"),
        ("run x && ls", "`&` is a background job"),
        ("run $(ls)", "only pwd and docker commands"),
        ("run `whoami`", "only pwd and docker commands"),
        ("run $((1+1))", "arithmetic"),
        ("run ${A:-b}", "only plain variable names"),
    ],
)
def test_what_needs_a_shell_is_refused_with_the_way_to_have_one(text: str, what: str) -> None:
    with pytest.raises(CommandError) as raised:
        split(text)
    assert what in raised.value.what
    assert raised.value.hint == f"a shell can do this: !docker {text}"


@pytest.mark.parametrize("text", ["for i in 1 2; do", "curl localhost | wc", "A=1; run x", "echo a > b"])
def test_a_shells_line_is_not_dockers(text: str) -> None:
    with pytest.raises(CommandError) as raised:
        split(text)
    wanted = f"`{text.split()[0]}` is for a shell: in a notebook put ! before the line"
    assert (raised.value.hint or "").startswith(wanted)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["cd", "app"], "in a notebook `%cd DIRECTORY` goes there, and stays"),
        (["sleep", "3"], "`sleep` is for a shell"),
        (["NAME=web"], "`NAME=web` is for a shell"),
        (["rn", "busybox"], "did you mean `docker run`?"),
    ],
)
def test_a_shells_command_is_not_dockers(words: list[str], hint: str) -> None:
    with pytest.raises(CommandError) as raised:
        parse(words)
    assert hint in (raised.value.hint or "")


def test_without_a_docker_client_our_own_stands_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError) as raised:
        split("ps | wc -l")
    assert raised.value.hint == "a shell can do this: !labkernel docker ps | wc -l"


@pytest.mark.parametrize("text", ["run 'x", 'run "x', "run `pwd", "run $(pwd", 'run "$(pwd"'])
def test_an_open_quote_is_an_error(text: str) -> None:
    with pytest.raises(CommandError, match="never closed"):
        split(text)


@given(st.lists(st.text()))
def test_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    line = shlex.join(words)
    assert split_line(line, environ={}, directory="/") == words


@given(st.text())
def test_any_text_gives_words_or_the_one_error(text: str) -> None:
    with contextlib.suppress(CommandError):
        assert all(isinstance(word, str) for word in split_line(text, environ={}, directory="/"))


def test_a_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(CommandError, match="the directory that this runs in is gone") as caught:
        split_line("ps")
    assert "%cd" in str(caught.value.hint)
