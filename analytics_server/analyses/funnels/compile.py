"""A funnel's question as one statement: per step how many, and how long it took them.

The same statement adds up the attempts wherever they come from. Each attempt is a row with `level`, `after` and
`subjects`, how many subjects it stands for. Pure text.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from analytics_server.analyses.funnels.attempts import best_attempts
from analytics_server.analyses.funnels.definition import Funnel
from analytics_server.analyses.funnels.events_table import elements_of_events
from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.render import event_column
from analytics_server.query.sql.select import Query, Select, Statement, Subquery, select

MIDDLE = "0.499999999, 0.5"
"""The two values in the middle, which are the same one for an odd number of them: the median is their mean."""


def bind_range(site_id: str, range_: TimeRange, funnel: Funnel) -> Binder:
    """The parameters of every question about a funnel."""
    binder = Binder()
    binder.name("site", site_id, "String")
    binder.moment("start", range_.start)
    binder.moment("end", range_.end)
    binder.moment("until", range_.end + timedelta(microseconds=funnel.window_us))
    return binder


def direct_attempts(funnel: Funnel, binder: Binder) -> Select:
    """A SELECT of the best attempts, from `events`."""
    return best_attempts(funnel, elements_of_events(funnel, binder), binder)


def attempts_with_entries(funnel: Funnel, binder: Binder, entry: str, dimension: Dimension | None = None) -> Select:
    """The same with `value`: what the expression `entry` is at step 1.

    Of several first steps at the very same instant the smallest value counts. `dimension`: the one that `entry` reads.
    """
    elements = elements_of_events(funnel, binder, entry, dimension)
    attempts = best_attempts(funnel, elements, binder, extra=("entries",))
    value = "arrayMin(arrayMap(entry -> entry.2, arrayFilter(entry -> entry.1 = start, entries))) AS value"
    return select(["subject", "level", "start", "after", value], Subquery(attempts))


def compile_funnel(
    funnel: Funnel, site_id: str, range_: TimeRange, breakdown: Dimension | None = None, limit: int = 0
) -> Statement:
    """The whole question, answered from `events`."""
    binder = bind_range(site_id, range_, funnel)
    if breakdown is None:
        attempts = direct_attempts(funnel, binder)
        return Statement(added_up(funnel, _each_once(attempts)), binder.values)
    binder.name("limit", limit + 1, "UInt64")
    attempts = attempts_with_entries(funnel, binder, f"toString({event_column(breakdown, binder)})", breakdown)
    return Statement(added_up(funnel, _each_once(attempts), by_value=True), binder.values)


def added_up(funnel: Funnel, attempts: Query, *, by_value: bool = False) -> Select:
    """The numbers of all steps; by value also those of each, most entries first, the total's row leading."""
    steps = range(1, len(funnel.steps) + 1)
    columns = [f"sumIf(a.subjects, a.level >= {step}) AS count_{step}" for step in steps]
    for step in steps[1:]:
        reached = f"a.level >= {step}"
        since = f"a.after[{step - 1}]"
        gone = since if step == 2 else f"{since} - a.after[{step - 2}]"
        columns.append(f"quantilesExactIf({MIDDLE})({since}, {reached}) AS median_{step}")
        columns.append(f"quantilesExactIf({MIDDLE})({gone}, {reached}) AS step_median_{step}")
    source = Subquery(attempts, "a")
    if not by_value:
        return select(columns, source)
    leading = ["grouping(a.value) AS is_total", "a.value AS value", "count() OVER () AS rows"]
    found = select([*leading, *columns], source, group_by=["GROUPING SETS ((a.value), ())"])
    return replace(found, order_by=("is_total DESC", "count_1 DESC", "value"), limit="{limit:UInt64}")


def _each_once(attempts: Select) -> Select:
    return select(["*", "1 AS subjects"], Subquery(attempts))
