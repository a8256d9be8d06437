"""10. Connection reset in the middle of the insert's body: that batch has 0 or n rows, in the end exactly n."""

from __future__ import annotations

from tests.clickhouse_front.faults import Fault
from tests.faults.conftest import Place
from tests.server import Client


async def test_a_reset_anywhere_in_the_body_ends_with_all_rows_once(remote: Place) -> None:
    places_in_the_body = (0, 1_000, 3_000, 10_000_000)
    await remote.start("a.example")
    faults = remote.front.faults
    async with Client(remote.server) as client:
        faults.clear()
        for after_bytes in places_in_the_body:  # one attempt each; the last one is cut after its last byte
            faults.add(Fault(kind="reset_request", statement="insert", contains="events", after_bytes=after_bytes))
        assert await remote.send(client, "a.example", 50) == 202
        await client.flushed()
        # Every attempt was verified before the next: none had left a row.
        assert await client.metric("flush_ambiguous_total") == len(places_in_the_body)
        assert await client.metric('flush_attempts_total{outcome="partial"}') == 0
    report = faults.report()
    assert report.fired == {"reset_request": len(places_in_the_body)}
    assert len(report.inserted["events"]) == len(places_in_the_body) + 1
    await remote.assert_every_event_stored_once(51)
