"""Passive events on a real server that is killed again and again: the sessions are those of the definitions."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from tests.collect.session_oracle import Sent, expected
from tests.server import Client, RunningServer

SITE = "passive.example"
NAMES = ("pageview", "pageview", "click", "order", "engagement", "engagement", "scroll", "web_vital")
STEPS_S = (1, 5, 60, 1_000, 1_799, 1_801, 4_000, 9_000)
TIMEOUT_S = 1_800


def make_stream(seed: int, until: int) -> list[Sent]:
    """Some 90 events of four people, the last just before `until`, all of them within 24 hours."""
    random_ = random.Random(seed)
    steps = [random_.choice(STEPS_S) for _ in range(90)]
    while sum(steps) > 23 * 3_600:
        steps[steps.index(max(steps))] = 2
    at = until - sum(steps) - 1
    stream = []
    for step in steps:
        at += step
        person = random_.randrange(4)
        tab = f"tab-{person}" if random_.random() < 0.2 else ""
        name, campaign = random_.choice(NAMES), random_.choice(("", "one", "two"))
        stream.append(Sent(at=at, person=person, name=name, session_id=tab, campaign=campaign))
    return stream


def body_of(sent: Sent) -> dict[str, Any]:
    query = f"?utm_campaign={sent.campaign}" if sent.campaign else ""
    event = {
        "site": SITE,
        "name": sent.name,
        "url": f"https://{SITE}/{query}",
        "timestamp": sent.at * 1_000,
        "ip": f"192.0.2.{sent.person}",
    }
    return {**event, "session_id": sent.session_id} if sent.session_id else event


async def test_killed_between_any_events_the_sessions_are_the_same(tmp_path: Path) -> None:
    """Some of the events are in ClickHouse when the server dies, some in the log only."""
    stream = make_stream(7, int(time.time()))
    dropped = 0
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "1500"}).start()
    for number, start in enumerate(range(0, len(stream), 15)):
        async with Client(server) as client:
            for sent in stream[start : start + 15]:
                reply = await client.call("POST", "/track", body_of(sent))
                assert reply.status == 202, reply.body
                dropped += reply.json["dropped"].get("no_session", 0)
            if number % 2:
                await client.flushed()
        server.kill()
        server.restart()
    async with Client(server) as client:
        await client.flushed()
        question = "SELECT session_id, name, toUnixTimestamp(ts), utm_campaign, visitor_id FROM events ORDER BY ts"
        reply = await client.call("POST", "/api/v1/sql", {"site_id": SITE, "query": question})
    assert server.terminate() == 0

    right, right_dropped = expected(stream, TIMEOUT_S)
    found: dict[str, list[list[Any]]] = {}
    for row in reply.json["rows"]:
        found.setdefault(row[0], []).append(row)
    assert [[(name, at) for _, name, at, _, _ in rows] for rows in found.values()] == [one.events for one in right]
    assert [{row[3] for row in rows} for rows in found.values()] == [{one.campaign} for one in right]
    assert all(len({row[4] for row in rows}) == 1 for rows in found.values())
    assert dropped == right_dropped
    assert dropped
    assert max(len(one.events) for one in right) > 3
