"""Which views over `events` are rollups, what is known of them, and what happens to one that comes or goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.rollups.materialized_views import read_views, target_of
from analytics_server.rollups.reconcile import Reconciler
from analytics_server.store import Store, make_store
from tests.rollups import late_views
from tests.rollups.test_reconcile import COMPARISON, Interrupted, insert, rows_of, state


@pytest.fixture
async def store(embedded_tables: Path) -> AsyncIterator[Store]:
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_tables}", threads=1)))
    await made.open()
    yield made
    await made.close()


async def test_a_late_view_is_read_as_it_is(store: Store) -> None:
    await late_views.add(store)

    views = await read_views(store)
    (rollup,) = [one for one in views.rollups if one.target == "steps"]

    assert not views.unfit
    assert (rollup.keys, rollup.time) == (("site_id", "opened_at", "session_id"), "opened_at")
    assert (rollup.sums, rollup.counts_events, rollup.by_month) == ((), False, True)
    assert rollup.others == ("done", "again", "visitors", "last_at", "revenue")
    assert rollup.over("batch_id = 7").count("FROM (SELECT ") == 1
    assert r"'it\'s  FROM events AS e, AS done'" in rollup.over("batch_id = 7")


@pytest.mark.parametrize(
    ("create", "target"),
    [
        ("CREATE MATERIALIZED VIEW analytics.v TO analytics.steps (`a` String) AS SELECT 1", "steps"),
        ("CREATE MATERIALIZED VIEW `my db`.`v` TO `analytics`.`steps` (`a` String) AS SELECT 1", "steps"),
        ("CREATE MATERIALIZED VIEW analytics.v TO analytics.steps", "steps"),
        ("CREATE MATERIALIZED VIEW analytics.v (`a` String) ENGINE = MergeTree AS SELECT ' TO other '", ""),
    ],
)
def test_the_target_is_read_from_the_definition(create: str, target: str) -> None:
    assert target_of(create) == target


COLUMNS = "site_id LowCardinality(String), day DateTime('UTC'), events SimpleAggregateFunction(sum, UInt64)"
SELECT = "SELECT e.site_id AS site_id, {time} AS day, count() AS events{more} FROM {source} GROUP BY site_id, day"
ORDER = "ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(day) ORDER BY (site_id, day)"
TIMELESS = "SELECT e.site_id AS site_id, count() AS events FROM events AS e GROUP BY site_id"


def more(kind: str, expression: str) -> dict[str, str]:
    """One column more than site, day and count."""
    return {"columns": f"{COLUMNS}, more {kind}", "more": f", {expression} AS more"}


TWICE = "counts an event twice"
UNFIT: dict[str, tuple[dict[str, str], str]] = {
    "rounded to a month": ({"time": "toDateTime(toStartOfMonth(e.ts), 'UTC')"}, "rounded to a day at most"),
    "another zone's day": ({"time": "toStartOfDay(toDateTime(e.ts, 'Asia/Tokyo'))"}, "rounded to a day at most"),
    "a join": ({"source": "events AS e LEFT JOIN sites AS s ON s.site_id = e.site_id"}, "no plain SELECT"),
    "no alias": ({"select": SELECT.replace("e.", ""), "source": "events", "time": "toStartOfDay(ts)"}, "no plain"),
    "not merged": ({"order": "ENGINE = MergeTree ORDER BY (site_id, day)"}, "no AggregatingMergeTree"),
    "a key that is computed": ({"order": ORDER.replace("(site_id, day)", "(site_id, toDate(day))")}, "sorting key"),
    "no site": ({"order": ORDER.replace("(site_id, day)", "day")}, "sorting key"),
    "no time and a sum": (
        {
            "order": "ENGINE = AggregatingMergeTree ORDER BY site_id",
            "columns": COLUMNS.replace("day DateTime('UTC'), ", ""),
            "select": TIMELESS,
        },
        "sums and no time",
    ),
    "a column the view doesn't give": ({"columns": f"{COLUMNS}, more UInt8"}, "doesn't give late its column more"),
    "no aggregate": (more("UInt64", "any(e.visitor_id)"), "neither a key nor an aggregate"),
    "a state that counts": (more("AggregateFunction(groupArray, UInt64)", "groupArrayState(e.visitor_id)"), TWICE),
    "a funnel's own state": (
        more(
            "AggregateFunction(windowFunnel(60), DateTime('UTC'), UInt8)",
            "windowFunnelState(60)(toDateTime(e.ts, 'UTC'), e.name = 'a')",
        ),
        TWICE,
    ),
    "a float": (more("SimpleAggregateFunction(sum, Float64)", "sum(toFloat64(e.revenue_amount))"), TWICE),
}


@pytest.mark.parametrize("case", UNFIT)
async def test_a_view_that_can_not_be_kept_exact_is_named_and_left_alone(store: Store, case: str) -> None:
    given, reason = UNFIT[case]
    await store.command(f"CREATE TABLE late ({given.get('columns', COLUMNS)}) {given.get('order', ORDER)}")
    select = given.get("select", SELECT).format(
        time=given.get("time", "toStartOfDay(e.ts)"),
        more=given.get("more", ""),
        source=given.get("source", "events AS e"),
    )
    await store.command(f"CREATE MATERIALIZED VIEW late_from_events TO late AS {select}")

    views = await read_views(store)
    await insert(store, 1)
    before = await rows_of(store, "SELECT count(), sum(events) FROM late")
    await Reconciler(store, timeout_s=30).reconcile(1)

    assert list(views.unfit) == ["late_from_events"]
    assert reason in views.unfit["late_from_events"]
    assert "late" not in {rollup.target for rollup in views.rollups}
    assert await rows_of(store, "SELECT count(), sum(events) FROM late") == before


async def test_other_views_are_no_concern(store: Store) -> None:
    await store.command("CREATE TABLE other (n UInt64) ENGINE = MergeTree ORDER BY n")
    await store.command("CREATE MATERIALIZED VIEW a TO other AS SELECT length(s.document) AS n FROM sites AS s")
    await store.command("CREATE VIEW b AS SELECT e.ts FROM events AS e")

    assert not (await read_views(store)).unfit


async def test_a_rollup_without_a_count_gets_a_missed_batch(store: Store) -> None:
    await late_views.add(store)
    for number in (1, 2, 3):
        await insert(store, number)
    expected = await rows_of(store, late_views.STATE)
    others = await state(store)
    for table in ("steps", "sessions", "traffic", "openings", "activity", "events"):
        await store.command(f"TRUNCATE TABLE {table}")
    await insert(store, 1)
    await store.command("DROP VIEW steps_from_events SYNC")  # as if the process had died between the commits
    await insert(store, 2)
    await store.command(late_views.VIEW)
    await insert(store, 3)
    missed = await rows_of(store, late_views.STATE)

    rollups = Reconciler(store, timeout_s=30)
    for _ in range(2):
        await rollups.reconcile(2)
        assert await rows_of(store, late_views.STATE) == expected != missed
    assert await state(store) == others


async def test_a_view_that_came_after_the_first_batch_is_known_to_the_next(store: Store) -> None:
    rollups = Reconciler(store, timeout_s=30)
    await insert(store, 1)
    await rollups.reconcile(1)
    await late_views.add(store)
    await rollups.reconcile(1)
    late = await rows_of(store, late_views.STATE)
    await insert(store, 1)

    assert late
    assert await rows_of(store, late_views.STATE) == late


MOMENTS: dict[str, str] = {
    "between reading and writing": "INSERT INTO steps",
    "between reading and comparing": COMPARISON,
    "before the repair": "INSERT INTO traffic",
}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("with_sums", [False, True], ids=["idempotent", "with a sum"])
async def test_a_rollup_that_is_dropped_meanwhile_does_not_matter(store: Store, moment: str, with_sums: bool) -> None:
    if with_sums:
        await store.command(f"CREATE TABLE steps ({COLUMNS}) {ORDER}")
        select = SELECT.format(time="toStartOfDay(e.ts)", more="", source="events AS e")
        await store.command(f"CREATE MATERIALIZED VIEW steps_from_events TO steps AS {select}")
    else:
        await late_views.add(store)
    await insert(store, 1)
    expected = await state(store)
    for table in ("steps", "sessions", "traffic", "openings", "activity"):
        await store.command(f"TRUNCATE TABLE {table}")

    def dropped() -> Awaitable[None]:
        return late_views.remove(store)

    happening: tuple[str, Callable[[], Awaitable[None]]] = MOMENTS[moment], dropped
    interrupted = Interrupted(store, happening)
    await Reconciler(cast(Store, interrupted), timeout_s=30).reconcile(1)

    assert not interrupted.left
    assert await state(store) == expected


async def test_replicas_catch_up_before_anything_is_concluded_from_one(store: Store) -> None:
    """What one replica hasn't got yet is neither an empty batch nor a difference."""
    await late_views.add(store)
    await insert(store, 1)
    expected = await state(store)
    creates = await rows_of(
        store,
        "SELECT create_table_query FROM system.tables "
        "WHERE database = currentDatabase() AND name = 'openings_from_events'",
    )
    for view in ("openings_from_events", "steps_from_events"):
        await store.command(f"DROP VIEW {view} SYNC")

    async def arrive() -> None:
        await insert(store, 2)
        await store.command(str(creates[0][0]))
        await store.command(late_views.VIEW)

    interrupted = Interrupted(store, ("catch up", arrive))
    await Reconciler(cast(Store, interrupted), timeout_s=30).reconcile(2)

    assert not interrupted.left
    assert await rows_of(store, "SELECT sum(events) FROM openings") == [(80,)]
    assert len(await rows_of(store, late_views.STATE)) > 0
    assert await state(store) != expected
