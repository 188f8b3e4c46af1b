from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkernel.commands import CommandError, Finished, Text, execute, parse
from tests.commands.conftest import Commands
from tests.support.room import wait_until


def finished(run: Commands, *argv: str, stdin: bytes | None = None) -> Finished:
    result = run(*argv, stdin=stdin).result
    assert isinstance(result, Finished)
    return result


def test_streams_are_kept_apart_and_shown_and_the_exit_code_is_the_containers(run: Commands) -> None:
    result = finished(run, "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n", b"err\n")
    assert (run.last.stdout, run.last.stderr) == (b"out\n", b"err\n")
    assert run("ps", "-aq").printed == ""


def test_a_container_that_ends_at_once_is_not_missed(run: Commands) -> None:
    for _ in range(5):
        assert finished(run, "run", "--rm", "busybox", "false").exit_code == 1


def test_every_byte_arrives(run: Commands) -> None:
    result = finished(run, "run", "--rm", "busybox", "sh", "-c", "head -c 3000000 /dev/zero; echo done >&2")
    assert (len(result.stdout), result.stderr) == (3_000_000, b"done\n")


def test_input_reaches_the_container_and_its_end_too(tmp_path: Path, run: Commands) -> None:
    data = os.urandom(2_000_000)
    source = tmp_path / "input"
    source.write_bytes(data)
    ran = run.last
    with source.open("rb") as file:
        ran.stdin = file
        result = execute(run.client, parse(["run", "-i", "--rm", "busybox", "cat"]), ran)
    assert isinstance(result, Finished)
    assert result.stdout == data


def test_in_the_background_only_the_id_is_printed(run: Commands) -> None:
    result = run("run", "-d", "--name", "web", "busybox", "sleep", "1000").result
    assert isinstance(result, Text)
    assert len(str(result)) == 64
    assert run("ps", "--format", "{{.Names}}").printed == "web\n"


def test_options_take_effect(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    (tmp_path / "env").write_text("FROM_FILE=1\n")
    script = "cat /in/file; echo $A $FROM_FILE; pwd; hostname; id -u; touch /in/x || true"
    options = [
        "-v",
        f"{tmp_path}:/in:ro",
        "-e",
        "A=b c",
        "--env-file",
        str(tmp_path / "env"),
        "-w",
        "/tmp",
        "-h",
        "box",
    ]
    result = finished(
        run, "run", "--rm", *options, "-u", "0:1", "--name", "named", "busybox", "sh", "-c", script
    )
    assert result.stdout.decode().splitlines() == ["from the host", "b c 1", "/tmp", "box", "0"]
    assert b"Read-only file system" in result.stderr


def test_a_cidfile_is_written_and_never_overwritten(run: Commands, tmp_path: Path) -> None:
    file = tmp_path / "id"
    created = str(run("create", "--cidfile", str(file), "busybox").result)
    assert file.read_text() == created
    with pytest.raises(CommandError, match="container ID file found"):
        run("create", "--cidfile", str(file), "busybox")


@pytest.mark.parametrize("detach", [(), ("-d",)])
def test_a_container_that_cannot_start_stays_as_created(run: Commands, detach: tuple[str, ...]) -> None:
    """As the stock client leaves it, to be looked at; with --rm the engine removes it."""
    with pytest.raises(CommandError) as raised:
        run("run", *detach, "--name", "web", "busybox", "nosuch")
    assert raised.value.exit_code == 127
    assert "nosuch" in (raised.value.hint or "")
    with pytest.raises(CommandError):
        run("run", *detach, "--rm", "--name", "gone", "busybox", "nosuch")
    for _ in wait_until(10):  # until "gone" is
        if run("ps", "-a", "--format", "{{.Names}} {{.Status}}").printed.strip() == "web Created":
            return
    pytest.fail(run.last.printed)


def test_a_missing_image_is_pulled_and_its_name_questioned(run: Commands) -> None:
    with pytest.raises(CommandError) as raised:
        run("run", "busybx", "true")
    assert run.last.stderr.startswith(b"Unable to find image 'busybx:latest' locally\n")
    # No registry answers where the tests run, or one that does not have it.
    assert raised.value.hint in (
        "did you mean `busybox`?",
        "no registry answers here; did you mean `busybox`?",
    )
    assert ("no registry" in raised.value.hint) == (raised.value.why is not None)
    assert raised.value.exit_code == 125
    with pytest.raises(CommandError, match="No such image: busybx"):
        run("run", "--pull", "never", "busybx", "true")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("run -e busybox", "-e took `busybox` as its value. -e: Set an environment variable, as NAME=VALUE"),
        ("run -d -p busybox", "-p took `busybox` as its value. -p: Publish a port"),
        ("run --rm -e busybox echo hi", "--env took `busybox` as its value"),
        ("run --name busybox echo hi", "--name took `busybox` as its value"),
        ("run -p busybox echo hi", "write it as HOSTPORT:PORT"),
        ("run -m 1x busybox true", "an amount is a number and a unit, such as 512m"),
        ("run --health-interval 3 busybox true", "a time is a number and a unit, such as 30s"),
        ("run --pids-limit many busybox true", "this is a whole number"),
        ("run busybox -e A=1", None),
    ],
)
def test_a_flag_that_is_not_used_as_it_is_meant(run: Commands, line: str, hint: str | None) -> None:
    with pytest.raises(CommandError) as raised:
        run(*line.split())
    if hint is not None:
        assert hint in (raised.value.hint or "")
    else:
        assert "took" not in (raised.value.hint or "")


def test_without_a_terminal_it_runs_without_one_and_says_so(run: Commands) -> None:
    result = finished(run, "run", "-it", "--rm", "busybox", "sh", "-c", "test -t 0 || echo no terminal")
    assert result.stdout == b"no terminal\n"
    assert b"note: there is no terminal here" in run.last.stderr
    with pytest.raises(CommandError, match="the input device is not a TTY"):
        run("run", "-it", "--rm", "busybox", "sh", stdin=b"")


@pytest.mark.parametrize("rm", [[], ["--rm"]])
def test_without_input_it_runs_without_and_says_so(run: Commands, rm: list[str]) -> None:
    """As in a notebook's cell: what reads its input finds the end of it and does not wait for ever."""
    result = finished(run, "run", "-i", *rm, "busybox", "sh", "-c", "cat; echo read")
    assert result.stdout == b"read\n"
    assert b"note: there is no input here, so this runs without -i" in run.last.stderr


def test_without_input_exec_and_start_find_its_end(run: Commands) -> None:
    run("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    assert finished(run, "exec", "-i", "up", "cat").exit_code == 0
    assert b"note: there is no input here" in run.last.stderr
    run("create", "-i", "--name", "reads", "busybox", "sh", "-c", "cat; echo read")
    assert finished(run, "start", "-ai", "reads").stdout == b"read\n"


def test_a_name_in_use_is_explained(run: Commands) -> None:
    run("create", "--name", "web", "busybox")
    with pytest.raises(CommandError) as raised:
        run("run", "--name", "web", "busybox")
    assert "(created) has this name: docker rm -f web" in (raised.value.hint or "")


def test_a_port_in_use_is_explained(run: Commands) -> None:
    run("run", "-d", "--name", "holder", "-p", "18080:80", "busybox", "sleep", "1000")
    with pytest.raises(CommandError) as raised:
        run("run", "-d", "--name", "second", "-p", "18080:80", "busybox", "sleep", "1000")
    assert "container holder publishes it" in (raised.value.hint or "")
    assert run("ps", "-a", "--format", "{{.Names}} {{.State}}").printed == "second created\nholder running\n"
