"""Every command by the words that call it."""

from __future__ import annotations

from labkernel.commands import build, logs, ps, pull, run
from labkernel.commands.command import Command, Group

COMMANDS: dict[str, Command] = {
    "build": build.BUILD,
    "create": run.CREATE,
    "logs": logs.LOGS,
    "ps": ps.PS,
    "pull": pull.PULL,
    "push": pull.PUSH,
    "run": run.RUN,
}

GROUPS: dict[str, Group] = {
    "container": Group("container", "Work with containers", {"ls": ps.PS, "list": ps.PS, "ps": ps.PS}),
}
