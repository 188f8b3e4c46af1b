from __future__ import annotations

from typing import Any

from labkernel.engine.runtime.io_limits import v1_settings, v2_settings

_BLOCK_IO: dict[str, Any] = {
    "throttleReadBpsDevice": [
        {"major": 8, "minor": 0, "rate": 1000},
        {"major": 8, "minor": 16, "rate": 2000},
    ],
    "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}],
}


def test_v1_has_a_file_for_each_kind() -> None:
    assert v1_settings(_BLOCK_IO) == [
        ("blkio", "blkio.throttle.read_bps_device", "8:0 1000"),
        ("blkio", "blkio.throttle.read_bps_device", "8:16 2000"),
        ("blkio", "blkio.throttle.write_iops_device", "8:0 5"),
    ]


def test_v2_has_a_line_for_each_device() -> None:
    assert v2_settings(_BLOCK_IO) == [
        ("io", "io.max", "8:0 rbps=1000 wiops=5"),
        ("io", "io.max", "8:16 rbps=2000"),
    ]


def test_no_limits() -> None:
    assert v1_settings({}) == []
    assert v2_settings({"weight": 5}) == []
