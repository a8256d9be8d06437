"""11. An insert outlives the client's timeout: no second insert before it has ended."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from tests.clickhouse_front.faults import Fault
from tests.faults.conftest import MakePlace, Place
from tests.server import Client, wait_for

LOOKS = 3


async def looked_at_the_process_list(place: Place) -> bool:
    """Has the server, after giving up, asked so often whether its insert still runs?"""
    fired = await asyncio.to_thread(lambda: place.front.faults.report().fired)
    return fired.get("slow", 0) >= LOOKS


@pytest.mark.parametrize("when", ["before", "after"])
async def test_no_second_insert_before_the_first_has_ended(
    make_place: MakePlace, when: Literal["before", "after"]
) -> None:
    place = make_place("server", clickhouse_insert_timeout_s="5")
    await place.start("a.example")
    faults = place.front.faults
    async with Client(place.server) as client:
        faults.clear()
        ambiguous = await client.metric("flush_ambiguous_total")
        faults.add(Fault(kind="stall", statement="insert", contains="events", when=when, deaf=True))
        faults.add(Fault(kind="slow", statement="select", contains="system.processes", times=0))
        assert await place.send(client, "a.example", 50) == 202
        await asyncio.to_thread(faults.wait_stalled)
        await wait_for(lambda: looked_at_the_process_list(place), 40, "asking for running inserts")
        stalled = await asyncio.to_thread(faults.report)
        assert len(stalled.inserted["events"]) == 1, "a second insert came while the first still ran"
        assert len(stalled.stalled) == 1

        faults.release()  # late, but it ends well
        await client.flushed()
        assert await client.metric("flush_ambiguous_total") - ambiguous == 1
    assert len(faults.report().inserted["events"]) == 1
    await place.assert_every_event_stored_once(51)


async def test_an_insert_that_can_be_ended_is_ended_and_sent_again(make_place: MakePlace) -> None:
    place = make_place("server", clickhouse_insert_timeout_s="5")
    await place.start("a.example")
    faults = place.front.faults
    async with Client(place.server) as client:
        faults.clear()
        faults.add(Fault(kind="stall", statement="insert", contains="events"))
        assert await place.send(client, "a.example", 50) == 202
        await client.flushed()
    assert len(faults.report().inserted["events"]) == 2
    await place.assert_every_event_stored_once(51)
