"""The table `drops`: how counts are written to it and read from it.

Sums over all servers. What is older than `KEPT` is not read, also where ClickHouse has not deleted it yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from analytics_server.drops.unwritten import QUARTER_S, DropRow
from analytics_server.query.language.time_range import TimeRange
from analytics_server.store.protocol import ResultSet, Store

KEPT = timedelta(days=30)
"""As the table's TTL says."""

MOST_LISTED = 1_000
"""So many reasons of sites are told at most, the most frequent ones."""

READ_EXAMPLES = 20
"""Of each reason: more than are told, so that the most frequent are right once those in memory are added."""

WRITE_TIMEOUT_S = 30.0
_COLUMNS = ("site_id", "bucket", "reason", "kind", "example", "events", "last_at")

_WHERE = (
    "WHERE d.bucket >= toDateTime({start:UInt32}, 'UTC')"
    " AND d.bucket < toDateTime({end:UInt32}, 'UTC')"
    " AND ({all_sites:UInt8} = 1 OR d.site_id IN {sites:Array(String)})"
)
_LISTED = (
    f"(d.site_id, d.reason) IN (SELECT d.site_id, d.reason FROM drops AS d {_WHERE}"
    f" GROUP BY d.site_id, d.reason ORDER BY sum(d.events) DESC, d.site_id, d.reason LIMIT {MOST_LISTED})"
)
_TOTALS = (
    "SELECT d.site_id, d.reason, d.kind, sum(d.events), toUnixTimestamp(max(d.last_at))"
    f" FROM drops AS d {_WHERE} AND {_LISTED} GROUP BY d.site_id, d.reason, d.kind"
)
_EXAMPLES = (
    "SELECT d.site_id, d.reason, d.example, sum(d.events) AS times"
    f" FROM drops AS d {_WHERE} AND d.example != '' AND {_LISTED} GROUP BY d.site_id, d.reason, d.example"
    f" ORDER BY times DESC, d.example LIMIT {READ_EXAMPLES} BY d.site_id, d.reason"
)
_HOURS = (
    "SELECT toUnixTimestamp(d.bucket) - 60 * toMinute(d.bucket, {tz:String}) AS hour, d.reason, sum(d.events)"
    f" FROM drops AS d {_WHERE} GROUP BY hour, d.reason"
)


class DropSelection(NamedTuple):
    """What is asked for: a range of time, and the names of sites, None for all there are."""

    range_: TimeRange
    sites: tuple[str, ...] | None
    now: datetime

    @property
    def start_s(self) -> int:
        """Where the first quarter of an hour begins, seconds since 1970."""
        start = max(self.range_.start, self.now - KEPT).timestamp()
        return int(start // QUARTER_S) * QUARTER_S

    def holds(self, row: DropRow) -> bool:
        """Is the row asked for?"""
        is_named = self.sites is None or row.site_id in self.sites
        return is_named and self.start_s <= row.bucket_s < self.range_.end.timestamp()


class DropTotals:
    """Sums of what was asked for: of the table's rows, then also of others."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self.kinds: dict[tuple[str, str], dict[str, int]] = {}
        """Events by site and reason, then by kind."""
        self.last_s: dict[tuple[str, str], int] = {}
        self.examples: dict[tuple[str, str], dict[str, int]] = {}
        self.hours: dict[tuple[int, str], int] = {}
        """Events by the instant at which the local hour begins, and reason."""

    def add_total(self, site_id: str, reason: str, kind: str, events: int, last_s: int) -> None:
        """Count events of a site and reason."""
        key = (site_id, reason)
        kinds = self.kinds.setdefault(key, {})
        kinds[kind] = kinds.get(kind, 0) + events
        self.last_s[key] = max(self.last_s.get(key, 0), last_s)

    def add_example(self, site_id: str, reason: str, example: str, events: int) -> None:
        """Count events of an example."""
        examples = self.examples.setdefault((site_id, reason), {})
        examples[example] = examples.get(example, 0) + events

    def add_hour(self, hour_s: int, reason: str, events: int) -> None:
        """Count events of an hour."""
        self.hours[hour_s, reason] = self.hours.get((hour_s, reason), 0) + events

    def add_row(self, row: DropRow) -> None:
        """Count a row that is not in the table."""
        self.add_total(row.site_id, row.reason, row.kind, row.events, row.last_s)
        if row.example:
            self.add_example(row.site_id, row.reason, row.example, row.events)
        minute = datetime.fromtimestamp(row.bucket_s, self._zone).minute
        self.add_hour(row.bucket_s - 60 * minute, row.reason, row.events)


async def write_rows(store: Store, rows: Sequence[DropRow], token: str) -> None:
    """Insert rows; again under the same `token` they are not added twice. Raises a store error."""
    columns: list[list[object]] = [list(column) for column in zip(*rows, strict=True)]
    for time_column in (1, 6):
        columns[time_column] = [datetime.fromtimestamp(int(str(at)), UTC) for at in columns[time_column]]
    settings = {"insert_deduplicate": "1", "insert_deduplication_token": token}
    await store.insert("drops", _COLUMNS, columns, settings=settings, timeout_s=WRITE_TIMEOUT_S)


async def read_totals(store: Store, selection: DropSelection, *, timeout_s: float) -> DropTotals:
    """What the table holds of it. Raises a store error, or `TooManyRequests`."""
    zone, sites = selection.range_.zone, selection.sites
    parameters: Mapping[str, object] = {
        "start": selection.start_s,
        "end": int(selection.range_.end.timestamp()),
        "all_sites": int(sites is None),
        "sites": list(sites or ()),
        "tz": zone.key,
    }
    tenant = sites[0] if sites is not None and len(sites) == 1 else ""

    async def ask(sql: str) -> ResultSet:
        return await store.query(sql, parameters, timeout_s=timeout_s, tenant=tenant)

    found = DropTotals(zone)
    for site_id, reason, kind, events, last_s in (await ask(_TOTALS)).rows:
        found.add_total(str(site_id), str(reason), str(kind), int(str(events)), int(str(last_s)))
    for site_id, reason, example, events in (await ask(_EXAMPLES)).rows:
        found.add_example(str(site_id), str(reason), str(example), int(str(events)))
    for hour_s, reason, events in (await ask(_HOURS)).rows:
        found.add_hour(int(str(hour_s)), str(reason), int(str(events)))
    return found
