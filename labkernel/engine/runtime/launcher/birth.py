"""A container's birth, told from the clone to the execution of its command. Everything here runs in the new
process.

It was cloned into its namespaces a moment ago and still sees the host's files. Step by step it loses the host
and gains what the bundle's config.json says; at the end it turns into the container's command. What fails on
the way is reported through `channel`, which the kernel closes when the command is executed: that silence
means success.
"""

from __future__ import annotations

import errno
import gc
import marshal
import os
import signal
import socket
import sys

from labkernel.engine.linux import interfaces, namespaces, processes, terminals
from labkernel.engine.linux import mounts as m
from labkernel.engine.runtime.launcher import cgroup, command, identity, root, users
from labkernel.engine.runtime.launcher.story import Refused, Story

TYPE_CHECKING = False  # typing itself is not loaded: each page of memory costs every fork
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: What a runtime's own failure, after the streams are the container's, ends with.
EXECUTION_FAILED = 1


class Birth:
    """What one birth needs to know, and what it has so far."""

    def __init__(
        self, request: dict[str, Any], streams: list[int], channel: socket.socket, story: Story
    ) -> None:
        self.process: dict[str, Any] = request["process"]
        self.cgroup: dict[str, Any] = request["cgroup"]
        self.filters: list[bytes] = request["filters"]
        self.size: tuple[int, int] | None = request["size"]
        self.single_id: bool = request["single_id"]
        self.user_namespace: bool = request["user_namespace"]
        self.streams = streams
        self.channel = channel
        self.story = story
        self.terminal: tuple[int, int, int] | None = None


def container(birth: Birth, spec: dict[str, Any], bundle: str) -> NoReturn:
    """The first process of a container."""
    linux, story = spec["linux"], birth.story
    forget_the_launcher()

    story.begin("cgroup", ", ".join(birth.cgroup["join"] or [birth.cgroup["into"]]))
    cgroup.join(birth.cgroup)
    enter_namespaces(linux["namespaces"], birth)
    name_the_host(spec, linux["namespaces"], story)

    new_root = root.Root(os.path.join(bundle, spec["root"]["path"]))
    mount_everything(birth, new_root, spec)
    if birth.process["terminal"]:
        story.begin("terminal", "a pseudo terminal in the container's own /dev/pts")
        open_console(birth, new_root)
    set_sysctls(linux["sysctl"], new_root, story)
    story.begin("mask", " ".join(linux["maskedPaths"]))
    root.mask(new_root, linux["maskedPaths"])
    story.begin("read-only", " ".join(linux["readonlyPaths"]))
    root.make_read_only(new_root, linux["readonlyPaths"])

    story.begin("pivot_root", "the image becomes /, the host's files go out of reach")
    root.pivot(new_root)
    os.umask(0o022)
    make_working_directory(birth.process["cwd"])
    if spec["root"]["readonly"]:
        m.mount_setattr(m.AT_FDCWD, "/", 0, set=m.MOUNT_ATTR_RDONLY)

    become_the_command(birth, init=spec["annotations"].get("labkernel.init") == "true")


def joining(birth: Birth, pid: int, pidfd: int) -> NoReturn:
    """One more process of a running container (exec): it enters what `container` made."""
    story = birth.story
    forget_the_launcher()
    story.begin("cgroup", ", ".join(birth.cgroup["join"] or [birth.cgroup["into"]]))
    cgroup.join(birth.cgroup)
    story.begin("namespaces", "enter all of the container's")
    enter_all_of(pid, pidfd)
    os.umask(0o022)
    if birth.process["terminal"]:
        story.begin("terminal", "a pseudo terminal in the container's own /dev/pts")
        birth.terminal = terminals.open_pair("/dev/pts/ptmx")
    become_the_command(birth, init=False)


def forget_the_launcher() -> None:
    """Undo what the launcher has set for itself."""
    gc.disable()
    # Processes of a container that this one joins must not look into it: it has the host's files still.
    processes.set_dumpable(False)
    # A module imported from here on could come from the container's files.
    sys.path.clear()
    sys.meta_path.clear()
    os.umask(0)
    os.setsid()


def enter_namespaces(wanted: list[dict[str, str]], birth: Birth) -> None:
    """Enter those that exist already; a fresh network gets its loopback. The rest came by the clone."""
    story = birth.story
    for namespace in wanted:
        kind, path = namespace["type"], namespace.get("path")
        if path and kind != "pid":  # the launcher entered that one: it is for children only
            story.begin("namespace", f"{kind}: enter {path}")
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            namespaces.setns(fd, namespaces.FLAGS[kind])
            os.close(fd)
        elif kind == "network":
            story.begin("loopback", "lo up")
            interfaces.set_up("lo")
        elif kind == "cgroup" and not birth.cgroup["into"]:
            # It is rooted where its maker is, which with v1 is the container's place only now.
            story.begin("namespace", "cgroup: what is above is out of sight")
            namespaces.unshare(namespaces.CLONE_NEWCGROUP)


def enter_all_of(pid: int, pidfd: int) -> None:
    """Every namespace of another process that is not ours already; its root comes with its mounts."""
    flags = 0
    for kind, name in (
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("network", "net"),
        ("cgroup", "cgroup"),
        ("mount", "mnt"),
    ):
        # Entering one's own takes a privilege that an engine without root has not.
        if os.readlink(f"/proc/self/ns/{name}") != os.readlink(f"/proc/{pid}/ns/{name}"):
            flags |= namespaces.FLAGS[kind]
    namespaces.setns(pidfd, flags)


def name_the_host(spec: dict[str, Any], wanted: list[dict[str, str]], story: Story) -> None:
    """Its own host name, where it has a UTS namespace of its own."""
    if not any(namespace["type"] == "uts" and not namespace.get("path") for namespace in wanted):
        return
    story.begin("hostname", spec["hostname"])
    if spec["hostname"]:
        socket.sethostname(spec["hostname"])
    if spec["domainname"]:
        namespaces.setdomainname(spec["domainname"])


def mount_everything(birth: Birth, new_root: root.Root, spec: dict[str, Any]) -> None:
    """The layers, then whatever lies over them, then the devices."""
    story, wanted = birth.story, spec["mounts"]
    following = {"slave", "rslave", "shared", "rshared"}
    story.begin("mounts apart", "nothing mounted here is seen outside")
    root.separate_mounts(any(following & set(mount["options"]) for mount in wanted))
    if wanted and wanted[0]["destination"] == "/":
        story.begin("overlay", wanted[0]["options"][0])
        root.mount_layers(new_root, wanted[0]["options"], user_namespace=birth.user_namespace)
        wanted = wanted[1:]
    else:
        story.begin("root", new_root.path)
        root.mount_directory(new_root)
    for mount in wanted:
        story.begin("mount", f"{mount['type']} {mount['destination']}")
        place = f'error mounting "{mount["source"]}" to rootfs at "{mount["destination"]}"'
        try:
            root.mount_on(new_root, mount, birth.cgroup)
        except Refused as refusal:
            raise Refused(refusal.kind, f"{place}: {refusal.message}") from None
        except OSError as error:
            raise Refused("other", f"{place}: {error.filename}: {(error.strerror or '').lower()}") from None
        if mount["destination"] == "/dev" and mount["type"] == "tmpfs":
            story.begin("devices", " ".join(name for name, _, _ in root.DEVICES))
            root.fill_dev(new_root, spec["linux"]["devices"])


def open_console(birth: Birth, new_root: root.Root) -> None:
    """A terminal of the container's devpts, which is its /dev/console too. The master goes to the engine."""
    ptmx = new_root.open("/dev/pts/ptmx")
    birth.terminal = terminals.open_pair(f"/proc/self/fd/{ptmx}")
    os.close(ptmx)
    console = new_root.make_mount_point("/dev/console", directory=False)
    slave = new_root.open(f"/dev/pts/{birth.terminal[2]}")
    m.mount(f"/proc/self/fd/{slave}", f"/proc/self/fd/{console}", "", m.MS_BIND)
    os.close(slave)
    os.close(console)


def set_sysctls(sysctls: dict[str, str], new_root: root.Root, story: Story) -> None:
    """Kernel settings of the container's own namespaces."""
    for name, value in sysctls.items():
        story.begin("sysctl", f"{name}={value}")
        fd = new_root.open("/proc/sys/" + name.replace(".", "/"), os.O_WRONLY)
        os.write(fd, value.encode())
        os.close(fd)


def make_working_directory(path: str) -> None:
    """Docker makes a missing working directory; that it cannot be made shows when it is entered."""
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError:
        return


def become_the_command(birth: Birth, *, init: bool) -> NoReturn:
    """The last part, the same for a container's first process and for one that joins it."""
    process, story = birth.process, birth.story
    environment = dict(entry.partition("=")[::2] for entry in process["env"])
    story.begin("user", process["user"].get("username") or "root")
    who = identity.look_up(process["user"])
    environment.setdefault("HOME", who.home)
    if birth.single_id and (who.uid or who.gid):
        story.warnings.append(
            f"user {process['user']['username']} is root here: this engine has one user id only"
        )
        who = users.Identity(0, 0, [], who.home)

    connect_streams(birth, who)
    identity.set_limits(process.get("rlimits", ()), story)
    if "oomScoreAdj" in process:
        adjust_oom_score(process["oomScoreAdj"], story)

    no_new_privileges = process["noNewPrivileges"]
    if no_new_privileges:
        processes.set_no_new_privileges()
    else:  # a filter is put on by who has CAP_SYS_ADMIN, which the next step gives away
        story.begin("seccomp", f"{len(birth.filters)} filter(s) of system calls")
        identity.filter_calls(birth.filters)
    story.begin("capabilities", f"{len(process['capabilities']['bounding'])} at most, as {who.uid}:{who.gid}")
    identity.become(who, process["capabilities"], single_id=birth.single_id)
    enter_working_directory(process["cwd"])
    story.begin("command", " ".join(process["args"]))
    path = command.find(process["args"][0], environment.get("PATH", ""))
    refuse_own_program(path)
    processes.die_with_parent()
    if no_new_privileges:
        identity.filter_calls(birth.filters)
    story.end()

    processes.close_range_on_exec(3)
    report(birth)
    if init:
        birth.channel.close()
        become_init(birth.terminal is not None)
    execute(path, process["args"], environment)


def connect_streams(birth: Birth, who: users.Identity) -> None:
    """The terminal, or what the engine gave, becomes the standard streams."""
    if birth.terminal is not None:
        _, slave, _ = birth.terminal
        if birth.size is not None:
            terminals.set_size(slave, *birth.size)
        terminals.make_controlling(slave)
        streams = [slave, slave, slave]
    else:
        streams = birth.streams
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    identity.own_streams(who.uid)


def adjust_oom_score(value: int, story: Story) -> None:
    """How eagerly the kernel kills this process when the machine's memory is used up. Lowering it takes
    privilege.
    """
    try:
        cgroup.write("/proc/self/oom_score_adj", str(value))
    except PermissionError:
        story.warnings.append(f"oom_score_adj can not be lowered to {value} here")


def enter_working_directory(path: str) -> None:
    """chdir(2), and a look at where that led: a directory outside the root has no name (CVE-2024-21626)."""
    try:
        os.chdir(path)
        os.getcwd()
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise Refused("bad_cwd", f'chdir to cwd ("{path}") set in config.json failed: {reason}') from None


def refuse_own_program(path: str) -> None:
    """A command that links to /proc/self/exe means the host's program, and a way to write to it
    (CVE-2019-5736).

    What gets past this, such as a script that names it, finds the kernel refusing to write to a program
    that runs: the launcher does, and no container outlives it.
    """
    try:
        if os.path.samestat(os.stat(path), os.stat("/proc/self/exe")):
            raise Refused("not_executable", f'exec: "{path}": permission denied')
    except OSError:
        return


def report(birth: Birth) -> None:
    """The story so far, with the terminal's master where there is one."""
    message = marshal.dumps({"steps": birth.story.told(), "warnings": birth.story.warnings})
    socket.send_fds(
        birth.channel, [message], [birth.terminal[0]] if birth.terminal else [], socket.MSG_NOSIGNAL
    )


def execute(path: str, args: list[str], environment: dict[str, str]) -> NoReturn:
    """execve(2). From here on the container has begun: what fails now is told on its own standard error, as
    runc does.
    """
    try:
        os.execve(path, args, environment)
    except OSError as error:
        reason = "exec format error" if error.errno == errno.ENOEXEC else (error.strerror or "").lower()
        os.write(2, f"exec {path}: {reason}\n".encode("utf-8", "surrogateescape"))
        os._exit(EXECUTION_FAILED)


def become_init(has_terminal: bool) -> None:
    """Returns in a child, which goes on to be the command; process 1 stays to reap orphans and pass signals
    on.
    """
    processes.set_dumpable(False)
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    child = os.fork()
    if child == 0:
        processes.die_with_parent()
        if has_terminal:  # only a foreground group may read from the terminal
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpgrp())
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return
    os.closerange(0, 2**20)
    signals = signal.valid_signals()
    while True:
        number = signal.sigwait(signals)
        if number != signal.SIGCHLD:
            os.kill(child, number)  # which is there until it is reaped below
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)
