"""Device programs, run by a small interpreter of BPF and compared with the rules read one by one."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.runtime.device_program import compile_rules
from labkernel.engine.runtime.spec import SpecOptions, runtime_spec

TYPES = {"b": 1, "c": 2}
BITS = {"m": 1, "r": 2, "w": 4}


def execute(program: bytes, kind: str, access: str, major: int, minor: int) -> bool:
    context = struct.pack("<III", TYPES[kind] | sum(BITS[letter] for letter in access) << 16, major, minor)
    registers = [0] * 11
    instructions = list(instructions_of(program))
    position = steps = 0
    while True:
        code, destination, source, offset, number = instructions[position]
        position += 1
        steps += 1
        assert steps <= len(instructions), "a program may not loop"
        if code == 0x61:
            (registers[destination],) = struct.unpack_from("<I", context, offset)
        elif code == 0xB7:
            registers[destination] = number
        elif code == 0xBF:
            registers[destination] = registers[source]
        elif code == 0x54:
            registers[destination] &= number & 0xFFFFFFFF
        elif code == 0x74:
            registers[destination] >>= number
        elif code == 0x55:
            position += offset if registers[destination] != number else 0
        elif code == 0x95:
            return bool(registers[0])
        else:
            raise AssertionError(f"instruction {code:#x}")


def instructions_of(program: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    for code, both, offset, number in struct.iter_unpack("<BBhi", program):
        yield code, both & 15, both >> 4, offset, number


def by_the_rules(rules: list[dict[str, Any]], kind: str, access: str, major: int, minor: int) -> bool:
    for rule in reversed(rules):
        if (
            rule.get("type", "a") in ("a", kind)
            and rule.get("major", major) == major
            and rule.get("minor", minor) == minor
            and set(access) <= set(rule["access"])
        ):
            return bool(rule["allow"])
    return False


numbers = st.integers(0, 3)
accesses = st.sets(st.sampled_from("rwm"), min_size=1).map(lambda letters: "".join(sorted(letters)))
rules = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans(), "access": accesses},
        optional={"type": st.sampled_from("abc"), "major": numbers, "minor": numbers},
    ),
    max_size=6,
)


@given(rules, st.sampled_from("bc"), accesses, numbers, numbers)
def test_a_program_decides_as_its_rules_do(
    wanted: list[dict[str, Any]], kind: str, access: str, major: int, minor: int
) -> None:
    assert execute(compile_rules(wanted), kind, access, major, minor) == by_the_rules(
        wanted, kind, access, major, minor
    )


@pytest.mark.parametrize(
    ("kind", "access", "major", "minor", "allowed"),
    [
        ("c", "rw", 1, 3, True),
        ("c", "r", 136, 55, True),
        ("c", "r", 1, 1, False),
        ("b", "r", 8, 0, False),
        ("b", "m", 8, 0, True),
        ("b", "rm", 8, 0, False),
    ],
)
def test_the_default_rules(kind: str, access: str, major: int, minor: int, allowed: bool) -> None:
    program = compile_rules(runtime_spec(SpecOptions())["linux"]["resources"]["devices"])
    assert execute(program, kind, access, major, minor) == allowed
