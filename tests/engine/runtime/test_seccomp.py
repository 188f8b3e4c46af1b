"""System call filters, run by an interpreter of classic BPF, beside libseccomp's from the same rules."""

from __future__ import annotations

import errno
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyseccomp
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from labkernel.engine.runtime import seccomp
from labkernel.engine.runtime.capabilities import ALL_CAPABILITIES, DEFAULT_CAPABILITIES
from labkernel.engine.runtime.seccomp_program import (
    ALLOW,
    KILL_PROCESS,
    Architecture,
    Condition,
    Rule,
    compile_program,
    errno_action,
)

X86_64, X86 = pyseccomp.Arch.X86_64, pyseccomp.Arch.X86
EPERM, ENOSYS = errno_action(errno.EPERM), errno_action(errno.ENOSYS)


def execute(program: bytes, audit: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the kernel would answer: struct seccomp_data in, an action out."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=IIQ6Q", number, audit, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", program))
    position = accumulator = 0
    while True:
        code, if_true, if_false, value = instructions[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x05:
            position += value
        elif code in (0x15, 0x25, 0x35):
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
            position += if_true if holds else if_false
        elif code == 0x06:
            return int(value)
        else:
            raise AssertionError(f"instruction {code:#x}")


def by_libseccomp(rules: seccomp.Rules, otherwise: int) -> bytes:
    """The same rules compiled by the library itself."""
    made = pyseccomp.SyscallFilter(otherwise)
    made.add_arch(X86)
    for name, wanted in rules.items():
        for rule in wanted:
            arguments = []
            for condition in rule.conditions:
                if not condition.equal:
                    arguments.append(pyseccomp.Arg(condition.argument, pyseccomp.NE, condition.value))
                elif condition.mask != 2**64 - 1:
                    arguments.append(
                        pyseccomp.Arg(
                            condition.argument, pyseccomp.MASKED_EQ, condition.mask, condition.value
                        )
                    )
                else:
                    arguments.append(pyseccomp.Arg(condition.argument, pyseccomp.EQ, condition.value))
            try:
                made.add_rule(rule.action, name, *arguments)
            except OSError:  # a call that the library does not know
                continue
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


ARGUMENTS = [
    (),
    (40,),
    (2, 0o020666),
    (0, 0o060600, 0o020600),
    (8,),
    (0x20000,),
    (0xFFFFFFFF,),
    (0xFFFFFFFFFFFFFFFF,),
    (0x10000000,),
    (0x11,),
    (1 << 40,),
]


@pytest.mark.parametrize(
    ("rules", "otherwise", "unknown"),
    [
        (seccomp.default_rules(sorted(set(DEFAULT_CAPABILITIES) & set(seccomp.ALLOWED_WITH))), EPERM, ENOSYS),
        (seccomp.default_rules(sorted(set(ALL_CAPABILITIES) & set(seccomp.ALLOWED_WITH))), EPERM, ENOSYS),
        (seccomp.default_rules([]), EPERM, ENOSYS),
        (seccomp.ownership_rules(), ALLOW, ALLOW),
    ],
    ids=["default", "all", "none", "ownership"],
)
def test_the_same_answers_as_libseccomps(rules: seccomp.Rules, otherwise: int, unknown: int) -> None:
    ours = compile_program(seccomp.architectures(pyseccomp, rules, otherwise, unknown))
    theirs = by_libseccomp(rules, otherwise)
    if len(rules) > 100:
        assert len(ours) < len(theirs) / 2
    for arch in (X86_64, X86):
        for number in range(600):
            arguments = ARGUMENTS if number < 470 else [()]
            for long_values in arguments:
                # Programs of 32 bits have arguments of 32 bits.
                values = tuple(value & 0xFFFFFFFF if arch == X86 else value for value in long_values)
                answer, expected = execute(ours, arch, number, values), execute(theirs, arch, number, values)
                if answer != expected:
                    # The library does not know what is newer than itself.
                    new = number in seccomp.NEW_CALLS.values()
                    assert (new and answer == ALLOW) or (number > 400 and answer == unknown), (
                        hex(arch),
                        number,
                        values,
                        hex(answer),
                        hex(expected),
                    )


def test_an_unknown_architecture_is_killed() -> None:
    program = compile_program([Architecture(1, {}, ALLOW, 10, ALLOW)])
    assert execute(program, 2, 0) == KILL_PROCESS
    assert execute(program, 1, 0) == ALLOW


conditions = st.builds(
    Condition,
    st.integers(0, 5),
    st.sampled_from([0, 1, 2, 1 << 33, (1 << 33) + 1, 2**64 - 1]),
    st.sampled_from([1, 3, 1 << 33, 0xFFFFFFFF00000000, 2**64 - 1]),
    st.booleans(),
) | st.builds(
    Condition,
    st.integers(0, 5),
    st.sampled_from([0, 1, 2, 3, 1 << 33, (1 << 33) + 1, 2**64 - 1]),
    st.just(2**64 - 1),
    st.booleans(),
    st.just(True),
)
actions = st.sampled_from([ALLOW, EPERM, ENOSYS, errno_action(0)])
rules = st.lists(
    st.builds(Rule, actions, st.lists(conditions, max_size=3).map(tuple)), min_size=1, max_size=3
)
tables = st.dictionaries(st.integers(0, 700), rules, max_size=120)
arguments = st.lists(st.sampled_from([0, 1, 2, 3, 1 << 33, 2**64 - 1]), min_size=6, max_size=6)


def met(condition: Condition, argument: int) -> bool:
    if condition.at_least:
        return (argument >= condition.value) == condition.equal
    return (argument & condition.mask == condition.value & condition.mask) == condition.equal


def looked_up(architecture: Architecture, number: int, arguments: Sequence[int]) -> int:
    for rule in architecture.rules.get(number, ()):
        if all(met(condition, arguments[condition.argument]) for condition in rule.conditions):
            return rule.action
    return architecture.otherwise if number <= architecture.newest else architecture.unknown


# Shrinking would take minutes for tables of this size, and a failing call says enough by itself.
@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(tables, tables, st.integers(0, 20), st.lists(arguments, min_size=1, max_size=4))
def test_a_program_answers_as_its_table_does(
    first: dict[int, list[Rule]], second: dict[int, list[Rule]], beyond: int, calls: list[list[int]]
) -> None:
    made = [
        Architecture(1, first, EPERM, max([0, *first]) + beyond, ENOSYS),
        Architecture(2, second, ALLOW, max([0, *second]) + beyond, EPERM),
    ]
    program = compile_program(made)
    for architecture in made:
        newest = architecture.newest
        for number in (
            0,
            newest,
            newest + 1,
            2**32 - 1,
            *architecture.rules,
            *(n + 1 for n in architecture.rules),
        ):
            for values in calls:
                answer = execute(program, architecture.audit, number, values)
                assert answer == looked_up(architecture, number, values), (architecture.audit, number, values)


def test_files_are_made_once_and_differ_by_capabilities(tmp_path: Path) -> None:
    first = seccomp.default_filter(tmp_path, DEFAULT_CAPABILITIES)
    assert first is not None
    made = first.stat().st_mtime_ns
    assert seccomp.default_filter(tmp_path, reversed(DEFAULT_CAPABILITIES)) == first
    assert first.stat().st_mtime_ns == made
    assert seccomp.default_filter(tmp_path, ALL_CAPABILITIES) != first
    assert seccomp.ownership_filter(tmp_path) not in (None, first)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bpf"] * 3


def test_without_the_library_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        return None

    monkeypatch.setattr(seccomp, "_library", missing)
    assert seccomp.default_filter(tmp_path, []) is None
    assert "not filtered" in seccomp.limits()[0]
