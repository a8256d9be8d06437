"""What expiry does in ClickHouse for one site: counts, deletes and makes right what is older than the site keeps it.

The cut is the beginning of a day in UTC. The events go; of every rollup the keys that count any of them are removed and
made again of the events that are left (`rollups/removal.py`): a session that went on over the cut tells of the rest of
it, and rollups equal `events` at the end. Builds of days before the cut are discarded.

The keys are written down before anything is removed and forgotten last, under an id that is the same for a site every
time: what a killed purge has left is completed by the next one. Batches that came within the last hour are left alone,
because one whose insert is in doubt is verified by counting its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time

from analytics_server.batch_ids import first_batch_id
from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.rollups.materialized_views import is_gone, read_views
from analytics_server.rollups.mutations import delete_rows
from analytics_server.rollups.quiet import InsertWatch
from analytics_server.rollups.registry import DERIVED_TABLES, DerivedTable, Filling, derived_tables
from analytics_server.rollups.removal import EventRemoval
from analytics_server.store.protocol import Store

SETTLED_S = 3_600.0
REWORK_ROUNDS = 5


class ExpiryTables:
    """A site's rows older than `before`, a day in UTC. `now_s`: seconds since 1970."""

    def __init__(self, store: Store, site_id: str, before: date, now_s: float, *, cluster: str) -> None:
        self._store = store
        self._before = before
        self._id = "expiry" + hashlib.sha256(site_id.encode()).hexdigest()[:16]
        self._parameters: Mapping[str, object] = {"site": site_id}
        self._watch = InsertWatch(store, cluster=cluster, timeout_s=TIMEOUT_S, settings=SETTINGS)
        self._site = _quoted(site_id)
        start = f"toDateTime({int(datetime.combine(before, time(), UTC).timestamp())}, 'UTC')"
        settled = f"batch_id < {first_batch_id(now_s - SETTLED_S)}"
        self._old = f"ts < {start} AND {settled}"

    async def rows(self) -> dict[str, int]:
        """Stored rows that would go, by table; nothing where no event would. Raises a store error.

        Of rollups all rows that begin before the cut are counted, also those that will be shortened.
        """
        events = await self._count("events", f"site_id = {{site:String}} AND {self._old}")
        if not events:
            return {}
        found = {"events": events}
        for table in derived_tables(await read_views(self._store)):
            if table.time:
                found[table.name] = await self._count(table.name, f"site_id = {{site:String}} AND {self._older(table)}")
        return {name: rows for name, rows in found.items() if rows}

    async def purge(self) -> None:
        """Remove them. May be called again after it was broken off, wherever. Raises a store error."""
        await self._store.catch_up(["events"])
        for removal in await self._removals():
            await removal.collect(f"site_id = {{site:String}} AND {self._old}", self._parameters)
        await self._store.catch_up(["erasure_keys"])
        await delete_rows(self._store, "events", f"{self._of_site()} AND {self._old}", marker=self._id)
        for _ in range(REWORK_ROUNDS):
            if await self._rework():
                break
        else:
            raise StoreRetryable("The rollups differ from events again and again: other servers are inserting.")
        for table in DERIVED_TABLES:
            if table.filling is Filling.BUILD:
                for name in (table.builds, table.name):
                    await delete_rows(self._store, name, f"{self._of_site()} AND {self._older(table)}", marker=self._id)
        await self._store.command(f"ALTER TABLE erasure_keys DROP PARTITION '{self._id}'")

    async def is_unfinished(self) -> bool:
        """Has an earlier purge of the site been broken off? Raises a store error."""
        return bool(await self._count("erasure_keys", f"id = '{self._id}'"))

    async def _rework(self) -> bool:
        right = True
        for removal in await self._removals():
            try:
                if await removal.rows():
                    await removal.remove()
                    await removal.restore()
                    right = await removal.is_right() and right
            except StoreError as error:
                if not is_gone(error):  # a saved funnel was deleted meanwhile, and its table with it
                    raise
        return right

    async def _removals(self) -> list[EventRemoval]:
        columns = await self._store.query(
            "SELECT table, name, type FROM system.columns WHERE database = currentDatabase()"
        )
        types: dict[str, dict[str, str]] = {}
        for table, name, kind in columns.rows:
            types.setdefault(str(table), {})[str(name)] = str(kind)
        return [
            EventRemoval(self._store, rollup, types[rollup.target], self._id, self._watch)
            for rollup in (await read_views(self._store)).rollups
        ]

    def _of_site(self) -> str:
        """For mutations, which take no parameters. The id makes the mutation known by its text."""
        return f"site_id = {self._site} AND '{self._id}' != ''"

    def _older(self, table: DerivedTable) -> str:
        return f"toDate({table.time}) < toDate('{self._before.isoformat()}')"

    async def _count(self, table: str, condition: str) -> int:
        answer = await self._store.query(
            f"SELECT count() FROM {table} WHERE {condition}", self._parameters, settings=SETTINGS, timeout_s=TIMEOUT_S
        )
        return int(str(answer.rows[0][0]))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
