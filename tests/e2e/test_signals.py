"""Drops: what browsers and robots say about themselves, times that can't be, and what reaches the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.server import Client, RunningServer

DAY_MS = 86_400_000


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"DNT": "1"}, "dnt"),
        ({"Sec-GPC": "1"}, "gpc"),
        ({"DNT": "1", "Sec-GPC": "1"}, "gpc"),
        ({"User-Agent": "Googlebot/2.1 (+http://www.google.com/bot.html)"}, "bot"),
        ({"User-Agent": "curl/8.5.0"}, "bot"),
        ({"User-Agent": ""}, "bot"),
        ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/142.0.0.0 Safari/537.36"}, "bot"),
        ({"Sec-Purpose": "prefetch"}, "prefetch"),
        ({"Sec-Purpose": "prefetch;prerender"}, "prefetch"),
        ({"Purpose": "prefetch"}, "prefetch"),
        ({"X-Moz": "prefetch"}, "prefetch"),
    ],
)
async def test_drops_by_header(client: Client, site: str, headers: dict[str, str], reason: str) -> None:
    before = await client.metric(f'ingest_dropped_total{{reason="{reason}"}}')
    event = {"site": site, "name": "pageview", "url": f"https://{site}/"}

    one = await client.send(event, headers=headers)
    three = await client.send([event] * 3, headers=headers)

    assert (one.status, one.json) == (202, {"accepted": 0, "dropped": {reason: 1}, "rejected": []})
    assert three.json == {"accepted": 0, "dropped": {reason: 3}, "rejected": []}
    assert await client.metric(f'ingest_dropped_total{{reason="{reason}"}}') == before + 4
    await client.kept(site, 0)


@pytest.mark.parametrize("headers", [{"DNT": "0"}, {"Sec-GPC": "0"}, {"DNT": "unspecified"}, {"Sec-Purpose": "x"}])
async def test_other_values_are_no_signal(client: Client, site: str, headers: dict[str, str]) -> None:
    reply = await client.send({"site": site, "name": "x"}, headers=headers)

    assert reply.json["accepted"] == 1


async def test_spam_referrers_are_dropped(client: Client, site: str) -> None:
    event = {"site": site, "name": "pageview", "url": f"https://{site}/", "referrer": "https://semalt.com/"}

    assert (await client.send(event)).json["dropped"] == {"spam_referrer": 1}


async def test_allowed_hosts_keep_out_other_pages(client: Client, site: str) -> None:
    made = await client.call("POST", "/api/v1/sites", {"site_id": site, "allowed_hosts": [f"shop.{site}"]})
    assert made.status == 201

    replies = [
        await client.send({"site": site, "name": "pageview", "url": f"https://{host}/"})
        for host in (f"shop.{site}", f"SHOP.{site}:8443", f"evil.{site}", "localhost")
    ]

    assert [reply.json["accepted"] for reply in replies] == [1, 1, 0, 0]
    assert replies[2].json["dropped"] == {"hostname": 1}


# ---- times -----------------------------------------------------------------


async def days_of(client: Client, site: str) -> dict[str, float]:
    await client.flushed()
    return {str(day)[:10]: events for (day,), (events,) in (await client.query(site, ["events"], ["time:day"])).items()}


@pytest.mark.parametrize(
    ("timestamp", "moved"),
    [
        ("1900-01-01T00:00:00Z", True),
        (0, True),
        (-1, True),
        ("9999-12-31T23:59:59Z", True),
        (253_402_300_799_999, True),
        (2**53 - 1, True),
    ],
)
async def test_a_public_time_far_off_is_moved_into_the_span(
    client: Client, site: str, timestamp: object, moved: bool
) -> None:
    before = await client.metric("ingest_clamped_timestamps_total")

    reply = await client.send({"site": site, "name": "x", "timestamp": timestamp})

    assert reply.json["accepted"] == 1
    assert await client.metric("ingest_clamped_timestamps_total") == before + moved
    now = datetime.now(UTC)
    near = {(now + offset).date().isoformat() for offset in (timedelta(days=-1), timedelta(0), timedelta(minutes=5))}
    assert set(await days_of(client, site)) <= near


@pytest.mark.parametrize(
    ("offset_ms", "moved"), [(-DAY_MS + 60_000, 0), (-DAY_MS - 60_000, 1), (240_000, 0), (360_000, 1)]
)
async def test_the_span_is_a_day_back_and_five_minutes_ahead(
    client: Client, site: str, offset_ms: int, moved: int
) -> None:
    before = await client.metric("ingest_clamped_timestamps_total")

    await client.send({"site": site, "name": "x", "timestamp": now_ms() + offset_ms})

    assert await client.metric("ingest_clamped_timestamps_total") == before + moved


@pytest.mark.parametrize(
    ("timestamp", "day"),
    [
        ("2000-01-01T00:00:00Z", "2000-01-01"),
        ("2015-06-30T23:59:59.999+00:00", "2015-06-30"),
        ("2015-06-30T23:30:00-02:00", "2015-07-01"),
        ("2015-06-30", "2015-06-30"),
        (1_435_708_799_999, "2015-06-30"),
        (1_435_708_799_999.9, "2015-06-30"),
    ],
)
async def test_a_trusted_time_is_kept(client: Client, site: str, timestamp: object, day: str) -> None:
    reply = await client.send({"site": site, "name": "x", "timestamp": timestamp}, trusted=True)

    assert reply.json["accepted"] == 1
    assert set(await days_of(client, site)) == {day}


@pytest.mark.parametrize("timestamp", ["1999-12-31T23:59:59.999Z", 0, "0001-01-01", -(2**52)])
async def test_a_trusted_time_before_2000_is_rejected(client: Client, site: str, timestamp: object) -> None:
    reply = await client.send({"site": site, "name": "x", "timestamp": timestamp}, trusted=True)

    assert reply.rejected == [(0, "bad_timestamp")]


async def test_a_trusted_time_in_the_future_is_moved(client: Client, site: str) -> None:
    await client.send({"site": site, "name": "x", "timestamp": "9999-12-31"}, trusted=True)

    assert set(await days_of(client, site)) <= {datetime.now(UTC).date().isoformat()}


async def test_a_batch_over_many_months_is_kept_whole(client: Client, site: str) -> None:
    events = [
        {"site": site, "name": "x", "user_id": "u", "timestamp": f"{2001 + number // 12}-{number % 12 + 1:02d}-15"}
        for number in range(14)
    ]

    assert (await client.send(events, trusted=True)).json["accepted"] == 14

    await client.kept(site, 14)
    assert await client.metric("dead_letter_events_total") == 0


async def test_events_of_one_request_are_put_in_order_of_time(client: Client, site: str) -> None:
    base = now_ms() - 60_000
    events = [
        {"site": site, "name": "pageview", "url": f"https://{site}/{page}", "timestamp": base + at, "session_id": "s"}
        for page, at in (("third", 2_000), ("first", 0), ("second", 1_000))
    ]

    await client.send(events)
    await client.flushed()

    entry_and_exit = await client.query(site, ["sessions"], ["visit:entry_page", "visit:exit_page"])
    assert entry_and_exit == {("/first", "/third"): (1,)}


async def test_events_of_one_moment_keep_their_order(client: Client, site: str) -> None:
    at = now_ms()
    events = [
        {"site": site, "name": "pageview", "url": f"https://{site}/{page}", "timestamp": at, "session_id": "s"}
        for page in range(1_000)
    ]

    await client.send(events)
    await client.flushed()

    entry_and_exit = await client.query(site, ["sessions", "pageviews"], ["visit:entry_page", "visit:exit_page"])
    assert entry_and_exit == {("/0", "/999"): (1, 1_000)}


# ---- the log ---------------------------------------------------------------


async def test_nothing_of_a_visitor_is_logged(client: Client, server: RunningServer, site: str) -> None:
    secrets = ["203.0.113.77", "SecretBrowser", "top-secret-path", "secret-session", "secret-user", "forged"]
    beacon = {
        "site": site,
        "name": "pageview",
        "url": f"https://{site}/top-secret-path?forged=1",
        "session_id": "secret-session",
        "user_id": "secret-user",
        "title": "forged\r\n02:00:00 error forged",
    }
    headers = {
        "User-Agent": "Mozilla/5.0 (X11) SecretBrowser/1.0",
        "X-Forwarded-For": "203.0.113.77",
        "Authorization": "Bearer forged-token",
    }

    await client.send(beacon, headers=headers)
    await client.send({**beacon, "url": "forged\r\nline"}, headers=headers)
    await client.get("/top-secret-path?forged", headers=headers)
    await client.call("GET", "/api/v1/sites", token="forged-token")
    del headers["Authorization"]
    await client.send(beacon, headers=headers)
    await client.flushed()

    assert [secret for secret in secrets if secret in server.log] == []
