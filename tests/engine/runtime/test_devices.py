"""The host's devices, as containers are given them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.runtime.devices import all_host_devices, host_devices
from labkernel.engine.runtime.spec import Device
from tests.engine.runtime.lab import Lab


def test_one_device() -> None:
    assert host_devices("/dev/full", "/dev/mine", "r") == [
        Device("/dev/mine", "c", 1, 7, mode=0o666, uid=0, gid=0, permissions="r")
    ]


def test_a_directory_of_devices(root: None, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "file").touch()
    os.mknod(tmp_path / "deep" / "node", 0o060640, os.makedev(7, 99))
    found = host_devices(str(tmp_path), "/dev/lab")
    assert [(device.path, device.type, device.major, device.minor) for device in found] == [
        ("/dev/lab/deep/node", "b", 7, 99)
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/no/such",
            'while adding custom device "/no/such": no such file',
        ),
        ("/etc/passwd", 'custom device "/etc/passwd": not a device node'),
    ],
)
def test_no_device(path: str, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        host_devices(path)


def test_all_of_them() -> None:
    paths = {device.path for device in all_host_devices()}
    assert "/dev/null" in paths
    assert not any(path.startswith("/dev/pts/") for path in paths)


def test_a_device_inside(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "ls -l /dev/lab/mine; head -c2 /dev/lab/mine | wc -c",
        devices=host_devices("/dev/zero", "/dev/lab/mine"),
    )
    assert ended.output.startswith("crw-rw-rw-")
    assert ended.output.endswith("\n2\n")


def test_a_privileged_container_has_them_all(box: Lab) -> None:
    ended = box.run("ls", "/dev", privileged=True, devices=all_host_devices())
    names = {device.path.split("/")[2] for device in all_host_devices()}
    assert names <= set(ended.output.split())
