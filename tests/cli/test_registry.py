"""labkernel registry serve, as a process."""

from __future__ import annotations

import http.client
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import LABKERNEL


def serve(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LABKERNEL, "registry", "serve", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def address(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def get(domain: str, path: str) -> int:
    connection = http.client.HTTPConnection(domain, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_until_it_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    process = serve("--root", str(tmp_path / "new"), "--host", "127.0.0.1:0")
    domain = address(process)
    assert domain.startswith("127.0.0.1:")
    assert get(domain, "/v2/") == 200
    process.send_signal(number)
    assert process.wait(10) == 0
    assert process.communicate() == ("", "")


def test_a_second_one(tmp_path: Path) -> None:
    first = serve("--root", str(tmp_path / "one"), "--host", "127.0.0.1:0")
    domain = address(first)
    try:
        second = serve("--root", str(tmp_path / "one"), "--host", "127.0.0.1:0")
        assert f"another registry works on {tmp_path}/one\n" in second.communicate(timeout=20)[1]
        assert second.returncode == 1
        third = serve("--root", str(tmp_path / "two"), "--host", domain)
        assert f"{domain}: address already in use\n" in third.communicate(timeout=20)[1]
        assert third.returncode == 1
    finally:
        first.terminate()
        first.communicate(timeout=10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "nonsense"], "nonsense is not an address to listen on"),
        (["--host", "127.0.0.1:99999"], "127.0.0.1:99999 is not an address to listen on"),
        (["--host", "192.0.2.1:0"], "192.0.2.1:0: cannot assign requested address"),
        (["--host", "127.0.0.1:0", "--root", "/dev/null/x"], "/dev/null/x: not a directory"),
    ],
)
def test_what_it_cannot_do(words: list[str], said: str) -> None:
    process = serve(*words)
    errors = process.communicate(timeout=20)[1]
    assert process.returncode == 1
    assert errors.startswith(f"{said}\n")
    assert "Traceback" not in errors


def test_open_to_everybody_only_when_asked_for(tmp_path: Path) -> None:
    process = serve("--root", str(tmp_path), "--host", "0.0.0.0:0")
    assert address(process).startswith("0.0.0.0:")
    process.terminate()
    assert "open to everybody who reaches it" in process.communicate(timeout=10)[1]
