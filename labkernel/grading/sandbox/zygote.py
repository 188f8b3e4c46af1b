"""The process that sandboxes are forked from: one thread, IPython imported, nothing of anybody's in it.

    python -m labkernel.grading.sandbox.zygote DESCRIPTOR

It is told what to do over the socket DESCRIPTOR, and ends, with all that it made, when that closes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from labkernel.engine.linux.namespaces import CLONE_NEWUSER, setns
from labkernel.engine.linux.processes import die_with_parent
from labkernel.grading.sandbox import birth, checker, runner
from labkernel.grading.sandbox.messages import receive_with_descriptors, send


def main(channel: socket.socket) -> None:
    """Serve until the grader is gone."""
    die_with_parent()
    # To be stopped is the grader's affair: what a sandbox that is killed says would be a result. Handlers and
    # not ignored: what is started from here then has the usual ones.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda number, frame: None)
    runner.prepare_shell()
    checker.import_all()
    gc.collect()
    gc.freeze()
    send(channel, {"ready": True})
    while True:
        message, descriptors = receive_with_descriptors(channel)
        _reap()
        if message is None:
            return
        pid = os.fork()
        if pid == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _do(message, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _do(message: Mapping[str, Any], descriptors: list[int]) -> None:
    """In a child: what was asked for, and the end of the process."""
    code = 1
    try:
        if "open" in message:
            control, cells, output = descriptors
            channels = (socket.socket(fileno=control), socket.socket(fileno=cells))
            _live(message["open"], *channels, output)
        elif "check" in message:
            [output] = descriptors
            checker.check(message["check"], output)
        elif "remove" in message:
            _remove(message["remove"])  # the grader waits for the descriptor it sent to be closed
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _live(request: Mapping[str, Any], control: socket.socket, cells: socket.socket, output: int) -> None:
    try:
        birth.live(request, control, cells, output)
    except Exception as error:
        what = f"{getattr(error, 'filename', None) or type(error).__name__}: {error}"
        with contextlib.suppress(OSError):
            send(control, {"error": f"a sandbox cannot be made here: {what}"})
        raise


def _remove(request: Mapping[str, Any]) -> None:
    """Files whose owners are ids of the engine's user namespace are removed from within it."""
    if request["rootless"]:
        slot = os.pidfd_open(request["slot_pid"])
        setns(slot, CLONE_NEWUSER)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    # rm goes down to any depth, and a learner may have made one of any depth.
    subprocess.run(["rm", "-rf", "--one-file-system", "--", request["path"]], check=False)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
