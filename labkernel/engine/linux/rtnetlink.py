"""Interfaces, addresses and routes: the messages of rtnetlink(7).

The functions that make a message return it, so that a caller sends several in one `NetlinkSocket.request`.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass

from labkernel.engine.linux.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NetlinkSocket,
    attribute,
    attributes,
    message,
    nested,
    text,
)

NETLINK_ROUTE = 0

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTM_NEWADDR = 20
RTM_SETLINK = 19
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_NEWNEIGH = 28
RTM_GETROUTE = 26

IFF_UP = 0x1

IFLA_ADDRESS = 1
IFLA_IFNAME = 3
IFLA_MTU = 4
IFLA_MASTER = 10
IFLA_PROTINFO = 12
IFLA_LINKINFO = 18
IFLA_NET_NS_FD = 28
IFLA_INFO_KIND = 1
IFLA_INFO_DATA = 2
IFLA_INFO_SLAVE_DATA = 5
VETH_INFO_PEER = 1
IFLA_BRPORT_STATE = 1
IFLA_BRPORT_ISOLATED = 33
BR_STATE_FORWARDING = 3

IFA_F_NODAD = 0x02
"""The address may be used at once: nobody asks whether another has it."""
IFA_ADDRESS = 1
IFA_LOCAL = 2
IFA_BROADCAST = 4

RTA_DST = 1
RTA_OIF = 4
RTA_GATEWAY = 5
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RT_SCOPE_UNIVERSE = 0
RTN_UNICAST = 1

AF_BRIDGE = 7
NDA_LLADDR = 2
NTF_MASTER = 0x4
NTF_STICKY = 0x40
NUD_NOARP = 0x40

_IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change mask
_IFADDR = struct.Struct("=BBBBi")  # struct ifaddrmsg: family, prefix length, flags, scope, index
_RTMSG = struct.Struct(
    "=BBBBBBBBI"
)  # struct rtmsg: family, dst/src length, tos, table, protocol, scope, type, flags
_U32 = struct.Struct("=I")


@dataclass(frozen=True)
class Link:
    """An interface: `master` is the index of the bridge it belongs to, or 0."""

    index: int
    name: str
    master: int
    mtu: int
    kind: str


@dataclass(frozen=True)
class Route:
    """A route of IPv4; `destination` of the default route is 0.0.0.0/0."""

    destination: ipaddress.IPv4Network
    interface: int
    gateway: ipaddress.IPv4Address | None


def rtnetlink_socket() -> NetlinkSocket:
    return NetlinkSocket(NETLINK_ROUTE)


def mac_bytes(mac: str) -> bytes:
    """ "02:42:ac:11:00:02" -> its six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def new_bridge(name: str, mtu: int) -> bytes:
    """Make a bridge, up."""
    return _new_link(
        _IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP),
        text(IFLA_IFNAME, name),
        attribute(IFLA_MTU, _U32.pack(mtu)),
        nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge")),
    )


@dataclass(frozen=True)
class End:
    """One end of a pair to be made. An index of 0 lets the kernel choose."""

    name: str
    index: int = 0
    mac: str = ""

    def encoded(self, flags: int, mtu: int) -> bytes:
        options = [text(IFLA_IFNAME, self.name), attribute(IFLA_MTU, _U32.pack(mtu))]
        if self.mac:
            options.append(attribute(IFLA_ADDRESS, mac_bytes(self.mac)))
        return _IFINFO.pack(0, 0, self.index, flags, flags) + b"".join(options)


def new_veth(port: End, master: int, peer: End, peer_netns: int, mtu: int) -> bytes:
    """Make a pair: `port`, up, on the bridge whose index is `master`, and `peer` in the namespace that the
    descriptor `peer_netns` is; that end is to be set up there, the kernel refuses it here.
    """
    other = peer.encoded(0, mtu) + attribute(IFLA_NET_NS_FD, _U32.pack(peer_netns))
    return _new_link(
        port.encoded(IFF_UP, mtu),
        attribute(IFLA_MASTER, _U32.pack(master)),
        nested(
            IFLA_LINKINFO,
            text(IFLA_INFO_KIND, "veth"),
            nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, other)),
        ),
    )


def _new_link(header: bytes, *options: bytes) -> bytes:
    return message(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header + b"".join(options))


def set_up(name: str) -> bytes:
    """Bring an interface up."""
    return message(RTM_NEWLINK, NLM_F_ACK, _IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name))


def set_mac(index: int, mac: str) -> bytes:
    return message(
        RTM_NEWLINK, NLM_F_ACK, _IFINFO.pack(0, 0, index, 0, 0) + attribute(IFLA_ADDRESS, mac_bytes(mac))
    )


def delete_link(name: str) -> bytes:
    return message(RTM_DELLINK, NLM_F_ACK, _IFINFO.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name))


def new_address(index: int, address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> bytes:
    """Give an interface an address, and of IPv4 its network's broadcast address."""
    packed = address.ip.packed
    ipv6 = address.version == 6
    header = _IFADDR.pack(
        _family(address.ip), address.network.prefixlen, IFA_F_NODAD if ipv6 else 0, RT_SCOPE_UNIVERSE, index
    )
    options = attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if not ipv6:
        options += attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
    return message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header + options)


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return socket.AF_INET6 if address.version == 6 else socket.AF_INET


def new_default_route(gateway: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    """Make the default route of the gateway's family, or lead it elsewhere."""
    return message(
        RTM_NEWROUTE,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        _RTMSG.pack(_family(gateway), 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
        + attribute(RTA_GATEWAY, gateway.packed),
    )


def delete_default_route(family: int = socket.AF_INET) -> bytes:
    return message(
        RTM_DELROUTE,
        NLM_F_ACK,
        _RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, 0, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0),
    )


def isolate_port(index: int) -> bytes:
    """Let a bridge port pass frames to and from ports only that are not isolated themselves."""
    isolated = nested(IFLA_PROTINFO, attribute(IFLA_BRPORT_ISOLATED, b"\1"))
    return message(RTM_SETLINK, NLM_F_ACK, _IFINFO.pack(AF_BRIDGE, 0, index, 0, 0) + isolated)


def new_bridge_entry(port: int, mac: str) -> bytes:
    """Tell a bridge that a MAC is behind the port of this index, whatever it hears (struct ndmsg)."""
    entry = struct.pack("=BxxxiHBB", AF_BRIDGE, port, NUD_NOARP, NTF_MASTER | NTF_STICKY, 0)
    return message(
        RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, entry + attribute(NDA_LLADDR, mac_bytes(mac))
    )


def port_forwards(netlink: NetlinkSocket, index: int) -> bool:
    """Whether the bridge port of this index passes frames on."""
    request = message(RTM_GETLINK, 0, _IFINFO.pack(0, 0, index, 0, 0))
    payload = netlink.ask(request, "RTM_GETLINK")
    info = attributes(attributes(payload[_IFINFO.size :]).get(IFLA_LINKINFO, b""))
    state = attributes(info.get(IFLA_INFO_SLAVE_DATA, b"")).get(IFLA_BRPORT_STATE)
    return state == bytes([BR_STATE_FORWARDING])


def links(netlink: NetlinkSocket) -> list[Link]:
    """The interfaces of the socket's namespace."""
    request = message(RTM_GETLINK, NLM_F_DUMP, _IFINFO.pack(0, 0, 0, 0, 0))
    found = []
    for kind, payload in netlink.dump(request, "RTM_GETLINK"):
        if kind != RTM_NEWLINK:
            continue
        index = _IFINFO.unpack_from(payload)[2]
        options = attributes(payload[_IFINFO.size :])
        info = attributes(options.get(IFLA_LINKINFO, b""))
        found.append(
            Link(
                index=index,
                name=_string(options[IFLA_IFNAME]),
                master=_number(options.get(IFLA_MASTER)),
                mtu=_number(options.get(IFLA_MTU)),
                kind=_string(info.get(IFLA_INFO_KIND, b"")),
            )
        )
    return found


def routes(netlink: NetlinkSocket) -> list[Route]:
    """The IPv4 unicast routes of the socket's namespace, all tables."""
    request = message(RTM_GETROUTE, NLM_F_DUMP, _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0))
    found = []
    for kind, payload in netlink.dump(request, "RTM_GETROUTE"):
        if kind != RTM_NEWROUTE:
            continue
        fields = _RTMSG.unpack_from(payload)
        if fields[7] != RTN_UNICAST:
            continue
        options = attributes(payload[_RTMSG.size :])
        destination = int.from_bytes(options.get(RTA_DST, bytes(4)), "big")
        gateway = options.get(RTA_GATEWAY)
        found.append(
            Route(
                destination=ipaddress.IPv4Network((destination, fields[1])),
                interface=_number(options.get(RTA_OIF)),
                gateway=ipaddress.IPv4Address(gateway) if gateway else None,
            )
        )
    return found


def _string(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes | None) -> int:
    return int(_U32.unpack_from(value)[0]) if value else 0
