"""The grader's side of the sandboxes: they are opened, told what to run, and taken away."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import queue
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labkernel import engine_process
from labkernel.commands import CommandError, connect
from labkernel.course.lab import BUILD_TIMEOUT, PATIENCE, RUN_TIMEOUT
from labkernel.course.outcome import Checked, Report
from labkernel.grading.sandbox import birth
from labkernel.grading.sandbox.limits import CellRun, Limits, SandboxEnded, SandboxError
from labkernel.grading.sandbox.messages import LARGEST, pair, receive, send
from labkernel.grading.sandbox.runner import environment
from labkernel.grading.sandbox.slots import Slot, Slots

BIRTH_SECONDS = 90.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 30.0
WHAT_WAS_SAID = "what it said is above; has the machine memory and processes left?"
_CRASHES = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
"""The only ends of an engine that are ours: to end in order, or with an error since a part of it was killed,
is what a learner can bring about.
"""
_LARGEST_ANSWER = 8 << 20
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")


class Sandboxes:
    """All sandboxes of one grading run, `jobs` at a time at most; a context manager.

    `work` is a directory for what they write, emptied at both ends. With `engine` each has a container engine
    of its own, which sees of the images of labkernel's own engine here those named in `images`, and no
    others: the instructor's would answer the exercise. With `network` there is a way out.
    """

    def __init__(
        self,
        work: Path,
        *,
        limits: Limits,
        engine: bool,
        network: bool,
        jobs: int,
        images: Sequence[str] = (),
    ) -> None:
        self._work = work.absolute()
        self._limits = limits
        self._engine = engine
        self._network = network
        self._images = images
        self._free: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        for _ in range(jobs):
            self._free.put(None)
        self._numbers = iter(range(1, 1 << 62))
        self._sending = threading.Lock()
        self._base = ""
        self._open: set[Sandbox] = set()
        self.cancelled = threading.Event()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Sandboxes:
        """Raises SandboxError."""
        with contextlib.ExitStack() as undo:
            try:
                client = connect(engine_process.start())
            except CommandError as error:
                raise SandboxError(error.what, error.hint or "") from None
            undo.callback(client.close)
            self._status = engine_process.status()
            if self._network and not self._status.reaches_world:
                # Else each right answer that fetches something would fail.
                raise SandboxError(
                    "the exercise needs the network, and containers here do not reach the outside world",
                    "labkernel engine status says why; as root it needs nothing more: "
                    f"sudo {shlex.join([sys.argv[0], *sys.argv[1:]])}",
                )
            self._slots = Slots(client, self._limits)
            self._slots.remove_left()
            self._work.mkdir(parents=True, exist_ok=True)
            undo.callback(self._remove_slots)
            self._start_zygote(undo)
            undo.callback(self._empty_work)
            self._empty_work()
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _start_zygote(self, undo: contextlib.ExitStack) -> None:
        self._zygote, theirs = pair()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "labkernel.grading.sandbox.zygote", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment(os.path.expanduser("~")),  # a fork shows it for ever, in /proc/self/environ
            cwd="/",
            start_new_session=True,  # the terminal's signals are for the grader alone
        )
        theirs.close()

        def end() -> None:
            self._zygote.close()
            process.wait()

        undo.callback(end)
        if receive(self._zygote) is None:
            raise SandboxError("the process that makes sandboxes did not start", WHAT_WAS_SAID)

    def prepare(self, files: Path, name: str, cells: Sequence[str]) -> None:
        """Run cells once; the images they leave are there in every sandbox opened after.

        Raises SandboxError.
        """
        # The instructor's cells may fetch what answers then find there, without a way out. An ordinary user's
        # builds reach the world as the user does, where containers do not.
        slot = self._slots.make("bridge" if self._status.reaches_world else "host")
        sandbox = Sandbox(self, slot, self._make_place(), files, name)
        try:
            with self._begun(sandbox):
                for number, source in enumerate(cells, 1):
                    try:
                        ran = sandbox.run_cell(source)
                    except SandboxEnded as ended:
                        raise SandboxError(f"preparing {name}: cell {number}: {ended.reason}") from None
                    if ran.failed:
                        raise SandboxError(f"preparing {name}: cell {number} failed:\n{ran.text}")
                sandbox.stop()
        finally:
            self._slots.remove(slot)
        self._base = str(sandbox.place / "engine")

    @contextmanager
    def open(self, files: Path, name: str) -> Iterator[Sandbox]:
        """A fresh sandbox, with a copy of `files` as its directory `name`. Raises SandboxError.

        May be called from several threads; waits for a free slot.
        """
        slot = self._free.get()
        try:
            if self.cancelled.is_set():
                raise SandboxError("grading was stopped")
            if slot is None or not self._slots.is_alive(slot):
                if slot is not None:
                    self._slots.remove(slot)
                slot = None
                slot = self._slots.make("bridge" if self._network else "none")
            sandbox = Sandbox(self, slot, self._make_place(), files, name)
            try:
                with self._begun(sandbox):
                    yield sandbox
            finally:
                self._remove(sandbox.place, slot)
                if sandbox.ended:
                    # What it took is given back in the kernel's own time, and must not count for the next.
                    self._slots.remove(slot)
                    slot = None
        finally:
            self._free.put(slot)

    @contextmanager
    def _begun(self, sandbox: Sandbox) -> Iterator[None]:
        self._open.add(sandbox)
        try:
            sandbox.begin()
            if self.cancelled.is_set():  # while it could not be ended yet
                raise SandboxError("grading was stopped")
            yield
        finally:
            self._open.discard(sandbox)
            sandbox.end()

    def cancel(self) -> None:
        """End all sandboxes that are open, and let no other be opened; from any thread."""
        self.cancelled.set()
        for sandbox in list(self._open):
            sandbox.cancel()

    def _make_place(self) -> Path:
        place = self._work / str(next(self._numbers))
        for directory in (place / "engine", place / "home"):
            directory.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(directory, birth.FIRST_ID, birth.FIRST_ID)
        return place

    def request(self, sandbox: Sandbox) -> dict[str, Any]:
        """What the zygote has to know of a sandbox."""
        return {
            "slot_pid": sandbox.slot.pid,
            "rootless": self._status.rootless,
            "engine": self._engine,
            "lower": self._status.root,
            "images": ",".join(self._images),
            "base": self._base,
            "engine_root": str(sandbox.place / "engine"),
            "home": str(sandbox.place / "home"),
            "files": str(sandbox.files.absolute()),
            "name": sandbox.name,
            "resolv_conf": sandbox.slot.resolv_conf.decode(errors="replace"),
            "limits": dataclasses.asdict(self._limits),
        }

    @property
    def limits(self) -> Limits:
        return self._limits

    def tell_zygote(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        """Raises SandboxError."""
        try:
            with self._sending:
                send(self._zygote, message, descriptors)
        except OSError:
            raise SandboxError("the process that makes sandboxes has ended") from None

    def _remove(self, place: Path, slot: Slot) -> None:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as done:
            request = {"path": str(place), "rootless": self._status.rootless, "slot_pid": slot.pid}
            try:
                self.tell_zygote({"remove": request}, [writing])
            finally:
                os.close(writing)
            done.read()

    def _empty_work(self) -> None:
        """What is there belongs to the user, or, in part, to ids of the engine's user namespace."""
        left = list(self._work.iterdir())
        if not left:
            return
        slot = self._slots.make("none") if self._status.rootless else Slot("", 0, b"")
        try:
            for path in left:
                self._remove(path, slot)
        finally:
            if slot.container:
                self._slots.remove(slot)
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(exist_ok=True)

    def why_gone(self, slot: Slot) -> str:
        """Why the kernel ended a sandbox as a whole, its warden too."""
        if slot.container and self._slots.ran_out_of_memory(slot):
            return f"used more than {self._limits.memory >> 20} MiB of memory"
        return "used so much that all of it was ended"

    def _remove_slots(self) -> None:
        while not self._free.empty():
            slot = self._free.get()
            if slot is not None:
                self._slots.remove(slot)


class Sandbox:
    """One submission's box. Not for several threads."""

    def __init__(self, sandboxes: Sandboxes, slot: Slot, place: Path, files: Path, name: str) -> None:
        self.slot = slot
        self.place = place
        self.files = files
        self.name = name
        self._sandboxes = sandboxes
        self._limits = sandboxes.limits
        self.ended = ""
        """Why nothing more of the submission runs; "" while it does."""
        self._engine: int | None = None
        self._has_engine = False
        self._is_ready = False
        self._parent: int | None = None
        self._warden = 0
        self._gone = False
        self._deadline = time.monotonic() + self._limits.seconds

    def begin(self) -> None:
        """Raises SandboxError."""
        self._control, control = pair()
        self._cells, cells = pair()
        self._cells.setblocking(False)  # who runs cells need not read: then the cell is late
        self._output, output = os.pipe()
        os.set_blocking(self._output, False)
        try:
            request = self._sandboxes.request(self)
            self._sandboxes.tell_zygote({"open": request}, [control.fileno(), cells.fileno(), output])
        finally:
            control.close()
            cells.close()
            os.close(output)
        while True:
            message = self._receive_control(BIRTH_SECONDS)
            if message is None:
                raise SandboxError("a sandbox ended before it was ready", WHAT_WAS_SAID)
            if "error" in message:
                raise SandboxError(message["error"])
            if "born" in message:
                self._heed_birth(message)
            if "ready" in message:
                self._engine = message["engine"]
                self._has_engine = self._engine is not None
                self._is_ready = True
            if self._warden and self._is_ready:
                return

    def _heed_birth(self, message: Mapping[str, Any]) -> None:
        self._warden = message["born"]
        with contextlib.suppress(ProcessLookupError):
            self._parent = os.pidfd_open(message["parent"])

    def _receive_control(self, seconds: float) -> Any:
        if not select.select([self._control], [], [], seconds)[0]:
            raise SandboxError(f"a sandbox said nothing for {seconds:.0f} s")
        return receive(self._control)

    def run_cell(self, source: str) -> CellRun:
        """Run a cell to its end. Raises SandboxEnded when the submission goes over a limit, or has before."""
        if self.ended:
            raise SandboxEnded(self.ended)
        text = _Text(self._limits.output)
        try:
            send(self._cells, {"cell": source})
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._end_runner(f"a cell is longer than {LARGEST // 1000} kB", text)
        seconds = self._limits.cell_seconds
        end = min(time.monotonic() + seconds, self._deadline)
        while True:
            left = end - time.monotonic()
            if left <= 0:
                whole = end == self._deadline
                self._end_runner(
                    f"took longer than {self._limits.seconds:.0f} s in all"
                    if whole
                    else f"a cell took longer than {seconds:.0f} s",
                    text,
                )
            sources: list[Any] = [self._control, self._cells, self._output]
            ready = select.select(sources, [], [], left)[0]
            if self._output in ready:
                text.read(self._output)
                if text.size > self._limits.flood:
                    self._end_runner(f"a cell printed more than {self._limits.flood >> 20} MiB", text)
            if self._control in ready:
                self._heed_control(text)
            if self._cells in ready:
                answer = receive(self._cells)
                if answer is None:
                    self._learn_why(text)
                self._look(text)
                text.read_all(self._output)
                return CellRun(text.shown, bool(answer.get("failed", True)), text.cut)

    def _look(self, text: _Text) -> None:
        """Let the warden say what it has to, so that it is this cell that answers for it."""
        with contextlib.suppress(OSError):
            send(self._control, {"look": True})
        while not self._heed_control(text).get("looked"):
            continue

    def _heed_control(self, text: _Text) -> Mapping[str, Any]:
        """The warden's next message, once what it means is done. Raises SandboxEnded."""
        message = self._receive_control(LOOK_SECONDS)
        if message is None:
            self._gone = True
            self._end_runner(self._sandboxes.why_gone(self.slot), text)
        if "limit" in message:
            self._end_runner(message["limit"], text)
        if "engine" in message and "ready" not in message:
            self._engine = None
            if message["engine"] not in _CRASHES:
                self._end_runner("the container engine was killed", text)
        if "ended" in message:
            self._end_runner("its process ended", text)
        return dict(message)

    def _learn_why(self, text: _Text) -> None:
        """The runner is gone: the warden knows more."""
        end = time.monotonic() + 5
        while select.select([self._control], [], [], max(0.0, end - time.monotonic()))[0]:
            self._heed_control(text)
        self._end_runner("its process ended", text)

    def _end_runner(self, reason: str, text: _Text) -> None:
        """Raises SandboxEnded."""
        self.ended = self.ended or reason
        with contextlib.suppress(OSError):
            send(self._control, {"kill": True})
        text.read_all(self._output)
        raise SandboxEnded(self.ended, text.shown)

    def check(self, exercise: Path, names: Sequence[str]) -> Report:
        """Run checks of the exercise in that directory, from outside. Raises SandboxError, SandboxEnded."""
        self._heed_what_was_said()
        if self._gone or (self._has_engine and self._engine is None):
            if self.ended:
                raise SandboxEnded(self.ended)
            raise SandboxError("the sandbox's engine has ended")
        seconds = BUILD_TIMEOUT + max(1, len(names)) * (RUN_TIMEOUT + PATIENCE)
        reading, writing = os.pipe()
        request = {
            "seconds": seconds,
            "exercise": str(exercise.absolute()),
            "names": list(names),
            "name": self.name,
            "warden": self._warden,
            "engine": self._engine,
            "slot_pid": self.slot.pid,
            "rootless": self._sandboxes.request(self)["rootless"],
        }
        try:
            self._sandboxes.tell_zygote({"check": request}, [writing])
        finally:
            os.close(writing)
        try:
            report = _read_answer(reading, seconds, self._sandboxes.cancelled)
        except SandboxError:
            self._look(_Text(0))  # raises SandboxEnded if the engine was killed
            raise
        finally:
            os.close(reading)
        return Report(
            report["exercise"],
            [Checked(**{**checked, "hints": tuple(checked["hints"])}) for checked in report["checks"]],
        )

    def _heed_what_was_said(self) -> None:
        while not self._gone and select.select([self._control], [], [], 0)[0]:
            with contextlib.suppress(SandboxEnded):
                self._heed_control(_Text(0))

    def stop(self) -> None:
        """End it in order, so that its engine's directory can be built upon. Raises SandboxError."""
        with contextlib.suppress(OSError):  # it has ended: there is nothing to wait for
            send(self._control, {"stop": True})
        self._wait(STOP_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Until the last process is gone: then nobody holds the other end."""
        end = time.monotonic() + seconds
        while not self._gone:
            if not select.select([self._control], [], [], max(0.0, end - time.monotonic()))[0]:
                raise SandboxError("a sandbox does not end", "labkernel engine stop ends what is left of it")
            self._gone = receive(self._control) is None

    def cancel(self) -> None:
        """Make its first process end, from any thread; whoever waits for a cell is told."""
        with contextlib.suppress(OSError, AttributeError):  # it may be about to begin, or to end
            self._control.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Kill whatever is left of it, and wait for that."""
        self.cancel()
        with contextlib.suppress(SandboxError):
            self._wait(STOP_SECONDS)
        if self._parent is not None:
            # It closes its end a moment before it leaves the slot's control groups.
            select.select([self._parent], [], [], STOP_SECONDS)
            os.close(self._parent)
        self._control.close()
        self._cells.close()
        os.close(self._output)


class _Text:
    """What a cell printed: the first `limit` bytes are kept, the others counted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self.size = 0

    def read(self, descriptor: int) -> bool:
        """Take what is there; whether there was something."""
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return False
        self.size += len(data)
        self._kept += data[: self._limit - len(self._kept)]
        return bool(data)

    def read_all(self, descriptor: int) -> None:
        for _ in range(64):  # something left in the background may print for ever
            if not self.read(descriptor):
                return

    @property
    def cut(self) -> bool:
        return self.size > len(self._kept)

    @property
    def shown(self) -> str:
        """As text without control sequences; what one line wrote over itself stays as it was last."""
        text = self._kept.decode(errors="replace").replace("\r\n", "\n")
        lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
        return _CONTROL.sub("", "\n".join(lines))


def _read_answer(answer: int, seconds: float, cancelled: threading.Event) -> Any:
    """Raises SandboxError."""
    import json

    data = b""
    end = time.monotonic() + seconds
    while True:
        if cancelled.is_set():
            raise SandboxError("grading was stopped")
        if not select.select([answer], [], [], 0.2)[0]:
            if time.monotonic() > end:
                raise SandboxError(f"a check did not end within {seconds:.0f} s")
            continue
        piece = os.read(answer, 1 << 16)
        data += piece
        if len(data) > _LARGEST_ANSWER:
            raise SandboxError("a check said too much")
        if not piece:
            break
    try:
        message = json.loads(data)
        if "error" in message:
            raise SandboxError(f"a check could not be made: {message['error']}")
        return message["report"]
    except (ValueError, KeyError, TypeError):
        raise SandboxError("a check ended without an answer") from None
