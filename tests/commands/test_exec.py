from __future__ import annotations

import pytest

from labkernel.commands import CommandError, Finished
from tests.commands.conftest import Commands


@pytest.fixture
def web(run: Commands) -> Commands:
    run("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    return run


def test_streams_exit_code_and_options(web: Commands) -> None:
    words = [
        "-e",
        "A=1",
        "-u",
        "daemon",
        "-w",
        "/tmp",
        "web",
        "sh",
        "-c",
        "echo $A; id -u; pwd; echo err >&2; exit 4",
    ]
    result = web("exec", *words).result
    assert isinstance(result, Finished)
    assert (result.exit_code, result.stdout, result.stderr) == (4, b"1\n1\n/tmp\n", b"err\n")


def test_early_output_is_not_lost(web: Commands) -> None:
    for _ in range(20):
        assert web("exec", "web", "echo", "hello").stdout == b"hello\n"


def test_in_the_background(web: Commands) -> None:
    assert web("exec", "-d", "web", "sh", "-c", "echo hi > /made").printed == ""
    assert (
        web("exec", "web", "sh", "-c", "while [ ! -s /made ]; do sleep 0.05; done; cat /made").stdout
        == b"hi\n"
    )


def test_a_command_that_is_not_there(web: Commands) -> None:
    ran = web("exec", "web", "nosuch")
    assert ran.result.exit_code in {126, 127}
    assert b"executable file not found" in ran.stdout
    assert b"hint: nosuch is no command in web" in ran.stderr


def test_a_container_that_is_not_there_has_a_near_name(web: Commands) -> None:
    with pytest.raises(CommandError) as raised:
        web("exec", "wbe", "ls")
    assert raised.value.hint == "did you mean `web`?"
