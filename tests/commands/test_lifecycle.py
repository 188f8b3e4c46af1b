from __future__ import annotations

import pytest

from labkernel.commands import CommandError
from tests.commands.conftest import Commands


def states(run: Commands) -> dict[str, str]:
    lines = run("ps", "-a", "--format", "{{.Names}} {{.State}}").printed.splitlines()
    return dict(line.split() for line in lines)


def test_the_life_of_a_container(run: Commands) -> None:
    run("create", "--name", "a", "busybox", "sleep", "1000")
    assert states(run) == {"a": "created"}
    assert run("start", "a").printed == "a\n"
    assert run("pause", "a").printed == "a\n"
    assert states(run) == {"a": "paused"}
    assert run("unpause", "a").printed == "a\n"
    assert run("restart", "-t", "0", "a").printed == "a\n"
    assert run("rename", "a", "b").printed == ""
    assert run("kill", "b").printed == "b\n"
    assert run("wait", "b").printed == "137\n"
    assert states(run) == {"b": "exited"}
    assert run("rm", "b").printed == "b\n"
    assert states(run) == {}


def test_one_that_fails_does_not_keep_the_others_from_being_done(run: Commands) -> None:
    for name in ("a", "b"):
        run("create", "--name", name, "busybox", "sleep", "1000")
    with pytest.raises(CommandError, match="No such container: nosuch"):
        run("start", "a", "nosuch", "b")
    assert run.last.stdout == b"a\nb\n"
    assert states(run) == {"a": "running", "b": "running"}


def test_stop_with_a_signal_and_a_time(run: Commands) -> None:
    run("run", "-d", "--name", "a", "busybox", "sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.05; done")
    run("exec", "a", "true")
    assert run("stop", "-s", "USR1", "-t", "5", "a").printed == "a\n"
    assert run("wait", "a").printed == "9\n"


def test_start_and_stay(run: Commands) -> None:
    run("create", "--name", "a", "busybox", "sh", "-c", "echo hello; exit 5")
    ran = run("start", "-a", "a")
    assert (ran.stdout, ran.result.exit_code) == (b"hello\n", 5)


def test_update_changes_a_limit(run: Commands) -> None:
    run("run", "-d", "--name", "a", "busybox", "sleep", "1000")
    assert run("update", "-m", "64m", "--memory-swap", "128m", "a").printed == "a\n"
    assert run("inspect", "-f", "{{.HostConfig.Memory}}", "a").printed == f"{64 << 20}\n"
    with pytest.raises(CommandError, match="must provide one or more flags"):
        run("update", "a")
