"""docker version, info, and system df: the engine itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkernel.commands import images, ps, volumes
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.flags import switch, text
from labkernel.commands.http import call
from labkernel.commands.results import Listing, Result, Text, align
from labkernel.commands.template import Template, TemplateError, structured
from labkernel.commands.units import human_size, parse_time

if TYPE_CHECKING:
    from docker import DockerClient


def formatted(template: str, data: Any) -> Text:
    """`data` by a Go template; "json" for all of it. Raises CommandError."""
    try:
        return Text(
            Template("{{json .}}" if template == "json" else template).render(structured(data)), data=data
        )
    except TemplateError as error:
        raise CommandError(f"template parsing error: {error}", exit_code=64) from None


def version(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    import platform
    from importlib.metadata import version as package_version

    server = client.api.version()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    own = {
        "Version": package_version("labkernel"),
        "ApiVersion": client.api.api_version,
        "PythonVersion": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": machine,
    }
    if invocation.options["format"]:
        return formatted(invocation.options["format"], {"Client": own, "Server": server})
    lines = [
        "Client: labkernel",
        *_fields(
            [
                ("Version", own["Version"]),
                ("API version", own["ApiVersion"]),
                ("Python version", own["PythonVersion"]),
                ("OS/Arch", f"{own['Os']}/{own['Arch']}"),
            ],
            1,
        ),
        "",
        f"Server:{' ' + server['Platform']['Name'] if (server.get('Platform') or {}).get('Name') else ''}",
    ]
    for component in server.get("Components") or []:
        lines.append(f" {component['Name']}:")
        details = component.get("Details") or {}
        rows = [("Version", component["Version"])]
        if component["Name"] == "Engine":
            rows += [
                (
                    "API version",
                    f"{details.get('ApiVersion')} (minimum version {details.get('MinAPIVersion')})",
                ),
                ("Go version", details.get("GoVersion")),
                ("Git commit", details.get("GitCommit")),
                ("Built", _build_time(details.get("BuildTime"))),
                ("OS/Arch", f"{details.get('Os')}/{details.get('Arch')}"),
                ("Experimental", details.get("Experimental")),
            ]
        else:
            rows += [("GitCommit", value) for key, value in details.items() if key == "GitCommit"]
        lines += _fields(rows, 2)
    return Text("\n".join(lines), data={"Client": own, "Server": server})


def _fields(rows: list[tuple[str, Any]], indent: int) -> list[str]:
    """Aligned as the client does it: values start in one column. A row that an engine has no value for is
    left out.
    """
    return [" " * indent + f"{name + ':':<18}{value}" for name, value in rows if value]


def _build_time(value: str | None) -> str | None:
    if not value:
        return value
    try:
        return parse_time(value).strftime("%a %b %e %H:%M:%S %Y")
    except ValueError:
        return value


def info(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    from importlib.metadata import version as package_version

    found: dict[str, Any] = client.api.info()
    if invocation.options["format"]:
        return formatted(invocation.options["format"], found)
    lines = ["Client: labkernel", f" Version:    {package_version('labkernel')}", "", "Server:"]
    lines += [f" {line}" for line in _server_lines(found)]
    for warning in found.get("Warnings") or []:
        console.write_error(f"{warning}\n".encode())
    return Text("\n".join(lines), data=found)


def _server_lines(found: Mapping[str, Any]) -> list[str]:
    def known(title: str, key: str) -> list[str]:
        return [f"{title}: {found[key]}"] if found.get(key) not in (None, "") else []

    plugins = found.get("Plugins") or {}
    lines = [
        *known("Containers", "Containers"),
        *(f" {line}" for line in known("Running", "ContainersRunning")),
        *(f" {line}" for line in known("Paused", "ContainersPaused")),
        *(f" {line}" for line in known("Stopped", "ContainersStopped")),
        *known("Images", "Images"),
        *known("Server Version", "ServerVersion"),
        *known("Storage Driver", "Driver"),
        *(f" {key}: {value}" for key, value in found.get("DriverStatus") or []),
        *known("Logging Driver", "LoggingDriver"),
        *known("Cgroup Driver", "CgroupDriver"),
        *known("Cgroup Version", "CgroupVersion"),
    ]
    if plugins:
        lines.append("Plugins:")
        lines += [
            f" {kind}: {' '.join(names)}"
            for kind in ("Volume", "Network", "Log")
            if (names := plugins.get(kind))
        ]
    if swarm := (found.get("Swarm") or {}).get("LocalNodeState"):
        lines.append(f"Swarm: {swarm}")
    if runtimes := found.get("Runtimes"):
        lines.append(f"Runtimes: {' '.join(sorted(runtimes))}")
    lines += known("Default Runtime", "DefaultRuntime") + known("Init Binary", "InitBinary")
    for title, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
        lines.append(f"{title} version: {(found.get(key) or {}).get('ID', '')}")
    if options := found.get("SecurityOptions"):
        lines.append("Security Options:")
        for option in options:
            pairs = dict(part.partition("=")[::2] for part in option.split(","))
            lines.append(f" {pairs.pop('name', option)}")
            lines += [f"  {key.capitalize()}: {value}" for key, value in pairs.items()]
    for title, key in (
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
        ("CPUs", "NCPU"),
    ):
        lines += known(title, key)
    if found.get("MemTotal"):
        lines.append(f"Total Memory: {human_size(found['MemTotal'], base=1024.0)}")
    lines += known("Name", "Name") + known("ID", "ID") + known("Docker Root Dir", "DockerRootDir")
    for title, key in (("Debug Mode", "Debug"), ("Experimental", "ExperimentalBuild")):
        if key in found:
            lines.append(f"{title}: {str(found[key]).lower()}")
    insecure = (found.get("RegistryConfig") or {}).get("InsecureRegistryCIDRs")
    if insecure:
        lines += ["Insecure Registries:", *(f" {address}" for address in insecure)]
    if "LiveRestoreEnabled" in found:
        lines.append(f"Live Restore Enabled: {str(found['LiveRestoreEnabled']).lower()}")
    return lines


DF_HEADINGS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}


def df(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    found: dict[str, Any] = call(client, "GET", "/system/df").json()
    if invocation.options["verbose"]:
        return Text(_df_verbose(found), data=found)
    stored, containers = found.get("Images") or [], found.get("Containers") or []
    mounts, cache = found.get("Volumes") or [], found.get("BuildCache") or []
    layers = int(found.get("LayersSize") or 0)
    in_use = sum(
        image["Size"] - max(image.get("SharedSize", 0), 0)
        for image in stored
        if image.get("Containers", 0) > 0
    )
    idle = sum(container.get("SizeRw", 0) for container in containers if container["State"] not in _ACTIVE)
    used_volumes = [volume for volume in mounts if (volume.get("UsageData") or {}).get("RefCount", 0) > 0]
    rows = [
        _df_row(
            "Images", len(stored), sum(i.get("Containers", 0) > 0 for i in stored), layers, layers - in_use
        ),
        _df_row(
            "Containers",
            len(containers),
            sum(container["State"] in _ACTIVE for container in containers),
            sum(container.get("SizeRw", 0) for container in containers),
            idle,
        ),
        _df_row(
            "Local Volumes",
            len(mounts),
            len(used_volumes),
            sum(_volume_size(volume) for volume in mounts),
            sum(_volume_size(volume) for volume in mounts if volume not in used_volumes),
        ),
        _df_row(
            "Build Cache",
            len(cache),
            sum(entry["InUse"] for entry in cache),
            sum(entry["Size"] for entry in cache),
            sum(entry["Size"] for entry in cache if not entry["InUse"]),
            percent=False,
        ),
    ]
    return Listing(rows, rows, DF_HEADINGS, tuple(DF_HEADINGS), invocation.options["format"])


_ACTIVE = {"running", "paused", "restarting"}


def _volume_size(volume: Mapping[str, Any]) -> int:
    return max(int((volume.get("UsageData") or {}).get("Size", 0)), 0)


def _df_row(
    kind: str, total: int, active: int, size: int, free: int, *, percent: bool = True
) -> dict[str, str]:
    share = f" ({100 * free // size}%)" if percent and size > 0 else ""
    return {
        "Type": kind,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": human_size(size),
        "Reclaimable": human_size(free) + share,
    }


def _df_verbose(found: Mapping[str, Any]) -> str:
    image_rows = [
        images.row(image, *names, truncate=True)
        for image in found.get("Images") or []
        for names in images.names(image, digests=False)[:1]
    ]
    container_rows = [ps.row(container, truncate=True) for container in found.get("Containers") or []]
    for row, container in zip(container_rows, found.get("Containers") or [], strict=True):
        row["Size"] = human_size(container.get("SizeRw", 0), precision=3)
    volume_rows = [volumes.row(volume) for volume in found.get("Volumes") or []]
    image_columns = (
        "Repository",
        "Tag",
        "ID",
        "CreatedSince",
        "Size",
        "SharedSize",
        "UniqueSize",
        "Containers",
    )
    container_columns = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    cache = sum(entry["Size"] for entry in found.get("BuildCache") or [])
    return "\n".join(
        [
            "Images space usage:\n",
            _section(image_rows, images.HEADINGS, image_columns),
            "\nContainers space usage:\n",
            _section(container_rows, ps.HEADINGS, container_columns),
            "\nLocal Volumes space usage:\n",
            _section(volume_rows, volumes.HEADINGS, ("Name", "Links", "Size")),
            f"\nBuild cache usage: {human_size(cache)}\n",
            align([["CACHE ID", "CACHE TYPE", "SIZE", "CREATED", "LAST USED", "USAGE", "SHARED"]]),
        ]
    )


def _section(rows: list[dict[str, str]], headings: Mapping[str, str], columns: tuple[str, ...]) -> str:
    return align(
        [[headings[column] for column in columns], *([row[column] for column in columns] for row in rows)]
    )


_FORMAT = text("format", "f", "Show only this, by a Go template; 'json' for all of it")

VERSION = Command(
    "version", "[OPTIONS]", "Show the versions of client and engine", version, (_FORMAT,), (0, 0)
)
INFO = Command("info", "[OPTIONS]", "Show what the engine is and has", info, (_FORMAT,), (0, 0))
DF = Command(
    "df",
    "[OPTIONS]",
    "Show what takes space",
    df,
    (
        text("format", "", "Rows by a Go template, such as '{{.Type}}'; 'table ...' adds headings; 'json'"),
        switch("verbose", "v", "Show every image, container and volume"),
    ),
    (0, 0),
)
