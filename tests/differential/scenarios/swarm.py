"""What belongs to more than one host: asked of a node that is in no swarm and has no plugins."""

from __future__ import annotations

from typing import Any

from tests.differential.recorder import Recorder


def no_swarm(api: Recorder) -> None:
    for kind in ("nodes", "services", "tasks", "secrets", "configs"):
        api.get(f"list {kind}", f"/{kind}")
        api.get(f"inspect {kind}", f"/{kind}/one")
    for kind in ("nodes", "services", "secrets", "configs"):
        api.delete(f"remove {kind}", f"/{kind}/one")
        api.post(f"update {kind}", f"/{kind}/one/update?version=1", {})
    made: dict[str, dict[str, Any]] = {
        "services": {"Name": "a", "TaskTemplate": {}},
        "secrets": {"Name": "a", "Data": "eA=="},
        "configs": {"Name": "a", "Data": "eA=="},
    }
    for kind, body in made.items():
        api.post(f"create {kind}", f"/{kind}/create", body)
    for kind in ("services", "tasks"):
        api.get(f"logs of {kind}", f"/{kind}/one/logs?stdout=1")
    api.get("swarm", "/swarm")
    api.get("unlock key", "/swarm/unlockkey")
    api.post("unlock", "/swarm/unlock", {"UnlockKey": "x"})
    api.post("update", "/swarm/update?version=1", {})
    api.post("leave", "/swarm/leave")


def no_plugins(api: Recorder) -> None:
    api.get("list", "/plugins")
    api.get("inspect", "/plugins/one/json")
    for verb in ("enable?timeout=0", "disable"):
        api.post(verb, f"/plugins/one/{verb}")
    api.delete("remove", "/plugins/one")
