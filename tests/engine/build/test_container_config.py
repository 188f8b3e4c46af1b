"""What dockerd makes of instructions is compared in test_against_dockerd; here are rules and refusals."""

from __future__ import annotations

import pytest

from labkernel.engine.build.arguments import BuildArguments
from labkernel.engine.build.container_config import (
    ConfigError,
    ConfigState,
    apply,
    container_ports,
    expanded,
    is_signal,
    joined_path,
    stage_config,
)
from labkernel.engine.build.instructions import Copy, instruction
from labkernel.engine.build.parser import parse


def state(**config: object) -> ConfigState:
    return ConfigState(stage_config(config), BuildArguments({}))


def do(text: str, at: ConfigState) -> list[str]:
    """Apply instructions; the comments they leave."""
    dockerfile = parse(text)
    return [apply(expanded(instruction(dockerfile, node), at), at) for node in dockerfile.nodes]


def test_a_stage_begins_with_a_path() -> None:
    assert stage_config(None)["Env"] == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    assert stage_config({"Env": ["A=b", "PATH=/x"]})["Env"] == ["A=b", "PATH=/x"]


def test_the_base_is_not_changed() -> None:
    base = {"Env": ["PATH=/"], "Labels": {"a": "b"}}
    at = state(**base)
    do("ENV x=y\nLABEL c=d", at)
    assert base == {"Env": ["PATH=/"], "Labels": {"a": "b"}}


def test_env_replaces_in_place_and_sees_what_was_before() -> None:
    at = state(Env=["PATH=/", "A=1", "B=2"])
    assert do("ENV A=x B=$A C=$B", at) == ["ENV A=x B=1 C=2"]
    assert at.config["Env"] == ["PATH=/", "A=x", "B=1", "C=2"]


def test_arguments_are_variables_until_env_hides_them() -> None:
    at = state()
    do("ARG v=arg\nENV a=$v\nENV v=env\nENV b=$v", at)
    assert at.env["a"] == "arg"
    assert at.env["b"] == "env"


def test_an_entrypoint_drops_the_bases_cmd_but_not_its_own() -> None:
    at = state(Cmd=["base"])
    do('ENTRYPOINT ["e"]', at)
    assert at.config["Cmd"] is None
    do('CMD ["own"]\nENTRYPOINT ["f"]', at)
    assert at.config["Cmd"] == ["own"]


def test_the_shell_form_uses_the_shell() -> None:
    at = state()
    do('SHELL ["/bin/ash", "-ec"]\nCMD a b', at)
    assert at.config["Cmd"] == ["/bin/ash", "-ec", "a b"]


def test_heredocs_are_expanded_and_their_quotes_kept() -> None:
    at = state(Env=["PATH=/", "v=value"])
    dockerfile = parse("COPY <<a <<'b' /x/\n\"$v\" it's\na\n$v\nb\n")
    step = expanded(instruction(dockerfile, dockerfile.nodes[0]), at)
    assert isinstance(step, Copy)
    assert [heredoc.text for heredoc in step.heredocs] == ['"value" it\'s\n', "$v\n"]


@pytest.mark.parametrize(
    ("specification", "ports"),
    [
        ("80", ["80/tcp"]),
        ("53/UDP", ["53/udp"]),
        ("7-9/sctp", ["7/sctp", "8/sctp", "9/sctp"]),
        ("8080:80", ["80/tcp"]),
        ("127.0.0.1:8080:80/tcp", ["80/tcp"]),
    ],
)
def test_ports(specification: str, ports: list[str]) -> None:
    assert container_ports(specification) == ports


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EXPOSE foo", "Invalid containerPort: foo"),
        ("EXPOSE 80-79", "Invalid containerPort: 80-79"),
        ("EXPOSE 70000", "Invalid containerPort: 70000"),
        ("EXPOSE 80/foo", "Invalid proto: foo"),
        ("EXPOSE :/tcp", "No port specified: :/tcp<empty>"),
        ("STOPSIGNAL foo", "Invalid signal: foo"),
        ("STOPSIGNAL 0", "Invalid signal: 0"),
        ("VOLUME /a $b", "VOLUME specified can not be an empty string"),
        ('WORKDIR ""', "cannot normalize nothing"),
        ("ENV a=${b", "failed to process \"${b\": syntax error: missing '}'"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        do(text, state())
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["9", "SIGKILL", "term", "RTMIN+15", "SIGRTMAX-14", "rtmin"])
def test_signals(name: str) -> None:
    assert is_signal(name)


@pytest.mark.parametrize(
    ("current", "path", "expected"),
    [
        ("", "a", "/a"),
        ("/w", "a/../b/", "/w/b"),
        ("/w", "/x/./y", "/x/y"),
        ("/w", "../../..", "/"),
        ("", "//a", "/a"),
    ],
)
def test_joined_paths(current: str, path: str, expected: str) -> None:
    assert joined_path(current, path) == expected
