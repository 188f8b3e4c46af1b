from __future__ import annotations

from typing import Any

import pytest

from labkernel.engine.commit import apply_changes
from labkernel.engine.errors import EngineError


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["CMD ls -l"], {"Cmd": ["/bin/sh", "-c", "ls -l"]}),
        (['CMD ["ls", "-l"]'], {"Cmd": ["ls", "-l"]}),
        (['entrypoint ["a"]'], {"Entrypoint": ["a"]}),
        (["ENV A=1 B=2", "ENV C $A"], {"Env": ["A=1", "B=2", "C=1"]}),
        (["EXPOSE 80 53/udp"], {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        (["LABEL a=b"], {"Labels": {"a": "b"}}),
        (["WORKDIR /a", "WORKDIR b"], {"WorkingDir": "/a/b"}),
        (["USER daemon\nVOLUME /data"], {"User": "daemon", "Volumes": {"/data": {}}}),
        (["STOPSIGNAL SIGINT"], {"StopSignal": "SIGINT"}),
    ],
)
def test_changes(changes: list[str], wanted: dict[str, Any]) -> None:
    changed = apply_changes({}, changes)
    assert {key: changed[key] for key in wanted} == wanted


def test_what_is_there_stays() -> None:
    config = {"Env": ["A=1"], "Cmd": ["sh"]}
    assert apply_changes(config, ["ENV B=2"])["Env"] == ["A=1", "B=2"]
    assert apply_changes(config, ["ENV A=2"])["Cmd"] == ["sh"]
    assert config == {"Env": ["A=1"], "Cmd": ["sh"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN true", "run is not a valid change command"),
        ("FROM busybox", "from is not a valid change command"),
        ("COPY a b", "copy is not a valid change command"),
        ("NOSUCH x", "NOSUCH"),
        ("ENV", "ENV"),
        ("EXPOSE http", "http"),
        ("\0", ""),
    ],
)
def test_no_changes(change: str, message: str) -> None:
    with pytest.raises(EngineError) as error:
        apply_changes({}, [change])
    assert message.lower() in error.value.message.lower()
