from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from labkernel.engine.linux import mounts as m
from labkernel.engine.volume_mounts import is_mount, parse_mount_options
from tests.support.daemons import Daemon


@pytest.mark.parametrize(
    ("text", "flags", "data"),
    [
        ("", 0, ""),
        ("bind", m.MS_BIND, ""),
        ("rbind,ro", m.MS_BIND | m.MS_REC | m.MS_RDONLY, ""),
        ("ro,rw,nosuid,suid,noexec", m.MS_NOEXEC, ""),
        ("size=1m,nodev,uid=3", m.MS_NODEV, "size=1m,uid=3"),
        ("defaults,addr=1.2.3.4,", 0, "addr=1.2.3.4"),
    ],
)
def test_mount_options(text: str, flags: int, data: str) -> None:
    assert parse_mount_options(text) == (flags, data)


def test_which_volumes_are_mounts() -> None:
    assert is_mount({"type": "tmpfs", "device": "tmpfs"})
    assert not is_mount({})
    assert not is_mount(None)
    assert not is_mount({"type": "", "device": "", "o": ""})


@pytest.fixture
def api(engine: Daemon) -> Iterator[docker.APIClient]:
    client = engine.client().api
    yield client
    client.close()
    engine.clear()


def _in_memory(api: docker.APIClient, name: str) -> None:
    api.create_volume(name, driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})


def _run(api: docker.APIClient, volume: str, command: str) -> str:
    made = api.create_container(
        "busybox", ["sh", "-c", command], host_config=api.create_host_config(binds=[f"{volume}:/m"])
    )
    api.start(made)
    api.wait(made)
    output: str = api.logs(made).decode()
    api.remove_container(made)
    return output


def _mounts(engine: Daemon) -> str:
    return Path(f"/proc/{engine.pid}/mounts").read_text()


def test_memory_is_given_back_when_the_last_container_ends(api: docker.APIClient, engine: Daemon) -> None:
    _in_memory(api, "memory")
    assert _run(api, "memory", "touch /m/a; ls /m") == "a\n"
    assert "/volumes/memory/" not in _mounts(engine)
    assert _run(api, "memory", "ls /m") == ""


def test_a_limit_is_kept(api: docker.APIClient) -> None:
    _in_memory(api, "memory")
    written = _run(api, "memory", "head -c 2000000 /dev/zero > /m/a; stat -c %s /m/a")
    assert written.splitlines()[-1] == str(1 << 20)


def test_what_is_bound_outlives_the_volume(api: docker.APIClient, engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    api.create_volume("bound", driver_opts={"type": "none", "device": str(tmp_path), "o": "bind"})
    made = api.create_container(
        "busybox", "sleep 1000", host_config=api.create_host_config(binds=["bound:/m"])
    )
    api.start(made)
    with pytest.raises(docker.errors.APIError, match="volume is in use"):
        api.remove_volume("bound", force=True)
    api.remove_container(made, force=True)
    api.remove_volume("bound")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_killed_engine_s_mounts_are_gone_with_it(
    api: docker.APIClient, engine: Daemon, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")
    api.create_volume("bound", driver_opts={"type": "none", "device": str(tmp_path), "o": "bind"})
    made = api.create_container(
        "busybox", "sleep 1000", host_config=api.create_host_config(binds=["bound:/m"])
    )
    api.start(made)
    assert "/volumes/bound/" in _mounts(engine)
    engine.kill()
    engine.start()
    assert "/volumes/bound/" not in _mounts(engine)
    api.remove_container(made)
    api.remove_volume("bound")
    assert os.listdir(tmp_path) == ["file"]


def test_an_ordinary_user_has_memory_too(user_engine: Daemon) -> None:
    api = user_engine.client().api
    _in_memory(api, "memory")
    assert _run(api, "memory", "touch /m/a; grep ' /m ' /proc/mounts").startswith("tmpfs /m tmpfs")
    api.close()
    user_engine.clear()
