"""Erasure in ClickHouse: finds, deletes and makes again; the order is `erasure.py`'s.

Every statement knows the person through the table `erasure_subjects` only.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from analytics_server.errors import StoreError
from analytics_server.privacy.expiry.site_tables import DELETION_MARK
from analytics_server.privacy.person_tables import USER_COLUMN, PersonTable, person_tables
from analytics_server.privacy.scope import SiteScope
from analytics_server.rollups.between_inserts import InsertWatch
from analytics_server.rollups.comparison import SETTINGS, TIMEOUT_S
from analytics_server.rollups.materialized_views import is_gone
from analytics_server.rollups.mutations import delete_rows, mutations_ended
from analytics_server.rollups.registry import DERIVED_TABLES, ErasureMethod
from analytics_server.rollups.removal import removals, rework
from analytics_server.store.literals import literal
from analytics_server.store.protocol import Store

EVENTS_PART, DAYS_PART, ARCHIVE_PART = "events", "days", "archive"
_ARRIVAL = "cityHash64(batch_id, toYYYYMM(ts))"
"""The unit in which events arrive: a month of a batch is inserted as a whole or not at all."""

FILES_S = 900.0
FILES_CHECK_S = 0.5
_AT_ONCE = "old_parts_lifetime = 1, min_rows_to_fsync_after_merge = 1"
"""Replaced parts are deleted at once instead of after eight minutes; they are kept so long because merged parts are not
synced, so meanwhile these are."""

_SETTING_NAMES = "old_parts_lifetime, min_rows_to_fsync_after_merge"


_NO_PARTITION = "100001"
"""No event is so old. Dropping a partition, even one that isn't there, wakes the thread that removes replaced parts,
which sleeps for half a minute otherwise."""


@dataclass(slots=True)
class CollectedRows:
    """Rows by table: the person's own, and those that count the person among others; and all tables concerned."""

    removed: dict[str, int] = field(default_factory=dict)
    rebuilt: dict[str, int] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    of_sites: Counter[str] = field(default_factory=Counter)
    """The person's own, by site."""

    def take(self, table: str, rows: Counter[str]) -> None:
        """The person's own rows of a table, by site."""
        if rows:
            self.removed[table] = rows.total()
            self.of_sites.update(rows)


class ErasureTables:
    """The statements of one erasure, whose id is letters and digits."""

    def __init__(
        self,
        store: Store,
        erasure_id: str,
        scope: SiteScope,
        *,
        cluster: str,
        zone_of: Callable[[str], str | None] = lambda site_id: None,
    ) -> None:
        self._store = store
        self._id = erasure_id
        self._scope = scope
        self._zone_of = zone_of
        self._watch = InsertWatch(store, cluster=cluster, timeout_s=TIMEOUT_S, settings=SETTINGS)
        self._person = f"(SELECT user_id FROM erasure_subjects WHERE id = '{erasure_id}')"
        self._old: list[tuple[str, str]] | None = None

    async def collect(self, cut_off: int) -> CollectedRows:
        """Write down what concerns the person, anew. Raises a store error.

        A purge that was broken off may have left a deletion of events, whose days would be found while it runs and have
        no events after it: totals that were kept of them must stay.
        """
        found = CollectedRows()
        await self._store.catch_up(["events", "erasure_subjects"])
        await mutations_ended(self._store, "events", marker=DELETION_MARK)
        await self._store.command(f"ALTER TABLE erasure_keys DROP PARTITION '{self._id}'")
        mine = f"{USER_COLUMN} IN {self._person} AND {self._scope.condition}"
        arrived = "batch_id <= {cut_off:UInt64}"
        parameters = {**self._scope.parameters, "cut_off": cut_off}
        await self._write_down(
            EVENTS_PART,
            f"SELECT DISTINCT site_id, toDate(0) AS day, {_ARRIVAL} AS key FROM events WHERE {mine} AND {arrived}",
            parameters,
        )
        of_person = f"{mine} AND {self._batches()}"
        found.take("events", await self._count_by_site("events", of_person))
        tables = {table.name: table for table in await person_tables(self._store)}
        for removal in await removals(self._store, self._id, self._watch):
            target, named = removal.target, ""
            if target in tables:
                named = f"x.{USER_COLUMN} IN {self._person} AND {self._scope.condition}"
                found.take(target, await self._count_by_site(tables[target].source, mine))
            await removal.collect(of_person, self._scope.parameters, named)
            if rows := await removal.rows():
                found.tables.append(target)
                if target not in found.removed:
                    found.rebuilt[target] = rows
        for build in (table for table in tables.values() if table.is_build):
            found.take(build.name, await self._count_by_site(build.name, self._subjects(build)))
        if found.removed or found.rebuilt:
            found.tables += ["events", *self._build_tables()]
            await self._write_down_days()
            await self._write_down_archived(of_person)
        await self._store.catch_up(["erasure_keys"])
        return found

    async def delete_events(self) -> None:
        """Delete the person's events of the batches that were found. Raises a store error."""
        condition = f"{USER_COLUMN} IN {self._person} AND {self._batches()}"
        await delete_rows(self._store, "events", condition, marker=self._id)

    async def rework(self) -> bool:
        """Remove the keys from every rollup and make them again; are all of them right? Raises a store error."""
        return await rework(await removals(self._store, self._id, self._watch))

    async def discard_builds(self) -> None:
        """Discard totals of the days that concern the person: what makes them valid first. Raises a store error."""
        days = f"(SELECT site_id, day FROM erasure_keys WHERE id = '{self._id}' AND part = '{DAYS_PART}')"
        for table in DERIVED_TABLES:
            if table.erasure is ErasureMethod.DISCARD_DAYS:
                for name in (table.builds, table.name):
                    await delete_rows(self._store, name, f"(site_id, day) IN {days}", marker=self._id)
        for named in await person_tables(self._store):
            if named.is_build:
                await delete_rows(self._store, named.name, self._subjects(named, in_mutation=True), marker=self._id)

    async def left(self, cut_off: int) -> bool:
        """Does any row still name the person, but for events since the cut-off and what follows from them?

        Raises a store error.
        """
        mine = f"{USER_COLUMN} IN {self._person} AND {self._scope.condition}"
        if await self._count("events", f"{mine} AND batch_id <= {{cut_off:UInt64}}", {"cut_off": cut_off}):
            return True
        has_new = bool(await self._count("events", mine))
        of_rollup = {one.target: one for one in await removals(self._store, self._id, self._watch)}
        for table in await person_tables(self._store):
            if table.name == "events":
                continue
            condition = self._subjects(table) if table.is_build else mine
            if has_new:
                removal = of_rollup.get(table.name)
                if removal is None:
                    continue  # a build, whose days were discarded: it may hold the new events by now
                condition = f"{mine} AND {removal.is_without(mine)}"
            if await self._count(table.source, condition):
                return True
        return False

    # ---- files ---------------------------------------------------------

    async def delete_old_parts_at_once(self, tables: Sequence[str]) -> None:
        """Have replaced parts deleted at once. Raises a store error."""
        await self._set(tables, f"MODIFY SETTING {_AT_ONCE}")

    async def delete_old_parts_as_usual(self, tables: Sequence[str]) -> None:
        """The usual settings again. Raises a store error."""
        await self._set(tables, f"RESET SETTING {_SETTING_NAMES}")

    async def parts_removed(self, tables: Sequence[str]) -> bool:
        """Wait until the parts that were replaced up to now are gone from disk; False when that takes too long."""
        old = set(await self._old_parts(tables))
        deadline = time.monotonic() + FILES_S
        while old and time.monotonic() < deadline:
            for table in sorted({table for table, _ in old}):
                await self._store.command(f"ALTER TABLE {table} DROP PARTITION ID '{_NO_PARTITION}'")
            await asyncio.sleep(FILES_CHECK_S)
            old &= set(await self._old_parts(tables))
        return not old

    async def not_searched(self) -> tuple[str, ...]:
        """What could not be looked into: parts that ClickHouse has set aside. Raises a store error."""
        answer = await self._store.query(
            "SELECT table, count() FROM system.detached_parts WHERE database = currentDatabase() "
            "GROUP BY table ORDER BY table"
        )
        return tuple(f"{parts} detached parts of {table}" for table, parts in answer.rows)

    async def forget_versions(self) -> None:
        """Merge away what saved things were before they were changed. Raises a store error."""
        await self._store.command("OPTIMIZE TABLE saved FINAL")

    async def named_in(self) -> tuple[str, ...]:
        """Saved things in which the user id stands in quotes, such as a filter's value. Raises a store error."""
        user = f"assumeNotNull((SELECT any(user_id) FROM {self._person}))"
        answer = await self._store.query(
            "SELECT kind, id, site_id FROM saved FINAL "
            f"WHERE deleted = 0 AND {self._scope.condition} "
            f"AND multiSearchAny(document, [toJSONString({user}), concat('\\'', {user}, '\\'')]) "
            "ORDER BY site_id, kind, id",
            self._scope.parameters,
            settings={**SETTINGS, "output_format_json_escape_forward_slashes": 0},
        )
        return tuple(f"{kind} {id_} of {site_id}" for kind, id_, site_id in answer.rows)

    async def _old_parts(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        answer = await self._store.query(
            "SELECT table, name FROM system.parts WHERE database = currentDatabase() AND NOT active "
            "AND table IN {tables:Array(String)}",
            {"tables": list(tables)},
        )
        return [(str(table), str(name)) for table, name in answer.rows]

    async def _set(self, tables: Sequence[str], change: str) -> None:
        for table in tables:
            try:
                await self._store.command(f"ALTER TABLE {table} {change}")
            except StoreError as error:
                if not is_gone(error):
                    raise

    # ---- inside --------------------------------------------------------

    def _batches(self) -> str:
        chosen = f"SELECT site_id, key FROM erasure_keys WHERE id = '{self._id}' AND part = '{EVENTS_PART}'"
        return f"(site_id, {_ARRIVAL}) IN ({chosen})"

    def _subjects(self, table: PersonTable, *, in_mutation: bool = False) -> str:
        """SQL: the rows of days of funnels by user. `in_mutation`: for a mutation, which takes no parameters."""
        scope = self._scope.condition
        if in_mutation and self._scope.sites is not None:
            scope = f"site_id IN ({', '.join(literal(site) for site in self._scope.sites)})"
        return f"{table.named_by} IN {self._person} AND {table.where} AND {scope}"

    async def _write_down(self, part: str, select: str, parameters: dict[str, object]) -> None:
        await self._store.command(
            f"INSERT INTO erasure_keys (id, part, site_id, day, key) "
            f"SELECT '{self._id}', '{part}', s.site_id, s.day, s.key FROM ({select}) AS s",
            parameters,
        )

    async def _write_down_days(self) -> None:
        """The days of what was touched, and of all events of the touched sessions, with a day for the time zone."""
        keys = f"FROM erasure_keys WHERE id = '{self._id}'"
        mine = f"{USER_COLUMN} IN {self._person} AND {self._batches()}"
        sessions = f"SELECT site_id, session_key FROM events WHERE {mine}"
        days = (
            f"SELECT site_id, day {keys} AND part NOT IN ('{EVENTS_PART}', '{DAYS_PART}') AND day > toDate(0) "
            f"UNION DISTINCT SELECT DISTINCT site_id, toDate(ts) AS day FROM events "
            f"WHERE (site_id, session_key) IN ({sessions})"
        )
        chosen = "d.site_id AS site_id, addDays(d.day, arrayJoin([-1, 0, 1])) AS day, 0 AS key"
        around = f"SELECT DISTINCT {chosen} FROM ({days}) AS d"
        await self._write_down(DAYS_PART, around, {})

    async def _write_down_archived(self, of_person: str) -> None:
        """How many of the person's events each day has, of the sites of which days are archived, in their zones."""
        scope = self._scope.parameters
        answer = await self._store.query(
            f"SELECT DISTINCT site_id FROM events WHERE {of_person}", scope, settings=SETTINGS, timeout_s=TIMEOUT_S
        )
        for (site_id,) in answer.rows:
            if zone := self._zone_of(str(site_id)):
                await self._write_down(
                    ARCHIVE_PART,
                    "SELECT site_id, toDate(ts, {zone:String}) AS day, count() AS key FROM events"
                    f" WHERE {of_person} AND site_id = {{archived:String}} GROUP BY site_id, day",
                    {**scope, "zone": zone, "archived": str(site_id)},
                )

    async def archived_days(self) -> dict[tuple[str, date], tuple[int, ...]]:
        """Events of each archived day that this erasure removes, by each of those under way. Raises a store error."""
        mine = f"SELECT site_id, day FROM erasure_keys WHERE id = '{self._id}' AND part = '{ARCHIVE_PART}'"
        answer = await self._store.query(
            f"SELECT site_id, day, groupArray(removed) FROM (SELECT site_id, day, max(key) AS removed FROM erasure_keys"
            f" WHERE part = '{ARCHIVE_PART}' AND (site_id, day) IN ({mine}) GROUP BY id, site_id, day)"
            " GROUP BY site_id, day",
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return {(str(site_id), day): tuple(removed) for site_id, day, removed in answer.rows}  # type: ignore[misc,arg-type]

    async def _count_by_site(self, source: str, condition: str) -> Counter[str]:
        answer = await self._store.query(
            f"SELECT site_id, count() FROM {source} WHERE {condition} GROUP BY site_id",
            self._scope.parameters,
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return Counter({str(site_id): int(str(rows)) for site_id, rows in answer.rows})

    async def _count(self, source: str, condition: str, parameters: dict[str, object] | None = None) -> int:
        answer = await self._store.query(
            f"SELECT count() FROM {source} WHERE {condition}",
            {**self._scope.parameters, **(parameters or {})},
            settings=SETTINGS,
            timeout_s=TIMEOUT_S,
        )
        return int(str(answer.rows[0][0]))

    def _build_tables(self) -> list[str]:
        return [
            name
            for table in DERIVED_TABLES
            if table.erasure is ErasureMethod.DISCARD_DAYS
            for name in (table.builds, table.name)
        ]
