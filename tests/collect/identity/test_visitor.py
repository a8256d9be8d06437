"""Visitor ids: stable within a day and a site, unconnected beyond."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.address import network_of
from analytics_server.collect.identity.visitor import VisitorHasher

HASHER = VisitorHasher(lambda day: b"salt of the day " * 2, enabled=True)


def test_every_part_matters_even_with_one_salt() -> None:
    base = ("a.example", "192.0.2.1", "agent", 20_000)
    others = [
        ("b.example", "192.0.2.1", "agent", 20_000),
        ("a.example", "192.0.2.2", "agent", 20_000),
        ("a.example", "192.0.2.1", "other", 20_000),
        ("a.example", "192.0.2.1", "agent", 20_001),
    ]

    assert HASHER.identify(*base) == HASHER.identify(*base)
    assert len({HASHER.identify(*case) for case in [base, *others]}) == 5


def test_another_salt_gives_another_id() -> None:
    salted = VisitorHasher(lambda day: b"another" * 4, enabled=True)

    assert salted.identify("a", "192.0.2.1", "agent", 1) != HASHER.identify("a", "192.0.2.1", "agent", 1)


def test_parts_can_not_be_shifted_into_each_other() -> None:
    assert HASHER.identify("a", "b\nc", "d", 1) != 0
    assert HASHER.identify_user("a", "u", 1) != HASHER.identify("a", "user", "u", 2)


@given(address=st.ip_addresses(v=6), other=st.integers(0, 2**64 - 1))
def test_ipv6_counts_by_its_network(address: ipaddress.IPv6Address, other: int) -> None:
    neighbour = ipaddress.IPv6Address(int(address) >> 64 << 64 | other)
    if address.ipv4_mapped is None and neighbour.ipv4_mapped is None:
        assert network_of(str(address)) == network_of(str(neighbour)) == network_of(address.exploded)
    elsewhere = ipaddress.IPv6Address(int(address) ^ 1 << 64)
    assert network_of(str(elsewhere)) != network_of(str(address))


def test_an_ipv4_address_is_the_same_in_ipv6_s_clothes() -> None:
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"


@given(site=st.text(max_size=20), address=st.text(max_size=40), agent=st.text(max_size=40), day=st.integers(0, 10**6))
def test_anything_gets_an_id_of_64_bits_that_is_not_zero(site: str, address: str, agent: str, day: int) -> None:
    assert 0 < HASHER.identify(site, address, agent, day) < 1 << 64
    assert 0 < HASHER.identify_user(site, agent, day) < 1 << 64


def test_switched_off_no_salt_is_even_asked_for() -> None:
    def no_salt(day: int) -> bytes:
        pytest.fail("asked")

    off = VisitorHasher(no_salt, enabled=False)

    assert off.identify("a", "192.0.2.1", "agent", 1) == off.identify_user("a", "u", 1) == 0
