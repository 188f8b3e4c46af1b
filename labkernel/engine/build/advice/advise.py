"""A failure -> what to do about it. Pure: tables of rules, the first that has something to say."""

from __future__ import annotations

from labkernel.engine.build.advice import dockerfile, files, network, packages, shell
from labkernel.engine.build.advice.situation import Advice, Situation

#: Rules for a command that failed, the most exact first.
_RUN = (
    *packages.RULES,
    *network.RULES,
    *shell.RULES,
    *files.RULES,
    *network.LAST_RULES,
    *shell.LAST_RULES,
)


def advise(situation: Situation) -> Advice | None:
    """What to do about a failure, if that is known."""
    rules = dockerfile.RULES if situation.code is None else _RUN
    return next((said for rule in rules if (said := rule.apply(situation))), None)
