"""A funnel's question as one statement: per step how many, and how long it took them.

The same statement adds up the attempts wherever they come from. Each attempt is a row with `level`, `after` and
`subjects`, how many subjects it stands for. Pure text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from analytics_server.analyses.funnels.attempts import best_attempts
from analytics_server.analyses.funnels.definition import Funnel
from analytics_server.analyses.funnels.source import elements_of_events
from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.render import event_column
from analytics_server.query.sql.scope import indent

MIDDLE = "0.499999999, 0.5"
"""The two values in the middle, which are the same one for an odd number of them: the median is their mean."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL and its parameters."""

    sql: str
    parameters: dict[str, object]


def bind_range(site_id: str, range_: TimeRange, funnel: Funnel) -> Binder:
    """The parameters of every question about a funnel."""
    binder = Binder()
    binder.name("site", site_id, "String")
    binder.moment("start", range_.start)
    binder.moment("end", range_.end)
    binder.moment("until", range_.end + timedelta(microseconds=funnel.window_us))
    return binder


def direct_attempts(funnel: Funnel, binder: Binder) -> str:
    """A SELECT of the best attempts, from `events`."""
    return best_attempts(funnel, elements_of_events(funnel, binder), binder)


def attempts_with_entries(funnel: Funnel, binder: Binder, entry: str, dimension: Dimension | None = None) -> str:
    """The same with `value`: what the expression `entry` is at step 1.

    Of several first steps at the very same instant the smallest value counts. `dimension`: the one that `entry` reads.
    """
    elements = elements_of_events(funnel, binder, entry, dimension)
    attempts = best_attempts(funnel, elements, binder, extra=("entries",))
    return (
        "SELECT subject, level, start, after,\n"
        "    arrayMin(arrayMap(entry -> entry.2, arrayFilter(entry -> entry.1 = start, entries))) AS value\n"
        f"FROM (\n{indent(attempts)}\n)"
    )


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


def added_up(funnel: Funnel, attempts: str, *, by_value: bool = False) -> str:
    """The numbers of all steps; by value also those of each, most entries first, the total's row leading."""
    steps = range(1, len(funnel.steps) + 1)
    columns = [f"sumIf(a.subjects, a.level >= {step}) AS count_{step}" for step in steps]
    for step in steps[1:]:
        reached = f"a.level >= {step}"
        since = f"a.after[{step - 1}]"
        gone = since if step == 2 else f"{since} - a.after[{step - 2}]"
        columns.append(f"quantilesExactIf({MIDDLE})({since}, {reached}) AS median_{step}")
        columns.append(f"quantilesExactIf({MIDDLE})({gone}, {reached}) AS step_median_{step}")
    numbers = ",\n    ".join(columns)
    if not by_value:
        return f"SELECT\n    {numbers}\nFROM (\n{indent(attempts)}\n) AS a"
    return (
        f"SELECT\n    grouping(a.value) AS is_total, a.value AS value,\n    count() OVER () AS rows,\n    {numbers}\n"
        f"FROM (\n{indent(attempts)}\n) AS a\nGROUP BY GROUPING SETS ((a.value), ())\n"
        "ORDER BY is_total DESC, count_1 DESC, value\nLIMIT {limit:UInt64}"
    )


def _each_once(attempts: str) -> str:
    return f"SELECT *, 1 AS subjects\nFROM (\n{indent(attempts)}\n)"
