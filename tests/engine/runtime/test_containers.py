"""Real containers: what a process sees from inside, and how its life begins and ends."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from labkernel.engine.runtime.client import Started, StartFailed
from labkernel.engine.runtime.spec import Mount
from tests.engine.runtime.lab import Lab


def test_output_and_exit_code_come_back(box: Lab) -> None:
    ended = box.run("sh", "-c", "read line; echo got $line; exit 7", stdin=b"this\n")
    assert (ended.code, ended.output) == (7, "got this\n")


def test_a_signal_is_128_and_its_number(box: Lab) -> None:
    assert box.run("sh", "-c", "kill -TERM $$; sleep 9", pid="host").code == 128 + signal.SIGTERM


def test_kill_ends_a_container(box: Lab) -> None:
    name, started = box.start("sleep", "1000")
    assert box.end(name, started) == 137


def test_steps_tell_the_birth_in_order(box: Lab) -> None:
    _, started = box.start("true")
    names = [step.name for step in started.steps]
    order = [
        "clone",
        "cgroup",
        "hostname",
        "overlay",
        "mask",
        "pivot_root",
        "seccomp",
        "capabilities",
        "command",
    ]
    assert [name for name in names if name in order] == order
    assert all(step.microseconds >= 0 for step in started.steps)


def test_namespaces_are_its_own(box: Lab) -> None:
    kinds = ("mnt", "pid", "uts", "ipc", "net")
    ended = box.run("sh", "-c", "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds))
    own = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
    assert len(ended.output.split()) == len(kinds)
    assert not set(ended.output.split()) & set(own)


def test_namespaces_of_the_host_are_entered_when_asked(box: Lab) -> None:
    kinds = ("pid", "uts", "ipc", "net")
    ended = box.run(
        "sh",
        "-c",
        "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds),
        pid="host",
        uts="host",
        ipc="host",
        network="host",
    )
    assert ended.output.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]


def test_another_containers_namespaces_can_be_joined(box: Lab) -> None:
    name, first = box.start("sh", "-c", "echo hi > /dev/shm/x; sleep 1000", hostname="first")
    where = f"/proc/{first.pid}/ns"
    deadline = time.monotonic() + 5
    while not Path(f"/proc/{first.pid}/root/dev/shm/x").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    ended = box.run(
        "sh",
        "-c",
        "hostname; cat /dev/shm/x; ps | grep -c 'sleep 1000'; readlink /proc/self/ns/net",
        pid=f"{where}/pid",
        ipc=f"{where}/ipc",
        uts=f"{where}/uts",
        network=f"{where}/net",
    )
    lines = ended.output.split()
    assert lines[:2] == ["first", "hi"]
    assert int(lines[2]) >= 1
    assert lines[3] == os.readlink(f"{where}/net")
    box.end(name, first)


def test_a_fresh_network_has_its_loopback_up(box: Lab) -> None:
    assert re.search(r"lo: <[^>]*\bUP\b", box.run("ip", "link").output)


def test_process_one_sees_only_its_own(box: Lab) -> None:
    ended = box.run("sh", "-c", "echo $$; ls -d /proc/[0-9]*")
    assert ended.output.split()[0] == "1"
    assert len(ended.output.split()) <= 3


def test_host_and_domain_name(box: Lab) -> None:
    ended = box.run("sh", "-c", "hostname; cat /proc/sys/kernel/domainname", hostname="box", domainname="lab")
    assert ended.output == "box\nlab\n"


def test_a_private_cgroup_namespace(box: Lab) -> None:
    ended = box.run("sh", "-c", "umask; cat /proc/self/cgroup", cgroup="private")
    lines = ended.output.splitlines()
    assert lines[0] == "0022"
    assert [line.split(":")[2] for line in lines if ":memory:" in line] == ["/"]


def test_no_descriptor_of_the_launcher_is_left(box: Lab) -> None:
    ended = box.run("sh", "-c", "ls -1 /proc/self/fd")
    # 3 is the directory that ls itself reads.
    assert ended.output.split() == ["0", "1", "2", "3"]


def test_signals_are_as_a_program_expects_them(box: Lab) -> None:
    ended = box.run("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    assert set(re.findall(r"[0-9a-f]{16}", ended.output)) == {"0" * 16}


def test_writes_go_to_the_upper_directory_alone(box: Lab) -> None:
    bundle = box.bundle("sh", "-c", "echo new > /new; rm /etc/group")
    started = box.wait(box.launcher.run(bundle.name, bundle))
    box.wait(_ended(started))
    assert (bundle / "upper" / "new").read_text() == "new\n"
    assert not (box.layer / "new").exists()
    assert (box.layer / "etc" / "group").exists()


async def _ended(started: Started) -> int:
    return await started.exited


def test_a_hundred_layers(box: Lab, tmp_path: Path) -> None:
    """More text than mount(2) has room for, were the paths not made short."""
    layers = [box.layer]
    for number in range(100):
        layer = tmp_path / f"layer-with-a-rather-long-name-{number:03}"
        layer.mkdir()
        (layer / f"file{number}").touch()
        layers.insert(0, layer)
    assert box.run("sh", "-c", "ls / | grep -c ^file", layers=layers).output == "100\n"


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "a b"])
def test_odd_characters_in_a_layers_path(box: Lab, tmp_path: Path, name: str) -> None:
    layer = tmp_path / name
    layer.mkdir()
    (layer / "found").touch()
    assert box.run("ls", "/found", layers=[layer, box.layer]).code == 0


def test_a_plain_directory_can_be_the_root(box: Lab) -> None:
    assert box.run("ls", "/etc", rootfs=str(box.layer)).output == "group\npasswd\n"


def test_a_read_only_root(box: Lab) -> None:
    ended = box.run("sh", "-c", "touch /x; touch /dev/shm/y && echo shm", readonly_rootfs=True)
    assert "touch: /x: Read-only file system" in ended.output
    assert ended.output.endswith("shm\n")


def test_tmpfs_and_shm_size(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "df -k /dev/shm /scratch | awk 'NR>1 {print $2}'",
        shm_size=2**20,
        mounts=[Mount("/scratch", type="tmpfs", options=("size=65536", "mode=700"))],
    )
    assert ended.output.split() == ["1024", "64"]


def test_bind_mounts(box: Lab, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "file").write_text("one file\n")
    ended = box.run(
        "sh",
        "-c",
        "echo hello > /a/new/rw/x; cat /etc/one; touch /ro/y",
        mounts=[
            Mount("/a/new/rw", str(tmp_path / "shared")),
            Mount("/ro", str(tmp_path / "shared"), options=("ro",)),
            Mount("/etc/one", str(tmp_path / "file")),
        ],
    )
    assert ended.output == "one file\ntouch: /ro/y: Read-only file system\n"
    assert (tmp_path / "shared" / "x").read_text() == "hello\n"


def test_a_missing_bind_source_is_named(box: Lab) -> None:
    failure = box.fails("true", mounts=[Mount("/a", "/no/such/place")])
    assert failure.kind == "other"
    assert "/no/such/place" in failure.message


@pytest.mark.parametrize("link", ["/escape/deep", "../../../../../escape/deep"])
def test_links_of_the_image_do_not_lead_out(box: Lab, tmp_path: Path, link: str) -> None:
    """A mount point below a link: it is made where the link leads inside, never on the host."""
    outside = tmp_path / "escape"
    layer = tmp_path / "layer"
    (layer / "escape").mkdir(parents=True)
    (layer / "trap").symlink_to(link.replace("/escape", str(outside)) if link[0] == "/" else link)
    (layer / str(outside)[1:]).mkdir(parents=True)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "seen").touch()
    (layer / "escape" / "deep").mkdir(exist_ok=True)
    (layer / str(outside)[1:] / "deep").mkdir(exist_ok=True)
    ended = box.run(
        "ls",
        "/trap/inner",
        layers=[layer, box.layer],
        mounts=[Mount("/trap/inner", str(tmp_path / "source"))],
    )
    assert ended.output == "seen\n"
    assert not outside.exists()
    assert not Path("/escape").exists()


@pytest.mark.parametrize("where", ["proc", "sys"])
def test_a_link_in_the_place_of_a_kernel_file_system_is_refused(box: Lab, tmp_path: Path, where: str) -> None:
    (tmp_path / where).symlink_to("/tmp")
    failure = box.fails("true", layers=[tmp_path, box.layer])
    assert "symbolic link" in failure.message


def test_nothing_is_mounted_inside_proc(box: Lab, tmp_path: Path) -> None:
    assert "inside /proc" in box.fails("true", mounts=[Mount("/proc/sys", str(tmp_path))]).message


def test_a_proc_that_the_image_brings_is_covered(box: Lab, tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "mine").touch()
    ended = box.run("sh", "-c", "ls /proc/mine; readlink /proc/self", layers=[tmp_path, box.layer])
    assert "No such file" in ended.output
    assert ended.output.splitlines()[1].isdecimal()


def test_devices(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "echo lost > /dev/null; head -c4 /dev/zero | od -An -tx1; head -c9 /dev/urandom | wc -c;"
        "echo x > /dev/full;"
        "for link in stdout ptmx fd; do readlink /dev/$link; done; ls /dev/pts",
    )
    assert ended.output.split("\n") == [
        " 00 00 00 00",
        "9",
        "sh: write error: No space left on device",
        "/proc/self/fd/1",
        "pts/ptmx",
        "/proc/self/fd",
        "ptmx",
        "",
    ]


def test_a_block_device_made_by_root_inside_cannot_be_opened(box: Lab) -> None:
    """mknod is allowed by default; the control group's device rules forbid what it leads to."""
    machine = next(line.split() for line in Path("/proc/partitions").read_text().splitlines()[2:])
    ended = box.run("sh", "-c", f"mknod /disk b {machine[0]} {machine[1]} && head -c1 /disk")
    assert "Operation not permitted" in ended.output


def test_masked_and_read_only_paths(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l;"
        "echo 1 > /proc/sys/kernel/shmmni; touch /sys/x",
    )
    lines = ended.output.splitlines()
    assert lines[:2] == ["0", "0"]
    assert "Read-only file system" in lines[2]
    assert "Read-only file system" in lines[3]


def test_sysctls(box: Lab) -> None:
    ended = box.run(
        "cat",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/kernel/msgmax",
        sysctls={"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "4096"},
    )
    assert ended.output == "0\n4096\n"


def test_resource_limits(box: Lab) -> None:
    ended = box.run("sh", "-c", "ulimit -n; ulimit -Hn", rlimits={"nofile": (100, 200)})
    assert ended.output == "100\n200\n"


def test_a_limit_beyond_what_there_is_warns(box: Lab) -> None:
    ended = box.run("sh", "-c", "ulimit -n", rlimits={"nofile": (2**30, 2**30)})
    assert int(ended.output) < 2**30
    assert "RLIMIT_NOFILE" in ended.started.warnings[0]


def test_oom_score_adj(box: Lab) -> None:
    assert box.run("cat", "/proc/self/oom_score_adj", oom_score_adj=500).output == "500\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "0 0 0 /root"),
        ("daemon", "1 1 1,4 /usr/sbin"),
        ("1", "1 1 1,4 /usr/sbin"),
        ("daemon:adm", "1 4 4 /usr/sbin"),
        ("1234:77", "1234 77 77 /"),
        ("1234", "1234 0 0 /"),
    ],
)
def test_users(box: Lab, user: str, expected: str) -> None:
    ended = box.run("sh", "-c", 'echo $(id -u) $(id -g) $(id -G | tr " " ,) $HOME', user=user)
    assert ended.output == expected + "\n"


def test_additional_groups(box: Lab) -> None:
    assert box.run("id", "-G", additional_groups=["tty", "777"]).output == "0 5 777\n"


def test_a_user_can_open_its_streams_by_name(box: Lab) -> None:
    ended = box.run("sh", "-c", "echo hi > /dev/stdout", user="daemon")
    assert ended.output == "hi\n"


@pytest.mark.parametrize(
    ("args", "kind", "message"),
    [
        (["nope"], "not_found", 'exec: "nope": executable file not found in $PATH'),
        ([""], "not_found", 'exec: "": executable file not found in $PATH'),
        (["/nope"], "not_found", 'exec: "/nope": stat /nope: no such file or directory'),
        (["/etc/passwd"], "not_executable", 'exec: "/etc/passwd": permission denied'),
        (["/etc"], "not_executable", 'exec: "/etc": permission denied'),
    ],
)
def test_commands_that_cannot_be_executed(box: Lab, args: list[str], kind: str, message: str) -> None:
    failure = box.fails(*args)
    assert (failure.kind, failure.message, failure.step) == (kind, message, "command")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"user": "nobody"}, "bad_user", "unable to find user nobody: no matching entries in passwd file"),
        (
            {"user": "0:nogroup"},
            "bad_user",
            "unable to find group nogroup: no matching entries in group file",
        ),
        (
            {"cwd": "/etc/passwd"},
            "bad_cwd",
            'chdir to cwd ("/etc/passwd") set in config.json failed: not a directory',
        ),
    ],
)
def test_other_reasons_not_to_start(box: Lab, options: dict[str, str], kind: str, message: str) -> None:
    failure = box.fails("true", **options)
    assert (failure.kind, failure.message) == (kind, message)


def test_a_missing_working_directory_is_made(box: Lab) -> None:
    assert box.run("pwd", cwd="/srv/here").output == "/srv/here\n"


def test_a_file_of_the_wrong_format_is_told_by_the_container_itself(box: Lab) -> None:
    """As runc does: by then the container has begun."""
    bad = box.directory / "bad-layer"
    bad.mkdir()
    (bad / "data").write_text("no program")
    (bad / "data").chmod(0o755)
    ended = box.run("/data", layers=[bad, box.layer])
    assert (ended.code, ended.output) == (1, "exec /data: exec format error\n")


def test_the_launchers_own_program_is_not_executed(box: Lab) -> None:
    """A command that is a link to /proc/self/exe would run the host's interpreter inside (CVE-2019-5736)."""
    link = box.directory / "link-layer"
    link.mkdir()
    (link / "cmd").symlink_to("/proc/self/exe")
    assert box.fails("/cmd", layers=[link, box.layer]).kind in ("not_executable", "not_found")


def test_failed_starts_leave_nothing(box: Lab) -> None:
    bundle = box.bundle("nope")
    with pytest.raises(StartFailed):
        box.wait(box.launcher.run(bundle.name, bundle))
    deadline = time.monotonic() + 5
    while list(Path("/sys/fs/cgroup").rglob(bundle.name)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list(Path("/sys/fs/cgroup").rglob(bundle.name))
    assert bundle.name not in Path("/proc/self/mountinfo").read_text()


def test_a_privileged_container(box: Lab) -> None:
    ended = box.run(
        "sh",
        "-c",
        "grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp && echo mounted",
        privileged=True,
    )
    words = ended.output.split()
    have = int(re.search(r"CapEff:\s+([0-9a-f]+)", Path("/proc/self/status").read_text())[1], 16)  # type: ignore[index]
    assert int(words[1], 16) == have
    assert words[3:] == ["0", "mounted"]


def test_capabilities_of_a_user(box: Lab) -> None:
    ended = box.run("grep", "Cap", "/proc/self/status", user="daemon")
    sets = dict(line.split() for line in ended.output.splitlines())
    assert sets == {
        "CapInh:": "0" * 16,
        "CapPrm:": "0" * 16,
        "CapEff:": "0" * 16,
        "CapBnd:": "00000000a80425fb",
        "CapAmb:": "0" * 16,
    }


def test_no_new_privileges(box: Lab) -> None:
    ended = box.run("grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status", no_new_privileges=True)
    assert ended.output.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_the_filter_refuses_what_docker_refuses(box: Lab) -> None:
    ended = box.run("sh", "-c", "unshare -m true; mount -t tmpfs x /tmp; chroot / true && echo chroot")
    assert ended.output.count("Operation not permitted") == 1
    assert ended.output.count("permission denied") + ended.output.count("not permitted") == 2
    assert "chroot" in ended.output
