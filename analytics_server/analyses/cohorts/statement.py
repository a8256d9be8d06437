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
from analytics_server.query.language.conditions import Condition, all_matches
from analytics_server.query.language.filter_classes import reads_pages
from analytics_server.query.language.goal_filters import ANY_ACTIVE
from analytics_server.query.parameters import MOMENT, Binder
from analytics_server.query.sql.from_tables import (
    BESIDE_EVENTS,
    EVENTS,
    SESSIONS,
    SITE_OF_EVENTS,
    SITE_OF_SESSIONS,
    events_with_sessions,
)
from analytics_server.query.sql.range_edges import SESSION_MARGIN_S
from analytics_server.query.sql.render import event_column, render, render_on_events
from analytics_server.query.sql.select import (
    ArrayJoin,
    Expression,
    Join,
    Relation,
    Select,
    Subquery,
    Table,
    and_,
    compose,
    is_in,
    or_,
    select,
)

CohortTable = Literal["activity", "events"]

_NAME = find_dimension("event:name")
_SINCE = f"{{since:{MOMENT}}}"
_UNTIL = f"{{until:{MOMENT}}}"
_SHOWN = "cohort >= {first:UInt16} AND cohort <= {last:UInt16}"
_CELLS = (
    f"(period = {NONE} OR (period >= cohort AND period <= {{current:UInt16}} AND period - cohort < {{periods:UInt16}}))"
)


def cheapest_source(question: CohortQuestion) -> CohortTable:
    """`activity` knows users and the names of their events; everything else is read from `events`."""
    used = [where for where in (question.first_where, question.returning_where) if not _is_any(where)]
    named = all(match.dimension is _NAME for where in used for match in all_matches(where))
    return "activity" if question.by == "user" and question.breakdown is None and named else "events"


def tables_of(question: CohortQuestion, source: CohortTable) -> str:
    """The tables read, for the answer's `meta`."""
    return "events+sessions" if source == "events" and _is_joined(question) else source


def select_cohorts(question: CohortQuestion, source: CohortTable, binder: Binder) -> Select:
    """Rows: cohort, period, subjects."""
    subjects = _from_activity(question, binder) if source == "activity" else _from_events(question, binder)
    return _counted(subjects, ["cohort"])


def select_breakdown(question: CohortQuestion, binder: Binder) -> Select:
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
    return Select(
        columns=tuple(columns),
        source=Subquery(cells),
        group_by=("value",),
        order_by=("size DESC", "value"),
        limit="{limit:UInt64}",
    )


def _counted(subjects: Select, groups: Sequence[str]) -> Select:
    source = ArrayJoin(Subquery(subjects), f"arrayPushBack(active, toUInt16({NONE})) AS period")
    return select([*groups, "period", "count() AS subjects"], source, [_CELLS], [*groups, "period"])


def _from_activity(question: CohortQuestion, binder: Binder) -> Select:
    """One row per user and day: its first and last event say in which periods it lies (see schema/0007)."""
    first, returning = (_on_names(where, binder) for where in (question.first_where, question.returning_where))
    began, ended = (number_sql(f"a.{name}", question.period) for name in ("first_at", "last_at"))
    columns: list[Expression]
    if first == returning:
        columns = [
            f"min({began}) AS cohort",
            # Few days lie in two periods: the first is added only for them.
            f"arrayDistinct(arrayConcat(groupArray({ended}), groupArrayIf({began}, {began} != {ended}))) AS active",
        ]
        chosen = first
    else:
        crossing = compose(returning, f" AND {began} != {ended}")
        columns = [
            compose(f"minIf({began}, ", first, ") AS cohort"),
            compose(
                f"arrayDistinct(arrayConcat(groupArrayIf({ended}, ",
                returning,
                f"), groupArrayIf({began}, ",
                crossing,
                "))) AS active",
            ),
        ]
        chosen = or_([first, returning])
    return Select(
        columns=tuple(columns),
        source=Table("activity", "a"),
        where=("a.site_id = {site:String}", chosen),
        group_by=("a.user_key",),
        having=(_SHOWN,),
    )


def _on_names(where: tuple[Condition, ...], binder: Binder) -> Expression:
    """Days of any active event have a row of their own, without a name."""
    if _is_any(where):
        return "a.name = ''"
    return and_(["a.name != ''", *(render(condition, lambda _: "a.name", binder) for condition in where)])


def _from_events(question: CohortQuestion, binder: Binder) -> Select:
    first, returning = (_holds(where, binder) for where in (question.first_where, question.returning_where))
    source = _source(question)
    period = number_sql("e.ts", question.period)
    columns = [compose(f"groupUniqArrayIf({period}, ", returning, ") AS active")]
    if question.breakdown is None:
        columns.append(compose(f"minIf({period}, ", first, ") AS cohort"))
    else:
        value = f"toString({event_column(question.breakdown, binder)})"
        began = number_sql("tupleElement(began, 1)", question.period)
        # Of several first events at the same moment the smallest value counts.
        columns += [compose(f"minIf((e.ts, {value}), ", first, ") AS began"), f"{began} AS cohort"]
        columns.append("tupleElement(began, 2) AS value")
    return Select(
        columns=tuple(columns),
        source=source,
        where=(SITE_OF_EVENTS, *_known(question, source, first), or_([first, returning])),
        group_by=(_KEYS[question.by],),
        having=(_SHOWN,),
    )


_KEYS = {"user": "cityHash64(e.user_id)", "session": "e.session_key", "visitor": "e.visitor_id"}


def _known(question: CohortQuestion, source: Relation, first: Expression) -> list[Expression]:
    """Which events may belong to a subject of the cohorts shown."""
    if question.by == "user":
        return ["e.user_id != ''"]
    if question.by == "visitor":
        # An id is of one UTC day, and goes on into the next with the session.
        return [
            "e.visitor_id != 0",
            f"e.ts >= toStartOfDay({_SINCE}) - INTERVAL 1 DAY",
            f"e.ts < toStartOfDay({_UNTIL}) + INTERVAL 1 DAY",
        ]
    began = [SITE_OF_EVENTS, f"e.ts >= {_SINCE}", f"e.ts < {_UNTIL}", first]
    earliest = select(["min(e.session_start)"], source, began)
    return [
        is_in(("e.session_key",), select(["e.session_key"], source, began)),
        compose("e.ts >= ", earliest, f" - INTERVAL {SESSION_MARGIN_S} SECOND"),
    ]


def _holds(where: tuple[Condition, ...], binder: Binder) -> Expression:
    return and_(render_on_events(where, binder))


def _is_any(where: tuple[Condition, ...]) -> bool:
    return where == (ANY_ACTIVE,)


def _is_joined(question: CohortQuestion) -> bool:
    by_page = question.breakdown is not None and question.breakdown.joined
    return by_page or reads_pages((*question.first_where, *question.returning_where))


def _source(question: CohortQuestion) -> Table | Join:
    if not _is_joined(question):
        return EVENTS
    return events_with_sessions(select(BESIDE_EVENTS, SESSIONS, [SITE_OF_SESSIONS]))
