"""The rollups agree with `events` again, on the real engine, whatever a dying process left behind."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import StoreAmbiguous, StoreRetryable
from analytics_server.ingest.flush.batch import INSERT_COLUMNS, to_columns
from analytics_server.model import Row
from analytics_server.rollups.materialized_views import read_views
from analytics_server.rollups.reconcile import Reconciler
from analytics_server.store import Store, make_store, migrate
from analytics_server.store.protocol import Parameters, ResultSet, Settings
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.ingest.rows import NOVEMBER_US, row

MINUTE_US = 60_000_000
VIEWS = {f"{target}_from_events": target for target in ("activity", "openings", "sessions", "traffic")}


@pytest.fixture
async def store(embedded_tables: Path) -> AsyncIterator[Store]:
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_tables}", threads=1)))
    await made.open()
    yield made
    await made.close()


def batch(number: int) -> list[Row]:
    """Some events of some sessions, which go on over batches, over a month's end and over midnight."""
    chosen = random.Random(number)
    rows = []
    for index in range(40):
        session = chosen.randrange(6)
        start_us = NOVEMBER_US + session * 5_000 * MINUTE_US
        rows.append(
            row(
                site_id=f"site-{session % 2}",
                session_id=f"s{session}",
                session_start=start_us,
                ts=start_us + (number * 100 + index) * MINUTE_US,
                name=chosen.choice(["pageview", "click", "engagement"]),
                path=f"/{chosen.randrange(5)}",
                visitor_id=session + 1 + (number % 2) * 100,
                user_id=("", "ann", "bo")[session % 3],
                event_id=chosen.randbytes(16),
            )
        )
    return rows


async def insert(store: Store, number: int, query_id: str = "") -> None:
    columns = to_columns(batch(number), number)
    await store.insert("events", INSERT_COLUMNS, columns, query_id=query_id)


async def rows_of(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return (await store.query(sql)).rows


async def state(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """What the rollups say, one row per key, whatever parts it lies in."""
    return {
        "sessions": await rows_of(
            store,
            "SELECT site_id, session_id, opened_at, started_at, ended_at, arraySort(visitor_ids), pageviews, events, "
            "interactions, entry, exit FROM sessions FINAL ORDER BY site_id, session_id, opened_at",
        ),
        "traffic": await rows_of(
            store,
            "SELECT site_id, bucket, name, sum(events), uniqIfMerge(visitors) FROM traffic "
            "GROUP BY site_id, bucket, name ORDER BY site_id, bucket, name",
        ),
        "openings": await rows_of(
            store, "SELECT site_id, bucket, sum(events) FROM openings GROUP BY site_id, bucket ORDER BY site_id, bucket"
        ),
        "activity": await rows_of(
            store,
            "SELECT site_id, name, user_key, user_id, day, sum(events), min(first_at), max(last_at) FROM activity "
            "GROUP BY site_id, name, user_key, user_id, day ORDER BY site_id, name, user_id, day",
        ),
    }


async def definitions(store: Store) -> dict[str, str]:
    found = await rows_of(
        store,
        "SELECT name, create_table_query FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView'",
    )
    return {str(name): str(create) for name, create in found}


async def test_every_view_over_events_is_known(store: Store) -> None:
    views = await read_views(store)

    assert {rollup.view: rollup.target for rollup in views.rollups} == VIEWS
    assert all(rollup.time and rollup.counts_events and rollup.by_month for rollup in views.rollups)
    assert not views.unfit


@pytest.mark.parametrize("missing", [[name] for name in VIEWS] + [list(VIEWS)], ids=lambda names: "+".join(names))
async def test_a_rollup_that_missed_a_batch_gets_it(store: Store, missing: list[str]) -> None:
    for number in (1, 2, 3):
        await insert(store, number)
    expected = await state(store)
    for target in VIEWS.values():
        await store.command(f"TRUNCATE TABLE {target}")
    await store.command("TRUNCATE TABLE events")

    creates = await definitions(store)
    await insert(store, 1)
    for name in missing:  # as if the process had died between the commits
        await store.command(f"DROP VIEW {name} SYNC")
    await insert(store, 2)
    for name in missing:
        await store.command(creates[name])
    await insert(store, 3)
    assert await state(store) != expected
    await Reconciler(store, timeout_s=30).reconcile(2)

    assert await state(store) == expected


async def test_a_rollup_that_has_a_batch_twice_loses_one(store: Store) -> None:
    for number in (1, 2):
        await insert(store, number)
    expected = await state(store)
    # The views had committed, `events` had not, and the batch was sent again.
    await store.command("ALTER TABLE events DELETE WHERE batch_id = 2 SETTINGS mutations_sync = 2")
    await insert(store, 2)
    doubled = await state(store)
    await Reconciler(store, timeout_s=30).reconcile(2)

    assert doubled != expected
    assert await state(store) == expected


async def test_a_rollup_that_has_a_batch_several_times_loses_the_others(store: Store) -> None:
    for number in (1, 2):
        await insert(store, number)
    expected = await state(store)
    for _ in range(2):
        await store.command("ALTER TABLE events DELETE WHERE batch_id = 2 SETTINGS mutations_sync = 2")
        await insert(store, 2)
    await Reconciler(store, timeout_s=30).reconcile(2)

    assert await state(store) == expected


async def test_what_events_have_lost_is_not_taken_from_the_rollups(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        await insert(store, number)
    expected = await state(store)
    await store.command("ALTER TABLE events DELETE WHERE batch_id = 1 SETTINGS mutations_sync = 2")
    for number in (2, 3):
        await Reconciler(store, timeout_s=30).reconcile(number)

    assert await state(store) == expected
    assert "rollups count more events than there are" in caplog.text


async def test_doing_it_again_changes_nothing(store: Store) -> None:
    for number in (1, 2):
        await insert(store, number)
    expected = await state(store)
    rollups = Reconciler(store, timeout_s=30)
    for _ in range(3):
        await rollups.reconcile(1)
        await rollups.reconcile(2)

    assert await state(store) == expected
    assert await rows_of(store, "SELECT count() FROM events") == [(80,)]


async def test_an_event_years_older_than_its_session_is_not_forgotten(store: Store) -> None:
    shared: dict[str, object] = {"site_id": "a", "session_id": "s", "session_start": NOVEMBER_US}
    old = [row(**shared, ts=NOVEMBER_US - 3_000 * 24 * 60 * MINUTE_US, event_id=bytes(16))]
    new = [row(**shared, ts=NOVEMBER_US, event_id=bytes(15) + b"1")]
    for number, rows in enumerate((old, new), start=1):
        await store.insert("events", INSERT_COLUMNS, to_columns(rows, number))
    expected = await state(store)

    await Reconciler(store, timeout_s=30).reconcile(2)

    assert await state(store) == expected


async def test_a_batch_that_is_not_there_changes_nothing(store: Store) -> None:
    await insert(store, 1)
    expected = await state(store)

    await Reconciler(store, timeout_s=30).reconcile(999)

    assert await state(store) == expected


# ---- several servers on one ClickHouse ---------------------------------


@pytest.fixture
async def two(clickhouse_front: ClickHouseFront, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Store, Store]]:
    """The stores of two servers on one ClickHouse, in a database of their own."""
    section = ClickhouseSection(url=clickhouse_front.url, database=f"two_{abs(hash(request.node.name)) % 10**9}")
    stores = make_store(Config(clickhouse=section)), make_store(Config(clickhouse=section))
    for made in stores:
        await made.open()
        await migrate(made)
    yield stores
    clickhouse_front.faults.clear()
    for made in stores:
        await made.close()


async def drop_views(store: Store) -> dict[str, str]:
    """Take the views away, so that an insert stops after `events`; returns what makes them again."""
    creates = await definitions(store)
    for name in creates:
        await store.command(f"DROP VIEW {name} SYNC")
    return creates


async def commit_views(store: Store, creates: dict[str, str], number: int) -> None:
    """What the views of an insert would have written, written now; and the views are there again."""
    for name, create in creates.items():
        select = re.sub(
            r"FROM (\w+\.)?events AS e",
            f"FROM (SELECT * FROM events WHERE batch_id = {number}) AS e",
            create.partition(" AS SELECT ")[2],
        )
        await store.command(f"INSERT INTO {VIEWS[name]} SELECT {select}")
        await store.command(create.replace("CREATE MATERIALIZED VIEW", "CREATE MATERIALIZED VIEW IF NOT EXISTS"))


async def assert_rebuilding_changes_nothing(store: Store) -> None:
    """The rollups are what the views make of `events` at once."""
    found = await state(store)
    for name, create in (await definitions(store)).items():
        await store.command(f"TRUNCATE TABLE {VIEWS[name]}")
        await store.command(f"INSERT INTO {VIEWS[name]} SELECT {create.partition(' AS SELECT ')[2]}")
    assert found == await state(store)


Happening = Callable[[], Awaitable[object]]


class Interrupted:
    """A store that lets something else happen before the next statement that begins so, one after the other."""

    def __init__(self, store: Store, *happenings: tuple[str, Happening]) -> None:
        self._store = store
        self.left = list(happenings)

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        timeout_s: float = 30.0,
    ) -> ResultSet:
        await self._meet(sql)
        return await self._store.query(sql, parameters, settings=settings, timeout_s=timeout_s)

    async def catch_up(self, tables: Sequence[str], *, timeout_s: float = 60.0) -> None:
        await self._meet("catch up")
        await self._store.catch_up(tables, timeout_s=timeout_s)

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        await self._meet(sql)
        await self._store.command(sql, parameters)

    async def _meet(self, sql: str) -> None:
        if self.left and sql.startswith(self.left[0][0]):
            _, happening = self.left.pop(0)
            await happening()


LOOK = "SELECT count() FROM system.processes"
COMPARISON = "SELECT countIf("


async def test_nothing_is_counted_twice_while_another_server_is_between_its_two_commits(
    two: tuple[Store, Store], clickhouse_front: ClickHouseFront
) -> None:
    ours, theirs = two
    rollups = Reconciler(ours, timeout_s=30)
    await insert(ours, 1)
    await rollups.reconcile(1)
    creates = await drop_views(ours)
    await insert(ours, 2)  # died between the commits: this one is to be reconciled
    clickhouse_front.faults.add(Fault(kind="stall", when="after", statement="insert", contains="events"))
    foreign = asyncio.create_task(insert(theirs, 3, "3-202511-1-a"))
    await asyncio.to_thread(clickhouse_front.faults.wait_stalled)
    for create in creates.values():
        await ours.command(create)

    # Now the other server's batch is in `events`, not in the rollups, and its insert still runs.
    with pytest.raises(StoreRetryable, match="while other servers are inserting"):
        await rollups.reconcile(2)
    untouched = await rows_of(ours, "SELECT sum(events) FROM traffic")
    waiting = asyncio.create_task(rollups.reconcile(2))
    await commit_views(ours, creates, 3)
    clickhouse_front.faults.release()
    await foreign
    await waiting

    assert untouched == [(40,)]
    assert await rows_of(ours, "SELECT sum(events) FROM traffic") == [(120,)]
    await assert_rebuilding_changes_nothing(ours)


@pytest.mark.parametrize(
    "moment",
    [LOOK, COMPARISON, "INSERT INTO traffic"],
    ids=["before the comparison", "within the comparison", "before the repair"],
)
async def test_a_batch_that_arrives_meanwhile_is_counted_once(two: tuple[Store, Store], moment: str) -> None:
    ours, theirs = two
    await half_insert(ours, 1)

    interrupted = Interrupted(ours, (moment, lambda: insert(theirs, 2)))
    await Reconciler(cast(Store, interrupted), timeout_s=30).reconcile(1)

    assert not interrupted.left
    assert await rows_of(ours, "SELECT sum(events) FROM traffic") == [(80,)]
    await assert_rebuilding_changes_nothing(ours)


async def test_a_batch_that_comes_and_ends_around_the_comparison_is_counted_once(two: tuple[Store, Store]) -> None:
    """Neither look at what runs can see it: its events are there before the comparison, its rollups after it."""
    ours, theirs = two
    await half_insert(ours, 1)
    creates: dict[str, str] = {}
    least: list[tuple[Any, ...]] = []

    async def begin() -> None:
        creates.update(await drop_views(theirs))
        await insert(theirs, 2)

    async def end() -> None:
        await commit_views(theirs, creates, 2)

    async def before_the_repair() -> None:
        least.extend(await rows_of(theirs, "SELECT sum(events) FROM traffic"))

    interrupted = Interrupted(ours, (COMPARISON, begin), (LOOK, end), ("INSERT INTO traffic", before_the_repair))
    await Reconciler(cast(Store, interrupted), timeout_s=30).reconcile(1)

    assert not interrupted.left
    assert least == [(40,)]
    assert await rows_of(ours, "SELECT sum(events) FROM traffic") == [(80,)]
    await assert_rebuilding_changes_nothing(ours)


async def test_a_difference_that_another_server_has_made_up_is_not_made_up_again(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    await half_insert(ours, 1)

    interrupted = Interrupted(ours, ("INSERT INTO openings", lambda: Reconciler(theirs, timeout_s=30).reconcile(1)))
    await Reconciler(cast(Store, interrupted), timeout_s=30).reconcile(1)

    assert not interrupted.left
    assert await rows_of(ours, "SELECT sum(events) FROM openings") == [(40,)]
    await assert_rebuilding_changes_nothing(ours)


async def test_two_servers_that_reconcile_at_once_end_with_the_same(two: tuple[Store, Store]) -> None:
    ours, theirs = two
    await half_insert(ours, 1)
    await half_insert(ours, 2)
    await asyncio.gather(
        Reconciler(ours, timeout_s=30, jitter=random.Random(1)).reconcile(1),
        Reconciler(theirs, timeout_s=30, jitter=random.Random(2)).reconcile(2),
    )

    assert await rows_of(ours, "SELECT sum(events) FROM openings") == [(80,)]
    await assert_rebuilding_changes_nothing(ours)


async def test_a_repair_of_unknown_outcome_is_compared_again(
    two: tuple[Store, Store], clickhouse_front: ClickHouseFront
) -> None:
    ours, _ = two
    await half_insert(ours, 1)
    clickhouse_front.faults.add(Fault(kind="drop_response", statement="insert", contains="traffic"))
    rollups = Reconciler(ours, timeout_s=30)
    with pytest.raises(StoreAmbiguous):
        await rollups.reconcile(1)
    await rollups.reconcile(1)

    assert await rows_of(ours, "SELECT sum(events) FROM traffic") == [(40,)]
    await assert_rebuilding_changes_nothing(ours)


async def half_insert(store: Store, number: int) -> None:
    """As if ClickHouse had died between the commit of `events` and those of the views."""
    creates = await drop_views(store)
    await insert(store, number)
    for create in creates.values():
        await store.command(create)
