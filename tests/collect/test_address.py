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


# ---- Forwarded, and a header of the operator's choice ----------------------


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (("for=203.0.113.5",), "203.0.113.5"),
        (("For=203.0.113.5;proto=https;by=10.0.0.1",), "203.0.113.5"),
        (("proto=https; FOR=203.0.113.5 ;host=a.example",), "203.0.113.5"),
        (("for=198.51.100.1, for=203.0.113.5",), "203.0.113.5"),
        (("for=198.51.100.1", "for=203.0.113.5, for=10.0.0.9"), "203.0.113.5"),
        (('for="203.0.113.5:8080"',), "203.0.113.5"),
        (("for=203.0.113.5:8080",), "203.0.113.5"),
        (('for="[2001:db8::1]"',), "2001:db8::1"),
        (('for="[2001:DB8::1]:4711";proto=http',), "2001:db8::1"),
        (('for="[2001:db8::1]:_port"',), "2001:db8::1"),
        (('for="\\203.0.113.5"',), "203.0.113.5"),
        (('for=203.0.113.5;host="x;for=6.6.6.6"',), "203.0.113.5"),
        (('host="x;for=6.6.6.6, for=7.7.7.7";for=203.0.113.5',), "203.0.113.5"),
        # hidden, unknown or unclear: the proxy's own address is all that is known
        (("for=198.51.100.1, for=unknown",), PEER),
        (("for=198.51.100.1, for=_hidden",), PEER),
        (("for=198.51.100.1, proto=https",), PEER),
        (("for=198.51.100.1, ",), PEER),
        (("for=198.51.100.1;for=203.0.113.5",), PEER),
        (("for",), PEER),
        (("for=",), PEER),
        (("203.0.113.5",), PEER),
        (("",), PEER),
        # what a client has written before the proxy's own element never counts
        (('for=6.6.6.6;x=", for=203.0.113.5',), "203.0.113.5"),
        (('for=6.6.6.6;x=", for="[2001:db8::1]"',), "2001:db8::1"),
        (('for="6.6.6.6', 'for="203.0.113.5:80"'), "203.0.113.5"),
        (('for=6.6.6.6, "\\', "for=203.0.113.5"), "203.0.113.5"),
        (("for=6.6.6.6; " + " " * 3_000 + '"', "for=203.0.113.5"), "203.0.113.5"),
    ],
)
def test_forwarded_is_read_from_the_right(lines: tuple[str, ...], client: str) -> None:
    assert RESOLVER.resolve(PEER, lines, "forwarded") == client
    assert RESOLVER.resolve("203.0.113.9", lines, "forwarded") == "203.0.113.9"


@given(left=st.text(max_size=60), quoted=st.booleans(), right=st.ip_addresses(v=4), separate=st.booleans())
def test_nothing_further_left_in_forwarded_ever_matters(left: str, quoted: bool, right: object, separate: bool) -> None:
    own = f'for="{right}:80"' if quoted else f"for={right};proto=https"
    alone = RESOLVER.resolve(PEER, (own,), "forwarded")
    if alone != PEER:
        assert RESOLVER.resolve(PEER, (left, own) if separate else (f"{left}, {own}",), "forwarded") == alone


def of(resolver: AddressResolver, peer: str, **headers: tuple[str, ...]) -> str:
    named = {name.replace("_", "-"): lines for name, lines in headers.items()}
    return resolver.client(peer, lambda name: named.get(name, ()))


def test_without_a_setting_forwarded_counts_only_where_there_is_no_x_forwarded_for() -> None:
    assert of(RESOLVER, PEER, forwarded=("for=203.0.113.5",)) == "203.0.113.5"
    assert of(RESOLVER, PEER, forwarded=("for=203.0.113.5",), x_forwarded_for=("198.51.100.1",)) == "198.51.100.1"
    assert of(RESOLVER, PEER, forwarded=("for=203.0.113.5",), x_forwarded_for=("",)) == PEER
    assert of(RESOLVER, PEER, cf_connecting_ip=("203.0.113.5",)) == PEER
    assert of(RESOLVER, PEER) == PEER


@pytest.mark.parametrize("header", ["CF-Connecting-IP", "X-Real-IP", "Fly-Client-IP", "True-Client-IP"])
def test_a_header_of_the_operator_s_choice_is_the_only_one_that_is_read(header: str) -> None:
    resolver = AddressResolver(PROXIES, header)
    name = header.lower().replace("-", "_")
    others = {"x_forwarded_for": ("6.6.6.6",), "forwarded": ("for=6.6.6.6",)}

    assert of(resolver, PEER, **{name: ("203.0.113.5",)}, **others) == "203.0.113.5"
    assert of(resolver, PEER, **{name: ("2001:DB8::1",)}) == "2001:db8::1"
    assert of(resolver, PEER, **{name: ("6.6.6.6", "203.0.113.5")}) == "203.0.113.5"
    assert of(resolver, PEER, **{name: ("nonsense",)}, **others) == PEER
    assert of(resolver, PEER, **others) == PEER
    assert of(resolver, "203.0.113.9", **{name: ("6.6.6.6",)}) == "203.0.113.9"


def test_forwarded_can_be_the_header_of_choice() -> None:
    resolver = AddressResolver(PROXIES, "Forwarded")

    assert of(resolver, PEER, forwarded=("for=203.0.113.5",), x_forwarded_for=("6.6.6.6",)) == "203.0.113.5"
