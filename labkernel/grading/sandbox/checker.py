"""A check of a submission: outside the sandbox's processes, inside its network and its files."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkernel.course.exercise import CHECKS
from labkernel.engine.linux.namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    setns,
)
from labkernel.engine.linux.processes import die_with_parent
from labkernel.grading.sandbox import rootfs
from labkernel.grading.sandbox.runner import become_learner, environment, has_learner

CALL_SECONDS = 60
MEMORY = 4 << 30
"""Bytes of address space for a check; the libraries take one of them, most of it never touched."""
_LATE = (
    *("netrc", "encodings.idna", "shutil", "platform", "requests", "labkernel.course", "labkernel.display"),
    *("docker.transport", "Xlib.display", "Xlib.ext.xtest", "Xlib.support.unix_connect", "PIL.ImageChops"),
)
"""What checks, and what they use, import on the way."""


def import_all() -> None:
    """Import, in the zygote, what a check may need: in the sandbox it imports nothing."""
    for name in _LATE:
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(name)


class _NothingMore:
    """Finds no module (see `importlib.abc.MetaPathFinder`)."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        raise ModuleNotFoundError(f"{name} has to be imported where {CHECKS} begins", name=name)


def check(request: Mapping[str, Any], output: int) -> None:
    """Run the named checks of the exercise; write the report, or what went wrong, as JSON."""
    die_with_parent()
    # What it reads is the submission's, and the grader does not wait for ever.
    signal.alarm(math.ceil(request["seconds"]))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answer: dict[str, Any]
    try:
        answer = {"report": _check(request)}
    except Exception as error:  # whatever it is, the grader has to be told
        answer = {"error": f"{type(error).__name__}: {error}"}
    with os.fdopen(output, "wb") as file:
        file.write(json.dumps(answer).encode())


def _check(request: Mapping[str, Any]) -> dict[str, Any]:
    import docker

    from labkernel.course import Lab, load_exercise, run_checks

    exercise = load_exercise(Path(request["exercise"]))  # the instructor's: read before anything is joined
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    warden = os.pidfd_open(request["warden"])
    learner = has_learner(request["warden"])  # /proc in there shows no process from out here
    if request["rootless"]:
        slot = os.pidfd_open(request["slot_pid"])
        setns(slot, CLONE_NEWUSER)
    setns(warden, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
    sys.path.clear()  # here they would name files that the submission may have made
    sys.meta_path[:] = [_NothingMore()]
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    become_learner(exists=learner)
    os.environ.clear()
    # No home: docker-py runs what the learner's ~/.docker/config.json names as a helper, and this is outside.
    os.environ.update(environment(os.devnull))
    directory = Path(rootfs.HOME, request["name"])
    os.chdir(directory if directory.is_dir() else "/")
    version = "1.44"  # without an engine nobody can be asked: such checks look at files
    if request["engine"] is not None:
        _connect_only_to(request["engine"], processes)
        version = "auto"
    client = docker.DockerClient(base_url=f"unix://{rootfs.SOCKET}", version=version, timeout=CALL_SECONDS)
    try:
        report = run_checks(exercise, Lab(client, directory), request["names"])
    finally:
        client.close()
    return dataclasses.asdict(report)


def _connect_only_to(engine: int, processes: int) -> None:
    """Let docker-py use no connection but to the engine that the warden started."""
    from docker.transport.unixconn import UnixHTTPConnection

    connect = UnixHTTPConnection.connect

    def connect_and_look(connection: Any) -> None:
        connect(connection)
        expect_engine(connection.sock, engine, processes)

    UnixHTTPConnection.connect = connect_and_look  # type: ignore[method-assign,assignment]


def expect_engine(connection: socket.socket, engine: int, processes: int) -> None:
    """Raises RuntimeError unless what listens is process `engine` of a process namespace right below the one
    whose /proc `processes` has open. Below that are containers, and the learner.
    """
    pid, _, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    descriptor = os.open(f"{pid}/status", os.O_RDONLY, dir_fd=processes)
    with os.fdopen(descriptor) as status:
        [numbers] = [line.split()[1:] for line in status if line.startswith("NSpid:")]
    if [int(number) for number in numbers[1:]] != [engine]:
        raise RuntimeError("another program answers in place of the engine")
