"""Behind proxies: the right-most hop that is no proxy, and nothing a client can forge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.address import MAX_HOPS, AddressResolver
from analytics_server.errors import ConfigError

PROXIES = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")
RESOLVER = AddressResolver(PROXIES)
PEER = "10.1.2.3"


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ((), PEER),
        (("203.0.113.5",), "203.0.113.5"),
        (("198.51.100.1, 203.0.113.5",), "203.0.113.5"),
        (("203.0.113.5, 10.0.0.9",), "203.0.113.5"),
        (("203.0.113.5", "10.0.0.9, 127.0.0.1"), "203.0.113.5"),
        (("203.0.113.5, fd00::17",), "203.0.113.5"),
        (("2001:db8::1",), "2001:db8::1"),
        (("2001:0DB8:0::1",), "2001:db8::1"),
        (("[2001:db8::1]:443",), "2001:db8::1"),
        (('"[2001:db8::1]"',), "2001:db8::1"),
        (("203.0.113.5:8080",), "203.0.113.5"),
        (("fe80::1%eth0",), "fe80::1"),
        (("203.0.113.5, unknown",), PEER),
        (("203.0.113.5, ",), PEER),
        (("10.0.0.1, 10.0.0.2",), PEER),
        (("",), PEER),
    ],
)
def test_the_client_is_found_from_the_right(forwarded: tuple[str, ...], client: str) -> None:
    assert RESOLVER.resolve(PEER, forwarded) == client


@pytest.mark.parametrize("peer", ["203.0.113.9", "192.168.0.1", "", "not an address", "10.0.0.300"])
def test_who_is_no_proxy_can_not_speak_for_others(peer: str) -> None:
    assert RESOLVER.resolve(peer, ("203.0.113.5",)) == peer


def test_without_trusted_proxies_the_header_is_not_read() -> None:
    assert AddressResolver(()).resolve("127.0.0.1", ("203.0.113.5",)) == "127.0.0.1"


def test_a_proxy_is_known_on_a_socket_for_both_families() -> None:
    assert RESOLVER.resolve("::ffff:10.1.2.3", ("203.0.113.5",)) == "203.0.113.5"
    assert RESOLVER.resolve("::ffff:127.0.0.1", ("203.0.113.5, ::ffff:10.9.9.9",)) == "203.0.113.5"


def test_a_proxy_may_be_named_as_the_mapped_address_it_has_on_an_ipv6_socket() -> None:
    resolver = AddressResolver(("::ffff:192.0.2.7", "::ffff:10.0.0.0/104"))
    for peer in ("192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207", "10.200.0.1", "::ffff:10.200.0.1"):
        assert resolver.resolve(peer, ("203.0.113.5",)) == "203.0.113.5"
    assert resolver.resolve("11.0.0.1", ("203.0.113.5",)) == "11.0.0.1"


def test_a_mapped_peer_is_the_ipv4_address_it_stands_for() -> None:
    for resolver in (AddressResolver(()), RESOLVER):
        assert resolver.resolve("::ffff:203.0.113.9", ()) == "203.0.113.9"
        assert resolver.resolve("::FFFF:203.0.113.9".lower(), ("198.51.100.1",)) == "203.0.113.9"
        assert resolver.resolve("2001:db8::1", ()) == "2001:db8::1"


@given(left=st.lists(st.text(max_size=20), max_size=50), right=st.ip_addresses(v=4))
def test_what_stands_further_left_never_matters(left: list[str], right: object) -> None:
    forwarded = ",".join([*left, str(right)])
    alone = RESOLVER.resolve(PEER, (str(right),))
    if alone != PEER:
        assert RESOLVER.resolve(PEER, (forwarded,)) == alone


@given(text=st.text(max_size=60), peer=st.text(max_size=20))
def test_any_header_is_survived(text: str, peer: str) -> None:
    assert isinstance(RESOLVER.resolve(PEER, (text,)), str)
    assert isinstance(RESOLVER.resolve(peer, (text, text)), str)


def test_a_chain_without_end_is_read_only_so_far() -> None:
    chain = ", ".join(["203.0.113.5"] + ["10.0.0.1"] * (MAX_HOPS + 5))

    assert RESOLVER.resolve(PEER, (chain,)) == PEER


@pytest.mark.parametrize("wrong", ["localhost", "10.0.0.0/33", "", "10.0.0.0 /8"])
def test_a_wrong_proxy_is_told_with_its_key(wrong: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        AddressResolver((wrong,))
