"""docker build: send a context, show the build while it runs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkernel.commands.build_errors import explain_build_error
from labkernel.commands.build_explanation import Explanation
from labkernel.commands.build_notes import BuildNotes, check_text
from labkernel.commands.build_output import parse_output, write_outputs
from labkernel.commands.build_secrets import secret_headers
from labkernel.commands.build_source import BuildSource
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.container_config import environment, labels, ulimit
from labkernel.commands.errors import CommandError, explain
from labkernel.commands.flags import integer, many, size, switch, text
from labkernel.commands.hadolint import SYNTAX, Hadolint, check_installed
from labkernel.commands.http import call, messages
from labkernel.commands.progress import raise_error, status_line
from labkernel.commands.results import BuildStep, Built, Result, Text
from labkernel.commands.units import human_size

if TYPE_CHECKING:
    from docker import DockerClient


KEPT = 20_000
"""Characters of a step's output that are kept, its end."""


def build(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    from docker.errors import APIError

    options = invocation.options
    source = BuildSource(invocation, console)
    if options["check"]:
        return _check(source)
    quiet = options["quiet"]
    outputs = [parse_output(text) for text in options["output"]]
    # Where the files go to standard output, what is said of the build does not.
    say = console.write_error if any(output.is_stdout for output in outputs) else console.write
    headers = secret_headers(client, options["secret"], options["ssh"])
    steps: list[BuildStep] = []
    explanation = Explanation()
    notes = BuildNotes(source.shown_name, source.dockerfile_text)
    hadolint = Hadolint(source.dockerfile_text if options.get("notes") else "")
    image = ""
    try:
        response = call(
            client,
            "POST",
            "/build",
            params=_parameters(options, source),
            data=None if source.remote else _counted(source.body, console, quiet=quiet),
            headers={"X-Registry-Config": _registry_config(client), **headers},
            stream=True,
        )
        for message in messages(response):
            raise_error(message)
            explanation.add(message.get("aux") or {})
            notes.add(message.get("aux") or {})
            if "ID" in (message.get("aux") or {}):
                image = message["aux"]["ID"]
            elif message.get("stream"):
                _note(message["stream"], steps)
                if quiet:
                    image = message["stream"].strip() or image
                else:
                    say(message["stream"].encode())
            elif message.get("status") and not quiet:
                if message.get("id"):
                    console.progress(message["id"], f"{message['id']}: {status_line(message)}")
                else:
                    console.progress_done()
                    say(f"{status_line(message)}\n".encode())
    except (APIError, CommandError) as error:
        console.progress_done()
        raise explain_build_error(explain(error, invocation.line, client), source, steps) from None
    else:
        notes.finish(explanation, hadolint.findings)
    finally:
        hadolint.stop()
    console.progress_done()
    if options["iidfile"]:
        Path(options["iidfile"]).write_text(image)
    write_outputs(client, image, options["tag"], outputs, console)
    is_shown = quiet and say == console.write
    return Built(image, list(options["tag"]), steps, is_shown, explanation, notes)


def _check(source: BuildSource) -> Result:
    """--check: nothing is built. The exit code is 1 if there is something to say, as with BuildKit."""
    check_installed()
    if not source.dockerfile_text:
        raise CommandError(
            "--check needs a Dockerfile that is at hand", hint="not one in an archive or at a URL"
        )
    findings = [
        finding
        for finding in Hadolint(source.dockerfile_text).findings
        # It cannot read what comes after a here-document.
        if finding.code != SYNTAX or "<<" not in source.dockerfile_text
    ]
    return Text(
        check_text(source.shown_name, source.dockerfile_text, findings),
        data=findings,
        exit_code=1 if findings else 0,
    )


def _parameters(options: Mapping[str, Any], source: BuildSource) -> dict[str, Any]:
    parameters = {
        "t": options["tag"],
        "remote": source.remote,
        "dockerfile": source.dockerfile_name,
        "q": "1" if options["quiet"] else None,
        "nocache": "1" if options["no-cache"] else None,
        "rm": "1" if options["rm"] else "0",
        "forcerm": "1" if options["force-rm"] else None,
        "pull": "1" if options["pull"] else None,
        "squash": "1" if options["squash"] else None,
        "buildargs": json.dumps(build_arguments(options["build-arg"])),
        "labels": json.dumps(labels(options["label"])),
        "cachefrom": json.dumps(options["cache-from"]),
        "target": options["target"],
        "networkmode": options["network"],
        "extrahosts": options["add-host"],
        "platform": options["platform"],
        "memory": options["memory"],
        "memswap": options["memory-swap"],
        "shmsize": options["shm-size"],
        "cpushares": options["cpu-shares"],
        "cpuperiod": options["cpu-period"],
        "cpuquota": options["cpu-quota"],
        "cpusetcpus": options["cpuset-cpus"],
        "cpusetmems": options["cpuset-mems"],
        "cgroupparent": options["cgroup-parent"],
        "ulimits": json.dumps([ulimit(text) for text in options["ulimit"]]),
        "securityopt": json.dumps(options["security-opt"]) if options["security-opt"] else None,
        # Not Docker's: other engines pass over it.
        "explain": "1" if options["explain"] else None,
        "version": "1",
    }
    return {key: value for key, value in parameters.items() if value not in (None, "", [])}


def build_arguments(values: list[str]) -> dict[str, str]:
    """--build-arg NAME=VALUE; NAME alone takes the value from our environment."""
    return dict(pair.split("=", 1) for pair in environment(values, []))


def _registry_config(client: DockerClient) -> str:
    stored: Any = client.api._auth_configs  # type: ignore[attr-defined]  # set by docker-py from config.json
    return base64.urlsafe_b64encode(json.dumps(stored.get_all_credentials()).encode()).decode()


def _counted(body: Iterable[bytes], console: Console, *, quiet: bool) -> Iterator[bytes]:
    """The body as it is, with how much was sent shown now and then, in blocks worth a write."""
    sent = shown = 0
    buffer = bytearray()
    for piece in body:
        buffer += piece
        if len(buffer) >= 256 * 1024:
            sent += len(buffer)
            yield bytes(buffer)
            buffer.clear()
            if not quiet and sent - shown > 8_000_000:
                shown = sent
                console.progress("context", f"Sending build context to Docker daemon  {human_size(sent)}")
    sent += len(buffer)
    yield bytes(buffer)
    if not quiet:
        console.progress("context", f"Sending build context to Docker daemon  {human_size(sent)}")
        console.progress_done()


def _note(stream: str, steps: list[BuildStep]) -> None:
    """Keep what the builder says of each step: "Step 1/3 : FROM x", " ---> Using cache", " --->
    0123456789ab".
    """
    for piece in stream.splitlines(keepends=True):  # its last line may go on in the next message
        line = piece.rstrip("\r\n")
        start = re.match(r"Step (\d+)/(\d+) : (.*)", line)
        if start:
            steps.append(BuildStep(start[3]))
        elif steps and line.strip() == "---> Using cache":
            steps[-1].cached = True
        elif steps and re.fullmatch(r" ---> [0-9a-f]{12}", line):
            steps[-1].image = line.removeprefix(" ---> ")
        elif steps and not re.match(
            r" ---> Running in |Removing intermediate container |Successfully ", line
        ):
            steps[-1].output = (steps[-1].output + piece)[-KEPT:]


BUILD = Command(
    "build",
    "[OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    build,
    (
        many("tag", "t", "Name of the image, as NAME[:TAG]; may be given several times"),
        text("file", "f", "The Dockerfile; PATH/Dockerfile by default, - for standard input"),
        many("build-arg", "", "Value of an ARG, as NAME=VALUE"),
        switch("no-cache", "", "Run every step again"),
        switch("explain", "", "Say why steps were run again and what is wasted (labkernel's engine)"),
        switch("check", "", "Build nothing: say what hadolint finds in the Dockerfile"),
        text("target", "", "Stop at this stage of a multi-stage Dockerfile"),
        many("label", "", "A label of the image, as KEY=VALUE"),
        switch("pull", "", "Look for a newer base image"),
        switch("quiet", "q", "Show the image's id only"),
        text("network", "", "Network of the RUN steps: default, host, none"),
        many("cache-from", "", "An image whose layers may serve as cache", metavar="strings"),
        many("add-host", "", "A line for /etc/hosts of the RUN steps, as NAME:ADDRESS"),
        switch("rm", "", "Remove the steps' containers after a build that succeeded", default=True),
        switch("force-rm", "", "Remove the steps' containers always"),
        switch("squash", "", "Join the new layers to one"),
        many("output", "o", "Write what was built: a directory, or type=local|tar|oci|docker,dest=PATH"),
        text("progress", "", "Accepted for the docker client's sake: there is one way to show it"),
        switch("load", "", "Accepted for the docker client's sake: what is built is in the engine"),
        switch("compress", "", "Accepted for the docker client's sake; the context is sent as it is"),
        text("iidfile", "", "Write the image's id to this file"),
        text("platform", "", "Platform to build for, such as linux/amd64"),
        size("memory", "m", "Memory limit of the RUN steps"),
        size("memory-swap", "", "Memory and swap together; -1 for unlimited swap"),
        size("shm-size", "", "Size of /dev/shm in the RUN steps"),
        integer("cpu-shares", "c", "Weight against other containers"),
        integer("cpu-period", "", "Scheduler period in microseconds"),
        integer("cpu-quota", "", "CPU time for each period in microseconds"),
        text("cpuset-cpus", "", "CPUs to run on, such as 0-2"),
        text("cpuset-mems", "", "Memory nodes to use"),
        text("cgroup-parent", "", "Control group to put the steps below"),
        many("ulimit", "", "A resource limit, as nofile=1024:2048", metavar="ulimit"),
        many(
            "secret",
            "",
            "What steps may see and no image keeps: id=NAME,src=FILE or id=NAME,env=VARIABLE",
        ),
        many("ssh", "", "An SSH agent that steps may ask: default, or ID=SOCKET"),
        many("security-opt", "", "Security option of the RUN steps"),
    ),
    (1, 1),
)
