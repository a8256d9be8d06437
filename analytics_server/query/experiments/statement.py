"""The SQL of an experiment: per variant, how many subjects were exposed and what they did afterwards.

Pure: values are bound, expressions come from the field registry. One statement reads everything, so that
exposures and conversions are of the same moment. Its parts, from the inside:

- `known`: sessions in which a user was known at some time. A subject is an event's user, else the user of its
  session, else the session: somebody who signs up after the exposure is one subject, not two.
- `exposed`: subjects with an exposure in the range: the first one's time and value of the breakdown, and whether
  all exposures show the same variant.
- the goals' events, joined to the subjects by user or by session, counted if later than the exposure and within
  the window; one row per subject, then one per variant.

Parameters: `site`; `start` and `end`, the range in which goals may be reached; `exposed_until`, where that of
exposures ends; `experiment`; `window` in microseconds; `now`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.binding import TEXT, TEXTS, Binder
from analytics_server.query.conditions import event_column
from analytics_server.query.edges import BESIDE_EVENTS, END, START, WHOLE_SESSIONS, events_with_sessions
from analytics_server.query.fields import Dimension
from analytics_server.query.filters import Condition, matches, render
from analytics_server.query.matching import Meant
from analytics_server.query.scoped import indent, select

UNITS = 10_000
"""Of the currency's own unit: what `revenue_amount` counts in."""

COUNTED, MIXED, UNKNOWN = 0, 1, 2
"""A subject of one known variant; of several; of one that the experiment does not have."""

_EXPOSED_UNTIL = "{exposed_until:DateTime64(6, 'UTC')}"
_LATER = "g.ts > x.first_at AND g.ts <= addMicroseconds(x.first_at, {window:Int64})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the statement depends on, beside the bound range."""

    variants: tuple[str, ...]
    goals: tuple[Meant, ...]
    where: tuple[Condition, ...]
    breakdown: Dimension | None = None


def select_variants() -> str:
    """The variants that exposures name, the most frequent first; parameter `most`: how many."""
    lines = select(
        ["e.variant AS variant", "count() AS exposures"], "events AS e", [*_exposures(), "e.variant != ''"], ["variant"]
    )
    return f"{lines}\nORDER BY exposures DESC, variant\nLIMIT {{most:UInt64}}"


def select_results(asked: Asked, binder: Binder) -> str:
    """Rows: state, variant, value (of the breakdown), subjects, maturing, and per goal `goal_columns`."""
    columns = ["p.state AS state", "p.variant AS variant", "p.value AS value", "count() AS subjects"]
    columns.append("countIf(addMicroseconds(p.first_at, {window:Int64}) > {now:DateTime64(6, 'UTC')}) AS maturing")
    for index in range(len(asked.goals)):
        # Squares as floating point: the engine in process has no wider integers. They are of whole numbers (of
        # 1/10,000), so that they are exact for all but huge revenue.
        units = f"arrayMap(v -> pow(round(toFloat64(v) * {UNITS}), 2), mapValues(p.r_{index}))"
        columns += [
            f"countIf(p.c_{index}) AS c_{index}",
            f"sumMap(p.r_{index}) AS sums_{index}",
            f"sumMap(mapFromArrays(mapKeys(p.r_{index}), {units})) AS squares_{index}",
        ]
    return select(columns, f"(\n{indent(_subjects(asked, binder))}\n) AS p", [], ["state", "variant", "value"])


def select_breakdown(asked: Asked, binder: Binder, limit: int) -> str:
    """The same rows for the values with most subjects, these first, and behind each row how many values there are."""
    rows = select(["*"], f"(\n{indent(select_results(asked, binder))}\n)", [f"state = {COUNTED}"])
    totals = select(["*", "sum(subjects) OVER (PARTITION BY value) AS total"], f"(\n{indent(rows)}\n)", [])
    places = select(["*", "dense_rank() OVER (ORDER BY total DESC, value) AS place"], f"(\n{indent(totals)}\n)", [])
    counted = select(["*", "max(place) OVER () AS all_values"], f"(\n{indent(places)}\n)", [])
    few = f"place <= {binder.name('limit', limit, 'UInt64')}"
    return select(["* EXCEPT (total, place)"], f"(\n{indent(counted)}\n)", [few]) + "\nORDER BY place, variant"


def _subjects(asked: Asked, binder: Binder) -> str:
    """One row per exposed subject: what it was shown, and per goal whether (`c_`) and by how much revenue (`r_`)."""
    columns = [f"any(x.{name}) AS {name}" for name in ("state", "variant", "value", "first_at")]
    for index in range(len(asked.goals)):
        columns += [
            f"countIf(g.g_{index} AND {_LATER}) > 0 AS c_{index}",
            f"sumMapIf(map(g.currency, g.amount), g.g_{index} AND g.amount != 0 AND {_LATER}) AS r_{index}",
        ]
    relation = (
        f"(\n{indent(_goal_events(asked, binder))}\n) AS g\n"
        f"RIGHT JOIN (\n{indent(_keys(asked, binder))}\n) AS x\n"
        "    ON g.user_id = x.key_user AND g.session = x.key_session"
    )
    return select(columns, relation, [], ["x.who", "x.session"])


def _goal_events(asked: Asked, binder: Binder) -> str:
    goals = [_all_of(goal.where, binder) for goal in asked.goals]
    columns = [
        "e.user_id AS user_id",
        "if(e.user_id = '', e.session_key, 0) AS session",
        "e.ts AS ts",
        "toString(e.revenue_currency) AS currency",
        "e.revenue_amount AS amount",
        *(f"{sql} AS g_{index}" for index, sql in enumerate(goals)),
    ]
    where = ["e.site_id = {site:String}", f"e.ts >= {START}", f"e.ts < {END}", f"({' OR '.join(goals)})"]
    return select(columns, _events([c for goal in asked.goals for c in goal.where]), where)


def _keys(asked: Asked, binder: Binder) -> str:
    """The exposed subjects, once per way in which their events can be found: by user, and by session without one."""
    state = (
        f"multiIf(o.least != o.most, {MIXED}, o.least IN {binder.bind(asked.variants, TEXTS)}, {COUNTED}, {UNKNOWN})"
    )
    columns = [
        "o.who AS who",
        "o.session AS session",
        f"{state} AS state",
        f"if(state = {COUNTED}, o.least, '') AS variant",
        f"if(state = {COUNTED}, tupleElement(o.first, 2), '') AS value",
        "tupleElement(o.first, 1) AS first_at",
        "tupleElement(key, 1) AS key_user",
        "tupleElement(key, 2) AS key_session",
    ]
    sessions = select(
        ["k.user_id AS user_id", "groupArray(k.session_key) AS sessions"],
        f"(\n{indent(_known())}\n) AS k",
        [],
        ["user_id"],
    )
    relation = (
        f"(\n{indent(_exposed(asked, binder))}\n) AS o\n"
        f"LEFT JOIN (\n{indent(sessions)}\n) AS u ON o.who = u.user_id\n"
        "ARRAY JOIN arrayConcat([(o.who, o.session)], arrayMap(one -> ('', one), u.sessions)) AS key"
    )
    return select(columns, relation, [])


def _exposed(asked: Asked, binder: Binder) -> str:
    used = list(asked.where)
    value = "''"
    if asked.breakdown is not None:
        value = f"toString({event_column(asked.breakdown, binder)})"
    columns = [
        "if(e.user_id = '', k.user_id, e.user_id) AS who",
        "if(who = '', e.session_key, 0) AS session",
        f"min((e.ts, {value})) AS first",
        "min(toString(e.variant)) AS least",
        "max(toString(e.variant)) AS most",
    ]
    relation = _events(used, joined=asked.breakdown is not None and asked.breakdown.joined)
    relation += f"\nLEFT JOIN (\n{indent(_known())}\n) AS k ON e.session_key = k.session_key"
    where = [*_exposures(), *_render(asked.where, binder)]
    return select(columns, relation, where, ["who", "session"])


def _known() -> str:
    """Sessions with a user. Parts of a session's row without one don't matter to the greatest."""
    where = ["s.site_id = {site:String}", *WHOLE_SESSIONS.sessions, "s.user_id != ''"]
    return select(
        ["s.session_key AS session_key", "max(s.user_id) AS user_id"], "sessions AS s", where, ["s.session_key"]
    )


def _exposures() -> list[str]:
    return [
        "e.site_id = {site:String}",
        f"e.ts >= {START}",
        f"e.ts < {_EXPOSED_UNTIL}",
        "e.name = 'exposure'",
        f"e.experiment = {{experiment:{TEXT}}}",
    ]


def _events(conditions: Sequence[Condition], *, joined: bool = False) -> str:
    """`events` as `e`, with the session's row beside it where a dimension needs that."""
    if not joined and not any(match.dimension.joined for match in matches(conditions)):
        return "events AS e"
    where = [
        "s.site_id = {site:String}",
        *WHOLE_SESSIONS.sessions,
        f"s.started_at < {END}",
        f"s.ended_at >= {START}",
    ]
    return events_with_sessions(select(BESIDE_EVENTS, "sessions AS s FINAL", where))


def _render(where: Sequence[Condition], binder: Binder) -> list[str]:
    return [
        render(condition, lambda dimension: event_column(dimension, binder), binder, WHOLE_SESSIONS)
        for condition in where
    ]


def _all_of(where: Sequence[Condition], binder: Binder) -> str:
    return f"({' AND '.join(_render(where, binder))})"
