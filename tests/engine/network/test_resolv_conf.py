from __future__ import annotations

from pathlib import Path

import pytest

from labkernel.engine.network import resolv_conf
from labkernel.engine.network.resolv_conf import container_resolv_conf, read_host_resolv_conf


@pytest.mark.parametrize(
    ("host", "container"),
    [
        ("nameserver 192.0.2.53\n", "nameserver 192.0.2.53\n"),
        (
            "search lab.example\noptions ndots:2\nnameserver 127.0.0.1\nnameserver 192.0.2.53\n",
            "search lab.example\noptions ndots:2\nnameserver 192.0.2.53\n",
        ),
        ("nameserver ::1\nnameserver 2001:db8::1\nnameserver 192.0.2.1", "nameserver 192.0.2.1\n"),
        ("nameserver 127.0.0.53\n", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ("", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ("nameserver\nnameserver what\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"),
    ],
)
def test_container_s_file(host: str, container: str) -> None:
    assert container_resolv_conf(host) == container


def test_servers_of_a_user_mode_network_replace_the_host_s() -> None:
    made = container_resolv_conf("search a\nnameserver 192.0.2.1\n", nameservers=["10.0.2.3"])
    assert made == "search a\nnameserver 10.0.2.3\n"


def test_behind_systemd_resolved_the_real_servers_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, real = tmp_path / "resolv.conf", tmp_path / "real"
    etc.write_text("nameserver 127.0.0.53\n")
    real.write_text("nameserver 192.0.2.7\n")
    monkeypatch.setattr(resolv_conf, "SYSTEMD_RESOLVED", real)
    assert read_host_resolv_conf(etc=etc) == "nameserver 192.0.2.7\n"
    assert read_host_resolv_conf(etc=etc, through_loopback=True) == "nameserver 127.0.0.53\n"
    real.unlink()
    assert read_host_resolv_conf(etc=etc) == "nameserver 127.0.0.53\n"
    assert read_host_resolv_conf(etc=tmp_path / "none") == ""
