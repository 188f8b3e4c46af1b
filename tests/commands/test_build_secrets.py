from __future__ import annotations

import socket
from pathlib import Path

import pytest

from labkernel.commands import CommandError
from labkernel.commands.build_secrets import secret_headers
from tests.commands.conftest import Commands

DOCKERFILE = b"""FROM busybox
RUN --mount=type=secret,id=file,required md5sum /run/secrets/file
RUN --mount=type=secret,id=variable,env=X printf %s "$X" | md5sum
RUN --mount=type=ssh,required ls $SSH_AUTH_SOCK
"""


def test_secrets_and_agents(run: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"hello\n")
    monkeypatch.setenv("VARIABLE", "hello")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        flags = (
            *("--secret", f"id=file,src={tmp_path}/file", "--secret", "id=variable,env=VARIABLE"),
            *("--ssh", "default"),
        )
        if run.daemon.kind == "dockerd":
            with pytest.raises(CommandError) as caught:
                run("build", *flags, "-", stdin=DOCKERFILE)
            assert caught.value.what == "--secret: this engine's builder has no way to take it"
            assert "docker buildx build" in (caught.value.hint or "")
            return
        said = run("build", *flags, "-", stdin=DOCKERFILE).printed
    assert "b1946ac92492d2347c6235b4d2611184  /run/secrets/file" in said
    assert "5d41402abc4b2a76b9719d911017c592  -" in said
    assert "/run/buildkit/ssh_agent.0" in said


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("id=x,src=/absent", "failed to stat /absent: no such file or directory"),
        ("x", "invalid field 'x' must be a key=value pair"),
        ("id=x,file=y", "unexpected key 'file' in 'file=y'"),
        ("src=y", "secret missing ID"),
        ("id=x,type=other", 'unsupported secret type "other"'),
        ("id=x,src=/dev/zero/x", "failed to stat /dev/zero/x: not a directory"),
    ],
)
def test_secrets_that_make_no_sense(secret: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        secret_headers(None, [secret], [])  # type: ignore[arg-type]
    assert (caught.value.what, bool(caught.value.hint)) == (message, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default", "invalid empty ssh agent socket, make sure SSH_AUTH_SOCK is set"),
        ("default=/absent", "--ssh: /absent does not exist"),
        ("key=/etc/passwd", "--ssh: /etc/passwd is no socket of an SSH agent"),
    ],
)
def test_agents_that_are_none(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(CommandError) as caught:
        secret_headers(None, [], [text])  # type: ignore[arg-type]
    assert (caught.value.what, bool(caught.value.hint)) == (message, True)


def test_a_secret_too_big(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(500 * 1024 + 1))
    with pytest.raises(CommandError, match=r"secret x too big\. max size 500KB"):
        secret_headers(None, [f"id=x,src={tmp_path}/file"], [])  # type: ignore[arg-type]
