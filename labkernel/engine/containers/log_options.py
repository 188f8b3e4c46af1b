"""HostConfig.LogConfig: which drivers and options there are, and what they mean. Pure.

Source: moby, daemon/logger/jsonfilelog and daemon/logger/loginfo.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from labkernel.engine.containers.log_files import Rotation
from labkernel.engine.errors import InvalidParameter

DRIVERS = ("json-file", "local", "none")
_OPTIONS = frozenset(
    "max-size max-file compress labels labels-regex env env-regex tag mode max-buffer-size".split()
)
_LOCAL_OPTIONS = frozenset("max-size max-file compress mode max-buffer-size".split())
_LOCAL_DEFAULTS = {"max-size": "20m", "max-file": "5", "compress": "true"}
_SIZES = {unit: 1000**power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def check(config: Mapping[str, Any]) -> None:
    """Raises InvalidParameter, in Docker's words."""
    kind, options = config["Type"], config["Config"]
    if kind not in DRIVERS:
        raise InvalidParameter(
            f'error looking up logging plugin {kind}: plugin "{kind}" not found',
            hint=f"log drivers offered: {', '.join(DRIVERS)}",
        )
    for option in options if kind != "none" else ():
        if option not in (_OPTIONS if kind == "json-file" else _LOCAL_OPTIONS):
            named = f"{kind} log driver" if kind == "json-file" else f"log driver {kind}"
            raise InvalidParameter(f"unknown log opt '{option}' for {named}")
    rotation(config)
    for option in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(option, ""))
        except re.error as error:
            raise InvalidParameter(f"error parsing regexp: {error}: `{options[option]}`") from None


def rotation(config: Mapping[str, Any]) -> Rotation:
    """Raises InvalidParameter."""
    options = config["Config"]
    if config["Type"] == "local":
        options = {**_LOCAL_DEFAULTS, **options}
    size = _size(options["max-size"]) if "max-size" in options else None
    files, compress = options.get("max-file", "1"), _BOOLEANS.get(options.get("compress", "false"))
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", files):
        raise InvalidParameter(f'strconv.Atoi: parsing "{files}": invalid syntax')
    if int(files) < 1:
        raise InvalidParameter("max-file cannot be less than 1")
    if compress is None:
        raise InvalidParameter(f'strconv.ParseBool: parsing "{options["compress"]}": invalid syntax')
    if compress and (int(files) == 1 or size is None):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")
    return Rotation(size, int(files), compress)


def _size(text: str) -> int:
    """`10m` -> 10,000,000: thousands, as go-units' FromHumanSize has it."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) ?([kmgtp]?)b?", text.lower())
    if match is None:
        raise InvalidParameter(f"invalid size: '{text}'")
    size = int(float(match[1]) * _SIZES[match[2]])
    if size <= 0:
        raise InvalidParameter("max-size must be a positive number")
    return size


def attributes(
    options: Mapping[str, str], config: Mapping[str, Any], details: Mapping[str, str]
) -> dict[str, str]:
    """What the options labels, env and tag have noted with every line. `details` are what a tag may name:
    ID, FullID, Name, ImageID, ImageFullID, ImageName, Command, DaemonName.
    """
    labels: Mapping[str, str] = config["Labels"] or {}
    environment = dict(entry.split("=", 1) for entry in config["Env"] or [] if "=" in entry)
    found = {}
    for option, values in (("labels", labels), ("env", environment)):
        names = [name.strip() for name in options.get(option, "").split(",")]
        pattern = options.get(f"{option}-regex")
        for name, value in values.items():
            if name in names or (pattern and re.search(pattern, name)):
                found[name] = value
    if tag := options.get("tag"):
        found["tag"] = re.sub(r"\{\{\s*\.(\w+)\s*\}\}", lambda match: details.get(match[1], match[0]), tag)
    return dict(sorted(found.items()))
