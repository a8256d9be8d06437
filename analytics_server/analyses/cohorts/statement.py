"""The SQL of cohorts: per subject its first period and the periods with a returning event, then a count of each pair.

Pure: values are bound, expressions come from the field registry. Subjects are grouped once; users by the
hash of their id in both sources, so that both always agree. Rows: cohort, period, subjects; the period `NONE` holds
the cohort's size. Parameters: `site`, `tz`; `first`, `last`, `current`, `periods` (numbers of periods, see
`calendar`); `since` and `until`, the instants between which the cohorts shown lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from analytics_server.analyses.cohorts.calendar import NONE, number_sql
from analytics_server.analyses.cohorts.request import CohortQuestion
from analytics_server.query.dimensions import find_dimension
from analytics_server.query.language.conditions import Condition, all_matches, matches
from analytics_server.query.parameters import MOMENT, Binder
from analytics_server.query.sql.range_edges import BESIDE_EVENTS, SESSION_MARGIN_S, events_with_sessions
from analytics_server.query.sql.render import event_column, render, render_on_events
from analytics_server.query.sql.scope import indent, select

Source = Literal["activity", "events"]

_NAME = find_dimension("event:name")
_SINCE = f"{{since:{MOMENT}}}"
_UNTIL = f"{{until:{MOMENT}}}"
_SHOWN = "cohort >= {first:UInt16} AND cohort <= {last:UInt16}"
_CELLS = (
    f"(period = {NONE} OR (period >= cohort AND period <= {{current:UInt16}} AND period - cohort < {{periods:UInt16}}))"
)


def cheapest_source(question: CohortQuestion) -> Source:
    """`activity` knows users and the names of their events; everything else is read from `events`."""
    used = all_matches((*question.first_where, *question.returning_where))
    named = all(match.dimension is _NAME for match in used)
    return "activity" if question.by == "user" and question.breakdown is None and named else "events"


def tables_of(question: CohortQuestion, source: Source) -> str:
    """The tables read, for the answer's `meta`."""
    return "events+sessions" if source == "events" and _is_joined(question) else source


def select_cohorts(question: CohortQuestion, source: Source, binder: Binder) -> str:
    """Rows: cohort, period, subjects."""
    subjects = _from_activity(question, binder) if source == "activity" else _from_events(question, binder)
    return _counted(subjects, ["cohort"])


def select_breakdown(question: CohortQuestion, binder: Binder) -> str:
    """Rows: value, its subjects in the cohorts shown, how many values there are, and its cells as in `select_cohorts`.

    The values with most subjects first; parameter `limit`: how many.
    """
    cells = _counted(_from_events(question, binder), ["value", "cohort"])
    columns = [
        "value",
        f"sumIf(subjects, period = {NONE}) AS size",
        "count() OVER () AS all_values",
        "groupArray((cohort, period, subjects)) AS cells",
    ]
    return (
        select(columns, f"(\n{indent(cells)}\n)", [], ["value"]) + "\nORDER BY size DESC, value\nLIMIT {limit:UInt64}"
    )


def _counted(subjects: str, groups: Sequence[str]) -> str:
    relation = f"(\n{indent(subjects)}\n)\nARRAY JOIN arrayPushBack(active, toUInt16({NONE})) AS period"
    return select([*groups, "period", "count() AS subjects"], relation, [_CELLS], [*groups, "period"])


def _from_activity(question: CohortQuestion, binder: Binder) -> str:
    """One row per user and day: its first and last event say in which periods it lies (see schema/0007)."""
    first, returning = (_on_names(where, binder) for where in (question.first_where, question.returning_where))
    began, ended = (number_sql(f"a.{name}", question.period) for name in ("first_at", "last_at"))
    if first == returning:
        columns = [
            f"min({began}) AS cohort",
            # Few days lie in two periods: the first is added only for them.
            f"arrayDistinct(arrayConcat(groupArray({ended}), groupArrayIf({began}, {began} != {ended}))) AS active",
        ]
        where = ["a.site_id = {site:String}", first]
    else:
        crossing = f"{returning} AND {began} != {ended}"
        columns = [
            f"minIf({began}, {first}) AS cohort",
            f"arrayDistinct(arrayConcat(groupArrayIf({ended}, {returning}), groupArrayIf({began}, {crossing})))"
            " AS active",
        ]
        where = ["a.site_id = {site:String}", f"({first} OR {returning})"]
    return select(columns, "activity AS a", where, ["a.user_key"]) + f"\nHAVING {_SHOWN}"


def _on_names(where: tuple[Condition, ...], binder: Binder) -> str:
    """Days of any event have a row of their own, without a name."""
    if not where:
        return "a.name = ''"
    return f"({' AND '.join(['a.name != ' + chr(39) * 2, *(render(c, lambda _: 'a.name', binder) for c in where)])})"


def _from_events(question: CohortQuestion, binder: Binder) -> str:
    first, returning = (_holds(where, binder) for where in (question.first_where, question.returning_where))
    key, relation = _KEYS[question.by], _relation(question)
    period = number_sql("e.ts", question.period)
    columns = [f"groupUniqArrayIf({period}, {returning}) AS active"]
    if question.breakdown is None:
        columns.append(f"minIf({period}, {first}) AS cohort")
    else:
        value = f"toString({event_column(question.breakdown, binder)})"
        began = number_sql("tupleElement(began, 1)", question.period)
        # Of several first events at the same moment the smallest value counts.
        columns += [f"minIf((e.ts, {value}), {first}) AS began", f"{began} AS cohort"]
        columns.append("tupleElement(began, 2) AS value")
    where = ["e.site_id = {site:String}", *_known(question, relation, first), f"({first} OR {returning})"]
    return select(columns, relation, where, [key]) + f"\nHAVING {_SHOWN}"


_KEYS = {"user": "cityHash64(e.user_id)", "session": "e.session_key", "visitor": "e.visitor_id"}


def _known(question: CohortQuestion, relation: str, first: str) -> list[str]:
    """Which events may belong to a subject of the cohorts shown."""
    if question.by == "user":
        return ["e.user_id != ''"]
    if question.by == "visitor":
        # An id is made of the event's UTC day, so it has no events on others.
        return [
            "e.visitor_id != 0",
            f"e.ts >= toStartOfDay({_SINCE})",
            f"e.ts < toStartOfDay({_UNTIL}) + INTERVAL 1 DAY",
        ]
    began = ["e.site_id = {site:String}", f"e.ts >= {_SINCE}", f"e.ts < {_UNTIL}", first]
    earliest = select(["min(e.session_start)"], relation, began)
    return [
        f"e.session_key IN (\n{indent(select(['e.session_key'], relation, began))}\n)",
        f"e.ts >= (\n{indent(earliest)}\n) - INTERVAL {SESSION_MARGIN_S} SECOND",
    ]


def _holds(where: tuple[Condition, ...], binder: Binder) -> str:
    return f"({' AND '.join(render_on_events(where, binder))})" if where else "1"


def _is_joined(question: CohortQuestion) -> bool:
    used = [match.dimension for match in matches((*question.first_where, *question.returning_where))]
    return any(dimension.joined for dimension in [*used, *([question.breakdown] if question.breakdown else [])])


def _relation(question: CohortQuestion) -> str:
    if not _is_joined(question):
        return "events AS e"
    return events_with_sessions(select(BESIDE_EVENTS, "sessions AS s FINAL", ["s.site_id = {site:String}"]))
