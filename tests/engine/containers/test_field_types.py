"""The messages are what dockerd answers to the same bodies (its status is 500, ours 400)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkernel.engine.containers.config import HOST_CONFIG, complete, environment, merge_image, validate
from labkernel.engine.containers.field_types import CREATE, EXEC, Each, Struct, check
from labkernel.engine.containers.mounts import mount_points
from labkernel.engine.errors import InvalidParameter


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Env": 3}, "number into Go struct field ContainerConfigWrapper.Env of type []string"),
        ({"Env": [3]}, "number into Go struct field ContainerConfigWrapper.Env of type string"),
        ({"Env": {}}, "object into Go struct field ContainerConfigWrapper.Env of type []string"),
        ({"Env": [None]}, "null into Go struct field ContainerConfigWrapper.Env of type string"),
        (
            {"Labels": []},
            "array into Go struct field ContainerConfigWrapper.Labels of type map[string]string",
        ),
        ({"Labels": {"a": 1}}, "number into Go struct field ContainerConfigWrapper.Labels of type string"),
        ({"Tty": "yes"}, "string into Go struct field ContainerConfigWrapper.Tty of type bool"),
        ({"Tty": 1}, "number into Go struct field ContainerConfigWrapper.Tty of type bool"),
        ({"StopTimeout": "3"}, "string into Go struct field ContainerConfigWrapper.StopTimeout of type int"),
        (
            {"StopTimeout": 1.5},
            "number 1.5 into Go struct field ContainerConfigWrapper.StopTimeout of type int",
        ),
        ({"StopTimeout": True}, "bool into Go struct field ContainerConfigWrapper.StopTimeout of type int"),
        (
            {"ExposedPorts": []},
            "array into Go struct field ContainerConfigWrapper.ExposedPorts of type nat.PortSet",
        ),
        (
            {"Volumes": {"/x": 3}},
            "number into Go struct field ContainerConfigWrapper.Volumes of type struct {}",
        ),
        ({"Cmd": 3}, "number into Go struct field ContainerConfigWrapper.Cmd of type string"),
        ({"Cmd": [3]}, "array into Go struct field ContainerConfigWrapper.Cmd of type string"),
        (
            {"HostConfig": []},
            "array into Go struct field ContainerConfigWrapper.HostConfig of type container.HostConfig",
        ),
        (
            {"HostConfig": {"Memory": "1"}},
            "string into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            {"HostConfig": {"Binds": "x"}},
            "string into Go struct field HostConfig.HostConfig.Binds of type []string",
        ),
        (
            {"HostConfig": {"Mounts": ["x"]}},
            "string into Go struct field HostConfig.HostConfig.Mounts of type mount.Mount",
        ),
        (
            {"HostConfig": {"Mounts": [{"Type": 3}]}},
            "number into Go struct field Mount.HostConfig.Mounts.Type of type mount.Type",
        ),
        (
            {"HostConfig": {"PortBindings": {"80/tcp": "8080"}}},
            "string into Go struct field HostConfig.HostConfig.PortBindings of type []nat.PortBinding",
        ),
        (
            {"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 8080}]}}},
            "number into Go struct field PortBinding.HostConfig.PortBindings.HostPort of type string",
        ),
        (
            {"HostConfig": {"RestartPolicy": {"Name": 2}}},
            "number into Go struct field RestartPolicy.HostConfig.RestartPolicy.Name of type string",
        ),
        (
            {"HostConfig": {"LogConfig": {"Config": {"a": 1}}}},
            "number into Go struct field LogConfig.HostConfig.LogConfig.Config of type string",
        ),
        (
            {"HostConfig": {"ConsoleSize": [-1, 2]}},
            "number -1 into Go struct field HostConfig.HostConfig.ConsoleSize of type uint",
        ),
    ],
)
def test_a_field_of_the_wrong_type(body: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        check(body, CREATE)
    assert error.value.message == f"json: cannot unmarshal {message}"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Cmd": "true", "Entrypoint": ["a", "b"], "Env": None, "Unknown": 3},
        {"HostConfig": {"PortBindings": {"80/tcp": None}, "ConsoleSize": [1], "CapAdd": "ALL", "Init": None}},
        {"ExposedPorts": {"80/tcp": None, "81/tcp": {"anything": 1}}},
    ],
)
def test_what_is_allowed(body: dict[str, Any]) -> None:
    check(body, CREATE)


def test_a_null_byte_is_named() -> None:
    with pytest.raises(InvalidParameter, match="invalid argument: Env has a null byte"):
        check({"Cmd": ["true"], "Env": ["A=\0"]}, EXEC)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["/a:/b", "80/tcp"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of the type, and now and then any others."""
    if isinstance(kind, Struct):
        right: st.SearchStrategy[Any] = st.fixed_dictionaries(
            {}, optional={name: of(field) for name, field in kind.fields.items()}
        )
    elif isinstance(kind, Each):
        elements = of(kind.element)
        right = (
            st.lists(elements, max_size=2)
            if kind.kind is list
            else st.dictionaries(st.sampled_from(["/x", "80/tcp", "53/udp", "", "k"]), elements, max_size=2)
        )
    elif kind.kind is str:
        words = [
            "",
            "a",
            "/a",
            "/a:/b:ro",
            "a:b",
            "A=1",
            "host",
            "bind",
            "volume",
            "tmpfs",
            "8080",
            "9-10",
            "seccomp=x",
        ]
        right = st.sampled_from(words) | st.text(max_size=5)
    elif kind.kind is int:
        right = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-2, 5)
    else:
        right = st.booleans() if kind.kind is bool else st.lists(st.text(max_size=3), max_size=2)
    return st.one_of(right, right, right, JSON)


@given(of(CREATE))
@settings(max_examples=400, deadline=None)
def test_no_body_is_too_strange(body: Any) -> None:
    """A body is either refused or complete enough for all that comes after."""
    if not isinstance(body, dict):
        return
    try:
        config, host_config = complete(body)
        validate(config, host_config)
        mount_points(config, host_config)
        merge_image(config, {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Volumes": {"/v": {}}})
    except InvalidParameter:
        return
    assert all(isinstance(entry, str) for entry in environment(config))


def test_names_in_capitals_and_small_letters() -> None:
    """Of two spellings the later counts; keys that are the user's stay as they are."""
    body = {
        "IMAGE": "one",
        "hostconfig": {"restartPolicy": {"name": "always"}, "mounts": [{"target": "/x"}]},
        "labels": {"image": "mine"},
        "Tty": True,
        "tty": False,
        "Unknown": 1,
    }
    check(body, CREATE)
    assert body == {
        "Image": "one",
        "HostConfig": {"RestartPolicy": {"Name": "always"}, "Mounts": [{"Target": "/x"}]},
        "Labels": {"image": "mine"},
        "Tty": False,
        "Unknown": 1,
    }


@given(st.sampled_from(sorted(HOST_CONFIG)), st.sampled_from((str.lower, str.upper, str.swapcase)))
def test_every_field_has_a_type_and_any_case(name: str, spelt: Callable[[str], str]) -> None:
    body: dict[str, Any] = {"HostConfig": {spelt(name): None}}
    check(body, CREATE)
    assert body == {"HostConfig": {name: None}}
