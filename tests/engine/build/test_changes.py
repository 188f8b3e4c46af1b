from __future__ import annotations

import pytest

from labkernel.engine.build.changes import apply_changes
from labkernel.engine.build.errors import DockerfileError


def test_changes() -> None:
    base = {"Env": ["A=1"], "Cmd": ["sh"], "WorkingDir": "/w"}
    changed = apply_changes(base, ["ENV A=2 B=$A", 'ENTRYPOINT ["x"]', "workdir y", "EXPOSE 80", "VOLUME /v"])
    assert changed["Env"] == ["A=2", "B=1"]
    assert (changed["Entrypoint"], changed["Cmd"], changed["WorkingDir"]) == (["x"], None, "/w/y")
    assert (changed["ExposedPorts"], changed["Volumes"]) == ({"80/tcp": {}}, {"/v": {}})
    assert base == {"Env": ["A=1"], "Cmd": ["sh"], "WorkingDir": "/w"}


def test_no_path_is_added() -> None:
    """A build gives a stage a PATH; a change does not."""
    assert apply_changes(None, ["CMD a"])["Env"] is None
    assert apply_changes(None, [])["Cmd"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN x", "run is not a valid change command"),
        ("FRMO x", "frmo is not a valid change command"),
        ("STOPSIGNAL 9", "stopsignal is not a valid change command"),
        ("ENV a", "ENV must have two arguments"),
        ("EXPOSE foo", "Invalid containerPort: foo"),
        ("", "file with no instructions"),
    ],
)
def test_refusals(change: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        apply_changes({}, [change])
    assert caught.value.message == message
