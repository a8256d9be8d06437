"""A server that knows its sites, limits its visitors and stands behind a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import running
from tests.server import Client, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "sites_create_unknown": "false",
        "server_trusted_proxies": "127.0.0.1, 10.0.0.0/8, fd00::/8",
        "limits_address_events_per_s": "50",
        "limits_unfinished_bodies_mb": "1",
    }
    with running(tmp_path_factory.mktemp("strict"), settings) as server:
        yield server


@pytest.fixture
async def known(client: Client, site: str) -> str:
    """A site that exists."""
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
    return site


def event(site: str, **fields: object) -> dict[str, object]:
    return {"site": site, "name": "x", **fields}


def from_address(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def test_an_unknown_site_is_a_404(client: Client, site: str) -> None:
    one = await client.send(event(site), headers=from_address("198.51.100.1"))
    many = await client.send([event(site)] * 3, headers=from_address("198.51.100.1"))

    assert [(reply.status, reply.code) for reply in (one, many)] == [(404, "unknown_site")] * 2
    assert (await client.call("GET", "/api/v1/sites")).json["sites"] == []


async def test_an_unknown_site_among_known_ones_is_rejected_by_index(client: Client, known: str) -> None:
    reply = await client.send([event(known), event("un" + known), event(known)], headers=from_address("198.51.100.2"))

    assert (reply.status, reply.json["accepted"], reply.rejected) == (202, 2, [(1, "unknown_site")])


async def test_a_site_made_over_http_takes_beacons_at_once(client: Client, known: str) -> None:
    assert (await client.send(event(known), headers=from_address("198.51.100.3"))).json["accepted"] == 1


async def test_an_address_that_sends_too_much_gets_a_429(client: Client, known: str) -> None:
    noisy = from_address(f"2001:db8:1:{known[5:9]}::1")

    replies = [await client.send([event(known)] * 500, headers=noisy) for _ in range(2)]
    same = await client.send(event(known), headers=from_address(f"2001:db8:1:{known[5:9]}::2"))
    other = await client.send(event(known), headers=from_address(f"2001:db8:2:{known[5:9]}::1"))

    assert replies[0].status == 202
    refused = replies[-1]
    assert (refused.status, refused.code) == (429, "too_many_requests")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    assert (same.status, other.status) == (429, 202), "an IPv6 network is one address"


@pytest.mark.parametrize(
    ("forwarded", "same_as"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("1.2.3.4, 203.0.113.5", "203.0.113.5"),
        ("203.0.113.5, 10.1.2.3", "203.0.113.5"),
        ("203.0.113.5, 10.1.2.3, fd00::1", "203.0.113.5"),
        ("10.9.9.9, 203.0.113.5 , 10.1.2.3", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8:0:0::ffff"),
    ],
)
async def test_the_visitor_is_the_right_most_hop_that_is_no_proxy(
    client: Client, known: str, forwarded: str, same_as: str
) -> None:
    await client.send(event(known, name="a"), headers=from_address(forwarded))
    await client.send(event(known, name="b"), headers=from_address(same_as))
    await client.flushed()

    assert await client.count(known, "visitors") == 1


@pytest.mark.parametrize("forged", ["203.0.113.8, 203.0.113.5", "not an address", "", "10.1.1.1"])
async def test_what_is_forged_further_left_counts_for_nothing(client: Client, known: str, forged: str) -> None:
    await client.send(event(known), headers=from_address(f"{forged}, 203.0.113.5"))
    await client.send(event(known), headers=from_address("203.0.113.5"))
    await client.flushed()

    assert await client.count(known, "visitors") == 1


async def test_forwarded_is_read_where_there_is_no_x_forwarded_for(client: Client, known: str) -> None:
    ways = [
        {"Forwarded": 'for="[2001:db8:77::1]:4711";proto=https'},
        {"Forwarded": "for=6.6.6.6, For=203.0.113.77;by=10.0.0.1, for=10.0.0.9"},
        {"Forwarded": 'for=6.6.6.6;x=", for=203.0.113.77'},
        {"Forwarded": "for=6.6.6.6", "X-Forwarded-For": "203.0.113.77"},
        {"Forwarded": "for=203.0.113.77, for=_hidden"},  # the proxy's own address
        {"Forwarded": "for=203.0.113.78, for=unknown"},
    ]
    for headers in ways:
        assert (await client.send(event(known), headers=headers)).json["accepted"] == 1
    await client.flushed()

    assert await client.count(known, "visitors") == 3


async def test_different_addresses_are_different_visitors(client: Client, known: str) -> None:
    for number in range(5):
        await client.send(event(known), headers=from_address(f"203.0.113.{number}"))
    await client.flushed()

    assert await client.count(known, "visitors") == 5


async def test_unfinished_bodies_hold_only_so_much_together(server: RunningServer, client: Client, known: str) -> None:
    head = b"POST /track HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    begun = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    for _, writer in begun:
        writer.write(head + b" " * 500_000)
    answers = [asyncio.ensure_future(reader.readuntil(b"}}")) for reader, _ in begun]

    done, waiting = await asyncio.wait(answers, timeout=15, return_when=asyncio.FIRST_COMPLETED)
    small = await client.send(event(known), headers=from_address("198.51.100.9"))

    assert len(waiting) == 2, "two of them hold less than 1 MiB"
    refused = done.pop().result()
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in refused
    assert b'"busy"' in refused
    assert small.status == 202
    for _, writer in begun:
        writer.close()
    await asyncio.wait(waiting)
    assert all(answer.exception() is not None for answer in waiting)
