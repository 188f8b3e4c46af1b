"""The name server that a container on a network of its user's finds at 127.0.0.11.

It knows the containers of its networks by name, and asks the host's servers for all else. Each container has
one, in its own namespace, so that who asks is never in doubt. It listens on a port that the kernel chooses,
and the namespace's own address translation brings port 53 there: a program in the container may still bind
0.0.0.0:53.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from labkernel.engine.linux import nftables
from labkernel.engine.linux.nftables import element_fields, new_base_chain, new_map, new_rule, protocol_is
from labkernel.engine.network.addresses import IPAddress
from labkernel.engine.network.namespaces import NamespaceThread, NetworkNamespace

if TYPE_CHECKING:
    from dns.message import Message

ADDRESS = ipaddress.IPv4Address("127.0.0.11")
PORT = 53
TTL = 600
"""Seconds, as Docker's."""
FORWARD_SECONDS = 3.0
MAX_FORWARDED = 100
"""Questions of one container that wait for the host's servers; more are dropped, and asked again."""
MAX_SERVERS = 3
MAX_CONNECTIONS = 100
CONNECTION_SECONDS = 10.0
_TABLE, _MAP = "labkernel-names", "server"


class Names(Protocol):
    """What a container's networks know."""

    def addresses_of(self, name: str) -> Sequence[IPAddress] | None:
        """Those of a name, of IPv4 and of IPv6; None when nobody there has it."""

    def name_of(self, address: IPAddress) -> str | None:
        """The name that an address has: "web.lesson"."""


Forward = Callable[[bytes, bool], Awaitable[bytes | None]]
"""(question, by TCP) -> a server's answer, or None when none came."""


async def answer(question: bytes, names: Names, forward: Forward, *, tcp: bool) -> bytes | None:
    """The answer to a DNS message (RFC 1035), both as on the wire. None: no answer is due."""
    # Loaded by the first question: an engine without networks of its user's does without.
    import dns.exception
    import dns.flags
    import dns.message
    import dns.opcode
    import dns.rcode

    try:
        asked = dns.message.from_wire(question)
    except dns.exception.DNSException:
        return None
    if asked.flags & dns.flags.QR:
        return None
    if asked.opcode() == dns.opcode.QUERY and len(asked.question) == 1:
        ours = _own_answer(asked, names)
        if ours is not None:
            return ours.to_wire()
    forwarded = await forward(question, tcp)
    if forwarded is not None:
        return forwarded
    failed = dns.message.make_response(asked, recursion_available=True)
    failed.set_rcode(dns.rcode.SERVFAIL)
    return failed.to_wire()


def _own_answer(asked: Message, names: Names) -> Message | None:
    import dns.message
    import dns.rdataclass
    import dns.rdatatype
    import dns.reversename
    import dns.rrset

    question = asked.question[0]
    if question.rdclass != dns.rdataclass.IN:
        return None
    found: list[str] = []
    if question.rdtype == dns.rdatatype.PTR:
        try:
            address = ipaddress.ip_address(dns.reversename.to_address(question.name))
        except (dns.exception.DNSException, ValueError):
            return None
        name = names.name_of(address)
        if name is None:
            return None
        found = [f"{name}."]
    else:
        addresses = names.addresses_of(question.name.to_text(omit_final_dot=True))
        if addresses is None:
            return None
        version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
        found = [str(address) for address in addresses if address.version == version]
        random.shuffle(found)  # whoever takes the first of several gets another one each time
    response = dns.message.make_response(asked, recursion_available=True)
    if found:
        response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", question.rdtype, *found))
    return response


MakeSocket = Callable[[socket.SocketKind], Awaitable[socket.socket]]


class Upstream:
    """Asks the servers that know what no network knows."""

    def __init__(self) -> None:
        self._waiting = 0

    async def ask(
        self, servers: Sequence[str], make_socket: MakeSocket, question: bytes, *, tcp: bool
    ) -> bytes | None:
        """The first answer of a server, each asked in turn; None when there is none."""
        if self._waiting >= MAX_FORWARDED:
            return None
        self._waiting += 1
        try:
            for server in servers[:MAX_SERVERS]:
                with contextlib.suppress(OSError, EOFError, TimeoutError):
                    asked = self._by_tcp if tcp else self._by_udp
                    return await asyncio.wait_for(asked(server, make_socket, question), FORWARD_SECONDS)
            return None
        finally:
            self._waiting -= 1

    @staticmethod
    async def _by_udp(server: str, make_socket: MakeSocket, question: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        with await make_socket(socket.SOCK_DGRAM) as asking:
            asking.setblocking(False)
            await loop.sock_connect(asking, (server, PORT))
            await loop.sock_sendall(asking, question)
            while True:
                received = await loop.sock_recv(asking, 65535)
                if received[:2] == question[:2]:  # the question's number
                    return received

    @staticmethod
    async def _by_tcp(server: str, make_socket: MakeSocket, question: bytes) -> bytes:
        asking = await make_socket(socket.SOCK_STREAM)
        asking.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(asking, (server, PORT))
            reader, writer = await asyncio.open_connection(sock=asking)
        except BaseException:
            asking.close()
            raise
        try:
            writer.write(len(question).to_bytes(2, "big") + question)
            return await _read_message(reader)
        finally:
            writer.close()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """RFC 1035, 4.2.2: over TCP a message follows its length."""
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


class Resolver(asyncio.DatagramProtocol):
    """Serves one container until closed."""

    def __init__(self, names: Names, forward: Forward) -> None:
        self._names = names
        self._forward = forward
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, thread: NamespaceThread, namespace: NetworkNamespace) -> None:
        """Raises OSError."""
        datagrams, connections = await thread.run(_listen, namespace)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, sock=datagrams)
        self._server = await asyncio.start_server(self._connected, sock=connections)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        if len(self._tasks) < MAX_FORWARDED + MAX_CONNECTIONS:
            self._keep(asyncio.ensure_future(self._reply(data, sender)))

    async def _reply(self, question: bytes, sender: tuple[str, int]) -> None:
        reply = await answer(question, self._names, self._forward, tcp=False)
        if reply is not None and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, sender)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._keep(task)
        try:
            while len(self._tasks) < MAX_CONNECTIONS:
                question = await asyncio.wait_for(_read_message(reader), CONNECTION_SECONDS)
                reply = await answer(question, self._names, self._forward, tcp=True)
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass
        finally:
            writer.close()

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        if self._transport:
            self._transport.close()
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()


def _listen(namespace: NetworkNamespace) -> tuple[socket.socket, socket.socket]:
    """The two sockets, one port. Runs in the namespace thread."""
    namespace.enter()
    try:
        port = PORT
        with contextlib.ExitStack() as undo:
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            undo.callback(datagrams.close)
            connections = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            undo.callback(connections.close)
            for each in (datagrams, connections):
                each.setblocking(False)
            datagrams.bind((str(ADDRESS), 0))
            port = datagrams.getsockname()[1]
            connections.bind((str(ADDRESS), port))
            connections.listen()
            with contextlib.closing(nftables.nftables_socket()) as netlink:
                nftables.commit(netlink, *_translation(port))
            undo.pop_all()
        return datagrams, connections
    finally:
        namespace.leave_alone()


def _translation(port: int) -> list[bytes]:
    """What brings questions to the port that is listened on."""
    address_and_port = (nftables.TYPE_IPV4_ADDR, nftables.TYPE_INET_SERVICE)
    chain = new_base_chain(_TABLE, "output", "nat", nftables.HOOK_OUTPUT, nftables.PRIORITY_DSTNAT)
    lookup = nftables.dnat_by_address_and_port(_MAP)
    return [
        nftables.new_table(_TABLE),
        new_map(_TABLE, _MAP, address_and_port, address_and_port, 1),
        chain,
        nftables.add_element(_TABLE, _MAP, element_fields(ADDRESS, PORT), element_fields(ADDRESS, port)),
        new_rule(_TABLE, "output", protocol_is(socket.IPPROTO_UDP), lookup),
        new_rule(_TABLE, "output", protocol_is(socket.IPPROTO_TCP), lookup),
    ]
