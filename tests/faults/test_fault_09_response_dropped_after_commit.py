"""9. A proxy drops the response after the commit: counted once."""

from __future__ import annotations

from tests.clickhouse_front.faults import Fault
from tests.faults.conftest import Place
from tests.server import Client


async def test_an_insert_whose_response_is_lost_is_counted_once(remote: Place) -> None:
    await remote.start("a.example")
    faults = remote.front.faults
    async with Client(remote.server) as client:
        faults.clear()
        for fault in (
            Fault(kind="drop_response", statement="insert", contains="events", times=2),
            Fault(kind="drop_response", statement="select", contains="count() FROM events WHERE batch_id"),
            Fault(kind="drop_response", statement="select", contains="system.processes"),
        ):
            faults.add(fault)
        assert await remote.send(client, "a.example", 50, old=20) == 202
        await client.flushed()
        assert await client.metric("flush_ambiguous_total") >= 2
    report = faults.report()
    assert report.fired == {"drop_response": 4}
    assert len(report.inserted["events"]) == 2, "one insert per month"
    await remote.assert_every_event_stored_once(51)
