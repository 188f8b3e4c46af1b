"""Streams and terminals of real containers, through the stock client, docker-py and bare sockets."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import pty
import re
import select
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.containers.exec import MOST_WAITING
from tests.support.daemons import Daemon
from tests.support.http import frames
from tests.support.room import wait_until

MEGABYTES = 50


class Terminal:
    """The stock client on a pseudo-terminal."""

    def __init__(self, daemon: Daemon, *args: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*daemon.room.inside, "docker", *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=daemon.environment(),
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def shows(self, pattern: str, timeout: float = 20) -> str:
        """What matched, once the screen has shown it."""
        for _ in wait_until(timeout, 0):
            if found := re.search(pattern, self.shown):
                self.shown = self.shown[found.end() :]
                return found[0]
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
        raise AssertionError(f"{pattern!r} is not shown: {self.shown!r}")

    def ends(self) -> int:
        """Its exit code."""
        for _ in wait_until(20):
            if select.select([self.master], [], [], 0)[0]:
                try:
                    self.shown += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    break
            if self.process.poll() is not None:
                break
        return self.process.wait(20)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


def test_input_ends_when_the_client_closes_it(lab: Daemon) -> None:
    ran = lab.docker("run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo the end", input="one\ntwo\n")
    assert (ran.stdout, ran.returncode) == ("one\ntwo\nthe end\n", 0), ran.stderr


def test_without_i_there_is_no_input(lab: Daemon) -> None:
    ran = lab.docker("run", "--rm", "busybox", "cat", input="not for it")
    assert (ran.stdout, ran.returncode) == ("", 0)


def test_output_and_errors_are_kept_apart(lab: Daemon) -> None:
    ran = lab.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("out\n", "err\n", 3)


def test_much_goes_in_and_comes_out_with_bounded_memory(lab: Daemon, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * MEGABYTES
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(data)
    with source.open("rb") as given, target.open("wb") as taken:
        ran = lab.docker(
            *("run", "-i", "--rm", "--log-driver", "none", "busybox", "cat"),
            stdin=given,
            stdout=taken,
            text=False,
        )
    assert ran.returncode == 0, ran.stderr
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(data).digest()
    peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{lab.pid}/status").read_text())
    assert peak is not None
    assert int(peak[1]) < 300_000, "KiB, of an engine that holds only what is on its way"


def test_a_client_that_does_not_read_makes_the_container_wait(lab: Daemon) -> None:
    made = lab.http.call(
        "POST",
        "/containers/create?name=fast",
        {
            "Image": "busybox",
            "Cmd": ["sh", "-c", "yes | head -c 6000000; echo done >&2"],
            "HostConfig": {"LogConfig": {"Type": "none"}},
        },
    )
    assert made.status == 201
    with lab.http.hijack("/containers/fast/attach?stream=1&stdout=1&stderr=1") as stream:
        lab.http.call("POST", "/containers/fast/start")
        time.sleep(0.5)
        assert lab.http.call("GET", "/containers/fast/json").json()["State"]["Running"]
        received = frames(stream.read_all())
    assert received == [(1, b"y\n" * 3_000_000), (2, b"done\n")]


def test_a_client_that_never_reads_is_no_trouble_once_it_goes(lab: Daemon) -> None:
    lab.http.call(
        "POST",
        "/containers/create?name=fast",
        {
            "Image": "busybox",
            "Cmd": ["sh", "-c", "yes $(seq 1000) | head -c 30000000"],
        },
    )
    stream = lab.http.hijack("/containers/fast/attach?stream=1&stdout=1")
    lab.http.call("POST", "/containers/fast/start")
    time.sleep(0.3)
    stream.connection.close()
    assert lab.http.call("POST", "/containers/fast/wait").json() == {"StatusCode": 0}


def test_a_terminal(lab: Daemon) -> None:
    with Terminal(lab, "run", "-it", "--rm", "--name", "tty", "busybox") as terminal:
        terminal.shows("/ # ")
        terminal.type("echo $((40+2)) $TERM; test -t 1 && echo is a ter''minal\r")
        terminal.shows("42 xterm")
        terminal.shows("is a terminal")
        terminal.type("echo now; cat\r")
        terminal.shows("\r\nnow\r\n")
        time.sleep(0.2)  # until then the shell's line editor may take what is typed
        terminal.type("typed\r")
        terminal.shows("typed\r\ntyped")
        terminal.type("\x03")
        terminal.shows("/ # ")
        lab.http.call("POST", "/containers/tty/resize?h=33&w=77")
        terminal.type("stty size\r")
        terminal.shows("33 77")
        terminal.type("exit 5\r")
        assert terminal.ends() == 5


def test_detaching_and_attaching_again(lab: Daemon) -> None:
    with Terminal(lab, "run", "-it", "--name", "tty", "busybox") as terminal:
        terminal.shows("/ # ")
        terminal.type("x=kept\r")
        terminal.shows("/ # ")
        terminal.type("\x10\x11")
        assert terminal.ends() == 0
    assert lab.docker("inspect", "-f", "{{.State.Running}}", "tty").stdout == "true\n"
    with Terminal(lab, "attach", "--detach-keys", "ctrl-a,d", "tty") as terminal:
        terminal.type("echo $x again\r")
        terminal.shows("kept again")
        terminal.type("\x01d")
        assert terminal.ends() == 1, "what the stock client makes of it, with dockerd too"
    assert lab.docker("inspect", "-f", "{{.State.Running}}", "tty").stdout == "true\n"


def test_two_clients_see_the_same_and_both_write(lab: Daemon) -> None:
    lab.docker("run", "-dit", "--name", "both", "busybox", "cat")
    url = "/containers/both/attach?stream=1&stdin=1&stdout=1"
    with lab.http.hijack(url) as one, lab.http.hijack(url) as two:
        one.send(b"first\n")
        for stream in (one, two):
            assert stream.read_until(b"first\r\nfirst\r\n").endswith(b"first\r\nfirst\r\n")
        two.send(b"second\n")
        for stream in (one, two):
            assert stream.read_until(b"second\r\nsecond\r\n").endswith(b"second\r\nsecond\r\n")
        lab.docker("rm", "-f", "both")
        assert one.read_all() == b""


def test_attach_begins_with_the_log_when_asked(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "said", "busybox", "sh", "-c", "echo before; sleep 1; echo after")
    for _ in wait_until(10):
        if lab.docker("logs", "said").stdout:
            break
    with lab.http.hijack("/containers/said/attach?logs=1&stream=1&stdout=1") as stream:
        assert b"".join(data for _, data in frames(stream.read_all())) == b"before\nafter\n"


def test_attach_to_what_has_ended_waits_for_the_next_start(lab: Daemon) -> None:
    """`docker start -a` attaches first."""
    assert lab.docker("run", "--name", "over", "busybox", "echo", "again").stdout == "again\n"
    assert lab.docker("start", "-a", "over", timeout=20).stdout == "again\n"


def test_input_of_a_client_that_is_gone_at_once_arrives(lab: Daemon) -> None:
    lab.docker("run", "-di", "--name", "sink", "busybox", "sh", "-c", "cat > /file; sleep 1000")
    stream = lab.http.hijack("/containers/sink/attach?stream=1&stdin=1")
    stream.send(b"x" * 1_000_000)
    stream.connection.close()
    for _ in wait_until(10, 0.1):
        if lab.docker("exec", "sink", "stat", "-c", "%s", "/file").stdout == "1000000\n":
            return
    raise AssertionError("not all of it arrived")


def test_clients_that_go_leave_no_descriptor_behind(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "idle", "busybox", "sleep", "1000")

    def descriptors() -> int:
        return len(os.listdir(f"/proc/{lab.pid}/fd"))

    before = -1
    while before != (before := descriptors()):  # the engine makes networks ready for the next container
        time.sleep(0.5)
    streams = [lab.http.hijack("/containers/idle/attach?stream=1&stdin=1&stdout=1") for _ in range(20)]
    followers = [
        subprocess.Popen([*lab.room.inside, "docker", "logs", "-f", "idle"], env=lab.environment())
        for _ in range(3)
    ]
    for _ in wait_until(10):
        if descriptors() >= before + 23:
            break
    assert descriptors() >= before + 23
    for stream in streams:
        stream.close_stdin()
        stream.connection.close()
    for follower in followers:
        follower.kill()
        follower.wait()
    for _ in wait_until(10):
        if descriptors() <= before:
            return
    raise AssertionError(f"{descriptors() - before} descriptors are left")


@pytest.mark.parametrize(
    ("args", "code", "out", "err"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 7"], 7, "out\n", "err\n"),
        (["nosuch"], 127, None, None),
        (["/etc/passwd"], 126, None, None),
        (["sh", "-c", "kill -9 $$"], 137, "", ""),
    ],
)
def test_exec_exit_codes(lab: Daemon, args: list[str], code: int, out: str | None, err: str | None) -> None:
    lab.docker("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    ran = lab.docker("exec", "up", *args)
    assert ran.returncode == code, ran
    if out is not None:
        assert (ran.stdout, ran.stderr) == (out, err)
    else:
        assert args[0] in ran.stdout + ran.stderr


def test_exec_with_input_environment_user_and_directory(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "up", "-e", "A=1", "busybox", "sleep", "1000")
    ran = lab.docker(
        *("exec", "-i", "-e", "B=2", "-u", "daemon", "-w", "/tmp", "up"),
        *("sh", "-c", "echo $A$B; id -un; pwd; cat"),
        input="given\n",
    )
    assert ran.stdout == "12\ndaemon\n/tmp\ngiven\n", ran.stderr


def test_exec_on_a_terminal(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    with Terminal(lab, "exec", "-it", "up", "sh") as terminal:
        terminal.shows("/ # ")
        terminal.type("tty; exit 9\r")
        terminal.shows("/dev/pts/")
        assert terminal.ends() == 9


def test_terminals_of_any_size(lab: Daemon) -> None:
    """Sizes that no terminal has are cut; what is no size is refused in dockerd's words."""
    config = {"Image": "busybox", "Cmd": ["sleep", "1000"], "Tty": True}
    lab.http.call(
        "POST", "/containers/create?name=up", config | {"HostConfig": {"ConsoleSize": [99999, 99999]}}
    )
    assert lab.http.call("POST", "/containers/up/start").status == 204
    for size, status in (([99999, 99999], 200), ([1], 200), (None, 200), (["a", 1], 400)):
        asked = {"Tty": True, "Cmd": ["sh", "-c", "stty size > /size"]}
        made = lab.http.call("POST", "/containers/up/exec", asked).json()["Id"]
        answer = lab.http.call("POST", f"/exec/{made}/start", {"Detach": True, "ConsoleSize": size})
        assert answer.status == status, answer.body
    assert answer.json()["message"] == (
        "json: cannot unmarshal string into Go struct field ExecStartCheck.ConsoleSize of type uint"
    )


def test_execs_that_are_never_started_are_forgotten(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    made = [
        lab.http.call("POST", "/containers/up/exec", {"Cmd": ["true"]}).json()["Id"]
        for _ in range(MOST_WAITING + 20)
    ]
    assert set(lab.http.call("GET", "/containers/up/json").json()["ExecIDs"]) == set(made[20:])
    assert lab.http.call("GET", f"/exec/{made[0]}/json").status == 404
    assert lab.http.call("POST", f"/exec/{made[-1]}/start", {"Detach": True}).status == 200
    for _ in wait_until(5):
        shown = lab.http.call("GET", f"/exec/{made[-1]}/json").json()
        if not shown["Running"]:
            break
    assert shown["ExitCode"] == 0, "an ended one is kept for a while"
    assert len(lab.http.call("GET", "/containers/up/json").json()["ExecIDs"]) == MOST_WAITING - 1


def test_exec_where_nothing_runs(lab: Daemon) -> None:
    lab.docker("run", "--name", "over", "busybox", "true")
    ran = lab.docker("exec", "over", "true")
    assert ran.returncode == 1
    assert "is not running" in ran.stderr


def test_exec_that_runs_when_its_container_ends(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    with lab.room_popen("exec", "up", "sh", "-c", "echo begun; sleep 1000") as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        lab.docker("kill", "up")
        assert running.wait(10) == 137


def test_logs_follow_until_the_end(lab: Daemon) -> None:
    lab.docker(
        "run", "-d", "--name", "talks", "busybox", "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.2; done"
    )
    assert lab.docker("logs", "-f", "talks", timeout=20).stdout == "1\n2\n3\n"


def test_logs_of_both_streams_with_tail_and_times(lab: Daemon) -> None:
    lab.docker(
        "run",
        "--name",
        "said",
        "busybox",
        "sh",
        "-c",
        "echo one; sleep 0.02; echo two >&2; sleep 0.02; echo three",
    )
    said = lab.docker("logs", "said")
    assert (said.stdout, said.stderr) == ("one\nthree\n", "two\n")
    assert lab.docker("logs", "--tail", "1", "said").stdout == "three\n"
    assert lab.docker("logs", "--tail", "0", "said").stdout == ""
    stamped = lab.docker("logs", "-t", "said").stdout.splitlines()
    moment = stamped[1].split()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", moment)
    assert lab.docker("logs", "--since", moment, "said").stdout == "three\n"
    assert lab.docker("logs", "--until", stamped[0].split()[0], "said").stdout == "one\n"


def test_logs_of_several_runs_follow_each_other(lab: Daemon) -> None:
    lab.docker("run", "--name", "twice", "busybox", "echo", "again")
    lab.docker("start", "-a", "twice")
    assert lab.docker("logs", "twice").stdout == "again\nagain\n"


def test_text_without_a_newline_and_text_that_is_none(lab: Daemon) -> None:
    command = r"printf 'gr\303'; sleep 0.1; printf '\274n\n\377\000end'"
    ran: Any = lab.docker("run", "--name", "raw", "busybox", "sh", "-c", command, text=False)
    assert ran.stdout == "grün\n".encode() + b"\xff\0end"
    logged: Any = lab.docker("logs", "raw", text=False)
    assert logged.stdout == "grün\n�\0end".encode()


def test_events_of_a_run_come_in_order(lab: Daemon) -> None:
    api: Any = lab.client().api
    since = time.time()
    lab.docker("run", "--rm", "--name", "fleeting", "busybox", "true")
    for _ in wait_until(10):
        events = list(api.events(since=since, until=time.time(), decode=True))
        if events and events[-1]["Action"] == "destroy":
            break
    actions = [event["Action"] for event in events if event["Type"] == "container"]
    assert actions == ["create", "attach", "start", "die", "destroy"], actions
    died = next(event for event in events if event["Action"] == "die")
    assert died["Actor"]["Attributes"]["exitCode"] == "0"
    assert died["Actor"]["Attributes"]["name"] == "fleeting"
    assert died["from"] == "busybox"
    filtered = api.events(
        since=since, until=time.time(), decode=True, filters={"event": "die", "container": "fleeting"}
    )
    assert [event["Action"] for event in filtered] == ["die"]


def test_events_arrive_while_they_happen(lab: Daemon) -> None:
    with lab.room_popen("events", "--filter", "type=container", "--format", "{{.Action}}") as listening:
        assert listening.stdout is not None
        time.sleep(0.5)
        lab.docker("run", "--name", "now", "busybox", "true")
        lines = [listening.stdout.readline() for _ in range(4)]
        listening.kill()
    assert lines == ["create\n", "attach\n", "start\n", "die\n"]


def test_stalled_uploads_do_not_stop_the_engine(lab: Daemon) -> None:
    import socket

    stalled = []
    for _ in range(20):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(lab.socket))
        connection.sendall(
            b"POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(512)
        )
        stalled.append(connection)
    ran: list[str] = []
    thread = threading.Thread(
        target=lambda: ran.append(lab.docker("run", "--rm", "busybox", "echo", "well", timeout=20).stdout)
    )
    thread.start()
    thread.join(25)
    for connection in stalled:
        connection.close()
    assert ran == ["well\n"]


def test_execs_of_a_container_that_ends_are_answered(lab: Daemon) -> None:
    """Each comes to an end, whenever in its birth the container was killed."""
    before = lab.log.read_text().count("Traceback")
    for number in range(20):
        lab.http.call("POST", "/containers/create?name=brief", {"Image": "busybox", "Cmd": ["sleep", "100"]})
        lab.http.call("POST", "/containers/brief/start")
        wanted = {"Cmd": ["true"], "AttachStdout": True}
        made = [lab.http.call("POST", "/containers/brief/exec", wanted).json()["Id"] for _ in range(4)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            starts = [
                pool.submit(lab.http.call, "POST", f"/exec/{each}/start", {"Detach": True}) for each in made
            ]
            time.sleep(number * 0.0003)
            assert lab.http.call("DELETE", "/containers/brief?force=1").status == 204
            assert {start.result(20).status for start in starts} <= {200, 400, 404, 409}
    assert lab.log.read_text().count("Traceback") == before


def test_an_exec_with_a_terminal_is_framed_unless_its_start_says_so(docker_host: Daemon) -> None:
    """What docker-py does: the exec is made with a terminal, and started without a word of it."""
    api = docker_host.client().api
    made = api.create_container("busybox", "sleep 1000")
    api.start(made)
    framed = api.exec_create(made, ["echo", "hello"], tty=True)
    assert api.exec_start(framed, demux=True) == (b"hello\r\n", None)
    raw = api.exec_create(made, ["echo", "hello"], tty=True)
    assert api.exec_start(raw, tty=True) == b"hello\r\n"
    api.close()
