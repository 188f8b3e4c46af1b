"""Configurations: ids as other tools compute them, and what is wrong with bad ones."""

from __future__ import annotations

import json
import re

import pytest

from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image import config

LAYER = "sha256:" + "a" * 64


def test_chain_ids_follow_the_specification() -> None:
    # sha256("sha256:aaa... sha256:bbb..."), computed with sha256sum.
    other = "sha256:" + "b" * 64
    assert config.chain_ids([LAYER]) == [LAYER]
    assert config.chain_ids([LAYER, other]) == [
        LAYER,
        "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c",
    ]


def test_serialising_does_not_depend_on_the_order_of_keys() -> None:
    document = config.new_config(diff_ids=[LAYER], created="2020-01-01T00:00:00Z", author="me")
    backwards = json.loads(json.dumps(dict(reversed(document.items()))))
    assert config.serialise(document) == config.serialise(backwards)
    assert config.parse(config.serialise(document)) == document


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("2001-09-09T01:46:40.123456789Z", 1_000_000_000),
        ("2001-09-09T03:46:40+02:00", 1_000_000_000),
        ("0001-01-01T00:00:00Z", -62135596800),
        (None, 0),
        ("", 0),
    ],
)
def test_times(text: str | None, unix: int) -> None:
    assert config.seconds(text) == unix


def test_times_are_written_as_go_writes_them() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", config.timestamp())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "invalid image JSON, no RootFS key"),
        (b'{"rootfs": {"diff_ids": 3}}', "invalid image JSON, no RootFS key"),
        (b'{"rootfs": {"diff_ids": ["../../x"]}}', "is not a sha256 digest"),
        (b'{"rootfs": {"diff_ids": []}, "history": [3]}', "history is not a list of objects"),
        (b'{"rootfs": {"diff_ids": []}, "config": []}', "config is not an object"),
        (b'{"rootfs": {"diff_ids": []}, "config": {"Env": "A=1"}}', "config.Env is not a list of strings"),
        (b'{"rootfs": {"diff_ids": []}, "config": {"Labels": {"a": 1}}}', "config.Labels is not a map"),
        (b'{"rootfs": {"diff_ids": []}, "config": {"User": 0}}', "config.User is not a string"),
        (b'{"rootfs": {"diff_ids": []}, "created": "yesterday"}', "is not a time"),
        (b'{"rootfs": {"diff_ids": []}, "created": "2020-13-01T00:00:00Z"}', "is not a time"),
    ],
)
def test_bad_configurations(data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        config.parse(data)
