"""The box in which a submission runs: nothing in it is trusted, and nothing of it is left afterwards.

    with Sandboxes(work, limits=Limits(), engine=True, network=True, jobs=2) as sandboxes:
        sandboxes.prepare(files, setup_cells)
        with sandboxes.open(files, "01-web-base") as sandbox:
            ran = sandbox.run_cell("%docker images")
            report = sandbox.check(exercise.directory, ["image"])

    grader -- zygote -- one process a sandbox, in new namespaces; it waits
                          \\-- warden: process 1 inside; counts what is used
                                |-- engine: the submission's own, over the images of the grader's, read-only
                                \\-- runner: the cells, as a user of no rights, who sees no other process
                     \\-- a check: outside these processes, in the sandbox's files and network

A slot (see `slots`) is a container of the grader's own engine in which nothing happens. It lends a sandbox
its network, its limits and, to an ordinary user's grader, the ids of the engine's user namespace.
"""

from __future__ import annotations

from labkernel.grading.sandbox.limits import CellRun, Limits, SandboxEnded, SandboxError
from labkernel.grading.sandbox.sandboxes import Sandbox, Sandboxes

__all__ = ["CellRun", "Limits", "Sandbox", "SandboxEnded", "SandboxError", "Sandboxes"]
