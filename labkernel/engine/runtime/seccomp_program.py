"""A table of system calls as the classic BPF program that seccomp(2) takes. Pure: bytes come out.

The kernel runs the program for every call, on struct seccomp_data. A table has a few hundred numbers, most of
them neighbours: so the program looks a number up by halving the list of places where the answer changes. That
makes it a third of the size of what libseccomp writes, and a container's start is the sooner for it: the
kernel translates the program anew for each. Only instructions are used that the kernel can also follow in
advance, to let most calls pass without running it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000


def errno_action(number: int) -> int:
    """SECCOMP_RET_ERRNO: the call is not made and fails with this number, or succeeds with 0."""
    return 0x00050000 | number


@dataclass(frozen=True)
class Condition:
    """What one argument (0 to 5), of its bits in `mask`, must be, or with `equal` false must not be; with
    `at_least` all of it must be so much or more, or with `equal` false less.
    """

    argument: int
    value: int
    mask: int = 2**64 - 1
    equal: bool = True
    at_least: bool = False


@dataclass(frozen=True)
class Rule:
    """An answer for calls that meet all conditions."""

    action: int
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """The rules of one kind of program (`audit`: linux/audit.h's AUDIT_ARCH): the first that fits decides.

    Numbers above `newest`, which is at least the largest with rules, get `unknown`; others without a rule
    that fits get `otherwise`.
    """

    audit: int
    rules: Mapping[int, Sequence[Rule]]
    otherwise: int
    newest: int
    unknown: int


# Operation codes of linux/bpf_common.h.
_LOAD = 0x20
_AND = 0x54
_JUMP = 0x05
_JUMP_IF_EQUAL = 0x15
_JUMP_IF_GREATER = 0x25
_JUMP_IF_AT_LEAST = 0x35
_RETURN = 0x06

# Offsets in struct seccomp_data.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
#: Conditional jumps reach 255 instructions ahead; one is kept for the trampoline of the other branch.
_REACH = 254


def compile_program(architectures: Sequence[Architecture]) -> bytes:
    """The program; programs of any other architecture are killed, as libseccomp has it."""
    writer = _Writer()
    entry = writer.answer(KILL_PROCESS)
    for architecture in reversed(architectures):
        block = _block(writer, architecture)
        entry = writer.branch(_JUMP_IF_EQUAL, architecture.audit, block, writer.near(entry))
    writer.add(_LOAD, _ARCHITECTURE)
    return writer.program()


class _Writer:
    """Writes a program from its end: whatever is jumped to is there already. Places count from the end."""

    def __init__(self) -> None:
        self._reversed: list[tuple[int, int, int, int]] = []
        self._answers: dict[int, int] = {}

    def add(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> int:
        self._reversed.append((code, if_true, if_false, value))
        return len(self._reversed)

    def near(self, place: int) -> int:
        """The place, or a jump to it where it is too far for a conditional jump."""
        distance = len(self._reversed) - place
        return place if distance < _REACH else self.add(_JUMP, distance)

    def answer(self, action: int) -> int:
        """The end of the program with this answer, within reach."""
        place = self._answers.get(action)
        if place is None or len(self._reversed) - place >= _REACH:
            place = self._answers[action] = self.add(_RETURN, action)
        return place

    def branch(self, code: int, value: int, if_true: int, if_false: int) -> int:
        """A conditional jump."""
        if_true = self.near(if_true)
        if_false = self.near(if_false)
        here = len(self._reversed)
        return self.add(code, value, here - if_true, here - if_false)

    def program(self) -> bytes:
        return b"".join(struct.pack("=HBBI", *instruction) for instruction in reversed(self._reversed))


def _block(writer: _Writer, architecture: Architecture) -> int:
    """Load the number and look it up."""
    changes = _changes(architecture)
    entry = _search(writer, architecture, changes)
    if entry != len(writer._reversed):
        entry = writer.add(_JUMP, len(writer._reversed) - entry)
    return writer.add(_LOAD, _NUMBER)


def _changes(architecture: Architecture) -> list[tuple[int, tuple[Rule, ...]]]:
    """(first number, rules that hold from there on) wherever that changes; the first is 0."""
    unknown, otherwise = (Rule(architecture.unknown),), (Rule(architecture.otherwise),)
    found: list[tuple[int, tuple[Rule, ...]]] = [(0, otherwise)]

    def from_here(number: int, rules: tuple[Rule, ...]) -> None:
        if found[-1][0] == number:
            found.pop()
        if not found or found[-1][1] != rules:
            found.append((number, rules))

    for number in sorted(architecture.rules):
        from_here(number, (*architecture.rules[number], *otherwise))
        from_here(number + 1, otherwise if number < architecture.newest else unknown)
    if architecture.newest + 1 > found[-1][0]:
        from_here(architecture.newest + 1, unknown)
    return found


def _search(
    writer: _Writer, architecture: Architecture, changes: Sequence[tuple[int, tuple[Rule, ...]]]
) -> int:
    """Halve the list until one part is left."""
    if len(changes) == 1:
        return _decide(writer, changes[0][1])
    middle = len(changes) // 2
    right = _search(writer, architecture, changes[middle:])
    left = _search(writer, architecture, changes[:middle])
    return writer.branch(_JUMP_IF_AT_LEAST, changes[middle][0], right, left)


def _decide(writer: _Writer, rules: Sequence[Rule]) -> int:
    """Try the rules of one call in turn; the last has no conditions."""
    first, *rest = rules
    if not first.conditions:
        return writer.answer(first.action)
    otherwise = _decide(writer, rest)
    place = writer.answer(first.action)
    for condition in reversed(first.conditions):
        place = _test(writer, condition, place, otherwise)
    return place


def _test(writer: _Writer, condition: Condition, fits: int, fails: int) -> int:
    """Compare a 64-bit argument in two halves."""
    equal, different = (fits, fails) if condition.equal else (fails, fits)
    offset = _ARGUMENTS + 8 * condition.argument
    if condition.at_least:
        low, high = condition.value & 0xFFFFFFFF, condition.value >> 32
        place = writer.branch(_JUMP_IF_AT_LEAST, low, equal, different)
        place = writer.add(_LOAD, offset)
        place = writer.branch(_JUMP_IF_EQUAL, high, place, different)
        writer.branch(_JUMP_IF_GREATER, high, equal, place)
        return writer.add(_LOAD, offset + 4)
    for half_offset, shift in ((offset, 0), (offset + 4, 32)):
        mask = condition.mask >> shift & 0xFFFFFFFF
        value = condition.value >> shift & mask
        equal = writer.branch(_JUMP_IF_EQUAL, value, equal, different)
        if mask != 0xFFFFFFFF:
            writer.add(_AND, mask)
        equal = writer.add(_LOAD, half_offset)
    return equal
