"""`docker update`: what a request changes of a container's HostConfig, and what it may not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labkernel.engine.containers import config as container_config
from labkernel.engine.containers import field_types
from labkernel.engine.errors import Conflict, InvalidParameter

_UPDATABLE = frozenset(
    (
        "BlkioWeight CpuShares CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus "
        "CpusetMems Memory MemorySwap MemoryReservation KernelMemory PidsLimit NanoCpus RestartPolicy"
    ).split()
)
UNLIMITED = -1
"""A PidsLimit that takes a limit away."""
_EXCLUSIVE = (
    ("NanoCpus", "CpuPeriod", "Nano CPUs cannot be updated as CPU Period has already been set"),
    ("NanoCpus", "CpuQuota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ("CpuPeriod", "NanoCpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
    ("CpuQuota", "NanoCpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
)


def changes(
    container_id: str, config: Mapping[str, Any], host_config: Mapping[str, Any], body: dict[str, Any]
) -> dict[str, Any]:
    """The fields that a body changes: zero and "" leave a field as it is, but for PidsLimit.

    As dockerd, values are checked by themselves first, and then against those that stay.

    Raises:
        InvalidParameter: a value makes no sense.
        Conflict: it does not go together with what the container has.
    """
    field_types.check(body, field_types.UPDATE)
    changed = {key: value for key, value in body.items() if key in _UPDATABLE and value not in (None, 0, "")}
    if body.get("PidsLimit") is not None:
        changed["PidsLimit"] = body["PidsLimit"] if body["PidsLimit"] > 0 else UNLIMITED
    if "RestartPolicy" in changed:
        given = {key: value for key, value in changed["RestartPolicy"].items() if value is not None}
        changed["RestartPolicy"] = {"Name": "", "MaximumRetryCount": 0} | given
    alone = {**container_config.HOST_CONFIG, **changed}
    if "Memory" not in changed:
        alone["MemorySwap"] = 0  # good without Memory here, other than for a container that is made
    container_config.validate(config, alone)
    if 0 < changed.get("MemorySwap", 0) < changed.get("Memory", host_config["Memory"]):
        raise InvalidParameter("Minimum memoryswap limit should be larger than memory limit, see usage")
    if reason := _conflict(host_config, changed):
        raise Conflict(f"Cannot update container {container_id}: {reason}")
    if not changed.get("RestartPolicy", {"Name": "unchanged"})["Name"]:
        del changed["RestartPolicy"]
    return changed


def _conflict(host_config: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    for key, other, reason in _EXCLUSIVE:
        if changed.get(key, 0) > 0 and host_config[other] > 0:
            return f"Conflicting options: {reason}"
    memory, swap = changed.get("Memory"), host_config["MemorySwap"]
    if memory is not None and memory > swap and "MemorySwap" not in changed:
        return (
            "Memory limit should be smaller than already set memoryswap limit, "
            "update the memoryswap at the same time"
        )
    if host_config["AutoRemove"] and changed.get("RestartPolicy", {}).get("Name") not in (None, "", "no"):
        return "Restart policy cannot be updated because AutoRemove is enabled for the container"
    return ""
