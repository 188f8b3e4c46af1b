"""Two recorded answers, compared field by field: pure, no I/O.

`normalised` takes out of an answer what no two runs share (ids, times, addresses) and keeps how those
relate: an id that the scenario knows becomes its name wherever it occurs. `differences` walks two answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

ABSENT = "(absent)"

_ID = re.compile(r"(sha256:)?\b[0-9a-f]{64}\b")
_SHORT_ID = re.compile(r"\b(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{12}\b")
_TIME = re.compile(r"\b(?!0001-)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_ADDRESS = re.compile(r"\b(?!127\.|0\.0\.0\.0)(\d{1,3}\.){3}\d{1,3}\b")
_AGE = re.compile(r"\b(\d+|Less than a|About a) (second|minute)s?\b")
# Where dockerd unpacks what it loads; it names the place in errors.
_SCRATCH = re.compile(r"docker-import-\d+")
_MAC = re.compile(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b")
_PATTERNS = [
    (_ID, r"<\1id>"),
    (_SHORT_ID, "<short id>"),
    (_TIME, "<time>"),
    (_ADDRESS, "<ip>"),
    (_MAC, "<mac>"),
    (_AGE, "<a while>"),
    (_SCRATCH, "docker-import-<n>"),
]

# Numbers that are times or process ids go by their key.
# Docker builds these lists from maps, in another order each time.
_UNORDERED = {"Mounts", "Ports", "RepoTags", "ImagesDeleted", "Volumes"}

_NUMBERS = {
    **dict.fromkeys(("Created", "time", "timeNano", "LastTagTime"), "<time>"),
    **dict.fromkeys(("Pid", "PID", "PPID"), "<pid>"),
}


def normalised(value: Any, known: Mapping[str, str]) -> Any:
    """`value` with what differs from run to run replaced; `known` maps texts to the names they get."""
    if isinstance(value, dict):
        return {_text(key, known): _entry(key, item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [normalised(item, known) for item in value]
    return _text(value, known) if isinstance(value, str) else value


def _entry(key: str, item: Any, known: Mapping[str, str]) -> Any:
    if key in _NUMBERS and isinstance(item, int) and item and str(item) not in known:
        return _NUMBERS[key]
    entry = normalised(item, known)
    return sorted(entry, key=json.dumps) if key in _UNORDERED and isinstance(entry, list) else entry


def _text(text: str, known: Mapping[str, str]) -> str:
    for found in sorted(known, key=len, reverse=True):
        text = text.replace(found, known[found])
    for pattern, name in _PATTERNS:
        text = pattern.sub(name, text)
    return text


def shape(value: Any) -> Any:
    """`value` with every scalar replaced by its JSON type, every list by its first element's shape."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    names = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}
    return names[type(value)]


@dataclass(frozen=True)
class Difference:
    """One field, named `scenario/step: path`, with Docker's value and ours."""

    path: str
    docker: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.path}\n    docker: {self.docker!r}\n    ours:   {self.ours!r}"


def differences(docker: Any, ours: Any, path: str = "") -> Iterator[Difference]:
    """Every field that is not equal, in the order of Docker's answer."""
    if isinstance(docker, dict) and isinstance(ours, dict):
        for key in [*docker, *(key for key in ours if key not in docker)]:
            where = f"{path}.{key}" if path and not path.endswith(": ") else f"{path}{key}"
            yield from differences(docker.get(key, ABSENT), ours.get(key, ABSENT), where)
    elif isinstance(docker, list) and isinstance(ours, list):
        for index in range(max(len(docker), len(ours))):
            pair = (items[index] if index < len(items) else ABSENT for items in (docker, ours))
            yield from differences(*pair, f"{path}[{index}]")
    elif type(docker) is not type(ours) or docker != ours:
        yield Difference(path, docker, ours)


@dataclass(frozen=True)
class Allowed:
    """A difference that is meant.

    `fields` is a pattern over `scenario/step: path`. Kinds: `value`, both have the field, with values of one
    type; `added`, only we have it; `absent`, only Docker has it; `pair`, Docker's value and ours are those in
    `pair`, whose texts are patterns; `any`, all goes.
    """

    fields: str
    kind: Literal["value", "added", "absent", "pair", "any"]
    why: str
    pair: tuple[Any, Any] = (None, None)

    def covers(self, found: Difference) -> bool:
        if not fnmatchcase(found.path, self.fields):
            return False
        match self.kind:
            case "added":
                return bool(found.docker == ABSENT)
            case "absent":
                return bool(found.ours == ABSENT)
            case "pair":
                return _matches(found.docker, self.pair[0]) and _matches(found.ours, self.pair[1])
            case "value":
                return type(found.docker) is type(found.ours) and ABSENT not in (found.docker, found.ours)
        return True


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(value, str) and isinstance(wanted, str):
        return fnmatchcase(value, wanted)
    return type(value) is type(wanted) and bool(value == wanted)


def unexplained(found: Iterable[Difference], allowed: Iterable[Allowed]) -> list[Difference]:
    """The differences that no entry of `allowed` covers."""
    allowed = list(allowed)
    return [difference for difference in found if not any(entry.covers(difference) for entry in allowed)]
