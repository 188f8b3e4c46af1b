from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from labkernel.commands import CommandError, connect, execute, parse
from labkernel.commands.errors import explain, nearest
from tests.commands.conftest import Commands, Ran
from tests.support.daemons import Daemon


def test_the_block() -> None:
    error = CommandError("what", where="docker ps", why="because", hint="do this")
    assert str(error) == "what\nwhere: docker ps\nwhy:   because\nhint:  do this"
    assert str(CommandError("what")) == "what"
    assert error._render_traceback_() == [str(error)]


def test_the_nearest_word() -> None:
    assert nearest("busybx", ["busybox", "debian"]) == "busybox"
    assert nearest("xyzzy", ["busybox", "debian"]) is None


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("unix:///nonexistent.sock", "Cannot connect to the Docker daemon at unix:///nonexistent.sock"),
        ("tcp://127.0.0.1:1", "Cannot connect to the Docker daemon at tcp://127.0.0.1:1"),
        ("nope://x", "Invalid bind address protocol"),
        ("tcp://127.0.0.1:port", "port"),
    ],
)
def test_no_engine_there(host: str, what: str) -> None:
    with pytest.raises(CommandError) as raised:
        connect(host)
    assert what in raised.value.what


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("unix:///nonexistent.sock", "after `unset DOCKER_HOST` commands use labkernel's own engine"),
        (None, "without -H commands use labkernel's own engine"),
    ],
)
def test_the_way_back_to_our_own_engine(
    monkeypatch: pytest.MonkeyPatch, named: str | None, hint: str
) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if named:
        monkeypatch.setenv("DOCKER_HOST", named)
    for host in (named or "unix:///nonexistent.sock", "bogus"):
        with pytest.raises(CommandError) as raised:
            connect(host)
        assert hint in (raised.value.hint or "")


def test_what_our_own_engine_advises_is_shown(engine: Daemon) -> None:
    """In an answer, and at the end of a stream; the marked lines of a Dockerfile are shown otherwise."""
    run = Commands(engine)
    with pytest.raises(CommandError, match='plugin "pigeon" not found') as raised:
        run("network", "create", "-d", "pigeon", "mine")
    assert raised.value.hint == "the network driver offered is bridge"
    with pytest.raises(CommandError, match="is not a directory") as raised:
        run("build", "-", stdin=b"FROM busybox\nWORKDIR /etc/passwd\n")
    assert raised.value.hint == "WORKDIR needs a folder, or a name not yet in use"
    run.client.close()
    engine.clear()


def test_any_other_exception_is_a_block_too() -> None:
    error = explain(ZeroDivisionError("division by zero"), "docker ps")
    assert error.what == "unexpected ZeroDivisionError: division by zero"
    assert error.hint
    error = explain(FileNotFoundError(2, "No such file or directory", "x"), "docker ps")
    assert error.what == "x: no such file or directory"


class BrokenEngine(threading.Thread):
    """Answers every request on a unix socket with the same bytes, then hangs up."""

    def __init__(self, path: Path, answers: list[bytes]) -> None:
        super().__init__(daemon=True)
        self.answers = answers
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()

    def run(self) -> None:
        for answer in self.answers:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[1]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnot JSON",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nplop",
        b"garbage\r\n\r\n",
    ],
)
def test_an_engine_that_answers_nonsense_gets_a_block_and_no_traceback(tmp_path: Path, answer: bytes) -> None:
    body = b'{"ApiVersion": "1.41"}'
    version = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    BrokenEngine(tmp_path / "s", [version, *[answer] * 9]).start()
    client = connect(f"unix://{tmp_path}/s")
    with pytest.raises(CommandError) as raised:
        execute(client, parse(["ps"]), Ran())
    assert raised.value.where == "docker ps"


def test_hints_ask_the_engine(run: Commands) -> None:
    run("create", "--name", "web", "busybox")
    for words, hint in [
        (["start", "wbe"], "did you mean `web`?"),
        (["inspect", "busibox"], "did you mean `busybox`?"),
        (["history", "xyzzy"], "images here: busybox"),
        (["logs", "xyzzy"], "`docker ps -a` lists the containers"),
        (["create", "--name", "!", "busybox"], "a name has two characters at least"),
        (["create", "--name", "web", "busybox"], "(created) has this name"),
        (["ps", "-f", "nope"], "a filter is KEY=VALUE"),
    ]:
        with pytest.raises(CommandError) as raised:
            run(*words)
        assert hint in (raised.value.hint or ""), words
