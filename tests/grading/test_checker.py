"""Who answers in a sandbox: the engine that its first process started, and nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from labkernel.grading.sandbox.checker import expect_engine

LISTEN = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(os.getpid(), flush=True)
listener.accept()[0].recv(1)
"""
NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child"]


@pytest.mark.parametrize(("depth", "passes"), [(0, False), (1, True), (2, False)])
def test_only_the_wardens_child_is_the_engine(root: None, tmp_path: Path, depth: int, passes: bool) -> None:
    """A container's process may have the number that the engine has, one namespace above."""
    command = [*NAMESPACE * depth, sys.executable, "-c", LISTEN, str(tmp_path / "socket")]
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        assert process.stdout
        number = int(process.stdout.readline())
        connection.connect(str(tmp_path / "socket"))
        if passes:
            expect_engine(connection, number, processes)
        with pytest.raises(RuntimeError, match="another program answers"):
            expect_engine(connection, number + passes, processes)
    os.close(processes)
