"""docker logs: what a container wrote, now and as it goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from labkernel.commands.attached import Capture
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.flags import switch, text
from labkernel.commands.http import Demultiplexer, call, chunks
from labkernel.commands.results import Finished, Result
from labkernel.commands.units import parse_duration, parse_time

if TYPE_CHECKING:
    from docker import DockerClient


def moment(value: str, flag: str) -> str:
    """--since, --until: a time, epoch seconds, or how long ago (5m), as seconds since the epoch."""
    try:
        return f"{float(value):.9f}"
    except ValueError:
        pass
    try:
        return f"{datetime.now(UTC).timestamp() - parse_duration(value) / 1e9:.9f}"
    except ValueError:
        pass
    try:
        date, _, clock = value.replace(" ", "T").partition("T")
        clock = {0: "00:00:00", 2: f"{clock}:00:00", 5: f"{clock}:00"}.get(len(clock), clock)
        parsed = parse_time(f"{date}T{clock}")
        if not value.endswith("Z") and "+" not in clock and "-" not in clock:
            parsed = parsed.replace(tzinfo=None).astimezone()  # without a zone it is local time
        return f"{parsed.timestamp():.9f}"
    except ValueError:
        raise CommandError(
            f'invalid value for "{flag}": {value}',
            hint=f"a time such as 2026-01-31T12:00:00, or how long ago: {flag} 5m",
        ) from None


def logs(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options, name = invocation.options, invocation.arguments[0]
    params: dict[str, str | int] = {
        "stdout": 1,
        "stderr": 1,
        "follow": int(options["follow"]),
        "timestamps": int(options["timestamps"]),
        "tail": options["tail"],
        "details": int(options["details"]),
    }
    for flag in ("since", "until"):
        if options[flag]:
            params[flag] = moment(options[flag], f"--{flag}")
    found = client.api.inspect_container(name)
    response = call(client, "GET", f"/containers/{quote(found['Id'])}/logs", params=params, stream=True)
    capture = Capture(console)
    demultiplexer = Demultiplexer()
    try:
        for chunk in chunks(response):
            for stream, data in [(1, chunk)] if found["Config"]["Tty"] else demultiplexer.feed(chunk):
                capture.take(stream, data)
    except KeyboardInterrupt:
        if not options["follow"]:
            raise
        # leaving `logs -f` by an interrupt is its usual end
    return Finished(found["Id"], 0, bytes(capture.stdout), bytes(capture.stderr))


LOGS = Command(
    "logs",
    "[OPTIONS] CONTAINER",
    "Show what a container wrote",
    logs,
    (
        switch("follow", "f", "Stay and show what it goes on to write"),
        switch("timestamps", "t", "Put the time before each line"),
        text("tail", "n", "Show only the last lines", default="all"),
        text("since", "", "Show what is newer: a time, or how long ago, such as 5m"),
        text("until", "", "Show what is older: a time, or how long ago, such as 5m"),
        switch("details", "", "Show the log driver's extra attributes"),
    ),
    (1, 1),
)
