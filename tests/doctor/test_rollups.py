"""Every rollup against a recomputation: damage of each kind is found, named, and mended exactly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from analytics_server.errors import StoreError
from analytics_server.rollups.between_inserts import InsertWatch
from analytics_server.rollups.comparison import Calendar, differences
from analytics_server.rollups.materialized_views import read_views
from analytics_server.rollups.rebuild import Rebuilder, Rebuilt
from tests.doctor.place import DAY_US, Place, events
from tests.ingest.rows import NOVEMBER_US, row

CHECKS = ("rollup_activity", "rollup_openings", "rollup_sessions", "rollup_traffic")

MISSING = "ALTER TABLE {0} DELETE WHERE site_id = 'site-1' SETTINGS mutations_sync = 2"
DAMAGE = {
    "sessions lost": ("sessions", MISSING.format("sessions")),
    "traffic lost": ("traffic", MISSING.format("traffic")),
    "openings lost": ("openings", MISSING.format("openings")),
    "activity lost": ("activity", MISSING.format("activity")),
    "a user active too early": (
        "activity",
        "INSERT INTO activity (site_id, name, user_key, user_id, day, first_at) "
        "SELECT site_id, name, user_key, user_id, day, day FROM activity",
    ),
    "a month lost": ("traffic", "ALTER TABLE traffic DROP PARTITION 202511"),
    "all lost": ("sessions", "TRUNCATE TABLE sessions"),
    "a batch counted twice": ("sessions", "INSERT INTO sessions SELECT * FROM sessions WHERE session_id = 's3'"),
    "traffic doubled": ("traffic", "INSERT INTO traffic SELECT * FROM traffic"),
    "a session that never was": (
        "sessions",
        "INSERT INTO sessions (site_id, opened_at, session_id, events) "
        "VALUES ('site-0', '2025-11-03 01:00:00', 'x', 4)",
    ),
    "a day that never was": (
        "openings",
        "INSERT INTO openings (site_id, bucket, events) VALUES ('site-9', '2024-02-29 01:00:00', 4)",
    ),
    "too many visitors": (
        "traffic",
        "INSERT INTO traffic SELECT site_id, bucket, name, 0, 0, uniqIfState(toUInt64(12345), 1) FROM traffic "
        "WHERE name = 'click' GROUP BY site_id, bucket, name",
    ),
    "a session that began too early": (
        "sessions",
        "INSERT INTO sessions (site_id, opened_at, session_id, started_at, entry, hostname, browser) "
        "SELECT site_id, opened_at, session_id, started_at - 1, entry, hostname, browser FROM sessions FINAL",
    ),
    "another host": (
        "sessions",
        "ALTER TABLE sessions UPDATE hostname = 'zzz' WHERE session_id = 's2' SETTINGS mutations_sync = 2",
    ),
}


async def fill(place: Place) -> None:
    for seed in (1, 2, 3):
        await place.insert(events(seed))


SURPLUS_OF_EVENTS = ("a batch counted twice", "traffic doubled", "a session that never was", "a day that never was")
"""Such a rollup may be all that still tells of events that were lost: it is lowered with consent only."""
ON_A_SERVER = ("sessions lost", "traffic doubled", "a session that began too early")


@pytest.mark.parametrize(
    ("any_place", "damage"),
    [*(("embedded", damage) for damage in DAMAGE), *(("server", damage) for damage in ON_A_SERVER)],
    indirect=["any_place"],
)
async def test_damage_is_found_and_mended(any_place: Place, damage: str) -> None:
    await fill(any_place)
    expected = await any_place.rollups()
    target, statement = DAMAGE[damage]
    await any_place.store.command(statement)

    damaged = await any_place.rollups()
    found = await any_place.look()
    looked_at = await any_place.rollups()
    if damage in SURPLUS_OF_EVENTS:
        refused = (await any_place.look(repair=True))[f"rollup_{target}"]
        assert (refused.status, refused.repaired) == ("error", "")
        assert "--accept-loss" in refused.remedy
        assert await any_place.rollups() == damaged
    mended = await any_place.look(repair=True, accept_loss=damage in SURPLUS_OF_EVENTS)
    after = await any_place.look()

    assert {name for name in CHECKS if found[name].status == "error"} == {f"rollup_{target}"}
    assert found[f"rollup_{target}"].facts["days_wrong"]
    assert looked_at == damaged != expected
    assert mended[f"rollup_{target}"].repaired.startswith("rebuilt")
    assert all(finding.status == "ok" for finding in mended.values() if finding.check.startswith("rollup_"))
    assert not any(after[name].repaired or after[name].status != "ok" for name in CHECKS)
    assert await any_place.rollups() == expected
    assert await any_place.rows("SELECT name FROM system.tables WHERE name LIKE 'doctor_%'") == []


HOLDERS = (
    "SELECT any(l.holder) FROM leases AS l WHERE name = 'removal' GROUP BY claim"
    " HAVING argMax(l.ends_at, l.step) > now64(6, 'UTC')"
)


async def test_rollups_are_rebuilt_in_the_turn_of_removals(
    server_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what an erasure removes meanwhile would come back with what was put together before."""
    await fill(server_place)
    await server_place.store.command(DAMAGE["traffic lost"][1])
    rebuild, holders = Rebuilder.rebuild, list[object]()

    async def watched(self: Rebuilder, *arguments: Any) -> Rebuilt:
        done = await rebuild(self, *arguments)
        holders.extend(await server_place.rows(HOLDERS))
        return done

    monkeypatch.setattr(Rebuilder, "rebuild", watched)
    mended = await server_place.look(repair=True)

    assert mended["rollup_traffic"].repaired.startswith("rebuilt")
    assert holders == [("doctor",)]
    assert await server_place.rows(HOLDERS) == []


async def test_what_is_right_is_found_right(any_place: Place) -> None:
    await fill(any_place)

    found = await any_place.look()

    assert {found[name].status for name in CHECKS} == {"ok"}
    assert found["rollup_sessions"].facts["days"] == len(
        await any_place.rows("SELECT toDate(ts) FROM events UNION DISTINCT SELECT toDate(session_start) FROM events")
    )


async def test_the_finding_names_day_site_and_numbers(place: Place) -> None:
    await fill(place)
    ((day,),) = await place.rows("SELECT toString(toDate(min(bucket))) FROM openings WHERE site_id = 'site-1'")
    (here,) = (
        await place.rows(f"SELECT sum(events) FROM openings WHERE site_id = 'site-1' AND toDate(bucket) = '{day}'")
    )[0]
    await place.store.command(f"ALTER TABLE openings DELETE WHERE toDate(bucket) = '{day}' SETTINGS mutations_sync = 2")

    finding = (await place.look())["rollup_openings"]

    assert finding.message == (
        f"openings differs from events on 1 day of 1 site, first {day} of site-1: 0 events instead of {here}."
    )
    assert finding.facts["wrong"] == [
        {"site": "site-1", "day": day, "rows": 1, "expected": here, "present": 0, "surplus_rows": 0}
    ]
    assert "--repair" in finding.remedy


async def test_events_older_than_their_sessions_day_are_compared_too(place: Place) -> None:
    """A late beacon can lie before its session's start, an import far from it."""
    rows = [list(one) for one in events(5)]
    for one in rows[:20]:
        one[1] -= 40 * DAY_US  # type: ignore[operator]
    await place.insert([tuple(one) for one in rows])
    expected = await place.rollups()
    await place.store.command("TRUNCATE TABLE sessions")

    assert (await place.look())["rollup_sessions"].status == "error"
    assert (await place.look(repair=True))["rollup_sessions"].status == "ok"
    assert await place.rollups() == expected


async def test_pieces_are_days_of_one_month_with_a_bounded_number_of_events(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(place)
    rollups = (await read_views(place.store)).rollups
    calendar = await Calendar.read(place.store, rollups)
    whole = calendar.pieces()
    monkeypatch.setattr("analytics_server.rollups.comparison.PIECE_EVENTS", 20)
    small = calendar.pieces()

    assert len(whole) == 2
    assert len(small) > len(whole)
    assert [day for piece in small for day in piece.days] == [day for piece in whole for day in piece.days]
    await place.store.command("ALTER TABLE traffic DELETE WHERE name = 'click' SETTINGS mutations_sync = 2")
    expected = (await place.look())["rollup_traffic"].facts["rows_wrong"]
    assert (
        expected
        == (
            await place.rows("SELECT uniqExact(site_id, toStartOfFifteenMinutes(ts)) FROM events WHERE name = 'click'")
        )[0][0]
    )
    assert (await place.look(repair=True))["rollup_traffic"].status == "ok"


async def test_a_repair_that_dies_before_the_last_step_changes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(place)
    expected = await place.rollups()
    await place.store.command("TRUNCATE TABLE traffic")
    command = type(place.store).command

    async def dying(self: object, sql: str, parameters: object = None) -> None:
        if "REPLACE PARTITION" in sql:
            raise StoreError("killed")
        await command(self, sql, parameters)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(place.store), "command", dying)
        found = (await place.look(repair=True))["rollup_traffic"]
        assert (found.status, found.message) == ("error", "This could not be checked: killed")
    assert await place.rows("SELECT count() FROM traffic") == [(0,)]
    assert (await place.look(repair=True))["rollup_traffic"].status == "ok"
    assert await place.rollups() == expected


async def test_a_month_into_which_events_come_is_mended_beside_them(server_place: Place) -> None:
    place = server_place
    for seed in (1, 2):
        await place.insert(events(seed), age_s=1)
    target, statement = DAMAGE["all lost"]
    await place.store.command(statement)
    stop = asyncio.Event()
    sent = 0

    async def traffic() -> None:
        nonlocal sent
        while not stop.is_set():
            sent += 1
            began = time.monotonic()
            await place.insert(events(100 + sent, 5), age_s=0)
            # A server's flush_interval_ms; more where all is slow, because the doctor waits for a quiet moment.
            await asyncio.sleep(1.5 + 10 * (time.monotonic() - began))

    task = asyncio.create_task(traffic())
    mended = await place.look(repair=True)
    stop.set()
    await task

    assert sent > 0
    assert mended[f"rollup_{target}"].repaired.startswith("rebuilt")
    after = await place.look()
    assert {after[name].status for name in CHECKS} == {"ok"}
    assert (await place.rows("SELECT sum(events) FROM traffic")) == [(120 + 5 * sent,)]


SURPLUS = ("too many visitors", "a session that began too early", "a user active too early")


@pytest.mark.parametrize("day", [3, 5, 27])
async def test_a_surplus_that_no_row_can_take_back_is_mended_while_events_come_in(
    server_place: Place, monkeypatch: pytest.MonkeyPatch, day: int
) -> None:
    """The last batch comes at the worst moment: after the look, before the month is replaced."""
    place = server_place
    for seed in (1, 2):
        await place.insert(events(seed), age_s=1)
    for damage in SURPLUS:
        await place.store.command(DAMAGE[damage][1])
    command = type(place.store).command
    came: list[str] = []

    async def inserting_meanwhile(self: object, sql: str, parameters: object = None) -> None:
        if "REPLACE PARTITION" in sql:
            came.append(sql.split()[2])
            at = NOVEMBER_US + day * DAY_US + len(came) * 3_600_000_000
            await place.insert([row(site_id="site-1", session_id="late", session_start=at, ts=at, user_id="ann")])
        await command(self, sql, parameters)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(place.store), "command", inserting_meanwhile)
        mended = await place.look(repair=True)
    after = await place.look()

    assert set(came) == {"activity", "sessions", "traffic"}, mended
    assert all(mended[f"rollup_{target}"].repaired.startswith("rebuilt") for target in came)
    assert {name: one.status for name, one in after.items() if name in CHECKS} == dict.fromkeys(CHECKS, "ok"), after
    assert await place.rows("SELECT sum(events) FROM openings") == [(120 + len(came),)]
    assert await place.rows("SELECT name FROM system.tables WHERE name LIKE 'doctor_%'") == []


async def test_a_difference_that_may_be_under_way_is_a_warning_and_not_touched(
    server_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = server_place
    await place.insert(events(1), age_s=1)
    await place.store.command("TRUNCATE TABLE openings")

    async def busy(self: InsertWatch, tables: Sequence[str]) -> bool:
        return True

    monkeypatch.setattr(InsertWatch, "is_inserting", busy)
    found = (await place.look(repair=True))["rollup_openings"]

    assert (found.status, found.facts["rows_wrong"]) == ("warning", 0)
    assert "events came in all the while" in found.message
    assert await place.rows("SELECT count() FROM openings") == [(0,)]


@pytest.mark.parametrize("age_s", [1, 86_400 * 3], ids=["new", "of a backlog"])
@pytest.mark.parametrize("day", [3, 5, 27])
@pytest.mark.parametrize("moment", ["INSERT INTO doctor_", "REPLACE PARTITION"])
async def test_what_a_server_inserts_during_a_repair_stays(
    server_place: Place, monkeypatch: pytest.MonkeyPatch, moment: str, day: int, age_s: float
) -> None:
    """Into a sound day, the damaged one, and a day of the month that had no events."""
    place = server_place
    await fill(place)
    damaged = "2025-11-06"
    await place.store.command(
        f"ALTER TABLE traffic DELETE WHERE toDate(bucket) = '{damaged}' SETTINGS mutations_sync = 2"
    )
    assert (await place.look())["rollup_traffic"].facts["days_wrong"] == 1
    command = type(place.store).command
    seen: list[str] = []

    async def inserting_meanwhile(self: object, sql: str, parameters: object = None) -> None:
        if "REPLACE PARTITION" in sql:
            seen.append("replaced")
        last = moment == "REPLACE PARTITION"
        if last and moment in sql:
            await come()
        await command(self, sql, parameters)  # type: ignore[arg-type]
        if not last and moment in sql:
            await come()

    async def come() -> None:
        if "came" not in seen:
            seen.append("came")
            at = NOVEMBER_US + day * DAY_US + 7 * 3_600_000_000
            rows = [
                row(site_id="site-1", session_id="late", session_start=at, ts=at + n, name="late") for n in range(3)
            ]
            await place.insert(rows, age_s=age_s)

    monkeypatch.setattr(type(place.store), "command", inserting_meanwhile)
    mended = await place.look(repair=True)
    monkeypatch.undo()

    assert "came" in seen
    if moment == "REPLACE PARTITION":
        assert "replaced" in seen
    elif day != 5 or age_s == 1:  # else it came in time to be among what the damaged day is computed from
        assert "replaced" not in seen
    assert mended["rollup_traffic"].repaired.startswith("rebuilt")
    after = await place.look()
    assert {after[name].status for name in CHECKS} == {"ok"}
    assert await place.rows("SELECT sum(events) FROM traffic WHERE name = 'late'") == [(3,)]
    assert await place.rows("SELECT sum(events) FROM traffic") == [(183,)]


async def test_events_that_come_after_the_calendar_was_read_are_no_damage(place: Place) -> None:
    await fill(place)
    rollups = (await read_views(place.store)).rollups
    calendar = await Calendar.read(place.store, rollups)
    ((last,),) = await place.rows("SELECT max(toUnixTimestamp64Micro(ts)) FROM events")
    await place.insert([row(site_id="site-1", session_id="late", session_start=last + 1, ts=last + 1)])

    found = [await differences(place.store, rollup, piece) for rollup in rollups for piece in calendar.pieces()]

    assert not any(found)
