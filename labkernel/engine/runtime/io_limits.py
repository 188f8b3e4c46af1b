"""Limits of reading from and writing to single devices: `linux.resources.blockIO`'s throttle lists as the
control groups take them. Pure.

Source: OCI runtime-spec, config-linux.md, "Block IO"; the kernel's blkio-controller and cgroup-v2 documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# runtime-spec's list, v1's file, v2's key in io.max, Docker's words for it.
_KINDS = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", "BPS Block I/O read"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", "BPS Block I/O write"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", "IOPS Block read"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", "IOPS Block write"),
)
_LACKING = "or the cgroup is not mounted."
MISSING = {
    file: f"Your kernel does not support {words} limit or the cgroup is not mounted. {words} limit discarded."
    for _, file, _, words in _KINDS
} | {
    "io.max": "Your kernel does not support Block I/O limits or the cgroup is not mounted. Limits discarded."
}
"""What is said where there is no controller for them, by file."""


def v1_settings(block_io: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(controller, file, value)."""
    return [
        ("blkio", file, f"{device['major']}:{device['minor']} {device['rate']}")
        for name, file, _, _ in _KINDS
        for device in block_io.get(name, ())
    ]


def v2_settings(block_io: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The same for v2, where all that limits one device is one line."""
    lines: dict[str, str] = {}
    for name, _, key, _ in _KINDS:
        for device in block_io.get(name, ()):
            number = f"{device['major']}:{device['minor']}"
            lines[number] = lines.get(number, number) + f" {key}={device['rate']}"
    return [("io", "io.max", line) for line in lines.values()]
