"""Fills a site with synthetic traffic, straight into the store.

Rows go in as columns, 50,000 at a time, one insert per month; while the engine writes
one block the next one is made. Nothing passes the write-ahead log: the command can be
run again. The engine in process belongs to one process, so a running server on the same
data directory is refused; it can be reached through HTTP instead (`send.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from analytics_server.access.sites.sites import Sites, valid_site_id
from analytics_server.batch_ids import new_batch_id
from analytics_server.config import Config
from analytics_server.demo.progress import Meter
from analytics_server.demo.rows import RowMaker
from analytics_server.demo.traffic import TrafficOrder, planned_sessions
from analytics_server.errors import AnalyticsError, RequestError
from analytics_server.ingest.flush.batch import INSERT_COLUMNS, Batch, to_columns
from analytics_server.model import COLUMN_NAMES
from analytics_server.store import Store, capabilities_of, make_store, migrate
from analytics_server.store.data_directory import make_private
from analytics_server.zones import check_timezone

CHUNK_ROWS = 50_000
MAX_DAYS = 3_650
MAX_SESSIONS = 10_000_000


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    site: str
    sessions: int
    events: int
    seconds: float


class SiteNotEmpty(AnalyticsError):
    """The site has events already, and `add` was not given."""

    code = "site_not_empty"

    def __init__(self, site: str) -> None:
        super().__init__(
            f"The site {site!r} already has events. Give another name with --site,"
            " or say --add to mix made-up traffic with what is there."
        )


class ServerRunning(AnalyticsError):
    """Another process has the data directory."""

    code = "server_running"

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"A server is running on {directory} and owns the database there. Stop it, or send the traffic"
            " through it: analytics-server demo --url http://127.0.0.1:8000 --token ADMIN_TOKEN"
        )


def check_order(order: TrafficOrder) -> None:
    """Raises `RequestError` for an order that can't be carried out."""
    if valid_site_id(order.site) != order.site:
        raise RequestError(f"{order.site!r} can't be a site's id: use a host name such as example.com.")
    if not 1 <= order.days <= MAX_DAYS:
        raise RequestError(f"--days must lie between 1 and {MAX_DAYS}.")
    if not 1 <= order.sessions <= MAX_SESSIONS:
        raise RequestError(f"--sessions must lie between 1 and {MAX_SESSIONS:,}.")
    if order.timezone:
        check_timezone(order.timezone)


async def fill(
    order: TrafficOrder,
    config: Config,
    meter: Meter,
    *,
    add: bool,
    on_filled: Callable[[Store, Filled], Awaitable[None]] | None = None,
) -> Filled:
    """Open the store that the config names, fill the site, tell what was done, close it."""
    check_order(order)
    with _alone(config):
        store = make_store(config)
        await store.open()
        try:
            await migrate(store, cluster=config.clickhouse.cluster)
            filled = await fill_store(order, config, store, meter, add=add)
            if on_filled is not None:
                await on_filled(store, filled)
            return filled
        finally:
            await store.close()


async def fill_store(order: TrafficOrder, config: Config, store: Store, meter: Meter, *, add: bool) -> Filled:
    """Fill a site through an open store with the schema in place. Raises `SiteNotEmpty`."""
    sites = Sites(store, config.sites)
    await sites.load()
    if not add and await _has_events(store, order.site):
        raise SiteNotEmpty(order.site)
    site = sites.get(order.site)
    if site is None:
        site = await sites.create(order.site, order.timezone)
    elif order.timezone and order.timezone != site.timezone:
        site = await sites.put(msgspec.structs.replace(site, timezone=order.timezone))
    order = msgspec.structs.replace(order, timezone=site.timezone)
    started = time.perf_counter()
    maker = RowMaker(order.site, config, order.seed)
    writing: asyncio.Task[None] | None = None
    rows: list[list[object]] = []
    sessions = events = 0
    try:
        for session in planned_sessions(order):
            made = maker.rows(session)
            rows.extend(made)
            sessions += 1
            meter.advance(1, len(made))
            if len(rows) >= CHUNK_ROWS or sessions == order.sessions:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(_write(store, rows, config.clickhouse.insert_timeout_s))
                await asyncio.sleep(0)
                events += len(rows)
                rows = []
        if writing is not None:
            await writing
            writing = None
    finally:
        if writing is not None:
            writing.cancel()
    return Filled(site=order.site, sessions=sessions, events=events, seconds=time.perf_counter() - started)


async def _write(store: Store, rows: list[list[object]], timeout_s: float) -> None:
    batch = Batch(rows, [], COLUMN_NAMES)
    for month in batch.months:
        batch_id = new_batch_id(time.time())
        encoded = await store.encode("events", INSERT_COLUMNS, _columns(batch, month, batch_id))
        await store.insert_encoded("events", encoded, timeout_s=timeout_s)


def _columns(batch: Batch, month: int, batch_id: int) -> Iterator[Sequence[Sequence[object]]]:
    return (to_columns(piece, batch_id) for piece in batch.part(month))


async def _has_events(store: Store, site_id: str) -> bool:
    answer = await store.query("SELECT 1 FROM events WHERE site_id = {site:String} LIMIT 1", {"site": site_id})
    return bool(answer.rows)


@contextlib.contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Hold the lock that a server holds while it runs; only the engine in process needs it."""
    if not capabilities_of(config).owns_files:
        yield
        return
    make_private(config.wal_dir)
    lock = os.open(config.wal_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ServerRunning(str(config.data_dir)) from error
        yield
    finally:
        os.close(lock)
