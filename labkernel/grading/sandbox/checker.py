"""A check of a submission: outside the sandbox's processes, inside its network and its files."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def check(request: Mapping[str, Any], output: int) -> None:
    """Run the named checks of the exercise; write the report, or what went wrong, as JSON."""
    die_with_parent()
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
        _expect_engine(request, processes)
        version = "auto"
    client = docker.DockerClient(base_url=f"unix://{rootfs.SOCKET}", version=version, timeout=CALL_SECONDS)
    try:
        report = run_checks(exercise, Lab(client, directory), request["names"])
    finally:
        client.close()
    return dataclasses.asdict(report)


def _expect_engine(request: Mapping[str, Any], processes: int) -> None:
    """That what listens is the engine that the warden started, and not something of the learner's."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(rootfs.SOCKET)
        pid, _, _ = struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))

    def look(name: str) -> bytes:
        descriptor = os.open(f"{pid}/{name}", os.O_RDONLY, dir_fd=processes)
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    [numbers] = [line.split()[1:] for line in look("status").splitlines() if line.startswith(b"NSpid:")]
    if int(numbers[-1]) != request["engine"] or len(numbers) < 2:
        raise RuntimeError("another program answers in place of the engine")
