"""The commands of `labkernel`."""

from __future__ import annotations

from pathlib import Path

from labkernel.cli import assignment, check, engine, grade, images, registry
from labkernel.commands import Console, Invocation, Result, Text
from labkernel.commands.command import Command, Group
from labkernel.commands.parser import Program


def lab(invocation: Invocation, console: Console) -> Result:
    """Start the engine, unless DOCKER_HOST names another, then JupyterLab, which this process becomes."""
    from labkernel.cli.docker import engine_host
    from labkernel.notebook.lab import open_lab

    engine_host()
    return Text(exit_code=open_lab(Path(invocation.arguments[0]) if invocation.arguments else None))


def docker(invocation: Invocation, console: Console) -> Result:
    raise AssertionError("what follows `docker` is not parsed here")


LABKERNEL = Program(
    "labkernel",
    "A teaching lab for containers that lives in Jupyter, on a container engine of its own.",
    {
        "lab": Command(
            "lab",
            "[DIRECTORY]",
            "Open the lessons in JupyterLab: start here. They are put into DIRECTORY; else into ~/labkernel, "
            "or into ~/labkernel-work where ~/labkernel is the source",
            lab,
            (),
            (0, 1),
        ),
        "check": check.CHECK,
        "grade": grade.GRADE,
        "docker": Command(
            "docker",
            "COMMAND [ARG...]",
            "Docker's commands, for who has no docker client: labkernel docker run --rm busybox echo hello",
            docker,
        ),
    },
    {
        "engine": Group(
            "engine",
            "Start, stop and look at the engine, which runs the containers",
            {
                "start": engine.START,
                "stop": engine.STOP,
                "status": engine.STATUS,
                "serve": engine.SERVE,
            },
        ),
        "images": Group(
            "images",
            "Make base images without a registry; move images between machines as one file",
            {"make": images.MAKE, "save": images.SAVE, "load": images.LOAD},
        ),
        "registry": Group(
            "registry", "A registry of one's own, for a room without another", {"serve": registry.SERVE}
        ),
        "assignment": Group(
            "assignment", "For instructors: make exercises from solutions", {"make": assignment.MAKE}
        ),
    },
    ending="`labkernel COMMAND --help` explains a command; `labkernel --version` tells the version.\n"
    "DOCKER_HOST, when set, names the engine to use instead of labkernel's own, for all but\n"
    "`labkernel engine` and `labkernel images make`, which are about labkernel's own.",
)
