"""Limits act: memory, processes, processors, files; and what a container may not do."""

from __future__ import annotations

import re
import time

from tests.support.daemons import Daemon
from tests.support.room import wait_until


def test_out_of_memory(lab: Daemon) -> None:
    ran = lab.docker(
        *("run", "--name", "eats", "--memory", "16m", "busybox"),
        *("sh", "-c", "head -c 100m /dev/zero | tail -c 90m | wc -c"),
    )
    shown = lab.docker("inspect", "-f", "{{.State.OOMKilled}}", "eats").stdout
    assert shown == "true\n", (ran, shown)


def test_processes(lab: Daemon) -> None:
    command = "for i in $(seq 30); do sleep 5 & done; echo unlimited"
    ran = lab.docker("run", "--rm", "--pids-limit", "10", "busybox", "sh", "-c", command)
    assert "fork" in ran.stderr
    assert "unlimited" not in ran.stdout


def test_processors(lab: Daemon) -> None:
    """A loop that may use a tenth of a processor for a second uses no more than that, and something."""
    command = "timeout 1 sh -c 'while :; do :; done'; cat /proc/1/stat; times"
    ran = lab.docker("run", "--rm", "--cpus", "0.1", "busybox", "sh", "-c", command)
    used = sum(60 * int(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", ran.stdout))
    assert 0.02 < used < 0.5, ran.stdout


def test_limits_are_changed_while_it_runs(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "grows", "--memory", "16m", "busybox", "sleep", "1000")
    changed = lab.docker("update", "--memory", "64m", "--memory-swap", "128m", "--pids-limit", "20", "grows")
    assert changed.returncode == 0, changed.stderr
    shown = lab.docker("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", "grows").stdout
    assert shown == f"{64 << 20} 20\n"
    usage = lab.http.call("GET", "/containers/grows/stats?stream=0&one-shot=1").json()
    assert usage["memory_stats"]["limit"] == 64 << 20
    assert usage["pids_stats"]["limit"] == 20


def test_what_the_kernel_refuses_is_not_recorded(lab: Daemon) -> None:
    """Memory below what is in use, which cannot be taken back: the file is in memory."""
    command = "dd if=/dev/zero of=/dev/shm/file bs=1M count=40 2> /dev/null; echo filled; sleep 1000"
    lab.docker(
        "run", "-d", "--name", "full", "-m", "80m", "--shm-size", "60m", "busybox", "sh", "-c", command
    )
    assert any(lab.docker("logs", "full").stdout for _ in wait_until(10))
    refused = lab.docker("update", "--memory", "8m", "--memory-swap", "8m", "full")
    assert refused.returncode == 1, refused
    shown = lab.docker("inspect", "-f", "{{.HostConfig.Memory}}", "full").stdout
    assert shown == f"{80 << 20}\n", refused.stderr


def test_usage(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "busy", "busybox", "sh", "-c", "while :; do :; done")
    time.sleep(0.3)
    usage = lab.http.call("GET", "/containers/busy/stats?stream=0").json()
    spent = usage["cpu_stats"]["cpu_usage"]["total_usage"] - usage["precpu_stats"]["cpu_usage"]["total_usage"]
    assert spent > 50_000_000, "nanoseconds in the second between the samples"
    assert usage["memory_stats"]["usage"] > 0
    assert usage["pids_stats"]["current"] == 1
    assert set(usage["networks"]["eth0"]) >= {"rx_bytes", "tx_bytes"}
    lab.docker("kill", "busy")
    assert lab.http.call("GET", "/containers/busy/stats?stream=0&one-shot=1").json()["pids_stats"] == {}


def test_usage_as_a_stream_ends_with_its_client(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "idle", "busybox", "sleep", "1000")
    with lab.room_popen("stats", "--format", "{{.Name}}", "idle") as shown:
        assert shown.stdout is not None
        assert "idle" in shown.stdout.readline()
        shown.kill()


def test_a_read_only_root_with_a_place_to_write(lab: Daemon) -> None:
    ran = lab.docker(
        *("run", "--rm", "--read-only", "--tmpfs", "/scratch:size=64k", "-v", "/kept", "busybox", "sh", "-c"),
        "touch /x; touch /kept/x && echo written; head -c 99k /dev/zero > /scratch/f; ls -s /scratch",
    )
    assert "/x: Read-only file system" in ran.stderr
    assert "written" in ran.stdout
    assert "64 f" in ran.stdout


def test_what_is_not_allowed(lab: Daemon) -> None:
    tried = (
        "mount -t tmpfs none /mnt",
        "hostname x",
        "cat /proc/kcore",
        "mknod /d b 8 0 && cat /d",
        "echo > /proc/sysrq-trigger",
        "ip link set lo down",
    )
    ran = lab.docker("run", "--rm", "busybox", "sh", "-c", f"mkdir /mnt; {'; '.join(tried)}; echo end")
    assert ran.stdout == "end\n"
    assert len(ran.stderr.splitlines()) >= len(tried) - 1, ran.stderr


def test_ulimits_and_sysctls(lab: Daemon) -> None:
    ran = lab.docker(
        *("run", "--rm", "--ulimit", "nofile=123:234", "--sysctl", "net.ipv4.ip_default_ttl=99", "busybox"),
        *("sh", "-c", "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_default_ttl"),
    )
    assert ran.stdout == "123\n234\n99\n", ran.stderr


def test_shared_namespaces(lab: Daemon) -> None:
    lab.docker("run", "-d", "--name", "first", "--hostname", "one", "busybox", "sleep", "1000")
    ran = lab.docker(
        "run", "--rm", "--pid", "container:first", "busybox", "sh", "-c", "ps | grep -c 'sleep 1000'"
    )
    assert int(ran.stdout) >= 1, ran
    lab.docker("kill", "first")
    refused = lab.docker("run", "--rm", "--pid", "container:first", "busybox", "true")
    assert "cannot join PID of a non running container" in refused.stderr


def test_an_init_reaps(lab: Daemon) -> None:
    lab.docker(
        "run",
        "-d",
        "--init",
        "--name",
        "inited",
        "busybox",
        "sh",
        "-c",
        "sh -c 'sleep 0.1 &'; exec sleep 1000",
    )
    for _ in wait_until(5, 0.1):
        shown = lab.docker("exec", "inited", "ps").stdout
        if "sleep 0.1" not in shown and "Z" not in shown:
            break
    assert "[sleep]" not in shown
