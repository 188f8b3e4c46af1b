"""What `POST /networks/create` asks for, and what an endpoint's settings do. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from labkernel.engine.errors import Forbidden, InvalidParameter, NotFound, NotOffered
from labkernel.engine.network.addresses import AddressPool, choose_subnet

PREDEFINED = ("bridge", "host", "none", "default")
_PREFIX = "com.docker.network."
_INTERFACE_LENGTH = 15
"""Characters of an interface's name (IFNAMSIZ, less its zero byte)."""


@dataclass(frozen=True)
class Definition:
    """A network as its user described it, complete: subnet and gateway are chosen where none was given."""

    name: str
    subnet: str
    gateway: str
    ip_range: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    """Addresses to be given to nobody, each with a name."""
    own_subnet: bool = False
    """The user chose the subnet: only then may a container choose its address."""
    internal: bool = False
    attachable: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None

    @classmethod
    def requested(cls, body: Mapping[str, Any], taken: Sequence[ipaddress.IPv4Network]) -> Definition:
        """From the body of the request; `taken` are the subnets that there are already.

        Raises InvalidParameter, Forbidden, NotFound, NotOffered, in Docker's words where it has some.
        """
        name = body.get("Name") or ""
        if not name.strip():
            raise InvalidParameter(f"invalid name: {name}", hint="a network needs a name")
        if name in PREDEFINED:
            raise Forbidden(f"operation is not permitted on predefined {name} network ")
        driver = body.get("Driver") or "bridge"
        if driver in ("host", "null"):
            raise Forbidden(f'only one instance of "{driver}" network is allowed')
        if driver != "bridge":
            raise NotFound(f'plugin "{driver}" not found', hint="the network driver offered is bridge")
        if body.get("Ingress"):
            raise NotOffered("This node is not a swarm manager")
        if body.get("EnableIPv6"):
            raise NotOffered("networks with IPv6 are not offered yet", hint="leave --ipv6 out")
        options = dict(body.get("Options") or {})
        _check_options(options)
        ipam = body.get("IPAM") or {}
        if (ipam.get("Driver") or "default") != "default":
            raise NotFound(f"ipam driver {ipam['Driver']} not found", hint="the one offered is default")
        pools = ipam.get("Config") or [{}]
        if len(pools) > 1:
            raise InvalidParameter("bridge driver doesn't support multiple subnets")
        return cls(
            name=name,
            internal=bool(body.get("Internal")),
            attachable=bool(body.get("Attachable")),
            options=options,
            labels=dict(body.get("Labels") or {}),
            ipam_options=ipam.get("Options"),
            **_pool(pools[0] or {}, taken),
        )

    def addresses(self) -> AddressPool:
        return AddressPool(
            ipaddress.IPv4Network(self.subnet),
            gateway=ipaddress.IPv4Address(self.gateway),
            within=ipaddress.IPv4Network(self.ip_range) if self.ip_range else None,
            reserved=map(ipaddress.IPv4Address, self.auxiliary.values()),
        )

    def ipam(self) -> dict[str, str | Mapping[str, str]]:
        """As IPAM.Config shows it."""
        shown: dict[str, str | Mapping[str, str]] = {"Subnet": self.subnet}
        if self.ip_range:
            shown["IPRange"] = self.ip_range
        shown["Gateway"] = self.gateway
        if self.auxiliary:
            shown["AuxiliaryAddresses"] = self.auxiliary
        return shown

    def option(self, name: str, default: str) -> str:
        """A driver option by the end of its name: "bridge.name"."""
        return self.options.get(_PREFIX + name, default)

    def flag(self, name: str, default: bool) -> bool:
        return self.option(name, str(default)).lower() in ("1", "t", "true")

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def _check_options(options: Mapping[str, str]) -> None:
    for name in ("bridge.enable_icc", "bridge.enable_ip_masquerade"):
        value = options.get(_PREFIX + name)
        if value is not None and value.lower() not in ("1", "t", "true", "0", "f", "false"):
            raise InvalidParameter(
                f'failed to parse {_PREFIX}{name} value: {value} (strconv.ParseBool: parsing "{value}":'
                " invalid syntax)"
            )
    mtu = options.get(f"{_PREFIX}driver.mtu")
    if mtu is not None and not (mtu.isascii() and mtu.isdigit() and 68 <= int(mtu) <= 65535):
        raise InvalidParameter(f"invalid {_PREFIX}driver.mtu: {mtu}", hint="a number from 68 to 65535")
    host_ip = options.get(f"{_PREFIX}bridge.host_binding_ipv4")
    if host_ip:
        _address(host_ip, f"{_PREFIX}bridge.host_binding_ipv4")
    interface = options.get(f"{_PREFIX}bridge.name", "")
    if len(interface) > _INTERFACE_LENGTH or "/" in interface or any(map(str.isspace, interface)):
        raise InvalidParameter(
            f"invalid {_PREFIX}bridge.name: {interface}", hint=f"at most {_INTERFACE_LENGTH} characters"
        )


def _pool(asked: Mapping[str, Any], taken: Sequence[ipaddress.IPv4Network]) -> dict[str, Any]:
    """subnet, gateway, ip_range, auxiliary, own_subnet."""
    if not asked.get("Subnet"):
        if asked.get("IPRange") or asked.get("Gateway") or asked.get("AuxiliaryAddresses"):
            raise InvalidParameter("invalid IPAM configuration: a range or an address needs a Subnet")
        subnet = choose_subnet(taken)
        return {"subnet": str(subnet), "gateway": str(subnet[1])}
    subnet = _network(asked["Subnet"])
    if subnet.num_addresses < 4:
        raise InvalidParameter(f"subnet {subnet} has no room for a container", hint="a /30 is the smallest")
    if any(subnet.overlaps(other) for other in taken if other.prefixlen):
        raise Forbidden("Pool overlaps with other one on this address space")
    found: dict[str, Any] = {"subnet": str(subnet), "own_subnet": True}
    within = subnet
    if asked.get("IPRange"):
        within = _network(asked["IPRange"])
        if not within.subnet_of(subnet):
            raise InvalidParameter(f"the range {within} is not within the subnet {subnet}")
        found["ip_range"] = str(within)
    gateway = asked.get("Gateway")
    found["gateway"] = gateway or str(next(address for address in within if address not in _edges(subnet)))
    found["auxiliary"] = dict(asked.get("AuxiliaryAddresses") or {})
    for text in (found["gateway"], *found["auxiliary"].values()):
        address = _address(text, "address")
        if address not in subnet:
            raise InvalidParameter(f"no matching subnet for gateway {text}" if text == gateway else
                                   f"no matching subnet for aux-address {text}")  # fmt: skip
    return found


def _edges(subnet: ipaddress.IPv4Network) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]:
    return subnet.network_address, subnet.broadcast_address


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        if "/" in text:
            return ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        pass
    raise InvalidParameter(
        f"Invalid subnet {text} : invalid CIDR address: {text}", hint="such as 172.28.0.0/16 (IPv4)"
    )


def _address(text: str, what: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise InvalidParameter(f"invalid {what}: {text}", hint="such as 172.28.0.5 (IPv4)") from None


@dataclass(frozen=True)
class EndpointConfig:
    """What a container asks of one network: the part of `EndpointSettings` that is the user's."""

    address: str = ""
    aliases: Sequence[str] = ()
    links: Sequence[str] = ()
    """CONTAINER or CONTAINER:ALIAS."""
    mac: str = ""
    driver_options: Mapping[str, str] | None = None
    ipam: Mapping[str, Any] | None = None
    """IPAMConfig, as it was given."""

    @classmethod
    def requested(cls, settings: Mapping[str, Any] | None) -> EndpointConfig:
        """From EndpointSettings. Raises InvalidParameter."""
        settings = settings or {}
        ipam = settings.get("IPAMConfig")
        address = (ipam or {}).get("IPv4Address") or ""
        if address:
            try:
                ipaddress.IPv4Address(address)
            except ValueError:
                raise InvalidParameter(f"invalid IPv4 address: {address}") from None
        return cls(
            address=address,
            aliases=tuple(settings.get("Aliases") or ()),
            links=tuple(settings.get("Links") or ()),
            mac=settings.get("MacAddress") or "",
            driver_options=settings.get("DriverOpts"),
            ipam=ipam,
        )

    def stored(self) -> dict[str, Any]:
        """As `requested` reads it."""
        return {
            "IPAMConfig": self.ipam,
            "Links": list(self.links) or None,
            "Aliases": list(self.aliases) or None,
            "MacAddress": self.mac,
            "DriverOpts": self.driver_options,
        }
