from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.containers.mounts import MountPoint, mount_points, parse_bind, parse_mount, resolve
from labkernel.engine.database import Database
from labkernel.engine.errors import Conflict, InvalidParameter, NotFound
from labkernel.engine.events import Events
from labkernel.engine.volumes import Volumes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/a:/b", {"type": "bind", "source": "/a", "destination": "/b", "writable": True}),
        ("/a/../c/:/b//d/", {"source": "/c", "destination": "/b/d"}),
        ("/a:/b:ro", {"writable": False, "mode": "ro", "propagation": "rprivate"}),
        ("/a:/b:ro,rslave,z", {"writable": False, "propagation": "rslave"}),
        ("data:/b", {"type": "volume", "name": "data", "mode": "z", "copy": True}),
        ("data:/b:nocopy", {"type": "volume", "copy": False}),
        ("/b", {"type": "volume", "destination": "/b", "anonymous": True, "name": ""}),
    ],
)
def test_a_bind(text: str, wanted: dict[str, Any]) -> None:
    point = parse_bind(text)
    assert {name: getattr(point, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid volume specification: ''"),
        (":", "invalid volume specification: ':'"),
        ("a:b:c:d", "invalid volume specification: 'a:b:c:d'"),
        ("/a:", "invalid volume specification: '/a:'"),
        (":/b", "invalid volume specification: ':/b'"),
        ("/a:/b:rx", "invalid mode: rx"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:", "invalid mode: "),
        ("/a:/", "destination can't be '/'"),
        ("/a:/x/..", "destination can't be '/'"),
        ("/a:relative", "mount path must be absolute"),
        ("./a:/b", "If you intended to pass a host directory, use absolute path"),
    ],
)
def test_no_bind(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        parse_bind(text)
    assert message in error.value.message


@given(st.text(alphabet="/a:.,rowzZ", max_size=14))
def test_a_bind_is_understood_or_refused(text: str) -> None:
    try:
        point = parse_bind(text)
    except InvalidParameter:
        return
    assert point.destination.startswith("/")
    assert ".." not in point.destination.split("/")
    assert point.destination.strip("/")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (
            {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True},
            {"writable": False, "must_exist": True},
        ),
        ({"Type": "volume", "Source": "vol", "Target": "/b"}, {"name": "vol", "anonymous": False}),
        ({"Type": "volume", "Target": "/b"}, {"name": "", "anonymous": True}),
        (
            {"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o1770}},
            {"tmpfs_options": ["nosuid", "nodev", "noexec", "size=65536", "mode=1770"]},
        ),
    ],
)
def test_a_mount(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    point = parse_mount(given)
    assert {name: getattr(point, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Target": "/b"}, 'invalid mount config for type "": mount type unknown'),
        (
            {"Type": "bind", "Target": "/b"},
            'invalid mount config for type "bind": field Source must not be empty',
        ),
        ({"Type": "volume"}, 'invalid mount config for type "volume": field Target must not be empty'),
        (
            {"Type": "bind", "Source": "a", "Target": "/b"},
            "invalid mount config for type \"bind\": invalid mount path: 'a' mount path must be absolute",
        ),
    ],
)
def test_no_mount(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter) as error:
        parse_mount(given)
    assert error.value.message == message


def test_the_containers_word_wins_over_the_images_volume() -> None:
    points = mount_points({"Volumes": {"/data": {}, "/other/": {}}}, {"Binds": ["named:/data"]})
    assert [(point.name, point.destination) for point in points] == [("named", "/data"), ("", "/other")]


def test_one_place_cannot_be_mounted_twice() -> None:
    with pytest.raises(InvalidParameter, match="Duplicate mount point: /data"):
        mount_points({}, {"Binds": ["aa:/data", "bb:/data/"]})


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path / "volumes", Database(tmp_path / "db"), Events())


def test_a_volume_is_made_once_and_kept_while_it_is_used(volumes: Volumes) -> None:
    point = MountPoint("volume", "/data", name="vol")
    assert resolve(point, volumes, "c1") is True
    assert Path(point.source).is_dir()
    Path(point.source, "file").touch()
    assert resolve(MountPoint("volume", "/data", name="vol"), volumes, "c2") is False
    with pytest.raises(Conflict, match=r"remove vol: volume is in use - \[c1, c2\]"):
        volumes.remove("vol")
    assert volumes.release("c1") == volumes.release("c2") == []
    volumes.remove("vol")
    assert not Path(point.source).exists()
    with pytest.raises(NotFound, match="get vol: no such volume"):
        volumes.remove("vol")
    volumes.remove("vol", force=True)


def test_an_anonymous_volume_goes_with_its_last_container(volumes: Volumes) -> None:
    point = MountPoint("volume", "/data", anonymous=True)
    resolve(point, volumes, "c1")
    volumes.use(point.name, "c2")
    assert volumes.release("c1") == []
    assert volumes.release("c2") == [point.name]


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "x" * 300, "", "ü"])
def test_names_that_would_be_other_paths(volumes: Volumes, name: str) -> None:
    if not name:
        return
    with pytest.raises((InvalidParameter, OSError)):
        volumes.create(name)


def test_filters(volumes: Volumes) -> None:
    volumes.create("used", labels={"course": "1"})
    volumes.create("free", labels={"course": "2"})
    volumes.use("used", "c")

    def names(**filters: list[str]) -> set[str]:
        return {volume["Name"] for volume in volumes.list(filters)}

    assert names() == {"used", "free"}
    assert names(dangling=["true"]) == {"free"}
    assert names(dangling=["false"]) == {"used"}
    assert names(label=["course=2"]) == {"free"}
    assert names(label=["course"]) == {"used", "free"}
    assert names(name=["us"]) == {"used"}
    with pytest.raises(InvalidParameter):
        names(colour=["red"])


def test_what_a_killed_engine_left_goes(volumes: Volumes, tmp_path: Path) -> None:
    volumes.create("kept")
    volumes.create(anonymous=True)
    (tmp_path / "volumes" / "half-made" / "_data").mkdir(parents=True)
    anonymous = next(volume["Name"] for volume in volumes.list() if volume["Name"] != "kept")
    volumes.use(anonymous, "gone")
    again = Volumes(tmp_path / "volumes", Database(tmp_path / "db"), Events())
    again.keep_uses([])
    assert [path.name for path in (tmp_path / "volumes").iterdir()] == ["kept"]
