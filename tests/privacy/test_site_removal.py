"""A site that is deleted with its data: nothing of it is stored any more, nothing of the others is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analytics_server.batch_ids import new_batch_id
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.wal import segment
from analytics_server.model import COLUMNS, Row
from tests.e2e.conftest import assert_clean
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.erasing import SETTINGS, filled
from tests.privacy.people import SITES
from tests.server import Client, RunningServer, stored, wait_for

GONE, LEFT = SITES
GOAL = {"site_id": GONE, "name": "Secret plan", "event": "signup"}
TABLES = """
SELECT table FROM system.columns
WHERE database = 'analytics' AND name = 'site_id' AND table NOT LIKE '%_from_events'
"""


@pytest.mark.timeout(300)
async def test_a_deleted_sites_data_goes_beside_ingestion_and_after_a_kill_and_late_events_are_not_stored(
    tmp_path: Path,
) -> None:
    with RunningServer(tmp_path, SETTINGS) as server:
        traffic = await filled(server, 9)
        put_beside(server.data_dir)
        async with Client(server) as client:
            assert (await client.call("POST", "/api/v1/goals", GOAL)).status == 201
            await assert_refused(client)
            assert (await client.call("DELETE", f"/api/v1/sites/{GONE}?data=erase")).status == 204
            beacon = {"site": GONE, "name": "signup", "url": f"https://{GONE}/"}
            assert (await client.send([beacon])).code == "unknown_site"

            async def begun() -> bool:
                return "data is being removed" in server.log

            await wait_for(begun, 30, "the beginning of the removal")
            server.kill()
        server.restart()
        async with Client(server) as client:
            await send(client, LEFT, "beside")
            await removed(client)
            entries = (await client.call("GET", f"/api/v1/privacy/audit?site_id={GONE}")).json["entries"]
            audit = [entry for entry in entries if entry["action"] == "erase_site"]
            assert {entry["details"]["state"] for entry in audit} == {"begun", "done"}
            most = max(int(entry["details"].get("events", 0)) for entry in audit)
            assert most == len([event for event in traffic.events if event["site"] == GONE])
            made = await client.call("POST", "/api/v1/sites", {"site_id": GONE})
            assert made.status == 201, made.body
            assert await client.count(GONE) == 0
            assert (await client.call("GET", f"/api/v1/goals?site_id={GONE}")).json == {"goals": []}
            await client.flushed()
        assert server.terminate() == 0
        for folder in ("dead-letters", "wal/quarantine"):
            assert rows_beside(server.data_dir / folder) == [LEFT]

    late = RunningServer(tmp_path, {"ingest_flush_interval_ms": "60000"})
    with late:
        async with Client(late) as client:
            await send(client, LEFT, "late")
            await send(client, GONE, "late")
        late.kill()
    done = late.command("site", "remove", GONE, "--data", "erase", "--yes")
    assert done.returncode == 0, done.stderr
    with late:
        async with Client(late) as client:
            await client.flushed()
            assert await client.count(LEFT) == len([e for e in traffic.events if e["site"] == LEFT]) + 2
        assert late.terminate() == 0
    counts = await assert_every_event_stored_once_everywhere(late, [])
    assert sum(counts.events.values()) == len([e for e in traffic.events if e["site"] == LEFT]) + 2
    assert_nothing_left(late.data_dir)
    assert_clean(late.log)


async def assert_refused(client: Client) -> None:
    wrong = await client.call("DELETE", f"/api/v1/sites/{GONE}?data=some")
    assert (wrong.status, wrong.code) == (400, "bad_data")
    unknown = await client.call("DELETE", "/api/v1/sites/nowhere.example?data=erase")
    assert (unknown.status, unknown.code) == (404, "unknown_site")


async def removed(client: Client) -> None:
    async def is_done() -> bool:
        listed = await client.call("GET", "/api/v1/sites")
        return not listed.json["removing"]

    await wait_for(is_done, 120, "the removal")


async def send(client: Client, site: str, name: str) -> None:
    reply = await client.send([{"site": site, "name": name, "url": f"https://{site}/"}])
    assert reply.json["accepted"] == 1, reply.body


def row(site: str) -> Row:
    values = {column.name: column.default for column in COLUMNS}
    values |= {"site_id": site, "ts": 1_700_000_000_000_000, "name": "x", "event_id": bytes(16), "session_id": "s"}
    return tuple(values.values())


def put_beside(data_dir: Path) -> None:
    """A dead letter and a quarantined segment with a row of each site, without a user."""
    rows = [row(GONE), row(LEFT)]
    batch = new_batch_id(1_790_000_000.0)
    (data_dir / "dead-letters").mkdir(parents=True, exist_ok=True)
    refused = {at: dead_letters.Cause(error="StoreBadRows") for at in range(2)}
    dead_letters.write_rows(data_dir / "dead-letters", batch, 2, refused, rows, 1_790_000_000.0)
    quarantine = data_dir / "wal" / "quarantine"
    quarantine.mkdir(parents=True, exist_ok=True)
    payload = [segment.array_head(len(rows)), segment.encode_rows(rows)]
    head = segment.head_bytes(batch, 1_790_000_000_000)
    (quarantine / f"{batch:020d}.wal").write_bytes(b"".join([head, segment.frame_head(1, payload), *payload]))


def rows_beside(directory: Path) -> list[str]:
    """The sites of the rows of the segments there."""
    at = [column.name for column in COLUMNS].index("site_id")
    return [
        str(each[at])
        for path in sorted(directory.glob("*.wal"))
        for _, payload in segment.frames(path)
        for each in segment.rows_of(payload)
    ]


def assert_nothing_left(data_dir: Path) -> None:
    kept = {"sites", "audit", "opt_outs", "erasure_keys"}
    (tables,) = stored(data_dir, TABLES)
    names = [str(name) for (name,) in tables if name not in kept]
    assert {"events", "sessions", "saved", "activity"} <= set(names)
    counts = [
        f"SELECT count() FROM {name} WHERE site_id = '{GONE}'" + " AND document != ''" * (name == "saved")
        for name in names
    ]
    found: dict[str, Any] = dict(zip(names, stored(data_dir, *counts), strict=True))
    assert {name: rows for name, rows in found.items() if rows != [[0]]} == {}
