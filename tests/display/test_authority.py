from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from labkernel.display.authority import authority, cookie_in, new_cookie


def test_xauth_reads_it(tmp_path: Path) -> None:
    cookie = new_cookie()
    (tmp_path / "file").write_bytes(authority(cookie, 7))
    listed = subprocess.run(
        ["xauth", "-f", str(tmp_path / "file"), "list"], capture_output=True, text=True, check=True
    )
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["#ffff##:7", "MIT-MAGIC-COOKIE-1", cookie.hex()],
        [f"{socket.gethostname()}/unix:7", "MIT-MAGIC-COOKIE-1", cookie.hex()],
    ]
    assert cookie_in((tmp_path / "file").read_bytes()) == cookie


@pytest.mark.parametrize("content", [b"", b"x" * 100])
def test_another_file_has_no_cookie(content: bytes) -> None:
    with pytest.raises(ValueError, match="no cookie"):
        cookie_in(content)
