"""What `POST /networks/create` asks for, and what an endpoint's settings do. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from labkernel.engine.errors import Forbidden, InvalidParameter, NotFound, NotOffered
from labkernel.engine.network.addresses import AddressPool, IPAddress, IPNetwork, choose_subnet

PREDEFINED = ("bridge", "host", "none", "default")
_PREFIX = "com.docker.network."
_OFFERED = "the network driver offered is bridge"
_WITHOUT = {
    name: f"{name} puts containers on the machine's own network, which this engine does not; use a bridge"
    " network and publish ports, or --network host"
    for name in ("macvlan", "ipvlan")
}
"""What to do without the drivers that Docker has besides."""
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
    ipv6: bool = False
    subnet6: str = ""
    """Kept also where it is not used, without `ipv6`, as Docker keeps it."""
    gateway6: str = ""
    ip_range6: str = ""
    auxiliary6: Mapping[str, str] = field(default_factory=dict)
    own_subnet: bool = False
    """The user chose the subnet: only then may a container choose its address."""
    internal: bool = False
    attachable: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] | None = None

    @classmethod
    def requested(cls, body: Mapping[str, Any], taken: Sequence[IPNetwork]) -> Definition:
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
            raise NotFound(f'plugin "{driver}" not found', hint=_WITHOUT.get(driver, _OFFERED))
        if body.get("Ingress"):
            raise NotOffered("This node is not a swarm manager")
        options = dict(body.get("Options") or {})
        _check_options(options)
        ipam = body.get("IPAM") or {}
        if (ipam.get("Driver") or "default") != "default":
            raise NotFound(f"ipam driver {ipam['Driver']} not found", hint="the one offered is default")
        pools: dict[int, list[dict[str, Any]]] = {4: [], 6: []}
        for pool in ipam.get("Config") or ():
            version = _network(pool["Subnet"]).version if (pool or {}).get("Subnet") else 4
            pools[version].append(pool or {})
        if any(len(of_version) > 1 for of_version in pools.values()):
            raise Forbidden("bridge driver doesn't support multiple subnets")
        ipv6 = bool(body.get("EnableIPv6"))
        if ipv6 and not pools[6]:
            raise NotFound(
                "could not find an available, non-overlapping IPv6 address pool among the defaults"
                " to assign to the network",
                hint="choose one: --ipv6 --subnet fd00:1::/64",
            )
        of_ipv6 = _chosen_pool(pools[6][0], taken if ipv6 else ()) if pools[6] else {}
        return cls(
            name=name,
            internal=bool(body.get("Internal")),
            attachable=bool(body.get("Attachable")),
            options=options,
            labels=dict(body.get("Labels") or {}),
            ipam_options=ipam.get("Options"),
            ipv6=ipv6,
            **_pool(pools[4][0] if pools[4] else {}, taken),
            **{f"{key}6": value for key, value in of_ipv6.items()},
        )

    def addresses(self) -> AddressPool[ipaddress.IPv4Address]:
        return AddressPool(
            ipaddress.IPv4Network(self.subnet),
            gateway=ipaddress.IPv4Address(self.gateway),
            within=ipaddress.IPv4Network(self.ip_range) if self.ip_range else None,
            reserved=map(ipaddress.IPv4Address, self.auxiliary.values()),
        )

    def addresses6(self) -> AddressPool[ipaddress.IPv6Address] | None:
        """None without IPv6."""
        if not self.ipv6:
            return None
        return AddressPool(
            ipaddress.IPv6Network(self.subnet6),
            gateway=ipaddress.IPv6Address(self.gateway6),
            within=ipaddress.IPv6Network(self.ip_range6) if self.ip_range6 else None,
            reserved=map(ipaddress.IPv6Address, self.auxiliary6.values()),
        )

    def ipam(self) -> list[dict[str, str | Mapping[str, str]]]:
        """As IPAM.Config shows it: IPv4, then IPv6."""
        pools = [_shown_pool(self.subnet, self.ip_range, self.gateway, self.auxiliary)]
        if self.subnet6:
            pools.append(_shown_pool(self.subnet6, self.ip_range6, self.gateway6, self.auxiliary6))
        return pools

    def option(self, name: str, default: str) -> str:
        """A driver option by the end of its name: "bridge.name"."""
        return self.options.get(_PREFIX + name, default)

    def flag(self, name: str, default: bool) -> bool:
        return self.option(name, str(default)).lower() in ("1", "t", "true")

    def stored(self) -> dict[str, Any]:
        return asdict(self)


def _shown_pool(
    subnet: str, ip_range: str, gateway: str, auxiliary: Mapping[str, str]
) -> dict[str, str | Mapping[str, str]]:
    shown: dict[str, str | Mapping[str, str]] = {"Subnet": subnet}
    if ip_range:
        shown["IPRange"] = ip_range
    shown["Gateway"] = gateway
    if auxiliary:
        shown["AuxiliaryAddresses"] = auxiliary
    return shown


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
    if host_ip and _address(host_ip, f"{_PREFIX}bridge.host_binding_ipv4").version != 4:
        raise InvalidParameter(
            f"invalid {_PREFIX}bridge.host_binding_ipv4: {host_ip}", hint="an IPv4 address"
        )
    interface = options.get(f"{_PREFIX}bridge.name", "")
    if len(interface) > _INTERFACE_LENGTH or "/" in interface or any(map(str.isspace, interface)):
        raise InvalidParameter(
            f"invalid {_PREFIX}bridge.name: {interface}", hint=f"at most {_INTERFACE_LENGTH} characters"
        )


def _pool(asked: Mapping[str, Any], taken: Sequence[IPNetwork]) -> dict[str, Any]:
    """subnet, gateway, ip_range, auxiliary, own_subnet: of IPv4."""
    if not asked.get("Subnet"):
        if asked.get("IPRange") or asked.get("Gateway") or asked.get("AuxiliaryAddresses"):
            raise InvalidParameter("invalid IPAM configuration: a range or an address needs a Subnet")
        subnet = choose_subnet([each for each in taken if isinstance(each, ipaddress.IPv4Network)])
        return {"subnet": str(subnet), "gateway": str(subnet[1])}
    return {**_chosen_pool(asked, taken), "own_subnet": True}


def _chosen_pool(asked: Mapping[str, Any], taken: Sequence[IPNetwork]) -> dict[str, Any]:
    """subnet, gateway, ip_range, auxiliary: where the user chose a subnet, of either version."""
    subnet = _network(asked["Subnet"])
    if subnet.num_addresses < 4:
        raise InvalidParameter(
            f"subnet {subnet} has no room for a container",
            hint=f"a /{subnet.max_prefixlen - 2} is the smallest",
        )
    if any(_overlap(subnet, other) for other in taken if other.prefixlen):
        raise Forbidden("Pool overlaps with other one on this address space")
    found: dict[str, Any] = {"subnet": str(subnet)}
    within = subnet
    if asked.get("IPRange"):
        within = _network(asked["IPRange"])
        if within[0] not in subnet or within[-1] not in subnet:
            raise InvalidParameter(f"the range {within} is not within the subnet {subnet}")
        found["ip_range"] = str(within)
    gateway = asked.get("Gateway")
    found["gateway"] = gateway or str(next(address for address in within if address not in _edges(subnet)))
    found["auxiliary"] = dict(asked.get("AuxiliaryAddresses") or {})
    named = {f"gateway ({found['gateway']})": found["gateway"]}
    named |= {f"secondary ip address ({name}:{text})": text for name, text in found["auxiliary"].items()}
    for what, text in named.items():
        if _address(text, "address") not in subnet:
            raise InvalidParameter(
                f"failed to allocate {what}: Requested address is out of range",
                hint=f"the subnet is {subnet}",
            )
    return found


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    """Never, when they are of different versions."""
    return one[0] in other or other[0] in one


def _edges(subnet: IPNetwork) -> tuple[IPAddress, IPAddress]:
    return subnet[0], subnet[-1]


def _network(text: str) -> IPNetwork:
    try:
        if "/" in text:
            return ipaddress.ip_network(text, strict=False)
    except ValueError:
        pass
    raise InvalidParameter(
        f"Invalid subnet {text} : invalid CIDR address: {text}", hint="such as 172.28.0.0/16 or fd00:1::/64"
    )


def _address(text: str, what: str) -> IPAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidParameter(f"invalid {what}: {text}", hint="such as 172.28.0.5 or fd00:1::5") from None


@dataclass(frozen=True)
class EndpointConfig:
    """What a container asks of one network: the part of `EndpointSettings` that is the user's."""

    address: str = ""
    address6: str = ""
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
        found = {version: (ipam or {}).get(f"IPv{version}Address") or "" for version in (4, 6)}
        for version, address in found.items():
            try:
                valid = not address or ipaddress.ip_address(address).version == version
            except ValueError:
                valid = False
            if not valid:
                raise InvalidParameter(f"invalid IPv{version} address: {address}")
        return cls(
            address=found[4],
            address6=found[6],
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
