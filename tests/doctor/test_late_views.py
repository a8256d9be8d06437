"""Views that are added and dropped while servers run are compared like those that are shipped."""

from __future__ import annotations

import pytest

from analytics_server.errors import StoreFatal
from analytics_server.store import Store
from tests.doctor.place import Place
from tests.doctor.test_rollups import CHECKS, fill
from tests.rollups import late_views


async def test_a_view_that_was_added_later_is_compared_and_mended(any_place: Place) -> None:
    place = any_place
    await late_views.add(place.store)
    await fill(place)
    expected = await place.rows(late_views.STATE)
    await place.store.command("ALTER TABLE steps DELETE WHERE site_id = 'site-1' SETTINGS mutations_sync = 2")
    await place.store.command(
        "INSERT INTO steps (site_id, opened_at, session_id, done) "
        "SELECT site_id, opened_at, session_id, [(opened_at, 9)] FROM sessions WHERE site_id = 'site-0'"
    )

    found = await place.look()
    mended = await place.look(repair=True)

    assert (found["rollups"].status, found["rollup_steps"].status) == ("ok", "error")
    assert mended["rollup_steps"].status == "ok", mended["rollup_steps"]
    assert await place.rows(late_views.STATE) == expected


async def test_views_that_can_not_be_compared_are_named(place: Place) -> None:
    await fill(place)
    await place.store.command("CREATE TABLE a (site_id String, path String) ENGINE = MergeTree ORDER BY path")
    await place.store.command(
        "CREATE TABLE b (site_id String, last_at SimpleAggregateFunction(max, DateTime64(6, 'UTC'))) "
        "ENGINE = AggregatingMergeTree ORDER BY site_id"
    )
    await place.store.command("CREATE MATERIALIZED VIEW av TO a AS SELECT e.site_id, e.path FROM events AS e")
    await place.store.command(
        "CREATE MATERIALIZED VIEW bv TO b AS SELECT e.site_id AS site_id, max(e.ts) AS last_at FROM events AS e "
        "GROUP BY site_id"
    )

    found = await place.look(repair=True)

    assert found["rollups"].status == "warning"
    assert found["rollups"].facts == {"compared": len(CHECKS), "not_compared": ["av", "bv"]}
    assert "2 views over events are not compared: av, because" in found["rollups"].message
    assert {found[name].status for name in CHECKS} == {"ok"}


@pytest.mark.parametrize("moment", ["SELECT day, max(events)", "SELECT site_id, day, countIf(differs)"])
async def test_a_view_that_is_dropped_meanwhile_is_no_fault(
    place: Place, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """After the views were read: before the days are, and before it is compared."""
    await late_views.add(place.store)
    await fill(place)
    query = type(place.store).query
    dropped = False

    async def dropping(self: Store, sql: str, *arguments: object, **named: object) -> object:
        nonlocal dropped
        if not dropped and sql.strip().startswith(moment) and "steps" in sql:
            dropped = True
            await late_views.remove(place.store)
        return await query(self, sql, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(type(place.store), "query", dropping)
    found = await place.look()

    assert dropped
    assert {found[name].status for name in ("rollups", *CHECKS)} == {"ok"}
    if moment.startswith("SELECT site_id"):
        assert found["rollup_steps"].message == "steps was dropped meanwhile."
    else:
        assert "rollup_steps" not in found


async def test_a_view_that_is_dropped_while_it_is_mended_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await late_views.add(place.store)
    await fill(place)
    await place.store.command("TRUNCATE TABLE steps")
    command = type(place.store).command
    dropped = False

    async def dropping(self: Store, sql: str, parameters: object = None) -> None:
        nonlocal dropped
        if not dropped and sql.startswith("INSERT INTO doctor_steps"):
            dropped = True
            await late_views.remove(place.store)
        if dropped and "REPLACE PARTITION" in sql:
            raise StoreFatal("Unknown table", engine_code=60)
        await command(self, sql, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(type(place.store), "command", dropping)
    found = await place.look(repair=True)

    assert dropped
    assert (found["rollup_steps"].status, found["rollup_steps"].repaired) == ("ok", "it was dropped meanwhile")
    assert await place.rows("SELECT name FROM system.tables WHERE name LIKE '%steps%'") == []
