"""TCP with TLS, or not at all: what is refused, in which words."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from labkernel.engine.errors import Conflict, InvalidParameter
from labkernel.engine.listeners import Tls, listen_tcp
from tests.support.certificates import make_authority, make_certificate


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    make_certificate(make_authority(directory / "authority"), directory / "server")
    (directory / "server/text.pem").write_text("no certificate")
    return directory / "server"


@pytest.mark.parametrize(
    ("names", "verify", "message"),
    [
        (("", "", ""), False, "TCP is offered with TLS only"),
        (("cert.pem", "", ""), False, "TCP is offered with TLS only"),
        (("", "", "ca.pem"), True, "TCP is offered with TLS only"),
        (("cert.pem", "key.pem", ""), True, "--tlsverify and --tlscacert go together"),
        (("cert.pem", "key.pem", "ca.pem"), False, "--tlsverify and --tlscacert go together"),
        (("none.pem", "key.pem", ""), False, "No such file or directory"),
        (("ca.pem", "key.pem", ""), False, "could not load X509 key pair"),
        (("text.pem", "key.pem", ""), False, "could not load X509 key pair"),
        (("cert.pem", "key.pem", "text.pem"), True, "could not read CA certificate"),
    ],
)
def test_what_is_no_tls(files: Path, names: tuple[str, str, str], verify: bool, message: str) -> None:
    certificate, key, authority = (str(files / name) if name else "" for name in names)
    with pytest.raises(InvalidParameter, match=message):
        Tls(certificate, key, authority, verify).context("tcp://127.0.0.1:2376")


@pytest.mark.parametrize(
    "host", ["tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:0/path", "udp://127.0.0.1:0"]
)
def test_what_is_no_address(host: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid bind address"):
        listen_tcp(host)


def test_a_port_that_is_taken() -> None:
    with listen_tcp("tcp://127.0.0.1:0") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(Conflict, match=f"listen tcp 127.0.0.1:{port}: bind: address already in use"):
            listen_tcp(f"tcp://127.0.0.1:{port}")


def test_what_is_left_out_is_this_machine_only() -> None:
    with listen_tcp("tcp://:0") as listener:
        assert (listener.family, listener.getsockname()[0]) == (socket.AF_INET, "127.0.0.1")
