"""The checks of ClickHouse's tables other than rollups: damage is made, found, mended, and gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analytics_server.doctor.report import Finding
from analytics_server.model import Site
from analytics_server.privacy.salts import Salts
from analytics_server.query.day_totals import DayTotals
from tests.doctor.place import DAY_US, NOVEMBER_S, Place, events, segment_bytes
from tests.ingest.rows import NOVEMBER_US


def statuses(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.status for name, finding in found.items() if finding.status != "ok"}


async def test_a_sound_installation_is_well(place: Place) -> None:
    await place.insert(events(1))
    await Salts(place.store, place.clock).load()

    report = await place.report()

    assert (report.status, report.exit_code) == ("ok", 0), report.findings
    assert [finding.check for finding in report.findings] == [
        *(
            "config",
            "versions",
            "directories",
            "seal_key",
            "disk",
            "wal",
            "quarantine",
            "dead_letters",
            "geo",
            "archive",
        ),
        *("clickhouse", "parts", "clock"),
        *("schema", "views", "batches", "event_ids", "salts", "documents", "rollups"),
        *(f"rollup_{target}" for target in ("activity", "openings", "sessions", "traffic")),
        "day_totals",
        "funnel_days",
    ]


async def test_a_missing_view_is_defined_again_and_its_table_rebuilt(place: Place) -> None:
    await place.insert(events(1))
    await place.store.command("DROP VIEW traffic_from_events")
    await place.insert(events(2))

    found = (await place.look())["views"]
    mended = await place.look(repair=True)

    assert (found.status, found.facts["missing"]) == ("error", ["traffic_from_events"])
    assert mended["views"].repaired == "defined 1 view again"
    assert mended["rollup_traffic"].repaired.startswith("rebuilt")
    assert statuses(mended) == {}
    await place.insert(events(3))
    assert statuses(await place.look()) == {}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE openings_from_events MODIFY QUERY SELECT e.site_id AS site_id, "
        "toStartOfFifteenMinutes(e.session_start) AS bucket, count() + 1 AS events FROM events AS e "
        "GROUP BY site_id, bucket",
        "CREATE OR REPLACE TABLE elsewhere AS openings; DROP VIEW openings_from_events; "
        "CREATE MATERIALIZED VIEW openings_from_events TO elsewhere AS SELECT e.site_id AS site_id, "
        "toStartOfFifteenMinutes(e.session_start) AS bucket, count() AS events FROM events AS e "
        "GROUP BY site_id, bucket",
    ],
    ids=["another SELECT", "another target"],
)
async def test_a_view_that_differs_is_put_right(place: Place, change: str) -> None:
    for statement in change.split("; "):
        await place.store.command(statement)
    await place.insert(events(1))

    found = (await place.look())["views"]
    mended = await place.look(repair=True, accept_loss="+ 1" in change)

    assert (found.status, found.facts["different"]) == ("error", ["openings_from_events"])
    assert statuses(mended) == {}
    assert mended["views"].repaired
    assert await place.rows("SELECT sum(events) FROM openings") == [(60,)]


async def test_a_missing_migration_is_applied(place: Place) -> None:
    await place.insert(events(1))
    await place.store.command("ALTER TABLE schema_migrations DELETE WHERE number = 5 SETTINGS mutations_sync = 2")
    for table in ("openings_from_events", "openings", "day_totals", "day_builds"):
        await place.store.command(f"DROP TABLE {table}")

    found = await place.look()
    mended = await place.look(repair=True)

    assert statuses(found) == {"schema": "error", "tables": "warning"}
    assert found["schema"].facts["missing"] == ["0005_create_day_totals"]
    assert mended["schema"].repaired == "applied 1 schema file"
    assert mended["rollup_openings"].repaired.startswith("rebuilt")
    assert statuses(mended) == {}


async def test_a_database_of_a_newer_program_or_a_changed_file_is_left_alone(place: Place) -> None:
    await place.store.command(
        "ALTER TABLE schema_migrations UPDATE checksum = 'x' WHERE number = 2 SETTINGS mutations_sync = 2"
    )
    changed = (await place.look(repair=True))["schema"]
    await place.store.command("INSERT INTO schema_migrations VALUES (999, 'later', 'x', now())")
    newer = (await place.look(repair=True))["schema"]

    assert (changed.status, changed.facts["changed"], changed.repaired) == ("error", ["0002_create_sessions"], "")
    assert (newer.status, newer.remedy) == ("error", "Run the newer program.")


@pytest.mark.parametrize(("ahead_s", "status"), [(0, ""), (-20, "warning"), (4_000, "error")])
async def test_a_clock_that_is_wrong_is_told(place: Place, ahead_s: float, status: str) -> None:
    place.ahead_s = ahead_s
    found = await place.look()

    assert found["clock"].status == (status or "ok")


async def test_batches_of_the_future_are_told(place: Place) -> None:
    await place.insert(events(1), age_s=-7_200)

    found = (await place.look())["clock"]

    assert (found.status, "in the future" in found.message) == ("error", True)


async def test_old_salts_are_destroyed_unless_the_clock_is_in_doubt(place: Place) -> None:
    today = datetime.now(UTC).date()
    for days in (5, 1, 0):
        day = today - timedelta(days=days)
        await place.store.insert("salts", ("day", "salt", "created_at"), [[day], ["00"], [datetime.now(UTC)]])
    found = (await place.look())["salts"]
    place.now = datetime.now(UTC).timestamp() + 90_000
    doubted = (await place.look(repair=True))["salts"]
    place.now = None
    mended = (await place.look(repair=True))["salts"]

    assert (found.status, "1 of 3 salts" in found.message) == ("error", True)
    assert (doubted.status, doubted.repaired) == ("error", "")
    assert (mended.status, mended.repaired) == ("ok", "destroyed the salts that were too old")
    assert mended.facts["days"] == [(today - timedelta(days=days)).isoformat() for days in (1, 0)]


async def test_a_salt_of_a_far_day_is_told(place: Place) -> None:
    day = datetime.now(UTC).date() + timedelta(days=9)
    await place.store.insert("salts", ("day", "salt", "created_at"), [[day], ["00"], [datetime.now(UTC)]])

    assert (await place.look())["salts"].status == "warning"


async def test_open_batches_are_compared_with_events(place: Place) -> None:
    place.wal_dir.mkdir(parents=True)
    rows = events(1)
    waiting, whole, half = (place.batch_id(60) for _ in range(3))
    for batch_id in (waiting, whole, half):
        (place.wal_dir / f"{batch_id:020d}.wal").write_bytes(segment_bytes([rows], batch_id))
    await place.insert(rows, batch_id=whole)
    in_november = [one for one in rows if one[1] < NOVEMBER_US + 29 * DAY_US]  # type: ignore[operator]
    await place.insert(in_november, batch_id=half)
    fine = (await place.look())["batches"]
    await place.insert(rows[:1], batch_id=waiting)
    torn = (await place.look())["batches"]

    assert len(in_november) < len(rows)
    assert (fine.status, fine.facts["to_deliver"], fine.facts["in_events"]) == ("ok", 2, 1)
    assert (torn.status, torn.facts["partly_stored"]) == ("error", [str(waiting)])


async def test_an_event_id_that_counts_twice_is_found(place: Place) -> None:
    rows = events(1)
    await place.insert(rows, age_s=3_600)
    await place.insert(rows, age_s=3 * 86_400)  # longer ago than the window: counted by right
    fine = (await place.look())["event_ids"]
    await place.insert(rows[:3], age_s=60)
    found = (await place.look())["event_ids"]

    assert (fine.status, fine.facts["ids_in_window"]) == ("ok", 60)
    assert (found.status, found.facts["double_ids"], found.facts["surplus_events"]) == ("error", 3, 3)
    assert len(found.facts["examples"]) == 3  # type: ignore[arg-type]


async def test_totals_that_are_wrong_are_thrown_away_and_stale_ones_too(place: Place) -> None:
    await place.insert(events(1))

    class Sites:
        def all(self) -> list[Site]:
            return [Site(site_id="site-0", timezone="Europe/Stockholm"), Site(site_id="site-1")]

    def later() -> datetime:
        return datetime.fromtimestamp(NOVEMBER_S, UTC) + timedelta(days=60)

    builder = DayTotals(place.store, Sites(), later, settle_s=0.0, rebuild_s=0.0)
    await builder.build_all()
    built = (await place.look())["day_totals"]
    assert (built.status, built.facts["stale"]) == ("ok", 0)
    assert int(str(built.facts["days"])) > 5

    await place.store.command(
        "ALTER TABLE day_totals UPDATE visitors = visitors + 1 WHERE site_id = 'site-1' AND dimension = '' "
        "AND day = (SELECT min(day) FROM day_totals WHERE site_id = 'site-1') SETTINGS mutations_sync = 2"
    )
    await place.insert(events(1, 1))
    found = (await place.look())["day_totals"]
    mended = (await place.look(repair=True))["day_totals"]

    assert (found.status, len(found.facts["wrong"])) == ("error", 1)  # type: ignore[arg-type]
    assert int(str(found.facts["stale"])) >= 1
    assert mended.repaired.startswith("threw away the totals of")
    assert (mended.status, mended.facts["stale"]) == ("ok", 0)
    assert int(str(mended.facts["days"])) == int(str(built.facts["days"])) - 1 - int(str(found.facts["stale"]))
