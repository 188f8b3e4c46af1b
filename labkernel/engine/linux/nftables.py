"""nftables over netlink: the messages that make a table, its chains, rules and maps
(linux/netfilter/nf_tables.h).

A rule is a list of expressions, small machine instructions on registers: `nft --debug=netlink list ruleset`
shows the same list for any rule. Numbers are big-endian here, unlike elsewhere in netlink.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from labkernel.engine.linux.netlink import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NetlinkSocket,
    attribute,
    attributes,
    message,
    nested,
    text,
)

NETLINK_NETFILTER = 12
NFPROTO_INET = 1
NFPROTO_IPV4 = 2
NFPROTO_IPV6 = 10

NF_DROP = 0
NF_ACCEPT = 1
HOOK_PREROUTING = 0
HOOK_FORWARD = 2
HOOK_OUTPUT = 3
HOOK_POSTROUTING = 4
PRIORITY_DSTNAT = -100
PRIORITY_FILTER = 0
PRIORITY_SRCNAT = 100

#: Data types as nft(8) shows them; a concatenation shifts the next type in by six bits.
TYPE_IPV4_ADDR = 7
TYPE_INET_SERVICE = 13

_NFNL_SUBSYS_NFTABLES = 10
_BATCH_BEGIN = 16
_BATCH_END = 17
_NEWTABLE = 0
_NEWCHAIN = 3
_GETCHAIN = 4
_NEWRULE = 6
_DELRULE = 8
_NEWSET = 9
_NEWSETELEM = 12
_DELSETELEM = 14
_TABLE_OWNER = 0x2
_SET_MAP = 0x8
_LIST_ELEM = 1

_REGISTER_VERDICT = 0
_REGISTER_1 = 1  # 16 bytes; the four-byte registers that follow the first four bytes are numbered from 9 on
_REGISTER_1_BYTE_4 = 9


def nftables_socket() -> NetlinkSocket:
    return NetlinkSocket(NETLINK_NETFILTER)


def commit(socket: NetlinkSocket, *changes: bytes) -> None:
    """Apply changes all or none."""
    begin = message(_BATCH_BEGIN, 0, _header(0, _NFNL_SUBSYS_NFTABLES))
    end = message(_BATCH_END, 0, _header(0, _NFNL_SUBSYS_NFTABLES))
    socket.request(begin, *changes, end, call="nftables", answers=len(changes))


def new_owned_table(table: str, *, family: int = NFPROTO_IPV4) -> bytes:
    """A table that only this socket may change, and that vanishes with it: also if the process is killed."""
    options = text(1, table) + attribute(2, _be32(_TABLE_OWNER))
    return _change(_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, options, family)


def new_table(table: str) -> bytes:
    """A table that lives as long as its namespace."""
    return _change(_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, text(1, table))


def new_base_chain(
    table: str, name: str, kind: str, hook: int, priority: int, *, family: int = NFPROTO_IPV4
) -> bytes:
    """A chain that packets come through; `kind` is "nat" or "filter". What reaches its end is accepted."""
    place = nested(4, attribute(1, _be32(hook)), attribute(2, struct.pack(">i", priority)))
    return _change(_NEWCHAIN, NLM_F_CREATE, text(1, table) + text(3, name) + place + text(7, kind), family)


def new_map(
    table: str, name: str, key_types: tuple[int, ...], value_types: tuple[int, ...], identity: int
) -> bytes:
    """A map from a concatenation of types to another; `identity` is unique within a batch."""
    options = (
        text(1, table)
        + text(2, name)
        + attribute(3, _be32(_SET_MAP))
        + attribute(4, _be32(_concatenation(key_types)))
        + attribute(5, _be32(4 * len(key_types) if len(key_types) > 1 else _SIZES[key_types[0]]))
        + attribute(6, _be32(_concatenation(value_types)))
        + attribute(7, _be32(4 * len(value_types)))
        + attribute(10, _be32(identity))
    )
    return _change(_NEWSET, NLM_F_CREATE, options)


_SIZES = {TYPE_IPV4_ADDR: 4, TYPE_INET_SERVICE: 2}


def _concatenation(types: tuple[int, ...]) -> int:
    number = 0
    for each in types:
        number = number << 6 | each
    return number


def add_element(table: str, name: str, key: bytes, value: bytes) -> bytes:
    return _change(_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, _element(table, name, key, value))


def delete_element(table: str, name: str, key: bytes) -> bytes:
    return _change(_DELSETELEM, 0, _element(table, name, key, b""))


def _element(table: str, name: str, key: bytes, value: bytes) -> bytes:
    parts = [_data(1, key)]
    if value:
        parts.append(_data(2, value))
    return text(1, table) + text(2, name) + nested(3, nested(_LIST_ELEM, *parts))


def element_fields(*fields: ipaddress.IPv4Address | int) -> bytes:
    """A key or value of a map: addresses and ports, each padded to a register when there are several."""
    packed = [
        field.packed if isinstance(field, ipaddress.IPv4Address) else struct.pack(">H", field)
        for field in fields
    ]
    return packed[0] if len(packed) == 1 else b"".join(part.ljust(4, b"\0") for part in packed)


def new_rule(table: str, chain: str, *expressions: bytes, family: int = NFPROTO_IPV4) -> bytes:
    """A rule at the end of a chain."""
    options = text(1, table) + text(2, chain) + nested(4, *expressions)
    return _change(_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, options, family)


def flush_chain(table: str, chain: str, *, family: int = NFPROTO_IPV4) -> bytes:
    """Remove all rules of a chain."""
    return _change(_DELRULE, 0, text(1, table) + text(2, chain), family)


def comes_in_by(interface: str) -> bytes:
    return _meta(6) + _compare(_interface_name(interface))


def goes_out_by(interface: str, *, not_: bool = False) -> bytes:
    return _meta(7) + _compare(_interface_name(interface), not_=not_)


def source_within(subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bytes:
    """The rule's family is the subnet's."""
    load = _load_network(12) if subnet.version == 4 else _payload(1, 8, 16, _REGISTER_1)
    return load + _masked(subnet.netmask.packed) + _compare(subnet.network_address.packed)


def destination_within(subnet: ipaddress.IPv4Network, *, not_: bool = False) -> bytes:
    load = _load_network(16) + _masked(subnet.netmask.packed)
    return load + _compare(subnet.network_address.packed, not_=not_)


def destination_is_local() -> bytes:
    """The destination is an address of this machine (RTN_LOCAL)."""
    to_register = attribute(1, _be32(_REGISTER_1)) + attribute(2, _be32(3)) + attribute(3, _be32(2))
    return _expression("fib", to_register) + _compare(struct.pack("=I", 2))


def protocol_is(number: int) -> bytes:
    return _meta(16) + _compare(bytes([number]))


def connection_has_status(bits: int) -> bytes:
    return _connection(2, bits)


def connection_has_state(bits: int) -> bytes:
    return _connection(0, bits)


#: Bits of conntrack's state and status (linux/netfilter/nf_conntrack_common.h).
STATE_ESTABLISHED = 0x2
STATE_RELATED = 0x4
STATUS_DNAT = 0x20


def dnat_by_port(map_name: str) -> bytes:
    """Send the packet where the map says, by its destination port."""
    return _load_transport(2, 2, _REGISTER_1) + _lookup_and_dnat(map_name)


def dnat_by_address_and_port(map_name: str) -> bytes:
    """Send the packet where the map says, by its destination address and port."""
    return _load_network(16) + _load_transport(2, 2, _REGISTER_1_BYTE_4) + _lookup_and_dnat(map_name)


def masquerade() -> bytes:
    return _expression("masq", b"")


def verdict(code: int) -> bytes:
    """NF_ACCEPT or NF_DROP."""
    data = nested(2, nested(2, attribute(1, struct.pack(">i", code))))
    return _expression("immediate", attribute(1, _be32(_REGISTER_VERDICT)) + data)


@dataclass(frozen=True)
class BaseChain:
    """A chain of anybody's that packets come through."""

    family: int
    table: str
    name: str
    hook: int
    policy: int


def base_chains(socket: NetlinkSocket) -> list[BaseChain]:
    """All base chains of the socket's namespace."""
    request = message(_NFNL_SUBSYS_NFTABLES << 8 | _GETCHAIN, NLM_F_DUMP, _header(0, 0))
    found = []
    for _, payload in socket.dump(request, "NFT_MSG_GETCHAIN"):
        options = attributes(payload[4:])
        if 4 not in options:
            continue
        hook = attributes(options[4])
        found.append(
            BaseChain(
                family=payload[0],
                table=options[1].rstrip(b"\0").decode(errors="replace"),
                name=options[3].rstrip(b"\0").decode(errors="replace"),
                hook=int.from_bytes(hook[1], "big"),
                policy=int.from_bytes(options.get(5, _be32(NF_ACCEPT)), "big"),
            )
        )
    return found


def _lookup_and_dnat(map_name: str) -> bytes:
    lookup = text(1, map_name) + attribute(2, _be32(_REGISTER_1)) + attribute(3, _be32(_REGISTER_1))
    dnat = (
        attribute(1, _be32(1))
        + attribute(2, _be32(NFPROTO_IPV4))
        + attribute(3, _be32(_REGISTER_1))
        + attribute(5, _be32(_REGISTER_1_BYTE_4))
    )
    return _expression("lookup", lookup) + _expression("nat", dnat)


def _connection(key: int, bits: int) -> bytes:
    load = attribute(1, _be32(_REGISTER_1)) + attribute(2, _be32(key))
    return _expression("ct", load) + _masked(struct.pack("=I", bits)) + _compare(bytes(4), not_=True)


def _meta(key: int) -> bytes:
    return _expression("meta", attribute(1, _be32(_REGISTER_1)) + attribute(2, _be32(key)))


def _load_network(offset: int) -> bytes:
    """Four bytes of the IP header: the source address is at 12, the destination at 16."""
    return _payload(1, offset, 4, _REGISTER_1)


def _load_transport(offset: int, length: int, register: int) -> bytes:
    return _payload(2, offset, length, register)


def _payload(base: int, offset: int, length: int, register: int) -> bytes:
    numbers = (register, base, offset, length)
    return _expression(
        "payload", b"".join(attribute(i, _be32(number)) for i, number in enumerate(numbers, 1))
    )


def _masked(mask: bytes) -> bytes:
    return _expression(
        "bitwise",
        attribute(1, _be32(_REGISTER_1))
        + attribute(2, _be32(_REGISTER_1))
        + attribute(3, _be32(len(mask)))
        + _data(4, mask)
        + _data(5, bytes(len(mask))),
    )


def _compare(value: bytes, *, not_: bool = False) -> bytes:
    """Go on with the rule if the register equals `value`, or if it does not."""
    return _expression(
        "cmp", attribute(1, _be32(_REGISTER_1)) + attribute(2, _be32(int(not_))) + _data(3, value)
    )


def _interface_name(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))


def _expression(name: str, data: bytes) -> bytes:
    return nested(_LIST_ELEM, text(1, name), nested(2, data))


def _be32(number: int) -> bytes:
    return struct.pack(">I", number)


def _header(family: int, resource: int) -> bytes:
    """struct nfgenmsg: family, version, resource."""
    return struct.pack(">BBH", family, 0, resource)


def _change(kind: int, flags: int, options: bytes, family: int = NFPROTO_IPV4) -> bytes:
    return message(_NFNL_SUBSYS_NFTABLES << 8 | kind, NLM_F_ACK | flags, _header(family, 0) + options)
