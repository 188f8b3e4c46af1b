"""The ports one container publishes, from binding to release."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Sequence

from labkernel.engine.network.firewall import Firewall
from labkernel.engine.network.forwarder import SocketMaker, TcpForwarder, UdpForwarder
from labkernel.engine.network.host_ports import BoundPort, HostPorts


class Published:
    """Forwards bound host ports to a container until closed. Owns the ports.

    Each has a listener in the engine; TCP over IPv4 from elsewhere than this machine's loopback goes through
    the firewall's table instead, where there is one, and the container sees the client's own address.
    """

    def __init__(
        self,
        bound: Sequence[BoundPort],
        address: ipaddress.IPv4Address,
        new_socket: SocketMaker,
        host_ports: HostPorts,
        firewall: Firewall | None,
    ) -> None:
        self._bound = bound
        self._host_ports = host_ports
        self._firewall = firewall
        self._translated: list[BoundPort] = []
        self._forwarders: list[TcpForwarder | UdpForwarder] = []
        try:
            self._start(address, new_socket)
        except BaseException:
            self.close()
            raise

    def _start(self, address: ipaddress.IPv4Address, new_socket: SocketMaker) -> None:
        firewall = self._firewall
        for port in self._bound:
            forwarder = TcpForwarder if port.binding.protocol == "tcp" else UdpForwarder
            target = (str(address), port.binding.container_port)
            self._forwarders.append(forwarder(port.socket, target, new_socket))
            if firewall and port.binding.protocol == "tcp" and _comes_from_elsewhere(port.host_ip):
                firewall.publish(port.host_ip, port.host_port, address, port.binding.container_port)
                self._translated.append(port)

    @property
    def ports(self) -> dict[str, list[dict[str, str]]]:
        """As NetworkSettings.Ports."""
        found: dict[str, list[dict[str, str]]] = {}
        for port in self._bound:
            entry = {"HostIp": port.host_ip, "HostPort": str(port.host_port)}
            found.setdefault(port.binding.key, []).append(entry)
        return found

    def close(self) -> None:
        """Stop forwarding, cut connections, give the host ports back."""
        for port in self._translated:
            assert self._firewall
            with contextlib.suppress(OSError):  # the table is gone: somebody flushed it as root
                self._firewall.unpublish(port.host_ip, port.host_port)
        self._translated.clear()
        for forwarder in self._forwarders:
            forwarder.close()
        self._host_ports.release(self._bound)


def _comes_from_elsewhere(host_ip: str) -> bool:
    address = ipaddress.ip_address(host_ip)
    return address.version == 4 and not address.is_loopback
