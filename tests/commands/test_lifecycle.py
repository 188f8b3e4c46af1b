from __future__ import annotations

import pytest

from labkernel.commands import CommandError
from tests.commands.conftest import Commands


def states(run: Commands) -> dict[str, str]:
    lines = run("ps", "-a", "--format", "{{.Names}} {{.State}}").printed.splitlines()
    return dict(line.split() for line in lines)


def test_the_life_of_a_container(run: Commands) -> None:
    run("create", "--name", "one", "busybox", "sleep", "1000")
    assert states(run) == {"one": "created"}
    assert run("start", "one").printed == "one\n"
    assert run("pause", "one").printed == "one\n"
    assert states(run) == {"one": "paused"}
    assert run("unpause", "one").printed == "one\n"
    assert run("restart", "-t", "0", "one").printed == "one\n"
    assert run("rename", "one", "two").printed == ""
    assert run("kill", "two").printed == "two\n"
    assert run("wait", "two").printed == "137\n"
    assert states(run) == {"two": "exited"}
    assert run("rm", "two").printed == "two\n"
    assert states(run) == {}


def test_one_that_fails_does_not_keep_the_others_from_being_done(run: Commands) -> None:
    for name in ("one", "two"):
        run("create", "--name", name, "busybox", "sleep", "1000")
    with pytest.raises(CommandError, match="No such container: nosuch"):
        run("start", "one", "nosuch", "two")
    assert run.last.stdout == b"one\ntwo\n"
    assert states(run) == {"one": "running", "two": "running"}


@pytest.mark.parametrize(
    ("command", "missing"), [("rm", "No such container: nosuch"), ("rmi", "No such image: nosuch:latest")]
)
def test_force_is_content_with_one_that_is_gone(run: Commands, command: str, missing: str) -> None:
    run("create", "--name", "one", "busybox", "true")
    run("tag", "busybox", "one")
    with pytest.raises(CommandError, match=missing):
        run(command, "nosuch")
    ran = run(command, "-f", "nosuch", "one")
    assert (ran.result.exit_code, ran.stderr.decode()) == (0, f"Error response from daemon: {missing}\n")
    assert "one" in ran.printed


def test_stop_gives_time_to_end_well(run: Commands) -> None:
    run(
        "run",
        "-d",
        "--name",
        "one",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 9' TERM; while :; do sleep 0.05; done",
    )
    run("exec", "one", "true")
    assert run("stop", "-t", "10", "one").printed == "one\n"
    assert run("wait", "one").printed == "9\n"


def test_start_and_stay(run: Commands) -> None:
    run("create", "--name", "one", "busybox", "sh", "-c", "echo hello; exit 5")
    ran = run("start", "-a", "one")
    assert (ran.stdout, ran.result.exit_code) == (b"hello\n", 5)


def test_update_changes_a_limit(run: Commands) -> None:
    run("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    assert run("update", "-m", "64m", "--memory-swap", "128m", "one").printed == "one\n"
    assert run("inspect", "-f", "{{.HostConfig.Memory}}", "one").printed == f"{64 << 20}\n"
    with pytest.raises(CommandError, match="must provide one or more flags"):
        run("update", "one")
