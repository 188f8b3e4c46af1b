"""The command `labkernel`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if sys.argv[1:] in (["--version"], ["-v"]):  # at once, before anything else is imported
        from importlib.metadata import version

        print(f"labkernel {version('labkernel')}")
        return
    from labkernel.cli.run import run

    sys.exit(run(sys.argv[1:]))
