"""The launcher's own life: wait for requests of the engine and for the ends of processes, and answer with
events.

Requests and events are messages on the socket that the engine holds the other end of; descriptors travel with
them. They are written by `marshal`, the interpreter's own format, since both ends are the same interpreter
and the modules for JSON would cost each fork their memory. When the engine goes away, whatever runs here is
killed and its cgroups are removed.

Requests: {"do": "own" | "run" | "exec" | "kill", "key": ...}. Events: {"event": "started" | "failed" |
"exited", "key": ...}.
"""

from __future__ import annotations

import array  # noqa: F401  used by socket.send_fds; a newborn process must find every module loaded
import errno
import gc
import marshal
import os
import select
import signal
import socket
import time

from labkernel.engine.linux import namespaces, processes
from labkernel.engine.runtime.launcher import birth, cgroup
from labkernel.engine.runtime.launcher.story import Refused, Story

TYPE_CHECKING = False  # typing itself is not loaded: each page of memory costs every fork
if TYPE_CHECKING:
    from typing import Any

#: A message longer than this arrives as a file in memory.
LARGEST_MESSAGE = 64 * 1024
LONGEST_REASON = 4000
ALL_IDS = 2**32 - 1


class Child:
    """A process that was born here and has not been waited for."""

    __slots__ = ("channel", "container", "failure", "key", "pid", "steps", "terminal", "warnings")

    def __init__(
        self, key: str, pid: int, container: Container, channel: socket.socket, story: Story
    ) -> None:
        self.key = key
        self.pid = pid
        self.container = container
        self.channel: socket.socket | None = channel
        self.steps: list[Any] | None = None
        self.warnings: list[str] = story.warnings
        self.failure: dict[str, Any] | None = None
        self.terminal: int | None = None


class Container:
    """What has to be known of a container until it is gone."""

    __slots__ = ("cgroup", "inherited", "own_pids", "pid")

    def __init__(self, plan: dict[str, Any], process: dict[str, Any], own_pids: bool) -> None:
        # The rest of the plan is not needed again, and there may be a thousand containers.
        self.cgroup = {name: plan[name] for name in ("join", "into", "thaw", "oom", "remove")}
        self.inherited = {name: process[name] for name in ("rlimits", "oomScoreAdj") if process.get(name)}
        self.own_pids = own_pids
        self.pid = 0


class LauncherProcess:
    """The loop and its tables."""

    def __init__(self, engine: socket.socket) -> None:
        self.engine = engine
        self.children: dict[int, Child] = {}
        self.by_key: dict[str, Child] = {}
        self.by_channel: dict[int, Child] = {}
        self.removals: list[dict[str, Any]] = []
        self.own: list[str] = []
        self.filters: dict[str, bytes] = {}
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        mapped = mapped_ids()
        self.single_id = mapped == 1
        self.user_namespace = mapped < ALL_IDS
        self.poll = select.epoll()
        self.poll.register(engine, select.EPOLLIN)
        wakeup, signalled = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wakeup = wakeup
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        self.poll.register(wakeup, select.EPOLLIN)

    def serve(self) -> None:
        """Until the engine is gone."""
        while True:
            for fd, _ in self.poll.poll(0.05 if self.removals else None):
                if fd == self.engine.fileno():
                    if not self.handle_request():
                        return
                elif fd == self.wakeup:
                    os.read(self.wakeup, 4096)
                    self.reap()
                elif fd in self.by_channel:
                    self.listen(self.by_channel[fd])
            self.removals = [plan for plan in self.removals if not cgroup.remove(plan)]

    # Requests

    def handle_request(self) -> bool:
        """Read one message and do what it says; False when the engine has gone."""
        try:
            data, fds, _, _ = socket.recv_fds(self.engine, LARGEST_MESSAGE, 5, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return False
        if not data:
            return False
        request = marshal.loads(data)
        if request["do"] == "read":
            with os.fdopen(fds.pop(0), "rb") as file:
                request = marshal.load(file)
        try:
            if request["do"] == "run":
                self.run(request, fds)
            elif request["do"] == "exec":
                self.exec(request, fds)
            elif request["do"] == "own":
                self.own = request["directories"]
            elif request["do"] == "kill":
                self.kill(request["key"], request["signal"])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def run(self, request: dict[str, Any], fds: list[int]) -> None:
        """Start a container: its cgroups, then its first process, which does the rest by itself."""
        plan, story = request["cgroup"], Story()
        # What is left of a container of the same name is removed now, or it would be this one's.
        self.removals = [old for old in self.removals if old["remove"] != plan["remove"]]
        try:
            spec = request["spec"]
            process = request["process"] = spec["process"]
            wanted = {entry["type"]: entry.get("path", "") for entry in spec["linux"]["namespaces"]}
            container = Container(plan, process, "pid" in wanted)
            story.begin("limits", " ".join(plan["create"]))
            story.warnings += cgroup.create(plan)
            other = None
            if wanted.get("pid"):
                other = os.open(wanted["pid"], os.O_RDONLY | os.O_CLOEXEC)
                fds.append(other)  # to be closed with the others
            fresh = [kind for kind, path in wanted.items() if not path]
            story.begin("clone", "new namespaces: " + " ".join(fresh))
            if not plan["into"]:  # `birth` makes this one
                fresh = [kind for kind in fresh if kind != "cgroup"]
            flags = sum(namespaces.FLAGS[kind] for kind in fresh)
            container.pid = self.fork(request, fds, container, story, flags, other).pid
        except Exception as error:  # whatever it is, the containers that run must not suffer
            self.removals.append(plan)
            self.send({**_failure(error, story), "event": "failed", "key": request["key"]})

    def exec(self, request: dict[str, Any], fds: list[int]) -> None:
        """Start one more process in a container that runs."""
        story = Story()
        try:
            first = self.by_key.get(request["container"])
            if first is None:
                raise Refused("gone", "container is not running")
            request["cgroup"] = first.container.cgroup
            request["process"] = {**first.container.inherited, **request["process"]}
            request["pid"] = first.pid
            request["pidfd"] = os.pidfd_open(first.pid)
            fds.append(request["pidfd"])  # to be closed with the others
            story.begin("clone", "into the container's process namespace")
            self.fork(request, fds, first.container, story, 0, request["pidfd"])
        except Exception as error:  # whatever it is, the containers that run must not suffer
            self.send({**_failure(error, story), "event": "failed", "key": request["key"]})

    def fork(
        self,
        request: dict[str, Any],
        fds: list[int],
        container: Container,
        story: Story,
        flags: int,
        pid_namespace: int | None,
    ) -> Child:
        """Clone the new process and remember it; never returns in the new process."""
        request["filters"] = [self.filter(path) for path in request["filters"]]
        request["single_id"] = self.single_id
        request["user_namespace"] = self.user_namespace
        given = iter(fds)
        streams = [next(given) if there else self.null for there in request["streams"]]
        into = None
        if container.cgroup["into"]:
            into = os.open(container.cgroup["into"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fds.append(into)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            new = birth.Birth(request, streams, theirs, story)
            if pid_namespace is None:
                pid = processes.fork_into(flags, into)
            else:
                pid = self.fork_elsewhere(pid_namespace, flags, into)
            if pid == 0:
                self.be_born(request, new)
        ours.setblocking(False)
        child = Child(request["key"], pid, container, ours, story)
        self.children[pid] = child
        self.by_key[child.key] = child
        self.by_channel[ours.fileno()] = child
        self.poll.register(ours, select.EPOLLIN)
        return child

    def fork_elsewhere(self, pid_namespace: int, flags: int, into: int | None) -> int:
        """Fork into a process namespace that exists.

        Entering is for one's children only, and without root there is no way back. So a process between
        enters, makes the new one a child of the launcher's, and ends.
        """
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            between = processes.fork_into(0)
            if between == 0:
                try:
                    namespaces.setns(pid_namespace, namespaces.CLONE_NEWPID)
                    pid = processes.fork_into(flags | processes.CLONE_PARENT, into)
                    if pid == 0:
                        return 0
                    os.write(writing, b"%d" % pid)
                except OSError as error:
                    os.write(writing, b"-%d" % (error.errno or 0))
                os._exit(0)
        finally:
            os.close(writing)
        os.waitpid(between, 0)
        pid = int(os.read(reading, 20))
        os.close(reading)
        if pid == -errno.ESRCH:
            raise Refused("gone", "container is not running")
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid), "setns")
        return pid

    def be_born(self, request: dict[str, Any], new: birth.Birth) -> None:
        """In the new process: become the container, or say why not."""
        try:
            if "pidfd" in request:
                birth.joining(new, request["pid"], request["pidfd"])
            birth.container(new, request["spec"], request["bundle"])
        except BaseException as error:
            try:
                new.channel.send(marshal.dumps({"failure": _failure(error, new.story)}))
            finally:
                os._exit(1)

    def filter(self, path: str) -> bytes:
        """A compiled seccomp filter; each is read once."""
        if path not in self.filters:
            with open(path, "rb") as file:
                self.filters[path] = file.read()
        return self.filters[path]

    def kill(self, key: str, number: int) -> None:
        """Signal a process that has not been waited for: its number cannot be another's yet."""
        child = self.by_key.get(key)
        if child is None:
            return
        if number == signal.SIGKILL and child.pid == child.container.pid:
            cgroup.thaw(child.container.cgroup)  # what is frozen by v1 does not die
        try:
            os.kill(child.pid, number)
        except OSError:  # no such signal
            return

    # Events

    def listen(self, child: Child) -> None:
        """Hear what a newborn process says; its silence at the end means that the command was executed."""
        assert child.channel is not None
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(child.channel, LARGEST_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionError:
                data, fds = b"", []
            if not data:
                break
            message = marshal.loads(data)
            child.steps = message.get("steps")
            child.failure = message.get("failure")
            child.warnings = message.get("warnings", child.warnings)
            if fds:
                child.terminal = fds[0]
        self.poll.unregister(child.channel)
        del self.by_channel[child.channel.fileno()]
        child.channel.close()
        child.channel = None
        self.announce(child)

    def announce(self, child: Child) -> None:
        """Tell the engine how the birth went."""
        failure = child.failure
        if failure is None and child.steps is None:
            failure = {
                "kind": "other",
                "message": "the process ended before its command was executed",
                "step": "",
                "steps": [],
            }
        if failure is not None:
            child.failure = failure
            self.send({**failure, "event": "failed", "key": child.key})
        else:
            event = {
                "event": "started",
                "key": child.key,
                "pid": child.pid,
                "steps": child.steps,
                "warnings": child.warnings,
            }
            self.send(event, [] if child.terminal is None else [child.terminal])
        if child.terminal is not None:
            os.close(child.terminal)
            child.terminal = None
        child.steps = None
        child.warnings = []

    def reap(self) -> None:
        """Wait for every process that has ended, and tell the engine."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                return
            if ended is None:
                return
            child = self.children.pop(ended.si_pid, None)
            if child is None:
                continue
            if child.channel is not None:
                self.listen(child)
            container, first = child.container, child.pid == child.container.pid
            if self.by_key.get(child.key) is child:
                del self.by_key[child.key]
            code = ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status
            if child.failure is None:
                oom = first and cgroup.out_of_memory_kills(container.cgroup) > 0
                self.send({"event": "exited", "key": child.key, "code": code, "oom": oom})
            if first:
                if (
                    not container.own_pids
                ):  # nothing else ends the rest of a container in the host's process namespace
                    cgroup.kill_members(container.cgroup)
                self.removals.append(container.cgroup)

    def send(self, event: dict[str, Any], fds: list[int] | None = None) -> None:
        """One message to the engine. When it is gone, the loop will notice by itself."""
        try:
            socket.send_fds(self.engine, [marshal.dumps(event)], fds or [], socket.MSG_NOSIGNAL)
        except ConnectionError:
            return

    # The end

    def end(self) -> None:
        """Kill everything, wait for it, remove its cgroups and those that the engine made around them."""
        for child in self.children.values():
            cgroup.kill_members(child.container.cgroup)
            os.kill(child.pid, signal.SIGKILL)
        plans = [child.container.cgroup for child in self.children.values()] + self.removals
        while self.children:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED)
            if ended is not None:
                self.children.pop(ended.si_pid, None)
        deadline = time.monotonic() + cgroup.REMOVAL_SECONDS
        while plans and time.monotonic() < deadline:
            plans = [plan for plan in plans if not cgroup.remove(plan)]
            time.sleep(0.002)
        for directory in self.own:
            for path in (directory, os.path.dirname(directory)):
                try:
                    os.rmdir(path)
                except OSError:  # another engine's are in it
                    break


def mapped_ids() -> int:
    """How many user ids exist in this user namespace: ALL_IDS in the machine's own."""
    with open("/proc/self/uid_map") as file:
        return sum(int(line.split()[2]) for line in file)


def _failure(error: BaseException, story: Story) -> dict[str, Any]:
    """What the engine is told of a failed birth."""
    kind = "other"
    if isinstance(error, Refused):
        kind, message = error.kind, error.message
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        name = errno.errorcode.get(error.errno or 0, "")
        message = f"{story.name}: {where}{(error.strerror or str(error)).lower()} ({name})"
    else:
        message = f"{story.name}: {type(error).__name__}: {error}"
    return {"kind": kind, "message": message[:LONGEST_REASON], "step": story.name, "steps": story.told()}


def main(fd: int) -> None:
    """Serve the engine whose socket is descriptor `fd`."""
    engine = socket.socket(fileno=fd)
    # What is ignored stays so in every container: some by Python, some by nohup or a shell's background job.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    for reserved in range(32, signal.SIGRTMIN):
        processes.stop_ignoring(reserved)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.set_inheritable(fd, False)
    os.chdir("/")
    gc.collect()
    gc.freeze()
    launcher = LauncherProcess(engine)
    launcher.serve()
    launcher.end()
