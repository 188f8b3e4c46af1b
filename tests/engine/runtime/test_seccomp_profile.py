"""Profiles of one's own: what they mean, beside libseccomp's answers for the same, and what is refused."""

from __future__ import annotations

import errno
import json
import tempfile
from pathlib import Path
from typing import Any

import pyseccomp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.runtime.seccomp import own_filter
from labkernel.engine.runtime.seccomp_profile import LOG, parse, profile
from labkernel.engine.runtime.seccomp_program import ALLOW, KILL_PROCESS, Rule, errno_action
from tests.engine.runtime.test_seccomp import execute

ENOSYS = errno_action(errno.ENOSYS)
_DENY = "SCMP_ACT_ERRNO"
_NUMBERS = {"mkdir": 83, "socket": 41, "getpid": 39}


def _meant(document: dict[str, Any], capabilities: tuple[str, ...] = (), kernel: str = "6.1.0") -> Any:
    return profile(parse(json.dumps(document)), capabilities, "x86_64", kernel)


def _call(*names: str, action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **more}


def test_actions() -> None:
    meant = _meant(
        {
            "defaultAction": _DENY,
            "defaultErrnoRet": 13,
            "syscalls": [
                _call("a"),
                _call("b", action=_DENY),
                _call("c", action=_DENY, errnoRet=38),
                _call("d", action=_DENY, errnoRet=13),
                _call("e", action="SCMP_ACT_LOG"),
                {"name": "f", "action": "SCMP_ACT_KILL_PROCESS"},
            ],
        }
    )
    assert meant.otherwise == errno_action(13)
    assert meant.unknown == ENOSYS
    assert meant.rules == {
        "a": [Rule(ALLOW)],
        "b": [Rule(errno_action(1))],
        "c": [Rule(ENOSYS)],
        "e": [Rule(LOG)],
        "f": [Rule(KILL_PROCESS)],
    }


def test_what_allows_by_default_allows_what_is_new() -> None:
    assert _meant({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}).unknown == ALLOW


def test_nothing_filters_nothing() -> None:
    assert _meant({}) is None


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
        ({"excludes": {"caps": ["CAP_KILL"]}}, True),
        ({"includes": {"arches": ["amd64", "arm"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.2"}}, False),
        ({"excludes": {"minKernel": "6.1"}}, False),
        ({"excludes": {"minKernel": "6.10"}}, True),
    ],
)
def test_conditions_of_the_machine(condition: dict[str, Any], applies: bool) -> None:
    document = {"defaultAction": _DENY, "syscalls": [_call("a", **condition)]}
    assert bool(_meant(document, ("CAP_CHOWN",)).rules) is applies


@pytest.mark.parametrize(
    "text",
    [
        "{not json",
        "[]",
        '{"defaultAction": "SCMP_ACT_HOPE"}',
        '{"defaultAction": "SCMP_ACT_NOTIFY"}',
        '{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": "x"}',
        '{"syscalls": {}}',
        '{"syscalls": [{"names": [1], "action": "SCMP_ACT_ALLOW"}]}',
        '{"syscalls": [{"names": ["a"], "name": "b", "action": "SCMP_ACT_ALLOW"}]}',
        '{"syscalls": [{"action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}]}',
        '{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": [{"op": "=="}]}]}',
        '{"architectures": ["SCMP_ARCH_X86"], "archMap": [{"architecture": "SCMP_ARCH_X86"}]}',
    ],
)
def test_profiles_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(text)


def _by_libseccomp(document: dict[str, Any]) -> bytes:
    made = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for call in document["syscalls"]:
        arguments = [
            pyseccomp.Arg(
                one["index"],
                getattr(pyseccomp, one["op"].removeprefix("SCMP_CMP_")),
                one["value"],
                *([one["valueTwo"]] if one["op"] == "SCMP_CMP_MASKED_EQ" else []),
            )
            for one in call["args"]
        ]
        made.add_rule(pyseccomp.ALLOW, call["names"][0], *arguments)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


_values = st.sampled_from([0, 1, 2, 5, 2**32 - 1, 2**32, 2**32 + 1, 2**33 + 5, 2**64 - 2, 2**64 - 1])
_arguments = st.fixed_dictionaries(
    {
        "index": st.integers(0, 5),
        "value": _values,
        "valueTwo": _values,
        "op": st.sampled_from([f"SCMP_CMP_{word}" for word in "NE LT LE EQ GE GT MASKED_EQ".split()]),
    }
)
_calls = st.builds(
    lambda name, args: _call(name, args=args),
    st.sampled_from(sorted(_NUMBERS)),
    st.lists(_arguments, max_size=3, unique_by=lambda one: one["index"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_calls, min_size=1, max_size=1),
    st.lists(st.lists(_values, min_size=6, max_size=6), min_size=1, max_size=8),
)
def test_the_same_answers_as_libseccomp_s(calls: list[dict[str, Any]], tried: list[list[int]]) -> None:
    document = {"defaultAction": _DENY, "architectures": ["SCMP_ARCH_X86_64"], "syscalls": calls}
    with tempfile.TemporaryDirectory() as directory:
        file = own_filter(Path(directory), json.dumps(document), ())
        assert file is not None
        ours = file.read_bytes()
    theirs = _by_libseccomp(document)
    number = _NUMBERS[calls[0]["names"][0]]
    for values in tried:
        expected = execute(theirs, pyseccomp.Arch.X86_64, number, values)
        assert execute(ours, pyseccomp.Arch.X86_64, number, values) == expected, values
    assert execute(ours, pyseccomp.Arch.X86_64, number - 1) == errno_action(errno.EPERM)
    assert execute(ours, pyseccomp.Arch.X86_64, number + 1) == ENOSYS
    assert execute(ours, pyseccomp.Arch.X86, number) == KILL_PROCESS


def test_files_differ_by_profile_and_capabilities(tmp_path: Path) -> None:
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [_call("mkdir", action=_DENY, excludes={"caps": ["CAP_CHOWN"]})],
    }
    first = own_filter(tmp_path, json.dumps(document), ())
    assert first == own_filter(tmp_path, json.dumps(document), ())
    assert first != own_filter(tmp_path, json.dumps(document), ("CAP_CHOWN",))
    document["syscalls"] = []
    assert first != own_filter(tmp_path, json.dumps(document), ())
    assert own_filter(tmp_path, "{}", ()) is None
