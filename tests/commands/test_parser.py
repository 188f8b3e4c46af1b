from __future__ import annotations

import pytest

from labkernel.commands import CommandError, help_text, parse
from labkernel.commands.table import COMMANDS, GROUPS


def test_options_image_command() -> None:
    invocation = parse(
        ["container", "run", "-it", "--rm", "--name", "web", "busybox", "sh", "-c", "ls -l", "--rm"]
    )
    assert invocation.words == ("container", "run")
    assert invocation.arguments == ["busybox", "sh", "-c", "ls -l", "--rm"]
    assert invocation.options["name"] == "web"
    assert {"interactive", "tty", "rm", "name"} == invocation.given
    assert invocation.line == "docker container run -it --rm --name web busybox sh -c 'ls -l' --rm"


def test_a_host_before_the_command() -> None:
    invocation = parse(["-H", "unix:///x.sock", "ps"])
    assert (invocation.host, invocation.words) == ("unix:///x.sock", ("ps",))


@pytest.mark.parametrize(
    ("argv", "what", "hint"),
    [
        (["pss"], "docker: unknown command: docker pss", "did you mean `docker ps`?"),
        (["iamge", "ls"], "docker: unknown command: docker iamge", "did you mean `docker image`?"),
        (["image", "lss"], "docker: unknown command: docker image lss", "did you mean `docker image ls`?"),
        (["xyzzy"], "docker: unknown command: docker xyzzy", "`docker --help` lists the commands"),
        (["run", "--memroy", "1m", "x"], "unknown flag: --memroy", "did you mean --memory?"),
        (
            ["run"],
            "docker: 'docker run' requires at least 1 argument",
            "`docker run --help` explains the command",
        ),
        (["ps", "x"], "docker: 'docker ps' accepts no arguments", "`docker ps --help` explains the command"),
        (
            ["tag", "x"],
            "docker: 'docker tag' requires 2 arguments",
            "`docker tag --help` explains the command",
        ),
        (
            ["commit", "a", "b", "c"],
            "docker: 'docker commit' requires at least 1 and at most 2 arguments",
            "`docker commit --help` explains the command",
        ),
    ],
)
def test_what_cannot_be_understood(argv: list[str], what: str, hint: str) -> None:
    with pytest.raises(CommandError) as raised:
        parse(argv)
    assert (raised.value.what, raised.value.hint) == (what, hint)
    assert (raised.value.where or "").startswith("docker ")


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), *((name,) for name in GROUPS)])
def test_help_is_text_and_ends_nothing(words: tuple[str, ...]) -> None:
    invocation = parse([*words, "--help"])
    assert invocation.help == help_text(words)
    assert invocation.help.startswith("Usage:  docker")


@pytest.mark.parametrize(
    ("group", "name"), [(group.name, name) for group in GROUPS.values() for name in group.commands]
)
def test_help_of_every_command_names_every_flag(group: str, name: str) -> None:
    text = parse([group, name, "--help"]).help or ""
    assert text.startswith(f"Usage:  docker {group} {name}")
    for flag in GROUPS[group].commands[name].flags:
        assert f"--{flag.name}" in text
        assert flag.help.split()[0] in text


def test_help_as_a_command() -> None:
    assert parse(["help", "run"]).help == help_text(("run",))


def test_no_command_has_two_flags_of_one_name() -> None:
    commands = [
        *COMMANDS.values(),
        *(command for group in GROUPS.values() for command in group.commands.values()),
    ]
    for command in commands:
        names = [flag.name for flag in command.flags] + [flag.short for flag in command.flags if flag.short]
        assert len(names) == len(set(names)), command.name
