"""Seccomp profiles of one's own: Docker's JSON, read, checked, and turned into rules. Pure.

Source: "Seccomp security profiles for Docker" in Docker's documentation; moby, profiles/seccomp.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.runtime.seccomp_program import ALLOW, KILL_PROCESS, Condition, Rule, errno_action

KILL_THREAD, TRAP, TRACE, LOG = 0x0, 0x00030000, 0x7FF00000, 0x7FFC0000
_ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_ERRNO": errno_action(0),
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_LOG": LOG,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_TRAP": TRAP,
}
_WITH_NUMBER = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_PERMISSIVE = (ALLOW, LOG)
_COMPARISONS = frozenset(f"SCMP_CMP_{word}" for word in "NE LT LE EQ GE GT MASKED_EQ".split())
_LARGEST = 2**64 - 1
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


class Profile(NamedTuple):
    """Rules by name of the call; `otherwise` for calls without one, `unknown` for calls newer than all that
    are named. `architectures` are the profile's names of the kinds of programs that may run.
    """

    rules: dict[str, list[Rule]]
    otherwise: int
    unknown: int
    architectures: list[str]


def parse(text: str) -> dict[str, Any]:
    """Raises InvalidParameter, in Docker's words where it has some."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(str(error)) from None
    if not isinstance(document, dict):
        raise _wrong("it is not a JSON object")
    if document.get("architectures") and document.get("archMap"):
        raise InvalidParameter(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    _action(document.get("defaultAction"), document.get("defaultErrnoRet"))
    for call in _objects(document.get("syscalls"), "syscalls"):
        if call.get("name") and call.get("names"):
            raise InvalidParameter(
                "both 'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'"
            )
        _action(call.get("action"), call.get("errnoRet"))
        if not all(isinstance(name, str) for name in _names(call)):
            raise _wrong("the name of a call is no text")
        for argument in _objects(call.get("args"), "args"):
            _check_argument(argument)
    return document


def profile(
    document: Mapping[str, Any], capabilities: Collection[str], machine: str, kernel: str
) -> Profile | None:
    """What a profile that `parse` has read means for a process with these capabilities on this machine
    (`x86_64`) and kernel (`6.1.0`); None where it filters nothing.
    """
    if not document.get("defaultAction") and not document.get("syscalls"):
        return None
    otherwise = _action(document.get("defaultAction"), document.get("defaultErrnoRet"))
    rules: dict[str, list[Rule]] = {}
    for call in document.get("syscalls") or []:
        if not _applies(call, capabilities, GO_ARCHITECTURES.get(machine, machine), _version(kernel)):
            continue
        action = _action(call.get("action"), call.get("errnoRet"))
        if action != otherwise:
            for name in _names(call):
                rules.setdefault(name, []).extend(_rules(action, call.get("args") or ()))
    for name, wanted in rules.items():
        if whole := [rule for rule in wanted if not rule.conditions]:
            rules[name] = whole[-1:]  # as libseccomp: it covers those with conditions
    permissive = otherwise in _PERMISSIVE
    unknown = otherwise if permissive else errno_action(errno.ENOSYS)  # as runc
    return Profile(rules, otherwise, unknown, _architectures(document, NATIVE.get(machine, "")))


def _wrong(why: str) -> InvalidParameter:
    return InvalidParameter(
        f"Decoding seccomp profile failed: {why}",
        hint="seccomp=unconfined, or none for Docker's default; the client sends a file's content",
    )


def _objects(value: Any, what: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _wrong(f"{what} is not a list of objects")
    return value


def _names(call: Mapping[str, Any]) -> Sequence[Any]:
    names: Sequence[Any] = call.get("names") or ([call["name"]] if call.get("name") else [])
    return names


def _action(name: Any, number: Any) -> int:
    """With the number that it answers with, EPERM unless one is given."""
    if name in (None, ""):
        return KILL_THREAD
    if name not in _ACTIONS:
        raise _wrong(f"unrecognized seccomp action: {name}")
    if name not in _WITH_NUMBER:
        return _ACTIONS[name]
    number = errno.EPERM if number is None else number
    if not isinstance(number, int) or not 0 <= number <= 0xFFFF:
        raise _wrong(f"{number} is no error number")
    return _ACTIONS[name] | number


def _check_argument(argument: Mapping[str, Any]) -> None:
    index = argument.get("index", 0)
    values = (argument.get("value", 0), argument.get("valueTwo", 0))
    if argument.get("op") not in _COMPARISONS:
        raise _wrong(f"unrecognized comparison: {argument.get('op')}")
    if not isinstance(index, int) or not 0 <= index <= 5:
        raise _wrong(f"a call has no argument {index}")
    if not all(isinstance(value, int) and 0 <= value <= _LARGEST for value in values):
        raise _wrong(f"{values} are not numbers of 64 bits")


def _rules(action: int, arguments: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """All conditions of a rule must hold; but where two are about one argument, any of them, as for runc."""
    indices = [argument.get("index", 0) for argument in arguments]
    groups = [[argument] for argument in arguments] if len(set(indices)) < len(indices) else [arguments]
    found = []
    for group in groups:
        conditions = [_condition(argument) for argument in group]
        if None not in conditions:
            found.append(Rule(action, tuple(c for c in conditions if c is not None and c is not _ALWAYS)))
    return found


_ALWAYS = Condition(0, 0, 0)


def _condition(argument: Mapping[str, Any]) -> Condition | None:
    """None for what never holds, _ALWAYS for what always does."""
    index, value, second = (argument.get(key) or 0 for key in ("index", "value", "valueTwo"))
    kind = argument["op"].removeprefix("SCMP_CMP_")
    if kind == "MASKED_EQ":
        return Condition(index, second & value, value)
    if kind in ("EQ", "NE"):
        return Condition(index, value, equal=kind == "EQ")
    if kind in ("GT", "LE"):  # beyond the value, or not
        value += 1
    holds = kind in ("GE", "GT")
    if value > _LARGEST:
        return None if holds else _ALWAYS
    return Condition(index, value, equal=holds, at_least=True)


def _applies(
    call: Mapping[str, Any], capabilities: Collection[str], machine: str, kernel: tuple[int, ...]
) -> bool:
    includes, excludes = call.get("includes") or {}, call.get("excludes") or {}
    if machine in (excludes.get("arches") or ()) or set(excludes.get("caps") or ()) & set(capabilities):
        return False
    if excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]):
        return False
    if includes.get("arches") and machine not in includes["arches"]:
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    return set(includes.get("caps") or ()) <= set(capabilities)


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", str(text))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _architectures(document: Mapping[str, Any], native: str) -> list[str]:
    found = [native, *(document.get("architectures") or ())]
    for entry in document.get("archMap") or ():
        if entry.get("architecture") == native:
            found += entry.get("subArchitectures") or ()
    return list(dict.fromkeys(found))
