"""Filling a site through the store: exact counts, no surprise for sites that have data."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.demo.fill import ServerRunning, SiteNotEmpty, check_order, fill, fill_store
from analytics_server.demo.progress import Bar
from analytics_server.demo.rows import RowMaker
from analytics_server.demo.traffic import planned_sessions
from analytics_server.errors import RequestError
from analytics_server.store import Store, make_store, migrate
from tests.demo.orders import order


@pytest.fixture
def config(embedded_path: Path, tmp_path: Path) -> Config:
    return Config(
        server=ServerSection(data_dir=str(tmp_path)),
        clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="demo_fill"),
    )


@pytest.fixture
async def store(config: Config) -> AsyncIterator[Store]:
    made = make_store(config)
    await made.open()
    await migrate(made)
    yield made
    await made.close()


def bar() -> Bar:
    return Bar(1_000, io.StringIO())


async def count(store: Store, site: str) -> tuple[int, int, int]:
    """Events, distinct event ids, and sessions of a site."""
    answer = await store.query(
        "SELECT (SELECT count() FROM events WHERE site_id = {site:String}),"
        " (SELECT uniqExact(event_id) FROM events WHERE site_id = {site:String}),"
        " (SELECT count() FROM sessions FINAL WHERE site_id = {site:String})",
        {"site": site},
    )
    events, ids, sessions = (int(str(value)) for value in answer.rows[0])
    return events, ids, sessions


async def test_fills_a_new_site_with_exactly_the_ordered_traffic(store: Store, config: Config) -> None:
    wanted = order(site="exact.example", sessions=300)
    filled = await fill_store(wanted, config, store, bar(), add=False)
    expected = sum(len(session.events) for session in planned_sessions(wanted))
    assert (filled.sessions, filled.events) == (300, expected)
    assert await count(store, "exact.example") == (expected, expected, 300)


async def test_stores_every_row_as_it_was_made(store: Store, config: Config) -> None:
    wanted = order(site="rows.example", sessions=120)
    await fill_store(wanted, config, store, bar(), add=False)
    answer = await store.query(
        "SELECT toUnixTimestamp64Micro(ts), name, session_id, visitor_id, path, channel, country, scroll_depth,"
        " toString(revenue_amount), props FROM events WHERE site_id = 'rows.example' ORDER BY ts, session_id"
    )
    maker = RowMaker("rows.example", config, wanted.seed)
    rows = sorted(
        (row for session in planned_sessions(wanted) for row in maker.rows(session)), key=lambda row: (row[1], row[4])
    )
    assert len(answer.rows) == len(rows)
    for stored, made in zip(answer.rows, rows, strict=True):
        assert stored[:8] == (made[1], made[2], made[4], made[6], made[11], made[15], made[21], made[31])
        assert float(str(stored[8])) == float(str(made[37]))
        assert stored[9] == (made[41] or {})


async def test_makes_the_site_with_its_time_zone(store: Store, config: Config) -> None:
    await fill_store(order(site="zone.example", sessions=5), config, store, bar(), add=False)
    answer = await store.query("SELECT document FROM sites FINAL WHERE site_id = 'zone.example'")
    assert '"timezone":"Europe/Stockholm"' in str(answer.rows[0][0])


async def test_refuses_a_site_that_has_events_unless_told_to_add(store: Store, config: Config) -> None:
    wanted = order(site="full.example", sessions=10)
    first = await fill_store(wanted, config, store, bar(), add=False)
    with pytest.raises(SiteNotEmpty, match="--add"):
        await fill_store(wanted, config, store, bar(), add=False)
    second = await fill_store(order(site="full.example", sessions=10, seed=2), config, store, bar(), add=True)
    assert (await count(store, "full.example"))[0] == first.events + second.events


async def test_keeps_the_zone_of_a_site_when_none_is_given(store: Store, config: Config) -> None:
    await fill_store(order(site="kept.example", sessions=5), config, store, bar(), add=False)
    await fill_store(order(site="kept.example", sessions=5, timezone=""), config, store, bar(), add=True)
    answer = await store.query("SELECT document FROM sites FINAL WHERE site_id = 'kept.example'")
    assert '"timezone":"Europe/Stockholm"' in str(answer.rows[0][0])


async def test_says_what_to_do_when_a_server_has_the_data_directory(config: Config) -> None:
    config.wal_dir.mkdir(parents=True)
    lock = os.open(config.wal_dir / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServerRunning, match="--url"):
            await fill(order(sessions=1), config, bar(), add=False)
    finally:
        os.close(lock)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"site": "No Site"}, "site's id"),
        ({"days": 0}, "--days"),
        ({"sessions": 0}, "--sessions"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
    ],
)
def test_refuses_orders_that_make_no_sense(change: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_order(order(**change))


def test_progress_is_plain_lines_when_nobody_watches() -> None:
    stream = io.StringIO()
    with Bar(200, stream) as shown:
        for _ in range(200):
            shown.advance(1, 7)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 10
    assert "200 sessions, 1,400 events" in lines[-1]


def test_progress_is_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with Bar(10, stream) as shown:
        for _ in range(10):
            shown.advance(1, 7)
    assert "10/10" in stream.getvalue()
    assert "\x1b" in stream.getvalue()
