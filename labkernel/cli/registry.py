"""labkernel registry serve."""

from __future__ import annotations

from pathlib import Path

from labkernel.commands import Console, Invocation, Result, Text
from labkernel.commands.command import Command
from labkernel.commands.flags import text


def serve(invocation: Invocation, console: Console) -> Result:
    """Prints the address once the registry answers, then runs until it is interrupted."""
    from labkernel import engine_process

    root = invocation.options["root"]
    engine_process.serve_registry(
        Path(root).expanduser().absolute() if root else None,
        invocation.options["host"],
        ready=lambda address: console.write(f"{address}\n".encode()),
    )
    return Text()


SERVE = Command(
    "serve",
    "[OPTIONS]",
    "Run a registry here until it is interrupted: docker push 127.0.0.1:5000/NAME",
    serve,
    (
        text("root", "", "Directory that the registry keeps everything in", metavar="DIR"),
        text(
            "host",
            "",
            "Address to listen on, 127.0.0.1:5000 unless given; at 0.0.0.0:5000 everybody in the room may "
            "read, push and delete",
            metavar="ADDR:PORT",
        ),
    ),
    (0, 0),
)
