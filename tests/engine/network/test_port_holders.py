from __future__ import annotations

import os
import socket
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.network.port_holders import holder_of, processes_with, socket_inodes

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:0 0 0 0 4711 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:0 0 0 0 4712 1
   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:0 0 0 0 4713 1
   3: garbage
"""


def test_the_table_is_read() -> None:
    assert socket_inodes(TABLE, 8080, "tcp") == {"4711"}
    assert socket_inodes(TABLE, 80, "tcp") == {"4713"}
    assert socket_inodes(TABLE, 8080, "udp") == {"4711", "4712"}
    assert socket_inodes(TABLE, 81, "tcp") == set()
    assert socket_inodes("", 80, "tcp") == set()


@given(st.text())
def test_any_text_is_a_table(text: str) -> None:
    socket_inodes(text, 80, "tcp")


def test_a_listening_process_is_named() -> None:
    name = Path("/proc/self/comm").read_text().strip()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert holder_of(port, "tcp") == f"process {name} (pid {os.getpid()})"
    assert holder_of(port, "tcp") == "another program"


def test_an_udp_socket_too() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        assert f"pid {os.getpid()}" in holder_of(server.getsockname()[1], "udp")


def test_processes_that_cannot_be_looked_into_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "12" / "fd").mkdir(parents=True)
    (tmp_path / "12" / "comm").write_text("nginx\n")
    (tmp_path / "12" / "fd" / "3").symlink_to("socket:[99]")
    (tmp_path / "13").mkdir()
    (tmp_path / "self").mkdir()
    assert processes_with({"99"}, tmp_path) == [(12, "nginx")]
