"""The name server's answers, from the message on the wire to the message on the wire."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.network import resolver
from labkernel.engine.network.addresses import IPAddress
from labkernel.engine.network.resolver import Upstream, answer


class Names:
    """web has two addresses; 10.1.0.2 is one of them. six has one of each version."""

    def addresses_of(self, name: str) -> Sequence[IPAddress] | None:
        known = {"web": ["10.1.0.2", "10.1.0.3"], "six": ["10.1.0.6", "fd00:1::6"]}
        return [ipaddress.ip_address(text) for text in known[name]] if name in known else None

    def name_of(self, address: IPAddress) -> str | None:
        return {"10.1.0.2": "web.lesson", "fd00:1::6": "six.lesson"}.get(str(address))


async def nobody(question: bytes, tcp: bool) -> bytes | None:
    return None


def ask(name: str, kind: str = "A") -> dns.message.Message:
    question = dns.message.make_query(name, kind)
    reply = asyncio.run(answer(question.to_wire(), Names(), nobody, tcp=False))
    assert reply is not None
    read = dns.message.from_wire(reply)
    assert question.is_response(read)
    return read


def test_a_name() -> None:
    reply = ask("web")
    (found,) = reply.answer
    assert sorted(record.address for record in found) == ["10.1.0.2", "10.1.0.3"]
    assert found.ttl == resolver.TTL
    assert reply.flags & dns.flags.RA


def test_the_first_of_several_is_not_always_the_same() -> None:
    firsts = {ask("web").answer[0][0].address for _ in range(40)}
    assert firsts == {"10.1.0.2", "10.1.0.3"}


def test_a_name_that_has_no_address_of_that_kind() -> None:
    reply = ask("web", "AAAA")
    assert (reply.rcode(), reply.answer) == (dns.rcode.NOERROR, [])


@pytest.mark.parametrize(("kind", "address"), [("A", "10.1.0.6"), ("AAAA", "fd00:1::6")])
def test_each_kind_of_question_gets_its_kind_of_address(kind: str, address: str) -> None:
    assert [record.address for record in ask("six", kind).answer[0]] == [address]


@pytest.mark.parametrize(("address", "name"), [("10.1.0.2", "web.lesson."), ("fd00:1::6", "six.lesson.")])
def test_an_address(address: str, name: str) -> None:
    question = ipaddress.ip_address(address).reverse_pointer
    assert ask(question, "PTR").answer[0][0].to_text() == name


@pytest.mark.parametrize("name", ["elsewhere.example", "9.0.1.10.in-addr.arpa", "strange.in-addr.arpa"])
def test_what_nobody_knows(name: str) -> None:
    assert ask(name, "PTR" if name.endswith("arpa") else "A").rcode() == dns.rcode.SERVFAIL


def test_a_server_s_answer_is_passed_on_as_it_is() -> None:
    async def server(question: bytes, tcp: bool) -> bytes | None:
        return question[:2] + b"anything"

    question = dns.message.make_query("elsewhere.example", "MX").to_wire()
    assert asyncio.run(answer(question, Names(), server, tcp=True)) == question[:2] + b"anything"


@given(st.binary(max_size=200))
def test_nonsense_is_not_answered_and_harms_nobody(data: bytes) -> None:
    reply = asyncio.run(answer(data, Names(), nobody, tcp=False))
    assert reply is None or dns.message.from_wire(reply).rcode() in (dns.rcode.SERVFAIL, dns.rcode.NOERROR)


def test_an_answer_is_not_answered() -> None:
    response = dns.message.make_response(dns.message.make_query("web", "A"))
    assert asyncio.run(answer(response.to_wire(), Names(), nobody, tcp=False)) is None


def test_upstream_takes_the_next_server_and_the_right_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real sockets: the first server is silent, the second first sends the answer to another question."""
    monkeypatch.setattr(resolver, "FORWARD_SECONDS", 0.2)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        servers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for number, server in enumerate(servers):
            server.bind((f"127.0.77.{number + 1}", 0))
            server.setblocking(False)
        ports = {f"127.0.77.{n + 1}": server.getsockname()[1] for n, server in enumerate(servers)}

        async def make_socket(kind: socket.SocketKind) -> socket.socket:
            return socket.socket(socket.AF_INET, kind)

        real = loop.sock_connect  # port 53 of the servers is where they really listen
        monkeypatch.setattr(loop, "sock_connect", lambda s, place: real(s, (place[0], ports[place[0]])))

        async def serve() -> None:
            question, client = await loop.sock_recvfrom(servers[1], 512)
            await loop.sock_sendto(servers[1], b"\xff\xffforged", client)
            await loop.sock_sendto(servers[1], question[:2] + b"true", client)

        serving = asyncio.ensure_future(serve())
        upstream = Upstream()
        found = await upstream.ask(list(ports), make_socket, b"\x01\x02question", tcp=False)
        assert found == b"\x01\x02true"
        await serving
        monkeypatch.setattr(resolver, "MAX_FORWARDED", 0)
        assert await upstream.ask(list(ports), make_socket, b"\x01\x02question", tcp=False) is None
        for server in servers:
            server.close()

    asyncio.run(test())
