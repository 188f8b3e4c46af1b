from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.linux import rtnetlink
from labkernel.engine.linux.netlink import attribute, attributes, message, messages, nested, text


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=50)))
def test_attributes_come_back(values: dict[int, bytes]) -> None:
    packed = b"".join(attribute(kind, value) for kind, value in values.items())
    assert len(packed) % 4 == 0
    assert attributes(packed) == values


@given(st.lists(st.tuples(st.integers(16, 0xFFFF), st.binary(max_size=50))))
def test_messages_come_back(requests: list[tuple[int, bytes]]) -> None:
    packed = b""
    for kind, payload in requests:
        packed += message(kind, 0, payload)
        packed += bytes(-len(packed) % 4)
    assert [(kind, payload) for kind, _, payload in messages(packed)] == requests


@given(st.binary())
def test_any_bytes_can_be_read(data: bytes) -> None:
    attributes(data)
    list(messages(data))


def test_nesting() -> None:
    assert attributes(attributes(nested(1, text(2, "eth0")))[1]) == {2: b"eth0\0"}


def test_the_kernel_s_refusal_names_the_call() -> None:
    netlink = rtnetlink.rtnetlink_socket()
    try:
        with pytest.raises(OSError, match="RTM_DELLINK") as caught:
            netlink.request(rtnetlink.delete_link("nosuchlink"), call="RTM_DELLINK")
        assert caught.value.errno == errno.ENODEV
        assert any(link.name == "lo" for link in rtnetlink.links(netlink)), "the socket goes on working"
    finally:
        netlink.close()


def test_answers_to_a_failed_request_do_not_confuse_the_next() -> None:
    netlink = rtnetlink.rtnetlink_socket()
    try:
        for _ in range(3):
            with pytest.raises(OSError, match="No such device"):
                netlink.request(
                    rtnetlink.delete_link("nosuchlink"),
                    rtnetlink.set_up("lo"),
                    rtnetlink.set_up("lo"),
                    call="x",
                )
            assert rtnetlink.links(netlink)
    finally:
        netlink.close()
