"""The day's salts, on the real engine: shared, replaced at midnight, destroyed in time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import StoreRetryable
from analytics_server.privacy.salts import AHEAD_S, DAY_S, SALT_BYTES, Salts
from analytics_server.store import Store, make_store, migrate

DAY = 20_600
MIDNIGHT = DAY * DAY_S
NOON = MIDNIGHT + DAY_S / 2


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(NOON)


@pytest.fixture
async def store(embedded_path: Path) -> AsyncIterator[Store]:
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="salts_test")))
    await made.open()
    await migrate(made)
    yield made
    await made.command("DROP DATABASE salts_test")
    await made.close()


async def days_stored(store: Store) -> list[int]:
    found = await store.query("SELECT DISTINCT toUInt32(day) AS number FROM salts ORDER BY number")
    return [int(str(day)) for (day,) in found.rows]


async def test_a_salt_is_random_and_the_same_all_day(store: Store, clock: Clock) -> None:
    salts = Salts(store, clock)
    await salts.load()
    first = salts.of(DAY)
    clock.now += 6 * 3_600
    await salts.load()

    assert len(first) == SALT_BYTES
    assert salts.of(DAY) == first
    assert await days_stored(store) == [DAY]


async def test_all_servers_agree_whoever_comes_first(store: Store, clock: Clock) -> None:
    one, two = Salts(store, clock), Salts(store, clock)
    await one.load()
    await two.load()
    assert one.of(DAY) == two.of(DAY)

    # Both had to make one while ClickHouse was away: the older row counts once it is back.
    clock.now = MIDNIGHT + DAY_S + 1
    assert one.of(DAY + 1) != two.of(DAY + 1)
    await two.load()
    await one.load()
    assert one.of(DAY + 1) == two.of(DAY + 1)


async def test_a_restarted_server_takes_up_the_day_s_salt(store: Store, clock: Clock) -> None:
    before = Salts(store, clock)
    await before.load()
    after = Salts(store, clock)
    await after.load()

    assert after.of(DAY) == before.of(DAY)


async def test_tomorrow_s_salt_is_there_before_midnight(store: Store, clock: Clock) -> None:
    salts = Salts(store, clock)
    clock.now = MIDNIGHT + DAY_S - AHEAD_S + 1
    await salts.load()
    tomorrow = salts.of(DAY + 1)
    assert await days_stored(store) == [DAY, DAY + 1]
    assert tomorrow != salts.of(DAY)
    clock.now = MIDNIGHT + DAY_S + 1
    await salts.load()

    assert salts.today() == DAY + 1
    assert salts.of(DAY + 1) == tomorrow


async def test_yesterday_s_salt_serves_late_events_and_is_then_destroyed(store: Store, clock: Clock) -> None:
    salts = Salts(store, clock)
    await salts.load()
    old = salts.of(DAY)
    clock.now += DAY_S
    await salts.load()
    assert salts.of(DAY) == old
    assert await days_stored(store) == [DAY, DAY + 1]

    clock.now = MIDNIGHT + 2 * DAY_S
    await salts.load()
    assert await days_stored(store) == [DAY + 1, DAY + 2]
    assert salts.of(DAY) != old
    assert salts.of(DAY) == salts.of(DAY + 2)  # days without a salt of their own use today's


async def test_no_salt_outlives_48_hours_after_its_day_began(store: Store, clock: Clock) -> None:
    salts = Salts(store, clock)
    for hours in (*range(0, 24 * 6, 5), *range(24 * 6, 24 * 822, 101)):  # 27 months; more than a day may be missed
        clock.now = NOON + hours * 3_600
        await salts.load()
        today = int(clock.now) // DAY_S
        assert all(clock.now - day * DAY_S < 48 * 3_600 for day in await days_stored(store))
        assert set(await days_stored(store)) <= {today - 1, today, today + 1}


async def test_what_is_destroyed_is_gone_from_the_table_s_active_parts(store: Store, clock: Clock) -> None:
    salts = Salts(store, clock)
    await salts.load()
    clock.now += 3 * DAY_S
    await salts.load()
    parts = await store.query(
        "SELECT DISTINCT partition FROM system.parts WHERE database = currentDatabase() AND table = 'salts' AND active"
    )

    assert len(parts.rows) == 1


async def test_while_clickhouse_is_away_midnight_still_brings_a_new_salt(store: Store, clock: Clock) -> None:
    salts = Salts(store, clock)
    await salts.load()
    old = salts.of(DAY)

    async def away(*arguments: object, **options: object) -> None:
        raise StoreRetryable("connection refused")

    salts._store = type("Away", (), {"query": away, "insert": away, "command": away})()
    clock.now = MIDNIGHT + DAY_S + 5
    with pytest.raises(StoreRetryable):
        await salts.load()
    new = salts.of(DAY + 1)
    assert new != old

    salts._store = store
    await salts.load()
    assert salts.of(DAY + 1) == new  # and it is kept once ClickHouse is back
    salts._store = type("Away", (), {"query": away, "insert": away, "command": away})()
    clock.now += 2 * DAY_S
    salts._forget_old()
    assert salts.of(DAY) != old
