"""Every command by the words that call it."""

from __future__ import annotations

from labkernel.commands import ps
from labkernel.commands.command import Command, Group

COMMANDS: dict[str, Command] = {
    "ps": ps.PS,
}

GROUPS: dict[str, Group] = {
    "container": Group("container", "Work with containers", {"ls": ps.PS, "list": ps.PS, "ps": ps.PS}),
}
