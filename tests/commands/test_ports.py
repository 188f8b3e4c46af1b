from __future__ import annotations

import pytest

from labkernel.commands.ports import ports_column


def port(private: int, public: int = 0, address: str = "", protocol: str = "tcp") -> dict[str, object]:
    return {
        "PrivatePort": private,
        "Type": protocol,
        **({"PublicPort": public, "IP": address} if public else {}),
    }


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(81), port(80), port(90)], "80-81/tcp, 90/tcp"),
        ([port(80, 8080, "0.0.0.0"), port(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port(80, 80, "0.0.0.0"), port(81, 81, "0.0.0.0")], "0.0.0.0:80-81->80-81/tcp"),
        (
            [port(53, 53, "0.0.0.0", "udp"), port(80, 9, "0.0.0.0"), port(70)],
            "0.0.0.0:53->53/udp, 70/tcp, 0.0.0.0:9->80/tcp",
        ),
    ],
)
def test_the_ports_column(ports: list[dict[str, object]], text: str) -> None:
    assert ports_column(ports) == text
