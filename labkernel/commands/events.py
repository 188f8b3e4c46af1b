"""docker events: what happens in the engine, as it happens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError
from labkernel.commands.filters import FILTER, filters
from labkernel.commands.flags import text
from labkernel.commands.http import call, messages
from labkernel.commands.logs import moment
from labkernel.commands.results import Result, Text
from labkernel.commands.template import Template, TemplateError

if TYPE_CHECKING:
    from docker import DockerClient


def events(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    params: dict[str, Any] = {"filters": filters(options["filter"])}
    for flag in ("since", "until"):
        if options[flag]:
            params[flag] = moment(options[flag], f"--{flag}")
    try:
        template = Template("{{json .}}" if options["format"] == "json" else options["format"] or "")
    except TemplateError as error:
        raise CommandError(f"template parsing error: {error}", exit_code=64) from None
    seen = []
    response = call(client, "GET", "/events", params=params, stream=True)
    try:
        for event in messages(response):
            seen.append(event)
            line = template.render(event) if options["format"] else event_line(event)
            console.write(f"{line}\n".encode())
    except KeyboardInterrupt:
        pass  # the usual end of a stream that has none
    return Text(data=seen)


def event_line(event: Mapping[str, Any]) -> str:
    """ "2026-01-31T12:00:00.000000001+00:00 container start ID (image=busybox, name=web)"."""
    nanoseconds = event.get("timeNano") or event["time"] * 10**9
    moment = datetime.fromtimestamp(nanoseconds // 10**9).astimezone()
    zone = moment.strftime("%z")
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    clock = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds % 10**9:09d}{zone}"
    suffix = f" ({attributes})" if attributes else ""
    return f"{clock} {event['Type']} {event['Action']} {actor.get('ID', '')}{suffix}"


EVENTS = Command(
    "events",
    "[OPTIONS]",
    "Show what happens in the engine",
    events,
    (
        FILTER,
        text("format", "", "Lines by a Go template, such as '{{.Type}} {{.Action}}'; 'json'"),
        text("since", "", "Begin with events since then: a time, or how long ago, such as 5m"),
        text("until", "", "Stop at this time"),
    ),
    (0, 0),
)
