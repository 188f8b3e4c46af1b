"""The OCI image configuration: the JSON document whose digest is the image id.

Source: OCI image-spec, config.md; the fields Docker adds (`container_config`, `parent`, `Healthcheck`...)
are kept as they are. Pure: no I/O. Documents are plain dicts, as read from JSON.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from labkernel.engine.errors import InvalidParameter

ImageConfig = dict[str, Any]

CONTAINER_CONFIG: Mapping[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
"""The API's ContainerConfig as dockerd always writes it: fields with what they hold when nothing set them."""

_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "loongarch64": "loong64",
}
_DIFF_ID_RE = re.compile(r"sha256:[a-f0-9]{64}")


def architecture() -> str:
    """This machine's architecture by Go's name, as the image-spec asks: `amd64`, `arm64`..."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def variant() -> str | None:
    """The variant that goes with `architecture()`: `v7` and `v8` on ARM, otherwise none."""
    return {"arm": "v7", "arm64": "v8"}.get(architecture())


def timestamp(moment: datetime | None = None) -> str:
    """RFC 3339 in UTC with nine digits, as Go writes times; now, unless a moment is given."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond * 1000:09d}Z"


def seconds(text: str | None) -> int:
    """Unix time of an RFC 3339 `created`; 0 where there is none. Raises InvalidParameter."""
    if not text:
        return 0
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)", text)
    try:
        if match is None:
            raise ValueError(text)
        zone = "+00:00" if match[2] in "Zz" else match[2]
        return int(datetime.fromisoformat(match[1].upper().replace(" ", "T") + zone).timestamp())
    except ValueError as error:
        raise InvalidParameter(f"image configuration: {text!r} is not a time (RFC 3339)") from error


def new_config(
    *,
    config: dict[str, Any] | None = None,
    diff_ids: Sequence[str] = (),
    history: Sequence[dict[str, Any]] = (),
    created: str | None = None,
    author: str = "",
    os: str = "linux",
    architecture_name: str | None = None,
) -> ImageConfig:
    """A configuration for a new image of this machine's platform (or the one named)."""
    document: ImageConfig = {
        "architecture": architecture_name or architecture(),
        "config": dict(config or {}),
        "created": created or timestamp(),
        "history": [dict(entry) for entry in history],
        "os": os,
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    if author:
        document["author"] = author
    own_variant = variant()
    if own_variant and architecture_name is None:
        document["variant"] = own_variant
    return document


def history_entry(
    created_by: str,
    *,
    created: str | None = None,
    comment: str = "",
    author: str = "",
    empty_layer: bool = False,
) -> dict[str, Any]:
    """One entry of `history`; `empty_layer` for a step that made no layer."""
    entry: dict[str, Any] = {"created": created or timestamp(), "created_by": created_by}
    if author:
        entry["author"] = author
    if comment:
        entry["comment"] = comment
    if empty_layer:
        entry["empty_layer"] = True
    return entry


def diff_ids(document: ImageConfig) -> list[str]:
    """The diff_ids of a configuration, base first."""
    ids: list[str] = document["rootfs"]["diff_ids"]
    return ids


def serialise(document: ImageConfig) -> bytes:
    """The bytes that are stored and hashed: sorted keys, no spaces (canonical JSON), UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse(data: bytes) -> ImageConfig:
    """Read and check a configuration from outside. Raises InvalidParameter saying which field is wrong."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"image configuration is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidParameter("image configuration: not a JSON object")
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids") or [], list):
        raise InvalidParameter("invalid image JSON, no RootFS key")
    rootfs["diff_ids"] = rootfs.get("diff_ids") or []
    for diff_id in rootfs["diff_ids"]:
        if not isinstance(diff_id, str) or not _DIFF_ID_RE.fullmatch(diff_id):
            raise InvalidParameter(
                f"image configuration: rootfs.diff_ids: {diff_id!r} is not a sha256 digest"
            )
    history = document.get("history") or []
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise InvalidParameter("image configuration: history is not a list of objects")
    _check_container_config(document.get("config"))
    for moment in [document, *history]:
        created = moment.get("created")
        if created is not None and not isinstance(created, str):
            raise InvalidParameter("image configuration: created is not a string")
        seconds(created)
    return document


def _check_container_config(value: Any) -> None:
    """The types of the fields that containers are made of."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise InvalidParameter("image configuration: config is not an object")
    for names, kind, is_right in _FIELDS:
        for name in names:
            if value.get(name) is not None and not is_right(value[name]):
                raise InvalidParameter(f"image configuration: config.{name} is not {kind}")


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_map_of_strings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


_FIELDS: list[tuple[Sequence[str], str, Callable[[Any], bool]]] = [
    (("Env", "Cmd", "Entrypoint", "OnBuild", "Shell"), "a list of strings", _is_strings),
    (("Labels",), "a map of strings", _is_map_of_strings),
    (("Volumes", "ExposedPorts", "Healthcheck"), "an object", lambda value: isinstance(value, dict)),
    (("User", "WorkingDir", "StopSignal"), "a string", lambda value: isinstance(value, str)),
]


def digest(data: bytes) -> str:
    """The sha256 digest of some bytes, in the form `sha256:...`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chain_id(parent: str | None, diff_id: str) -> str:
    """The chain_id of a layer on its parent's (image-spec, config.md, "Layer ChainID")."""
    return diff_id if parent is None else digest(f"{parent} {diff_id}".encode())


def chain_ids(ids: Sequence[str]) -> list[str]:
    """The chain_id of every layer of an image, base first."""
    chain: list[str] = []
    for diff_id in ids:
        chain.append(chain_id(chain[-1] if chain else None, diff_id))
    return chain
