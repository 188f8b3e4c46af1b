from __future__ import annotations

import signal
from typing import Any

import pytest

from labkernel.engine.containers.config import (
    DEFAULT_PATH,
    check_name,
    command,
    complete,
    environment,
    merge_image,
    security_options,
    signal_number,
    validate,
)
from labkernel.engine.errors import InvalidParameter


def completed(config: dict[str, Any], image: dict[str, Any] | None = None) -> dict[str, Any]:
    made, _ = complete(config)
    merge_image(made, image or {"Cmd": ["sh"]})
    return made


@pytest.mark.parametrize(
    ("own", "image", "runs"),
    [
        ({}, {"Cmd": ["sh"]}, ["sh"]),
        ({"Cmd": ["ls"]}, {"Cmd": ["sh"]}, ["ls"]),
        ({"Cmd": "ls -l"}, {"Cmd": ["sh"]}, ["ls -l"]),
        ({}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["e", "c"]),
        ({"Cmd": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["e", "x"]),
        ({"Entrypoint": ["own"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["own"]),
        ({"Entrypoint": ["own"], "Cmd": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["own", "x"]),
        ({"Entrypoint": [""], "Cmd": ["x"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ["x"]),
    ],
)
def test_what_runs(own: dict[str, Any], image: dict[str, Any], runs: list[str]) -> None:
    assert command(completed(own, image)) == runs


def test_nothing_to_run() -> None:
    with pytest.raises(InvalidParameter, match="No command specified"):
        completed({}, {"Env": ["A=1"]})


def test_the_containers_word_wins_over_the_images() -> None:
    image = {
        "Cmd": ["sh"],
        "User": "daemon",
        "WorkingDir": "/srv",
        "Env": ["A=image", "B=image"],
        "Labels": {"a": "image", "b": "image"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGINT",
    }
    own = {"User": "root", "Env": ["A=own"], "Labels": {"a": "own"}, "ExposedPorts": {"81/tcp": {}}}
    made = completed(own, image)
    assert made["User"] == "root"
    assert made["WorkingDir"] == "/srv"
    assert sorted(made["Env"]) == ["A=own", "B=image"]
    assert made["Labels"] == {"a": "own", "b": "image"}
    assert sorted(made["ExposedPorts"]) == ["80/tcp", "81/tcp"]
    assert made["Volumes"] == {"/data": {}}
    assert made["StopSignal"] == "SIGINT"


def test_the_environment() -> None:
    made = completed({"Hostname": "h", "Env": ["A=1", "PATH=/own", "B"], "Tty": True})
    assert environment(made) == ["PATH=/own", "HOSTNAME=h", "TERM=xterm", "A=1"]
    assert environment(completed({"Hostname": "h"})) == [DEFAULT_PATH, "HOSTNAME=h"]


def test_defaults_are_not_shared_between_containers() -> None:
    first, second = complete({})[1], complete({})[1]
    first["LogConfig"]["Config"]["changed"] = "yes"
    first["RestartPolicy"]["Name"] = "always"
    assert second == complete({})[1]
    assert second["LogConfig"]["Config"] == {}


def test_ports_without_a_protocol_are_tcp() -> None:
    _, host_config = complete({"HostConfig": {"PortBindings": {"80": [{"HostPort": "1"}], "53/udp": None}}})
    assert host_config["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "1"}], "53/udp": []}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"WorkingDir": "here"}, "the working directory 'here' is invalid, it needs to be an absolute path"),
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"Env": [""]}, "invalid environment variable: "),
        ({"StopSignal": "SIGNO"}, "Invalid signal: SIGNO"),
        ({"ExposedPorts": {"http": {}}}, 'invalid port specification: "http"'),
        ({"ExposedPorts": {"70000/tcp": {}}}, 'invalid port specification: "70000/tcp"'),
        ({"MacAddress": "x"}, "invalid MAC address: x"),
        ({"HostConfig": {"Memory": 1000}}, "Minimum memory limit allowed is 6MB"),
        (
            {"HostConfig": {"Memory": 8 << 20, "MemorySwap": 7 << 20}},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            {"HostConfig": {"NanoCpus": 10**9, "CpuQuota": 1000}},
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        ({"HostConfig": {"RestartPolicy": {"Name": "perhaps"}}}, "invalid restart policy 'perhaps'"),
        (
            {"HostConfig": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}},
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"HostConfig": {"ExtraHosts": ["a"]}}, 'bad format for add-host: "a"'),
        ({"HostConfig": {"ExtraHosts": ["a b:1.2.3.4"]}}, 'bad format for add-host: "a b:1.2.3.4"'),
        ({"HostConfig": {"ExtraHosts": ["a:nowhere"]}}, 'invalid IP address in add-host: "nowhere"'),
        (
            {"HostConfig": {"LogConfig": {"Type": "syslog"}}},
            'error looking up logging plugin syslog: plugin "syslog" not found',
        ),
    ],
)
def test_what_cannot_be(body: dict[str, Any], message: str) -> None:
    config, host_config = complete(body)
    with pytest.raises(InvalidParameter) as error:
        validate(config, host_config)
    assert error.value.message == message


@pytest.mark.parametrize("entry", ["a:1.2.3.4", "a:::1", "a:[::1]", "a:host-gateway"])
def test_hosts_that_are_added(entry: str) -> None:
    config, host_config = complete({"HostConfig": {"ExtraHosts": [entry]}})
    assert validate(config, host_config) == []


@pytest.mark.parametrize(
    ("given", "own", "merged"),
    [
        ({"Test": ["CMD", "a"]}, None, {"Test": ["CMD", "a"]}),
        (None, {"Test": ["CMD", "b"], "Retries": 2}, {"Test": ["CMD", "b"], "Retries": 2}),
        (
            {"Test": ["CMD", "a"], "Interval": 5, "Retries": 3},
            {"Interval": 7, "Retries": 0, "Test": []},
            {"Test": ["CMD", "a"], "Interval": 7, "Retries": 3},
        ),
    ],
)
def test_a_health_check_is_completed_from_the_image(given: Any, own: Any, merged: Any) -> None:
    config, _ = complete({"Cmd": ["x"], "Healthcheck": own})
    merge_image(config, {"Healthcheck": given})
    assert config["Healthcheck"] == merged


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("term", signal.SIGTERM),
        ("15", 15),
        (9, 9),
        ("RTMIN+3", signal.SIGRTMIN + 3),
        ("SIGRTMAX-1", signal.SIGRTMAX - 1),
        ("64", 64),
    ],
)
def test_signals(name: str | int, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name", ["", "0", "65", "-1", "SIGNOSUCH", "_DFL", "SIG_IGN", "RTMIN+99", "1.5", "²"]
)
def test_no_signals(name: str) -> None:
    with pytest.raises(InvalidParameter, match="signal"):
        signal_number(name)


@pytest.mark.parametrize("name", ["web", "/web", "a1", "A.b_c-d"])
def test_names(name: str) -> None:
    assert check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "/", "a/b", "-a", "a b", "ä1", "aa\n", "../x"])
def test_no_names(name: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid container name"):
        check_name(name)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (None, ("default", False)),
        (["seccomp=unconfined"], ("unconfined", False)),
        (["seccomp:unconfined", "no-new-privileges"], ("unconfined", True)),
        (["no-new-privileges:true"], ("default", True)),
        (["no-new-privileges=false"], ("default", False)),
    ],
)
def test_security_options(options: list[str] | None, wanted: tuple[str, bool]) -> None:
    assert security_options({"SecurityOpt": options}) == wanted
