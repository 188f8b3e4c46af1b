from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.engine.build import users
from labkernel.engine.build.rootfs import Rootfs
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.whiteouts import Overlay


@pytest.fixture
def rootfs(tmp_path: Path) -> Rootfs:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:\nme:x:1000:5::/:\nbroken\nworse:x:y:z\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nwe:x:100:me\nme:x:7:\n")
    return Rootfs([tmp_path], overlay=Overlay(userxattr=False))


@pytest.mark.parametrize(
    ("text", "owner"),
    [("me", (1000, 7)), ("me:we", (1000, 100)), ("5", (5, 5)), ("5:we", (5, 100)), ("me:9", (1000, 9))],
)
def test_owners(rootfs: Rootfs, text: str, owner: tuple[int, int]) -> None:
    assert users.owner(text, rootfs) == owner


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no", "can't find uid for user no: no such user: no"),
        ("me:no", "can't find gid for group no: no such group: no"),
        ("worse", "can't find uid for user worse: no such user: worse"),
        ("a:b:c", "invalid chown string format: a:b:c"),
        ("", "can't find uid for user : no such user: "),
    ],
)
def test_unknown_owners(rootfs: Rootfs, text: str, reason: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        users.owner(text, rootfs)
    assert caught.value.message == f"unable to convert uid/gid chown string to host mapping: {reason}"


def test_an_image_without_users_knows_numbers(tmp_path: Path) -> None:
    empty = Rootfs([tmp_path], overlay=Overlay(userxattr=False))
    assert users.owner("1:2", empty) == (1, 2)
    with pytest.raises(InvalidParameter, match="no such user"):
        users.owner("root", empty)
