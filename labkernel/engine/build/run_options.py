"""`RUN --mount=...`: what a step sees beside its own file system.

Source: docs.docker.com/reference/dockerfile "RUN --mount".
"""

from __future__ import annotations

import csv
import posixpath
import re
from dataclasses import dataclass

from labkernel.engine.build.flags import Problem
from labkernel.engine.build.quoting import quote

_KEYS = {
    "bind": ("target", "source", "from", "readonly"),
    "cache": ("target", "source", "from", "readonly", "id", "sharing", "mode", "uid", "gid"),
    "tmpfs": ("target", "size"),
    "secret": ("target", "source", "id", "env", "required", "mode", "uid", "gid"),
    "ssh": ("target", "id", "required", "mode", "uid", "gid"),
}
PRIVATE = ("secret", "ssh")
_MODES = {"secret": 0o400, "ssh": 0o600}
_ALIASES = {
    "dst": "target",
    "destination": "target",
    "src": "source",
    "ro": "readonly",
    "rw": "readwrite",
}
_SHARING = ("shared", "private", "locked")
_SIZE_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class RunMount:
    """One --mount. `stage` is `from`: a stage or an image, "" for the context (for a cache: for nothing).

    `size` is in bytes, 0 for no limit. `env` is the variable that holds a secret, "" for none. Without a
    `target` a secret is not seen as a file, and an agent at the usual place. `text` is the flag as it stands.
    """

    text: str
    type: str
    target: str
    source: str = ""
    stage: str = ""
    is_read_only: bool = False
    id: str = ""
    sharing: str = "shared"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    env: str = ""
    is_required: bool = False


def run_mount(text: str) -> RunMount:
    """The mount of a flag's value, variables expanded already. Raises Problem."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Problem(f"failed to parse csv mounts: {error}", mark=text) from None
    given: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        key = _ALIASES.get(key, key)
        if not equals:
            if key not in ("readonly", "readwrite", "required"):
                raise Problem(f"invalid field '{field}' must be a key=value pair", mark=field)
            value = "true"
        given[key] = value
    kind = given.pop("type", "bind").lower()
    if kind not in _KEYS:
        raise Problem(f"unsupported mount type {quote(kind)}", mark=kind)
    return _mount(text, kind, given)


def mounted_stage(text: str) -> str:
    """The stage or image that a flag's value mounts from, before anything is expanded; "" for none."""
    found = re.search(r"(?i)(?:\A|,)\s*from=([^,]*)", text)
    return found[1] if found else ""


def _mount(text: str, kind: str, given: dict[str, str]) -> RunMount:
    known = _KEYS[kind]
    if kind in PRIVATE:
        _complete(kind, given)
    is_read_only = kind == "bind"
    for key, value in given.items():
        if key not in known and not (key == "readwrite" and "readonly" in known):
            raise Problem(f"unexpected key '{key}' for mount type '{kind}'", mark=key)
        if key in ("readonly", "readwrite", "required"):
            if value.lower() not in ("true", "false", "1", "0"):
                raise Problem(f"invalid value for {key}: {value}", mark=value)
            is_read_only = is_read_only if key == "required" else _is_true(value) == (key == "readonly")
    target = given.get("target", "")
    if not target and kind not in PRIVATE:
        raise Problem(f'"target" is required for mount type {quote(kind)}', advice="add target=/PATH")
    sharing = given.get("sharing", "shared").lower()
    if sharing not in _SHARING:
        raise Problem(
            f"unsupported sharing value {quote(sharing)}", advice="shared, private or locked", mark=sharing
        )
    return RunMount(
        text,
        kind,
        target,
        given.get("source", ""),
        given.get("from", ""),
        is_read_only,
        given.get("id", "") or target,
        sharing,
        _number("mode", given, 8, _MODES.get(kind, 0o755)) & 0o7777,
        _number("uid", given, 10, 0),
        _number("gid", given, 10, 0),
        _size(given.get("size", "")),
        given.get("env", ""),
        _is_true(given.get("required", "false")),
    )


def _is_true(value: str) -> bool:
    return value.lower() in ("true", "1")


def _complete(kind: str, given: dict[str, str]) -> None:
    """Fill in which secret or agent it is, and where it is seen. Raises Problem in BuildKit's words."""
    if kind == "ssh":
        if "source" in given:
            raise Problem("ssh does not support source", mark="source")
        given["id"] = given.get("id") or "default"
        return
    for key, problem in (("from", "have a from"), ("sharing", "define sharing")):
        if key in given:
            raise Problem(f"secret mount should not {problem}", mark=key)
    if given.get("source") and given.get("id"):
        raise Problem("both source and id can't be set")
    name = given.get("source") or given.get("id") or posixpath.basename(given.get("target", ""))
    if not name:
        raise Problem(
            "invalid secret mount. one of source, target required",
            advice="add id=NAME, and say --secret id=NAME",
        )
    given["id"] = name
    if not given.get("target") and not given.get("env"):
        given["target"] = "/run/secrets/" + posixpath.basename(name)


def _number(key: str, given: dict[str, str], base: int, default: int) -> int:
    text = given.get(key, "")
    if not text:
        return default
    if not re.fullmatch("[0-7]{1,6}" if base == 8 else "[0-9]{1,9}", text):
        raise Problem(f"invalid value {text} for {key}", mark=text)
    return int(text, base)


def _size(text: str) -> int:
    if not text:
        return 0
    match = re.fullmatch(r"([0-9]{1,15})([bkmgt]?)(?:ib|b)?", text.lower())
    if match is None:
        raise Problem(f"invalid value for size: {text}", advice="for example size=64m", mark=text)
    return int(match[1]) * _SIZE_UNITS[match[2]]
