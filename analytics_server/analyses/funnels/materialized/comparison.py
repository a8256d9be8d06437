"""Compares the kept days of a saved funnel with the same attempts made of `events` again, for `doctor`.

Constraint: only builds that questions would read are compared. One whose day has changed since (`days`) is stale, which
is no fault: it is not read, and made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from analytics_server.analyses.funnels.materialized.builder import COLUMNS, rows_of_day
from analytics_server.analyses.funnels.materialized.days import Build, survey
from analytics_server.analyses.funnels.materialized.facts import Facts
from analytics_server.query.language.time_range import TimeRange, midnight
from analytics_server.query.plan.coverage import DAY
from analytics_server.query.sql.select import Select, Subquery, Table, print_sql, select
from analytics_server.store.protocol import Settings, Store
from analytics_server.zones import find_zone

_ZONES = """
SELECT b.timezone, toString(min(b.day)), toString(max(b.day)) FROM funnel_builds AS b
WHERE b.site_id = {site:String} AND b.definition = {definition:String} GROUP BY b.timezone
"""


@dataclass(frozen=True, slots=True)
class ComparedDays:
    """Days of one funnel: how many builds are read, which of these are `wrong`, and which builds are `stale`.

    `newest`: the greatest id of any build that was looked at.
    """

    held: int
    newest: int
    stale: tuple[date, ...]
    wrong: tuple[date, ...]


async def compare_days(store: Store, facts: Facts, *, timeout_s: float, settings: Settings) -> ComparedDays:
    """Compare every day of a funnel. Raises a store error."""
    named = {"site": facts.site_id, "definition": facts.definition}
    held: list[date] = []
    stale: list[date] = []
    wrong: list[date] = []
    newest = 0
    for name, first, last in (await store.query(_ZONES.strip(), named, timeout_s=timeout_s)).rows:
        zone = find_zone(str(name))
        if zone is None:  # no question reads them either
            continue
        span = date.fromisoformat(str(first)), date.fromisoformat(str(last))
        for build, holds in (await survey(store, facts, zone.key, *span, timeout_s=timeout_s)).values():
            newest = max(newest, build.build_id)
            if not holds:
                stale.append(build.day)
                continue
            held.append(build.day)
            again, kept = _made_again(facts, build, zone), _kept(facts, build)
            answers = [await store.query(*each, settings=settings, timeout_s=timeout_s) for each in (again, kept)]
            if answers[0].rows != answers[1].rows:
                wrong.append(build.day)
    return ComparedDays(len(held), newest, tuple(sorted(stale)), tuple(sorted(wrong)))


def _made_again(facts: Facts, build: Build, zone: ZoneInfo) -> tuple[str, dict[str, object]]:
    start, end = (midnight(day, zone) for day in (build.day, build.day + DAY))
    rows, values = rows_of_day(facts, TimeRange(start, end, zone))
    opened = {"opened_since": build.opened_since, "opened_until": build.opened_until}
    return print_sql(_digest(Subquery(rows, "r"), COLUMNS.values())), values | opened


def _kept(facts: Facts, build: Build) -> tuple[str, dict[str, object]]:
    where = ["r.site_id = {site:String}", "r.definition = {definition:String}", "r.build_id = {build:UInt64}"]
    named = {"site": facts.site_id, "definition": facts.definition, "build": build.build_id}
    return print_sql(_digest(Table("funnel_days", "r"), COLUMNS, where)), named


def _digest(source: Table | Subquery, names: Iterable[str], where: Sequence[str] = ()) -> Select:
    """How many rows there are, how many subjects they count, and a number that any other rows would change."""
    *values, subjects = (f"r.{name}" for name in names)
    row = f"cityHash64({', '.join(values)}, toUInt64({subjects}))"
    return select(["count()", f"sum({subjects})", f"sum({row})"], source, where)
