"""Ping, version, info, events, disk usage."""

from __future__ import annotations

import asyncio
import json
import os
import platform
from collections.abc import AsyncGenerator
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from labkernel.engine.api.router import API_VERSION, MINIMUM_API_VERSION
from labkernel.engine.containers.log_options import DRIVERS
from labkernel.engine.engine import Engine
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.http.server import Answer, Request, Response, StreamResponse
from labkernel.engine.image.config import architecture
from labkernel.engine.timestamps import parse_nanoseconds, rfc3339

VERSION = package_version("labkernel")
_API = "{}.{}".format(*API_VERSION)
_MINIMUM_API = "{}.{}".format(*MINIMUM_API_VERSION)
HEADERS = {
    "Api-Version": _API,
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"labkernel/{VERSION} (linux)",
}
"""What goes with every answer. Clients take Api-Version for what they may use."""


async def ping(engine: Engine, request: Request) -> Answer:
    """Builder-Version 1: a client without buildx then uses `POST /build`."""
    headers = {
        "Builder-Version": "1",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
        "Swarm": "inactive",
    }
    return Response(200, b"OK", "text/plain; charset=utf-8", headers)


async def version(engine: Engine, request: Request) -> Answer:
    kernel = platform.release()
    details = {
        "ApiVersion": _API,
        "Arch": architecture(),
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel,
        "MinAPIVersion": _MINIMUM_API,
        "Os": "linux",
        "PythonVersion": platform.python_version(),
    }
    return Response.json(
        {
            "Platform": {"Name": "labkernel"},
            "Components": [{"Name": "Engine", "Version": VERSION, "Details": details}],
            "Version": VERSION,
            "ApiVersion": _API,
            "MinAPIVersion": _MINIMUM_API,
            "GitCommit": "",
            "GoVersion": "",
            "Os": "linux",
            "Arch": architecture(),
            "KernelVersion": kernel,
            "BuildTime": "",
        }
    )


async def info(engine: Engine, request: Request) -> Answer:
    states = [container.state for container in engine.containers.all()]
    running = sum(state.running and state.status != "paused" for state in states)
    paused = sum(state.status == "paused" for state in states)
    cgroups = engine.launcher.cgroup_version
    limits = engine.limits()
    controllers = engine.launcher.controllers
    operating_system = _os_release()
    return Response.json(
        {
            "ID": engine.id,
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
            "Images": len(engine.images.list(all=True)),
            "Driver": "overlay2",
            "DriverStatus": [
                ["Backing Filesystem", engine.file_system],
                ["Supports d_type", "true"],
                ["Native Overlay Diff", "true"],
                ["userxattr", str(engine.store.overlay.userxattr).lower()],
            ],
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": [driver for driver in DRIVERS if driver != "none"],
            },
            "MemoryLimit": "memory" in controllers,
            "SwapLimit": "memory" in controllers,
            "CpuCfsPeriod": "cpu" in controllers,
            "CpuCfsQuota": "cpu" in controllers,
            "CPUShares": "cpu" in controllers,
            "CPUSet": "cpuset" in controllers,
            "PidsLimit": "pids" in controllers,
            "IPv4Forwarding": _ip_forward(),
            "BridgeNfIptables": False,
            "BridgeNfIp6tables": False,
            "Debug": False,
            "NFd": len(os.listdir("/proc/self/fd")),
            "OomKillDisable": cgroups == "1" and "memory" in controllers,
            "NGoroutines": len(asyncio.all_tasks()),
            "SystemTime": rfc3339(),
            "LoggingDriver": "json-file",
            "CgroupDriver": "cgroupfs" if cgroups else "none",
            "CgroupVersion": cgroups or "1",
            "NEventsListener": engine.events.listeners,
            "KernelVersion": platform.release(),
            "OperatingSystem": operating_system.get("PRETTY_NAME", "Linux"),
            "OSVersion": operating_system.get("VERSION_ID", ""),
            "OSType": "linux",
            "Architecture": platform.machine(),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "RegistryConfig": {
                "AllowNondistributableArtifactsCIDRs": [],
                "AllowNondistributableArtifactsHostnames": [],
                **_registries(engine),
            },
            "NCPU": len(os.sched_getaffinity(0)),
            "MemTotal": engine.total_memory,
            "GenericResources": None,
            "DockerRootDir": str(engine.root),
            "HttpProxy": os.environ.get("HTTP_PROXY", ""),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
            "NoProxy": os.environ.get("NO_PROXY", ""),
            "Name": os.uname().nodename,
            "Labels": [],
            "ExperimentalBuild": False,
            "ServerVersion": VERSION,
            "Runtimes": {"labkernel": {"path": "labkernel"}},
            "DefaultRuntime": "labkernel",
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "LiveRestoreEnabled": False,
            "Isolation": "",
            "InitBinary": "labkernel",
            "SecurityOptions": _security_options(engine),
            "Warnings": limits or None,
        }
    )


def _registries(engine: Engine) -> dict[str, Any]:
    settings = engine.registries.settings
    mirrors = [f"{address}/" for address in settings.mirrors]  # as dockerd writes them
    hosts = [host for host in settings.insecure if "/" not in host]
    networks = [network for network in settings.insecure if "/" in network]
    configs = {host: {"Name": host, "Mirrors": [], "Secure": False, "Official": False} for host in hosts}
    hub = {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}
    return {
        "InsecureRegistryCIDRs": [*networks, "127.0.0.0/8"],
        "IndexConfigs": {**configs, "docker.io": hub},
        "Mirrors": mirrors,
    }


def _security_options(engine: Engine) -> list[str]:
    options = ["name=seccomp,profile=builtin"] if engine.launcher.filters_system_calls else []
    if engine.mapping is not None:
        options.append("name=rootless")
    return options


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _ip_forward() -> bool:
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_text().strip() == "1"
    except OSError:
        return False


async def events(engine: Engine, request: Request) -> Answer:
    since, until = _nanoseconds(request.argument("since")), _nanoseconds(request.argument("until"))
    if since is not None and until is not None and since > until:
        raise InvalidParameter(
            f"`since` time ({since // 10**9}) cannot be after `until` time ({until // 10**9})"
        )
    found = engine.events.follow(since=since, until=until, filters=request.filters())

    async def body() -> AsyncGenerator[bytes, None]:
        async for event in found:
            yield json.dumps(event, separators=(",", ":")).encode() + b"\n"

    return StreamResponse(body())


def _nanoseconds(text: str) -> int | None:
    return parse_nanoseconds(text) if text else None


async def disk_usage(engine: Engine, request: Request) -> Answer:
    usage = await asyncio.to_thread(_disk_usage, engine)
    if request.api_version < (1, 44):
        usage["Images"] = [summary | {"VirtualSize": summary["Size"]} for summary in usage["Images"]]
    return Response.json(usage)


def _disk_usage(engine: Engine) -> dict[str, Any]:
    usage = engine.images.disk_usage(lambda image: len(engine.containers.image_users(image)))
    volumes = [
        volume
        | {
            "UsageData": {
                "RefCount": len(engine.volumes.users(volume["Name"])),
                "Size": engine.volumes.size(volume["Name"]),
            }
        }
        for volume in engine.volumes.list()
    ]
    containers = engine.containers.summaries(engine.containers.select(all=True), size=True)
    return usage | {"Containers": containers, "Volumes": volumes, "BuildCache": None, "BuilderSize": 0}
