"""What an engine refuses whose clients are not trusted. That it does is tested with the sandboxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labkernel.engine.containers.config import complete
from labkernel.engine.containers.confinement import Confinement
from labkernel.engine.containers.mounts import MountPoint, mount_points
from labkernel.engine.errors import Forbidden


def check(place: Path, given: dict[str, Any]) -> list[MountPoint]:
    config, host_config = complete({"Image": "busybox", "HostConfig": given})
    points = mount_points(config, host_config)
    Confinement([str(place)]).check(host_config, points)
    return points


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"Privileged": True}, "to be privileged"),
        ({"PidMode": "host"}, "process namespace"),
        ({"CapAdd": ["sys_ptrace"]}, "CAP_SYS_PTRACE"),
        ({"CapAdd": ["ALL"], "CapDrop": ["CHOWN"]}, "CAP_DAC_READ_SEARCH"),
        ({"Binds": ["/:/host:ro"]}, "/ in a container"),
        ({"Binds": ["{place}-not:/x"]}, "-not in a container"),
        ({"Binds": ["{place}/../x:/x"]}, "/x in a container"),
        ({"Binds": ["{place}/link/x:/x"]}, "/etc/x in a container"),
        ({"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/x"}]}, "/etc in a container"),
    ],
)
def test_refused(tmp_path: Path, given: dict[str, Any], named: str) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "link").symlink_to("/etc")
    if "Binds" in given:
        given = {"Binds": [bind.format(place=place) for bind in given["Binds"]]}
    with pytest.raises(Forbidden, match=f"{named}.* not permitted by this engine") as refused:
        check(place, given)
    assert str(place) in str(refused.value.hint)


def test_permitted(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("directory")
    given = {
        "CapAdd": ["NET_RAW", "cap_kill"],
        "PidMode": "container:x",
        "Binds": [f"{tmp_path}:/a", f"{tmp_path}/link/new:/b", "volume:/c", "/d"],
    }
    sources = {point.destination: point.source for point in check(tmp_path, given)}
    assert sources["/a"] == str(tmp_path)
    assert sources["/b"] == f"{tmp_path}/directory/new"  # what was looked at, whatever the link says later


def test_a_privileged_exec_is_refused() -> None:
    with pytest.raises(Forbidden):
        Confinement(["/tmp"]).check_privileged({"Privileged": True})
