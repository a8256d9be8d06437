"""`POST /track`: shapes, answers, and each limit just inside and just outside."""

from __future__ import annotations

import gzip
import zlib
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.server import Client

ACCEPTED_ONE = {"accepted": 1, "dropped": {}, "rejected": []}
EVENT_BYTES = 65_536
BATCH_BYTES = 1_048_576
TRUSTED_BATCH_BYTES = 10_485_760


def event(site: str = "track.example", **fields: object) -> dict[str, Any]:
    return {"site": site, "name": "pageview", "url": f"https://{site}/page", **fields}


def padded(size: int, beacons: int = 1) -> bytes:
    """JSON of exactly `size` bytes; titles are cut to their limit when stored, so any length is fine."""
    events = [event(title="") for _ in range(beacons)]
    shape: object = events[0] if beacons == 1 else events
    missing = size - len(msgspec.json.encode(shape))
    events[0]["title"] = "t" * missing
    body = msgspec.json.encode(shape)
    assert len(body) == size
    return body


# ---- shapes ----------------------------------------------------------------


async def test_accepts_one_event(client: Client) -> None:
    reply = await client.send(event())

    assert (reply.status, reply.json) == (202, ACCEPTED_ONE)
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("beacon", [[event(), event()], {"events": [event(), event()]}], ids=["array", "envelope"])
async def test_accepts_several_events(client: Client, beacon: object) -> None:
    reply = await client.send(beacon)

    assert (reply.status, reply.json) == (202, {"accepted": 2, "dropped": {}, "rejected": []})


@pytest.mark.parametrize("beacon", [[], {"events": []}], ids=["array", "envelope"])
async def test_accepts_an_empty_batch(client: Client, beacon: object) -> None:
    reply = await client.send(beacon)

    assert (reply.status, reply.json) == (202, {"accepted": 0, "dropped": {}, "rejected": []})


@pytest.mark.parametrize(
    "content_type",
    ["text/plain;charset=UTF-8", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"],
)
async def test_any_content_type_will_do(client: Client, content_type: str) -> None:
    reply = await client.send(event(), headers={"Content-Type": content_type})

    assert (reply.status, reply.json) == (202, ACCEPTED_ONE)


async def test_everything_in_the_contract_is_taken(client: Client, site: str) -> None:
    beacon = {
        "site": site,
        "name": "click",
        "url": f"https://{site}/p?utm_source=newsletter&utm_medium=email&utm_campaign=may&secret=1&q=tea",
        "referrer": "https://www.google.com/search?q=private",
        "title": "Prices",
        "event_id": str(uuid4()),
        "session_id": "tab-1",
        "user_id": "u-1",
        "screen": {"width": 1440, "height": 900},
        "language": "en-GB",
        "scroll_depth": 75,
        "engagement_ms": 12_000,
        "element": {"id": "signup", "tag": "BUTTON", "text": "Sign up", "href": f"https://{site}/s"},
        "revenue": {"amount": 12.5, "currency": "EUR"},
        "experiment": {"id": "cta", "variant": "b"},
        "props": {"plan": "pro", "n": 3, "ok": True, "none": None, "x": 1.5},
        "unknown_key": {"tolerated": [1, 2, 3]},
    }

    assert (await client.send(beacon)).json == ACCEPTED_ONE
    await client.kept(site, 1)

    kept = {
        "event:name": "click",
        "event:page": "/p?q=tea",
        "event:hostname": site,
        "event:title": "Prices",
        "event:element": "signup",
        "event:props:plan": "pro",
        "event:props:n": "3",
        "event:props:ok": "true",
        "visit:referrer": "google.com/search",
        "visit:source": "newsletter",
        "visit:channel": "Email",
        "visit:utm_source": "newsletter",
        "visit:utm_campaign": "may",
        "visit:browser": "Chrome",
        "visit:os": "Linux",
        "visit:device": "Desktop",
        "visit:screen": "1440x900",
        "visit:language": "en-GB",
    }
    for dimension, value in kept.items():
        assert await client.query(site, ["events", "visitors"], [dimension]) == {(value,): (1, 1)}, dimension


async def test_session_dimensions_are_those_of_the_first_event(client: Client, site: str) -> None:
    first = event(site, url=f"https://{site}/?utm_source=ad", session_id="s")
    later = event(site, url=f"https://{site}/two?utm_source=other", session_id="s", referrer="https://bing.com/")

    await client.send([first, later])
    await client.kept(site, 2)

    assert await client.query(site, ["events", "sessions"], ["visit:source"]) == {("ad",): (2, 1)}


# ---- compression -----------------------------------------------------------


def raw_deflate(body: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(body) + squeezer.flush()


@pytest.mark.parametrize(
    ("encoding", "squeeze"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
    ],
)
async def test_compressed_bodies_are_read(client: Client, encoding: str, squeeze: Any) -> None:
    body = squeeze(msgspec.json.encode(event()))

    reply = await client.send(body, headers={"Content-Encoding": encoding})

    assert (reply.status, reply.json) == (202, ACCEPTED_ONE)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "none"])
async def test_other_compressions_are_refused_with_415(client: Client, encoding: str) -> None:
    reply = await client.send(event(), headers={"Content-Encoding": encoding})

    assert (reply.status, reply.code) == (415, "unsupported_media_type")


# ---- limits ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (padded(EVENT_BYTES), 202),
        (padded(EVENT_BYTES + 1), 413),
        (padded(BATCH_BYTES, 2), 202),
        (padded(BATCH_BYTES + 1, 2), 413),
    ],
    ids=["event-inside", "event-outside", "batch-inside", "batch-outside"],
)
async def test_size_of_a_request(client: Client, body: bytes, status: int) -> None:
    reply = await client.send(body)

    assert reply.status == status
    if status == 413:
        assert reply.code == "too_large"


@pytest.mark.parametrize(("size", "status"), [(BATCH_BYTES, 202), (BATCH_BYTES + 1, 413)])
async def test_size_counts_after_decompression(client: Client, size: int, status: int) -> None:
    reply = await client.send(gzip.compress(padded(size, 2)), headers={"Content-Encoding": "gzip"})

    assert reply.status == status


async def test_one_event_in_an_array_of_one_may_be_as_large_as_a_batch(client: Client) -> None:
    reply = await client.send(b"[" + padded(EVENT_BYTES + 1) + b"]")

    assert reply.status == 202


@pytest.mark.parametrize(("count", "status"), [(1_000, 202), (1_001, 413)])
async def test_number_of_events(client: Client, count: int, status: int) -> None:
    body = msgspec.json.encode([{"site": "track.example", "name": "n"}] * count)

    replies = [await client.send(body), await client.send(b'{"events":' + body + b"}")]

    assert [reply.status for reply in replies] == [status, status]
    if status == 202:
        assert replies[0].json["accepted"] == count
    else:
        assert replies[0].code == "too_large"


@pytest.mark.parametrize(("count", "status"), [(10_000, 202), (10_001, 413)])
async def test_number_of_events_with_a_token(client: Client, count: int, status: int) -> None:
    body = msgspec.json.encode([{"site": "trusted.example", "name": "n", "user_id": "u"}] * count)

    reply = await client.send(body, trusted=True)

    assert reply.status == status
    if status == 202:
        assert reply.json["accepted"] == count


@pytest.mark.parametrize(("size", "status"), [(TRUSTED_BATCH_BYTES, 202), (TRUSTED_BATCH_BYTES + 1, 413)])
async def test_size_of_a_request_with_a_token(client: Client, size: int, status: int) -> None:
    reply = await client.send(padded(size, 2), trusted=True)

    assert reply.status == status


@pytest.mark.parametrize(
    ("inside", "outside", "code"),
    [
        ({"name": "n" * 120}, {"name": "n" * 121}, "bad_name"),
        ({"name": "ü"}, {"name": ""}, "bad_name"),
        ({"name": "with space"}, {"name": "new\nline"}, "bad_name"),
        ({"name": "x"}, {"name": 7}, "bad_name"),
        ({"url": "http://a.example/"}, {"url": "/relative"}, "bad_url"),
        ({"url": "https://user:pw@a.example/"}, {"url": "javascript:alert(1)"}, "bad_url"),
        ({"url": "https://ü.example/ä"}, {"url": "data:text/html,<b>"}, "bad_url"),
        ({"name": "custom", "url": None}, {"name": "pageview", "url": None}, "missing_url"),
        ({"timestamp": "2026-11-20T10:00:00Z"}, {"timestamp": "yesterday"}, "bad_timestamp"),
        ({"timestamp": 1_700_000_000_000}, {"timestamp": {}}, "bad_timestamp"),
        (
            {"name": "exposure", "experiment": {"id": "a", "variant": "b"}},
            {"name": "exposure", "experiment": None},
            "missing_experiment",
        ),
        (
            {"name": "exposure", "experiment": {"id": "a", "variant": "b"}},
            {"name": "exposure", "experiment": {"id": "a", "variant": ""}},
            "bad_experiment",
        ),
        ({"site": "a.example:8080"}, {"site": "a.example/path"}, "bad_site"),
        ({"site": "a.example"}, {"site": "no spaces"}, "bad_site"),
        ({"site": "s" * 128}, {"site": "s" * 129}, "bad_site"),
        ({"site": "UPPER.example"}, {"site": ""}, "bad_site"),
    ],
)
async def test_each_rule_names_its_fault(
    client: Client, inside: dict[str, Any], outside: dict[str, Any], code: str
) -> None:
    good, bad = event(**inside), event(**outside)

    assert (await client.send(good)).json == ACCEPTED_ONE
    reply = await client.send([good | {"event_id": str(uuid4())}, bad, event()])

    assert reply.status == 202
    assert reply.json["accepted"] == 2
    assert reply.rejected == [(1, code)]
    assert (await client.send(bad)).rejected == [(0, code)]


@pytest.mark.parametrize("field", ["site", "name"])
async def test_a_missing_field_is_named(client: Client, field: str) -> None:
    broken = event()
    del broken[field]

    assert (await client.send([event(), broken])).rejected == [(1, f"missing_{field}")]


async def test_a_bad_event_spares_its_neighbours(client: Client) -> None:
    good = event()
    reply = await client.send([good, 1, good, None, "text", [], good, {}, {**good, "url": "ftp://x"}, good])

    assert reply.json["accepted"] == 4
    assert reply.rejected == [
        *((index, "bad_event") for index in (1, 3, 4, 5)),
        (7, "missing_site"),
        (8, "bad_url"),
    ]
    assert all(rejection["message"] for rejection in reply.json["rejected"])


# ---- sites, repeats, times -------------------------------------------------


async def test_a_site_is_one_whatever_its_case(client: Client, site: str) -> None:
    await client.send([event(site.title()), event(site)])

    await client.kept(site, 2)


async def test_a_repeated_event_id_is_accepted_and_counted_once(client: Client, site: str) -> None:
    event_id = str(uuid4())
    once = event(site, event_id=event_id)

    replies = [await client.send(once), await client.send(once), await client.send([once, once, event(site)])]
    await client.send({**once, "event_id": event_id.upper().replace("-", "")})

    assert [reply.json["accepted"] for reply in replies] == [1, 1, 3]
    await client.kept(site, 2)
    assert await client.count(site) == 2
    assert await client.metric('ingest_dropped_total{reason="duplicate"}') >= 4


async def test_the_same_event_id_on_two_sites_is_two_events(client: Client, site: str) -> None:
    event_id = str(uuid4())

    await client.send([event(site, event_id=event_id), event("twin-" + site, event_id=event_id)])

    await client.kept(site, 1)
    await client.kept("twin-" + site, 1)


async def test_a_rejected_event_does_not_use_up_its_id(client: Client, site: str) -> None:
    event_id = str(uuid4())

    refused = await client.send(event(site, event_id=event_id, name="n" * 200))
    await client.send(event(site, event_id=event_id))

    assert refused.rejected == [(0, "bad_name")]
    await client.kept(site, 1)
