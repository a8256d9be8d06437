"""The core of the endpoints: tokens, limits, and one status for a whole request."""

from __future__ import annotations

import gzip
import hashlib

import msgspec
import pytest

from analytics_server.collect.answer import BeaconAnswer
from analytics_server.collect.collector import EVENTS_AT_ONCE, LARGE_COMPRESSED
from analytics_server.collect.formats.native import pixel_body
from analytics_server.collect.formats.table import TRACK
from analytics_server.config import SitesSection
from analytics_server.errors import RequestError
from tests.collect.world import World, answered
from tests.server import USER_AGENT

SIMPLE = {"site": "a.example", "name": "x"}
BOT = {"user-agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [("collect", 202, ""), ("read", 403, "forbidden"), ("wrong", 401, "unauthorized")],
)
async def test_tokens(token: str, status: int, code: str) -> None:
    answer = await World().send(SIMPLE, token=token)

    assert answer.status == status
    assert answered(answer).get("error", {}).get("code", "") == code


@pytest.mark.parametrize(("token", "status"), [("collect", 202), ("read", 403), ("one-site", 202)])
async def test_tokens_on_the_fast_way(token: str, status: int) -> None:
    world = World()
    principal = world.collector.known(f"Bearer {token}")
    answers: list[BeaconAnswer] = []
    body = msgspec.json.encode({**SIMPLE, "ip": "192.0.2.7", "timestamp": "2001-02-03T04:05:06Z"})
    world.collector.take_fast(TRACK, body, {"user-agent": USER_AGENT}, "192.0.2.1", answers.append, principal)

    assert principal is not None
    assert [answer.status for answer in answers] == [status]
    assert [event["ts"] for event in world.events] == ([981_173_106_000_000] if status == 202 else [])
    assert world.collector.known("Bearer wrong") is None


@pytest.mark.parametrize("is_fast", [False, True])
async def test_a_visitors_beacon_asks_for_no_token_right_or_audit_entry(
    is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unasked:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"it asked for {name}")

    world = World()
    monkeypatch.setattr(world.collector, "_gate", Unasked())
    answers: list[BeaconAnswer] = []
    if is_fast:
        body, agent = msgspec.json.encode(SIMPLE), {"user-agent": USER_AGENT}
        world.collector.take_fast(TRACK, body, agent, "192.0.2.1", answers.append)
    else:
        answers.append(await world.send(SIMPLE))
    assert [answer.status for answer in answers] == [202]
    assert len(world.events) == 1


async def test_a_token_of_one_site_can_not_send_for_another() -> None:
    world = World()
    answer = await world.send(
        [{**SIMPLE, "site": site} for site in ("a.example", "b.example", "A.Example ")], token="one-site"
    )

    assert answered(answer)["accepted"] == 2
    assert [(r["index"], r["code"]) for r in answered(answer)["rejected"]] == [(1, "forbidden_site")]
    assert {event["site_id"] for event in world.events} == {"a.example"}


async def test_a_trusted_sender_may_be_a_robot_but_its_visitors_may_not() -> None:
    world = World()

    assert answered(await world.send(SIMPLE, headers=BOT))["dropped"] == {"bot": 1}
    assert answered(await world.send(SIMPLE, headers=BOT, token="collect"))["accepted"] == 1
    theirs = {**SIMPLE, "user_agent": BOT["user-agent"]}
    assert answered(await world.send(theirs, token="collect"))["dropped"] == {"bot": 1}


async def test_a_privacy_signal_holds_for_trusted_senders_too() -> None:
    answer = await World().send(SIMPLE, headers={"sec-gpc": "1"}, token="collect")

    assert answered(answer)["dropped"] == {"gpc": 1}


@pytest.mark.parametrize(("size", "token", "status"), [(101, "", 413), (101, "collect", 202), (1_001, "collect", 413)])
@pytest.mark.parametrize("compressed", [False, True])
async def test_bytes_before_and_after_decompression(size: int, token: str, status: int, compressed: bool) -> None:
    world = World(batch_bytes=100, trusted_batch_bytes=1_000)
    body = msgspec.json.encode([SIMPLE])
    body += b" " * (size - len(body))

    headers = {"content-encoding": "gzip"} if compressed else {}
    answer = await world.send(gzip.compress(body) if compressed else body, token=token, headers=headers)

    assert answer.status == status


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_large_batch_keeps_its_order_its_rejections_and_its_one_status(compressed: bool) -> None:
    events: list[dict[str, object]] = [
        {**SIMPLE, "title": str(number), "props": {"noise": hashlib.sha256(bytes(number)).hexdigest()}}
        for number in range(EVENTS_AT_ONCE * 2 + 5)
    ]
    events[7]["name"] = events[-1]["name"] = ""
    body = msgspec.json.encode(events)
    headers = {"content-encoding": "gzip"} if compressed else {}
    world = World()
    answer = await world.send(gzip.compress(body) if compressed else body, token="collect", headers=headers)

    kept = [event["title"] for event in events if event["name"]]
    assert [event["title"] for event in world.events] == kept
    assert answered(answer)["accepted"] == len(kept)
    assert [rejection["index"] for rejection in answered(answer)["rejected"]] == [7, len(events) - 1]

    unknown = World(sites=SitesSection(create_unknown=False))
    assert (await unknown.send(events[:-1], token="collect")).status == 202
    good = [event for event in events if event["name"]]
    assert (await unknown.send(good, token="collect")).status == 404


async def test_a_bomb_from_a_trusted_sender_is_too_large() -> None:
    body = gzip.compress(b" " * 5_000_000)
    assert len(body) > LARGE_COMPRESSED

    answer = await World(trusted_batch_bytes=4_000_000).send(
        body, token="collect", headers={"content-encoding": "gzip"}
    )
    assert answer.status == 413
    assert (await World().send(body[:-100], token="collect", headers={"content-encoding": "gzip"})).status == 400


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("track", {"title": "t" * 200, **SIMPLE}),
        ("view", {"appName": "a.example", "pageUrl": "https://a.example/", "pageTitle": "t" * 200}),
        ("interaction", {"appName": "a.example", "type": "x", "language": "t" * 200}),
    ],
)
async def test_one_event_has_its_own_limit(kind: str, body: object) -> None:
    assert (await World(event_bytes=200).send(body, kind=kind)).status == 413
    assert (await World(event_bytes=400).send(body, kind=kind)).status == 202


async def test_a_request_of_unknown_sites_only_is_a_404() -> None:
    world = World(sites=SitesSection(create_unknown=False))
    known = await World().send(SIMPLE)

    assert known.status == 202
    assert (await world.send(SIMPLE)).status == 404
    assert answered(await world.send([SIMPLE, SIMPLE]))["error"]["code"] == "unknown_site"
    assert (await world.send([SIMPLE, {"name": "x"}])).status == 202
    assert (await world.send([])).status == 202


async def test_an_address_is_limited_by_events_not_requests() -> None:
    world = World(address_events_per_s=10)

    statuses = [(await world.send([SIMPLE] * 15)).status for _ in range(3)]
    assert statuses == [202, 202, 429]
    assert (await world.send(SIMPLE)).retry_after_s == 2, "ten events too many"
    assert (await world.send(SIMPLE, address="192.0.2.2")).status == 202
    assert (await world.send([SIMPLE] * 100, token="collect")).status == 202
    world.now += 2
    assert (await world.send(SIMPLE)).status == 202


async def test_a_network_of_ipv6_is_one_client_of_the_limit() -> None:
    world = World(address_events_per_s=1)
    statuses = [(await world.send(SIMPLE, address=f"2001:db8::{number}")).status for number in range(1, 5)]
    assert statuses == [202, 202, 429, 429]
    assert (await world.send(SIMPLE, address="2001:db8:0:1::1")).status == 202


async def test_a_site_over_its_limit_gets_a_429_and_the_others_go_on() -> None:
    world = World(site_events_per_s=5)

    assert answered(await world.send([SIMPLE] * 9))["accepted"] == 9  # two seconds' worth, less one
    assert answered(await world.send([SIMPLE] * 11))["accepted"] == 11, "a page's request is taken as a whole"
    mixed = answered(await world.send([SIMPLE] * 2 + [{**SIMPLE, "site": "b.example"}]))
    assert mixed["accepted"] == 1
    assert [(r["index"], r["code"]) for r in mixed["rejected"]] == [(0, "too_many_requests"), (1, "too_many_requests")]
    refused = await world.send([SIMPLE] * 2)
    assert (refused.status, refused.retry_after_s) == (429, 3)
    world.now += 1.9  # ten events too many are paid off after two seconds
    assert (await world.send(SIMPLE)).status == 429
    world.now += 0.2
    assert (await world.send(SIMPLE)).status == 202


async def test_a_huge_request_does_not_silence_a_site_for_longer_than_its_burst() -> None:
    world = World(site_events_per_s=1)
    assert answered(await world.send([SIMPLE] * 1_000))["accepted"] == 1_000
    refused = await world.send(SIMPLE)
    assert (refused.status, refused.retry_after_s) == (429, 3)
    world.now += 1.5
    assert (await world.send(SIMPLE)).retry_after_s == 1
    world.now += 1
    assert (await world.send(SIMPLE)).status == 202


async def test_a_page_s_faulty_event_does_not_lose_those_beside_it_to_a_rate() -> None:
    world = World(site_events_per_s=5)
    await world.send([SIMPLE] * 10)
    page = [{**SIMPLE, "name": "x" * 121}, {**SIMPLE, "site": "not a site"}, {"name": "x"}, *[SIMPLE] * 3]

    refused = await world.send(page)
    assert (refused.status, b"sends more events" in refused.body) == (429, True)
    trusted = answered(await world.send(page, token="collect"))
    assert (trusted["accepted"], len(trusted["rejected"])) == (0, 6), "a server is told of each"
    world.now += 2
    again = answered(await world.send(page))
    assert (again["accepted"], [one["index"] for one in again["rejected"]]) == (3, [0, 1, 2])


async def test_of_a_server_s_batch_just_the_rest_is_refused_and_can_be_sent_again() -> None:
    world = World(site_events_per_s=5)
    batch = [{**SIMPLE, "event_id": f"018f6f0e-7d3c-7c41-9d0a-3f7d1c0c9a{n:02}"} for n in range(20)]

    while batch:
        answer = answered(await world.send(batch, token="collect"))
        refused = [one["index"] for one in answer.get("rejected", [])] if "error" not in answer else range(len(batch))
        batch = [batch[index] for index in refused]
        world.now += 1

    assert len({event["event_id"] for event in world.events}) == len(world.events) == 20


def test_a_pixel_s_address_becomes_an_event() -> None:
    query = {"site": "a.example", "url": "https://a.example/", "user_id": "u", "other": "ignored"}

    assert msgspec.json.decode(pixel_body(query, "https://a.example/referer")) == {
        "site": "a.example",
        "name": "pageview",
        "url": "https://a.example/",
        "user_id": "u",
    }
    assert msgspec.json.decode(pixel_body({"site": "a", "name": "n"}, "https://b/"))["url"] == "https://b/"
    with pytest.raises(RequestError):
        pixel_body({"site": ""}, None)


async def test_while_the_log_refuses_nothing_is_remembered() -> None:
    world = World()
    world.wal.full = "The disk is nearly full."
    refused = await world.send({**SIMPLE, "event_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"})

    assert (refused.status, refused.retry_after_s) == (503, 5)
    assert (len(world.sessions), len(world.duplicates)) == (0, 0)
