"""Device rules as a BPF program, which is how cgroup v2 takes them. Pure: bytes come out.

The kernel calls the program for every access with a context of three words: the type (low half, BLOCK 1, CHAR
2) and access (high half, MKNOD 1, READ 2, WRITE 4), the major and the minor number; it allows what the
program returns 1 for. The last rule that matches decides, so rules are tried from the last to the first.
Source: bpf.h, struct bpf_cgroup_dev_ctx.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7

# Operation codes of linux/bpf.h, and the registers used: R0 result, R1 context, R2 type, R3 access, R4 major,
# R5 minor.
_LOAD_WORD = 0x61
_MOVE_NUMBER = 0xB7
_MOVE_REGISTER = 0xBF
_AND_NUMBER = 0x54
_SHIFT_RIGHT = 0x74
_JUMP_IF_NOT = 0x55
_EXIT = 0x95
_RESULT, _CONTEXT, _TYPE, _ACCESSED, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 0


def compile_rules(rules: Sequence[Mapping[str, Any]]) -> bytes:
    """The program for `linux.resources.devices`; what no rule matches is denied."""
    program = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0),
        _instruction(_AND_NUMBER, _TYPE, number=0xFFFF),
        _instruction(_LOAD_WORD, _ACCESSED, _CONTEXT, 0),
        _instruction(_SHIFT_RIGHT, _ACCESSED, number=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        checks = _checks(rule)
        answer = [_instruction(_MOVE_NUMBER, _RESULT, number=int(rule["allow"])), _instruction(_EXIT)]
        for number, check in enumerate(checks):
            # A check that fails jumps behind the answer.
            program.append(_at(check, len(checks) - number - 1 + len(answer)))
        program += answer
        if not checks:
            return b"".join(program)
    program += [_instruction(_MOVE_NUMBER, _RESULT, number=0), _instruction(_EXIT)]
    return b"".join(program)


def _checks(rule: Mapping[str, Any]) -> list[bytes]:
    checks = []
    kind = rule.get("type", "a")
    if kind != "a":
        checks.append(_instruction(_JUMP_IF_NOT, _TYPE, number=_TYPES[kind]))
    access = sum(_ACCESS[letter] for letter in set(rule["access"]))
    if access != _ALL_ACCESS:
        # What is accessed must lie within the rule: its bits outside the rule are none.
        checks.append(_instruction(_MOVE_REGISTER, _SCRATCH, _ACCESSED))
        checks.append(_instruction(_AND_NUMBER, _SCRATCH, number=~access & _ALL_ACCESS))
        checks.append(_instruction(_JUMP_IF_NOT, _SCRATCH, number=0))
    if "major" in rule:
        checks.append(_instruction(_JUMP_IF_NOT, _MAJOR, number=rule["major"]))
    if "minor" in rule:
        checks.append(_instruction(_JUMP_IF_NOT, _MINOR, number=rule["minor"]))
    return checks


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    """struct bpf_insn."""
    return struct.pack("<BBhi", code, source << 4 | destination, offset, number)


def _at(instruction: bytes, offset: int) -> bytes:
    """The same instruction, its jump that far ahead; instructions that do not jump stay as they are."""
    code, registers, _, number = struct.unpack("<BBhi", instruction)
    return struct.pack("<BBhi", code, registers, offset if code == _JUMP_IF_NOT else 0, number)
