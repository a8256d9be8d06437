"""20. The bad-input list, with repeated event ids across a restart, mixed into good traffic.

The specified 4xx or an accepted repeat, no 5xx, each id counted once. (The loop's lag under
this is measured by the soak: `make soak` prints it.)
"""

from __future__ import annotations

import asyncio
import random
from itertools import zip_longest
from typing import Any
from uuid import uuid4

from tests.faults.conftest import Place
from tests.server import Client
from tests.soak.ledger import Ledger
from tests.soak.malice import Malice

SITE = "mixed.example"
EVENTS = 400
AT_ONCE = 8


def event(event_id: str) -> dict[str, Any]:
    return {"site": SITE, "name": "signup", "url": f"https://{SITE}/{event_id[:2]}", "event_id": event_id}


async def mix(place: Place, ids: list[str], ledger: Ledger) -> None:
    """Every id twice in one batch and once more in another, a bad request between any two good ones."""
    malice = Malice(place.server, ledger, random.Random(20))
    parts = [ids[start : start + 10] for start in range(0, len(ids), 10)]
    twice = [[event(event_id) for event_id in part for _ in range(2)] for part in parts]
    single = [event(event_id) for event_id in ids]
    good: list[Any] = [*twice, *single]
    async with Client(place.server) as client:

        async def send(beacon: Any) -> None:
            reply = await client.send(beacon)
            sent = beacon if isinstance(beacon, list) else [beacon]
            assert (reply.status, reply.json["accepted"]) == (202, len(sent)), reply.body
            place.acknowledged.update(each["event_id"] for each in sent)

        free = asyncio.Semaphore(AT_ONCE)

        async def one(work: Any) -> None:
            async with free:
                await work

        works = [
            work
            for beacon, case in zip_longest(good, malice.cases())
            for work in (
                *((send(beacon),) if beacon is not None else ()),
                *((malice.attempt(client, case),) if case is not None else ()),
            )
        ]
        await asyncio.gather(*(one(work) for work in works))
        metrics = (await client.get("/metrics")).body.decode()
    wrong = [line for line in metrics.splitlines() if line.startswith("http_requests_total") and 'code="5' in line]
    assert not wrong


async def test_bad_requests_are_refused_and_repeats_counted_once_across_a_kill(place: Place) -> None:
    ids = [str(uuid4()) for _ in range(EVENTS)]
    place.sent = set(ids)
    ledger = Ledger()
    await asyncio.to_thread(place.server.start)

    await mix(place, ids[: EVENTS // 2], ledger)
    await asyncio.to_thread(place.server.kill)
    await asyncio.to_thread(place.server.restart)
    await mix(place, ids, ledger)

    assert ledger.odd == []
    assert ledger.unanswered == 0
    assert set(ledger.statuses) <= {202, 400, 404, 413, 415, 431}
    assert place.acknowledged == set(ids)
    await place.assert_every_event_stored_once(EVENTS)  # and so nothing of the bad requests
    assert not [word for word in ("Traceback", "crashed", "Error handling request") if word in place.server.log]
