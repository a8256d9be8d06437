"""Expiry in ClickHouse: counts and deletes what is older than sites keep it, and corrects what is derived from it.

The cut of a site is the beginning of a day in UTC. All sites are worked on together, because ClickHouse rewrites parts,
not sites: a purge takes as long for a hundred as for one.
The events go; of every rollup the keys that count any of them are removed and made again of the events that are left
(`rollups/removal.py`): a session that went on over the cut tells of the rest of it, and rollups equal `events` at the
end. Builds of days before the cut are discarded; where a site keeps its totals of days for longer, those that are
marked (`kept_totals.py`) go at a cut of their own.

The keys are written down before anything is removed and forgotten last, with the rows that are to go and up to which
batch: what a killed purge has left is completed by the next one, whatever the sites say then, and told exactly. Batches
that came within the last hour are left alone, because one whose insert is in doubt is verified by counting its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from analytics_server.batch_ids import first_batch_id
from analytics_server.errors import StoreRetryable
from analytics_server.privacy.expiry.recording import OnPhase, unheard
from analytics_server.rollups.between_inserts import InsertWatch
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.rollups.materialized_views import read_views
from analytics_server.rollups.mutations import delete_rows, mutations_ended
from analytics_server.rollups.registry import DERIVED_TABLES, DerivedTable, Filling, derived_tables
from analytics_server.rollups.removal import removals, rework
from analytics_server.store.literals import literal
from analytics_server.store.protocol import Store

PURGE = "expiry"
"""The id of the keys that are written down: one purge at a time, under the lease."""

DELETION_MARK = f"'{PURGE}' != ''"
"""By which the deletions of a purge are known, also those that a killed one has left."""

SETTLED_S = 3_600.0
REWORK_ROUNDS = 5


class ExpiryTables:
    """The sites' rows older than their cut, a day in UTC. `now_s`: seconds since 1970. `totals_cuts`: of sites that
    keep totals of days for longer. `settled`: only batches of lower ids, where an earlier purge says which; else those
    that came more than an hour ago. `on_phase`: see `recording.py`."""

    def __init__(
        self,
        store: Store,
        cuts: Mapping[str, date],
        now_s: float,
        *,
        cluster: str,
        totals_cuts: Mapping[str, date] | None = None,
        settled: int = 0,
        on_phase: OnPhase = unheard,
    ) -> None:
        self._store = store
        self._on_phase = on_phase
        self._totals_cuts = totals_cuts or {}
        self._watch = InsertWatch(store, cluster=cluster, timeout_s=TIMEOUT_S, settings=SETTINGS)
        self._settled = settled or first_unsettled(now_s)
        self._sites: dict[date, list[str]] = {}
        for site_id, before in sorted(cuts.items()):
            self._sites.setdefault(before, []).append(site_id)

    async def rows(self) -> dict[str, dict[str, int]]:
        """Stored rows that would go, by site and table; no site of which nothing would go. Raises a store error.

        Of rollups all rows that begin before the cut are counted, also those that will be shortened.
        """
        found: dict[str, dict[str, int]] = {}
        for site_id, events in (await self._counts("events", self._old_events())).items():
            found[site_id] = {"events": events}
        for table in (table for table in DERIVED_TABLES if table.outlives_events):
            for site_id in await self._counts(table.builds, f"{_KEPT} AND {self._old_rows(table)}"):
                found.setdefault(site_id, {})
        if not found:
            return found
        for table in derived_tables(await read_views(self._store)):
            if table.time:
                for site_id, rows in (await self._counts(table.name, self._old_rows(table))).items():
                    if site_id in found:
                        found[site_id][table.name] = rows
        return found

    async def purge(self, planned: Mapping[str, Mapping[str, int]]) -> None:
        """Remove them; `finish` is next. `planned`: the answer of `rows`, to be told once all is done.

        May be called again after it was broken off, wherever. Raises a store error.
        """
        self._on_phase("collect")
        await self._write_down(planned)
        await self._store.catch_up(["events"])
        for removal in await removals(self._store, PURGE, self._watch):
            await removal.collect(self._old_events(), {})
        await self._store.catch_up(["erasure_keys"])
        self._on_phase("delete")
        await delete_rows(self._store, "events", _marked(self._old_events()), marker=DELETION_MARK)

    async def finish(self) -> None:
        """Make everything right that was derived from what is removed; `forget` is next. Raises a store error."""
        await mutations_ended(self._store, "events", marker=DELETION_MARK)
        self._on_phase("rollups")
        for _ in range(REWORK_ROUNDS):
            if await rework(await removals(self._store, PURGE, self._watch)):
                break
        else:
            raise StoreRetryable("The rollups differ from events again and again: other servers are inserting.")
        self._on_phase("builds")
        for table in DERIVED_TABLES:
            if table.filling is Filling.BUILD:
                for name in (table.builds, table.name):
                    rows = self._unkept_rows(table, name) if table.outlives_events else self._old_rows(table)
                    await delete_rows(self._store, name, _marked(rows), marker=DELETION_MARK)

    async def forget(self) -> None:
        """The purge is over. Raises a store error."""
        await self._store.command(f"ALTER TABLE erasure_keys DROP PARTITION '{PURGE}'")

    async def _write_down(self, planned: Mapping[str, Mapping[str, int]]) -> None:
        noted = [
            (f"{_ROWS}{table}", site_id, before, rows)
            for before, sites in self._sites.items()
            for site_id in sites
            for table, rows in planned.get(site_id, {}).items()
        ]
        noted.append((_SETTLED, "", date(1970, 1, 1), self._settled))
        columns = [[PURGE] * len(noted), *map(list, zip(*noted, strict=True))]
        await self._store.insert("erasure_keys", ("id", "part", "site_id", "day", "key"), columns)

    def _old_events(self) -> str:
        """SQL without parameters, as mutations take none."""

        def start(before: date) -> str:
            return f"toDateTime({int(datetime.combine(before, time(), UTC).timestamp())}, 'UTC')"

        return self._each({before: f"ts < {start(before)} AND batch_id < {self._settled}" for before in self._sites})

    def _old_rows(self, table: DerivedTable) -> str:
        """Of what may outlive its events: those that would go if all others were marked."""
        sites = self._by_totals_cut() if table.outlives_events else self._sites
        return self._each({before: _older(before, table.time) for before in sites}, sites)

    def _unkept_rows(self, table: DerivedTable, name: str) -> str:
        """Rows that go now of what may outlive its events; `name`: that table, or the one of its builds."""
        kept = _KEPT if name == table.builds else f"build_id IN (SELECT build_id FROM {table.builds} WHERE {_KEPT})"
        early = self._each({before: _older(before, table.time) for before in self._sites})
        return f"({self._old_rows(table)} OR ({early} AND NOT ({kept})))"

    def _by_totals_cut(self) -> dict[date, list[str]]:
        found: dict[date, list[str]] = {}
        for before, sites in self._sites.items():
            for site_id in sites:
                found.setdefault(self._totals_cuts.get(site_id, before), []).append(site_id)
        return found

    def _each(self, older: Mapping[date, str], sites_of: Mapping[date, list[str]] | None = None) -> str:
        """What holds for rows of the sites of each cut."""
        return (
            "("
            + " OR ".join(
                f"site_id IN ({', '.join(map(literal, sites))}) AND {older[before]}"
                for before, sites in (sites_of or self._sites).items()
            )
            + ")"
        )

    async def _counts(self, table: str, condition: str) -> dict[str, int]:
        answer = await self._store.query(
            f"SELECT site_id, count() FROM {table} WHERE {condition} GROUP BY site_id",
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return {str(site_id): int(str(rows)) for site_id, rows in answer.rows}


_KEPT = "kept = 1"
_ROWS, _SETTLED = "rows of ", "settled"


def first_unsettled(now_s: float) -> int:
    """The least id of a batch that is left alone yet; `now_s`: seconds since 1970."""
    return first_batch_id(now_s - SETTLED_S)


class UnfinishedPurge(NamedTuple):
    """A purge that was broken off: the cut of each site, and the rows; up to which batch. 0: it did not say."""

    sites: dict[str, tuple[date, dict[str, int]]]
    settled: int


async def unfinished(store: Store) -> UnfinishedPurge:
    """What was broken off; no sites where nothing was. Raises a store error."""
    answer = await store.query(
        f"SELECT site_id, day, part, max(key) FROM erasure_keys WHERE id = '{PURGE}' "
        f"AND (startsWith(part, '{_ROWS}') OR part = '{_SETTLED}') "
        "GROUP BY site_id, day, part ORDER BY site_id, part",
        timeout_s=TIMEOUT_S,
    )
    found, settled = dict[str, tuple[date, dict[str, int]]](), 0
    for site_id, day, part, rows in answer.rows:
        if part == _SETTLED:
            settled = int(str(rows))
            continue
        found.setdefault(str(site_id), (day, {}))[1][str(part).removeprefix(_ROWS)] = int(str(rows))  # type: ignore[arg-type]
    return UnfinishedPurge(found, settled)


def _older(before: date, time_column: str) -> str:
    return f"toDate({time_column}) < toDate('{before.isoformat()}')"


def _marked(condition: str) -> str:
    """The condition of a mutation that is known by its text."""
    return f"{DELETION_MARK} AND {condition}"
