"""What `docker update` may change; beside dockerd in tests/differential/scenarios/life.py."""

from __future__ import annotations

from typing import Any

import pytest

from labkernel.engine.containers.config import CONTAINER_CONFIG, HOST_CONFIG
from labkernel.engine.containers.updating import UNLIMITED, changes
from labkernel.engine.errors import Conflict, EngineError, InvalidParameter

MIB = 1 << 20


def changed(body: dict[str, Any], **host_config: Any) -> dict[str, Any]:
    return changes("box", CONTAINER_CONFIG, {**HOST_CONFIG, **host_config}, body)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, {}),
        ({"Memory": 0, "CpusetCpus": "", "RestartPolicy": {}, "PidsLimit": None}, {}),
        ({"PidsLimit": 0}, {"PidsLimit": UNLIMITED}),
        ({"PidsLimit": 5, "ShmSize": 5}, {"PidsLimit": 5}),
        ({"RestartPolicy": {"Name": "no"}}, {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}}),
        ({"memory": 8 * MIB, "MemorySwap": -1}, {"Memory": 8 * MIB, "MemorySwap": -1}),
    ],
)
def test_changes(body: dict[str, Any], found: dict[str, Any]) -> None:
    assert changed(body) == found


@pytest.mark.parametrize(
    ("body", "host_config", "kind", "words"),
    [
        ({"NanoCpus": 10**9}, {"CpuQuota": 5000}, Conflict, "Nano CPUs cannot be updated as CPU Quota"),
        ({"CpuPeriod": 5000}, {"NanoCpus": 10**9}, Conflict, "CPU Period cannot be updated as NanoCPUs"),
        ({"Memory": 8 * MIB}, {"MemorySwap": 7 * MIB}, Conflict, "update the memoryswap at the same time"),
        ({"MemorySwap": 7 * MIB}, {"Memory": 8 * MIB}, InvalidParameter, "larger than memory limit"),
        ({"RestartPolicy": {"Name": "always"}}, {"AutoRemove": True}, Conflict, "AutoRemove is enabled"),
        ({"RestartPolicy": {"Name": "x"}}, {}, InvalidParameter, "invalid restart policy"),
        ({"Memory": 1000}, {}, InvalidParameter, "Minimum memory limit"),
    ],
)
def test_refused(
    body: dict[str, Any], host_config: dict[str, Any], kind: type[EngineError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        changed(body, **host_config)
