"""19. SIGTERM under five times the load it can bear.

Readiness is 503 at once, the excess gets 503 or 429, everything accepted is answered, and
it ends with 0 within the grace period.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

import aiohttp
import pytest

from tests.e2e.load import Flood
from tests.faults.conftest import MakePlace, Place
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.server import Client

GRACE_S = 15.0
SETTINGS = {
    "ingest_pending_events": "20",
    "ingest_flush_interval_ms": "60000",  # all is still to be flushed when it has to stop
    "server_shutdown_grace_s": str(GRACE_S),
}
TOO_MUCH = 5


async def readiness(place: Place) -> list[int]:
    """What /readyz answers from now until it answers no more."""
    seen = []
    with suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
        while True:
            async with Client(place.server) as client:  # a new connection each time, as a balancer's probe
                seen.append((await client.get("/readyz")).status)
            await asyncio.sleep(0.01)
    return seen


@pytest.mark.parametrize("kind", ["embedded", "server"])
async def test_what_was_accepted_is_answered_and_kept_and_the_rest_refused(make_place: MakePlace, kind: str) -> None:
    place = make_place(kind, **SETTINGS)
    await asyncio.to_thread(place.server.start)
    flood = Flood(place.server, clients=48, events=20)
    async with flood:
        await flood.until(accepted=1_000, refused=1_000 * TOO_MUCH)
        offered, accepted = flood.offered, flood.accepted
        probing = asyncio.create_task(readiness(place))
        os.kill(place.server.pid, signal.SIGTERM)
        started = time.monotonic()
        code = await asyncio.to_thread(place.server.wait)
        took_s = time.monotonic() - started
        seen = await asyncio.wait_for(probing, 10)

    assert offered > TOO_MUCH * accepted, "the load was bearable: the test proves nothing"
    assert code == 0
    assert took_s < GRACE_S
    first = seen.index(503)
    assert set(seen[first:]) == {503}
    assert first <= 2, "it stayed ready for a while"
    assert flood.statuses <= {202, 429, 503}
    assert not flood.without_retry_after
    assert not list((place.server.data_dir / "wal").glob("*.wal")), "the log was not drained"
    assert not list((place.server.data_dir / "dead-letters").glob("*"))
    where = place.front.url if place.kind == "server" else place.server
    counts = await assert_every_event_stored_once_everywhere(
        where, flood.acknowledged, flood.sent, database=place.database
    )
    assert len(counts.events) == len(flood.acknowledged), "events were kept that were not acknowledged"
