"""The JSON messages of pull, push, load and import, shown as lines that change in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.units import human_size


def show_progress(
    messages: Iterable[Mapping[str, Any]], console: Console, *, quiet: bool = False
) -> list[Any]:
    """Show every message; those with an id have a line of their own. Returns the `aux` objects that came
    along.

    Raises CommandError with the engine's words when a message is an error.
    """
    aux: list[Any] = []
    for message in messages:
        raise_error(message)
        if "aux" in message:
            aux.append(message["aux"])
        elif quiet:
            continue
        elif message.get("id"):
            console.progress(message["id"], f"{message['id']}: {status_line(message)}")
        elif message.get("stream"):
            console.write(message["stream"].encode())
        elif message.get("status"):
            console.progress_done()
            console.write(f"{status_line(message)}\n".encode())
    console.progress_done()
    return aux


def raise_error(message: Mapping[str, Any]) -> None:
    """Raise the error that a message may carry."""
    if "errorDetail" in message or "error" in message:
        detail = message.get("errorDetail") or {}
        what = detail.get("message") or message.get("error") or "the engine reports an error"
        # A RUN that fails has its own exit code.
        raise CommandError(what, exit_code=detail.get("code") or 1, details=detail)


def status_line(message: Mapping[str, Any]) -> str:
    """ "Downloading [=====>     ]  3.1MB/7.2MB" from a message with progressDetail."""
    status = str(message.get("status", ""))
    detail = message.get("progressDetail") or {}
    current, total = detail.get("current") or 0, detail.get("total") or 0
    if not current:
        return status
    if total <= 0:
        return f"{status} {human_size(current):>8}"
    count, whole = (
        (str(current), f"{total} {detail['units']}")
        if detail.get("units") not in (None, "", "bytes")
        else _sizes(current, total)
    )
    done = min(50 * current // total, 50)
    bar = "=" * done + (">" if done < 50 else "") + " " * (49 - done)
    return f"{status} [{bar}] {count:>8}/{whole}"


def _sizes(current: int, total: int) -> tuple[str, str]:
    return human_size(current), human_size(total)
