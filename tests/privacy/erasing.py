"""What the tests of erasures share: a server with traffic, and the proof that a person is gone."""

from __future__ import annotations

import asyncio

from tests.e2e.conftest import assert_clean
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.engine_bytes import files_with
from tests.privacy.people import ANNA, SITES, Traffic, exported, save_funnels
from tests.server import Client, RunningServer

SETTINGS = {"ingest_flush_interval_ms": "100"}


async def filled(server: RunningServer, seed: int, *, funnels: bool = False) -> Traffic:
    """A server with traffic, half of it long ago, half of it new, in several batches."""
    traffic = Traffic(seed)
    async with Client(server) as client:
        for site in SITES:
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
        await traffic.send(client, 120)
        if funnels:
            await save_funnels(client, SITES[0])
        await traffic.send(client, 60)
        await client.flushed()
    return traffic


async def assert_erased(server: RunningServer, traffic: Traffic) -> None:
    """Stops the server: the other events are there once, every rollup equals them, no file names the person."""
    async with Client(server) as client:
        await client.flushed()
        left = await exported(client, ANNA)
        assert not left, left[:3]
    assert server.terminate() == 0
    others = {event["event_id"] for event in traffic.events} - traffic.of(ANNA)
    counts = await assert_every_event_stored_once_everywhere(server, others, others)
    assert counts.users == dict(traffic.counts(without=ANNA))
    assert not await asyncio.to_thread(files_with, server.data_dir, ANNA.encode())
    assert ANNA not in server.log
    assert "data of ClickHouse is lost" not in server.log
    assert_clean(server.log)
