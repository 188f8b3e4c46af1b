"""Commands that do one thing to each of several containers, images or networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labkernel.commands.command import Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError, explain
from labkernel.commands.results import Result, Text

if TYPE_CHECKING:
    from docker import DockerClient


def for_each(
    client: DockerClient,
    invocation: Invocation,
    console: Console,
    action: Callable[[str], str | None],
    names: Sequence[str] | None = None,
    *,
    may_be_missing: bool = False,
) -> Result:
    """Do `action` to each name and print the names done, or what `action` returns.

    One that fails does not keep the others from being done; the failures are raised together at the end.
    With `may_be_missing`, as for rm -f, one that does not exist is only told of on standard error.
    """
    from docker.errors import NotFound

    done: list[str] = []
    failures: list[CommandError] = []
    for name in invocation.arguments if names is None else names:
        try:
            said = action(name)
            done.append(name if said is None else said)
        except Exception as error:
            failure = explain(error, invocation.line, client)
            if may_be_missing and isinstance(error, NotFound):
                console.write_error(f"{failure.what}\n".encode())
            else:
                failures.append(failure)
    if not failures:
        return Text("\n".join(done), data=done)
    if done:
        console.write(("\n".join(done) + "\n").encode())
    hints = dict.fromkeys(failure.hint for failure in failures if failure.hint)
    raise CommandError(
        "\n".join(failure.what for failure in failures),
        hint="\n       ".join(hints) or None,
        where=invocation.line,
    )
