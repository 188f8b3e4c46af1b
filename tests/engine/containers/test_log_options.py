from __future__ import annotations

from typing import Any

import pytest

from labkernel.engine.containers.log_files import Rotation
from labkernel.engine.containers.log_options import attributes, check, rotation
from labkernel.engine.errors import InvalidParameter


def _config(kind: str = "json-file", **options: str) -> dict[str, Any]:
    return {"Type": kind, "Config": {name.replace("_", "-"): value for name, value in options.items()}}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (_config(), Rotation(None, 1, False)),
        (_config(max_size="10"), Rotation(10)),
        (_config(max_size="10k", max_file="3"), Rotation(10_000, 3)),
        (_config(max_size="1.5 MB", max_file="2", compress="T"), Rotation(1_500_000, 2, True)),
        (_config("local"), Rotation(20_000_000, 5, True)),
        (_config("local", max_size="1g", compress="false"), Rotation(1_000_000_000, 5, False)),
    ],
)
def test_rotation(config: dict[str, Any], expected: Rotation) -> None:
    check(config)
    assert rotation(config) == expected


@pytest.mark.parametrize(
    "config",
    [
        _config("syslog"),
        _config(color="blue"),
        _config("local", labels="a"),
        _config(max_size="0"),
        _config(max_size="-1"),
        _config(max_size="big"),
        _config(max_file="0"),
        _config(max_file="two"),
        _config(compress="yes", max_size="1", max_file="2"),
        _config(compress="true", max_size="1"),
        _config(labels_regex="("),
    ],
)
def test_options_that_make_no_sense(config: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        check(config)


def test_attributes() -> None:
    options = {"labels": "a, b", "env-regex": "^X", "tag": "{{.Name}}/{{ .ID }}/{{.Unknown}}"}
    config = {"Labels": {"b": "2", "c": "3"}, "Env": ["X1=y=z", "Y=1", "X2"]}
    assert attributes(options, config, {"Name": "box", "ID": "0123"}) == {
        "X1": "y=z",
        "b": "2",
        "tag": "box/0123/{{.Unknown}}",
    }
