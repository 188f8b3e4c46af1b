"""Users and groups by a container's own files, which may hold anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.runtime.launcher.story import Refused
from labkernel.engine.runtime.launcher.users import read_database, resolve

PASSWD = """root:x:0:0:root:/root:/bin/sh
no colons here
short:x:7
bad:x:number:1::/:/bin/sh
web:x:33:44::/srv:/bin/sh
404:x:55:66::/named-like-a-number:/bin/sh
huge:x:99999999999:1::/:/bin/sh
"""
GROUP = """root:x:0:
web:x:44:
staff:x:50:root,web
audio:x:29:web
:::
bad:x:y:web
"""


@pytest.mark.parametrize(
    ("user", "extra", "uid", "gid", "groups", "home"),
    [
        ("", [], 0, 0, [0, 50], "/root"),
        ("root", [], 0, 0, [0, 50], "/root"),
        ("0", [], 0, 0, [0, 50], "/root"),
        ("web", [], 33, 44, [44, 50, 29], "/srv"),
        ("33", [], 33, 44, [44, 50, 29], "/srv"),
        ("web:staff", [], 33, 50, [50], "/srv"),
        ("web:7", [], 33, 7, [7], "/srv"),
        (":staff", [], 0, 50, [50], "/root"),
        ("1000", [], 1000, 0, [0], "/"),
        ("1000:1001", ["audio", "12"], 1000, 1001, [1001, 29, 12], "/"),
        ("404", [], 55, 66, [66], "/named-like-a-number"),
    ],
)
def test_resolve(user: str, extra: list[str], uid: int, gid: int, groups: list[int], home: str) -> None:
    found = resolve(user, extra, PASSWD, GROUP)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("huge", "unable to find user huge"),
        ("-1", "unable to find user -1"),
        ("web:none", "unable to find group none: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        ("²", "unable to find user"),
    ],
)
def test_unknown(user: str, message: str) -> None:
    with pytest.raises(Refused, match=message) as caught:
        resolve(user, [], PASSWD, GROUP)
    assert caught.value.kind == "bad_user"


@given(st.text(max_size=12), st.text(), st.text())
def test_any_text_is_an_identity_or_a_refusal(user: str, passwd: str, group: str) -> None:
    try:
        found = resolve(user, [], passwd, group)
    except Refused:
        return
    assert 0 <= found.uid < 2**31
    assert all(0 <= gid < 2**31 for gid in found.groups)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("root")
    assert read_database(str(tmp_path / "fifo")) == ""
    assert read_database(str(tmp_path)) == ""
    assert read_database(str(tmp_path / "none")) == ""
    assert read_database(str(tmp_path / "file")) == "root"
