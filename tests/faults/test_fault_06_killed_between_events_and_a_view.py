"""6. Killed between the commit of `events` and of a view's target.

After start-up the rollup equals a recomputation from `events`.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.faults.conftest import SHIPPED, Place
from tests.faults.trap import RENAMES, trap
from tests.server import Client

VIEWS = {*SHIPPED, "steps"}
"""The shipped ones, and one that was added later, whose target has no sum."""

ADD_A_VIEW = """
import asyncio, sys
from analytics_server.config import ClickhouseSection, Config
from analytics_server.store import make_store
from tests.rollups import late_views

async def main():
    store = make_store(Config(clickhouse=ClickhouseSection(url=sys.argv[1], database=sys.argv[2])))
    await store.open()
    await late_views.add(store)
    await late_views.back_fill(store)
    await store.close()

asyncio.run(main())
"""


async def add_a_view(place: Place) -> None:
    """A directory belongs to one process: the engine in process is opened by another while the server is stopped."""
    if place.kind == "embedded":
        assert await asyncio.to_thread(place.server.terminate) == 0
    url = place.front.url if place.kind == "server" else f"chdb://{place.engine_dir}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ADD_A_VIEW, url, place.database)
    assert await asyncio.wait_for(process.wait(), 60) == 0
    if place.kind == "embedded":
        await asyncio.to_thread(place.server.restart)


@pytest.mark.timeout(300)  # a start of server and engine for each view
async def test_rollups_that_missed_a_batch_equal_their_recomputation(place: Place, tmp_path: Path) -> None:
    # A site per round: repairing a later round must not mend what an earlier one left.
    sites = {nth: f"round-{nth}.example" for nth in range(2, len(VIEWS) + 2)}
    await place.start(*sites.values())
    await add_a_view(place)
    async with Client(place.server) as client:
        for nth, site in sites.items():
            await place.settled(client)
            async with trap(place.engine_pid, tmp_path, RENAMES, nth=nth) as sprung:
                assert await place.send(client, site, 50) == 202
            committed, missed = sprung.commits(place.engine_dir)
            assert committed[0] == "events"
            assert {*committed[1:], missed} <= VIEWS
            assert len({*committed, missed}) == nth
            await place.restart_what_was_killed()
            await client.flushed()
    counts = await place.assert_every_event_stored_once(51 * len(sites))
    assert counts.rollups.keys() == VIEWS
    assert all(counts.rollups.values())
