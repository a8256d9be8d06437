"""The SQL of an experiment: per variant, how many subjects were exposed and what they did afterwards.

Pure: values are bound, expressions come from the field registry. One statement reads all that is counted, so that
exposures and conversions are of the same moment. Its parts, from the inside:

- `known`: sessions in which a user was known at some time. A subject is an event's user, else the user of its
  session, else the session: somebody who signs up after the exposure is one subject, not two.
- `exposed`: subjects with an exposure in the range: the first one's time and value of the breakdown, and whether
  all exposures show the same variant.
- the goals' events, joined to the subjects by user or by session, counted if later than the exposure and within
  the window; one row per subject, then one per variant.

Subjects are compared as 64-bit hashes, which is far cheaper than comparing texts; among a million of them the
chance that any two coincide is one in 40 million.

Parameters: `site`; `start` and `end`, the range in which goals may be reached; `exposed_until`, where that of
exposures ends; `experiment`; `window` in microseconds; `now`; `most`, how many names a list may hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.conditions import Condition, matches
from analytics_server.query.language.event_match import Meant
from analytics_server.query.parameters import TEXT, TEXTS, Binder
from analytics_server.query.sql.range_edges import BESIDE_EVENTS, END, START, WHOLE_SESSIONS, events_with_sessions
from analytics_server.query.sql.render import event_column, render
from analytics_server.query.sql.scope import indent, select

UNITS = 10_000
"""Of the currency's own unit: what `revenue_amount` counts in."""

COUNTED, MIXED, UNKNOWN = 0, 1, 2
"""A subject of one known variant; of several; of none that the experiment has."""

_EXPOSED_UNTIL = "{exposed_until:DateTime64(6, 'UTC')}"
_LATER = "g.ts > x.first_at AND g.ts <= x.until"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the statement depends on, beside the bound range."""

    variants: tuple[str, ...]
    goals: tuple[Meant, ...]
    where: tuple[Condition, ...]
    breakdown: Dimension | None = None
    currencies: tuple[str, ...] = ()


def select_variants() -> str:
    """The variants that exposures name, the most frequent first."""
    where = [*_exposures(), "e.variant != ''"]
    return _most_frequent(select(["e.variant AS name", "count() AS events"], "events AS e", where, ["name"]))


def select_sites() -> str:
    """All sites where the experiment was shown: of every tenant, so whoever asks must not see them all."""
    where = ["e.name = 'exposure'", f"e.experiment = {{experiment:{TEXT}}}"]
    return select(["e.site_id AS site"], "events AS e", where, ["site"]) + "\nORDER BY site"


def select_currencies(asked: Asked, binder: Binder) -> str:
    """The currencies of the goals' events, the most frequent first."""
    where = [*_goal_reached([_all_of(goal.where, binder) for goal in asked.goals]), "e.revenue_amount != 0"]
    relation = _events(_all_conditions(asked))
    return _most_frequent(
        select(["toString(e.revenue_currency) AS name", "count() AS events"], relation, where, ["name"])
    )


def select_results(asked: Asked, binder: Binder) -> str:
    """Rows: state, variant (its place, from 1), value (of the breakdown), subjects, maturing; then per goal the
    conversions, and per currency the sum and the sum of squares of what subjects spent."""
    state = f"multiIf(p.least != p.most, {MIXED}, p.least = 0, {UNKNOWN}, {COUNTED})"
    value = f"if(state = {COUNTED}, p.value, '')" if asked.breakdown is not None else "''"
    columns = [
        f"{state} AS state",
        f"if(state = {COUNTED}, p.least, 0) AS variant",
        f"{value} AS value",
        "count() AS subjects",
        "countIf(p.until > {now:DateTime64(6, 'UTC')}) AS maturing",
    ]
    for goal in range(len(asked.goals)):
        columns.append(f"countIf(p.c_{goal}) AS c_{goal}")
        for currency in range(len(asked.currencies)):
            spent = f"p.r_{goal}_{currency}"
            columns.append(f"sum({spent}) AS sum_{goal}_{currency}")
            # Squares as floating point: the engine in process has no wider integers. Of whole numbers, so that
            # they are exact for all but huge revenue.
            columns.append(f"sum(pow(round(toFloat64({spent}) * {UNITS}), 2)) AS squares_{goal}_{currency}")
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
    columns = [f"any(x.{name}) AS {name}" for name in _facts(asked)]
    for goal in range(len(asked.goals)):
        columns.append(f"countIf(g.g_{goal} AND {_LATER}) > 0 AS c_{goal}")
        for place, currency in enumerate(asked.currencies):
            own = f"g.currency = {binder.bind(currency, TEXT)}"
            columns.append(f"sumIf(g.amount, g.g_{goal} AND {own} AND {_LATER}) AS r_{goal}_{place}")
    relation = (
        f"(\n{indent(_goal_events(asked, binder))}\n) AS g\n"
        f"RIGHT JOIN (\n{indent(_keys(asked, binder))}\n) AS x ON g.key = x.key"
    )
    return select(columns, relation, [], ["x.subject"])


def _goal_events(asked: Asked, binder: Binder) -> str:
    goals = [_all_of(goal.where, binder) for goal in asked.goals]
    columns = [
        f"if(e.user_id = '', e.session_key, {_hashed('e.user_id')}) AS key",
        "e.ts AS ts",
        *(f"{sql} AS g_{index}" for index, sql in enumerate(goals)),
    ]
    if asked.currencies:
        columns += ["e.revenue_currency AS currency", "e.revenue_amount AS amount"]
    return select(columns, _events(_all_conditions(asked)), _goal_reached(goals))


def _keys(asked: Asked, binder: Binder) -> str:
    """The exposed subjects, once per key by which their events are found: the user's, and of sessions without one."""
    sessions = select(
        ["k.person AS person", "groupArray(k.session_key) AS sessions"],
        f"(\n{indent(_known())}\n) AS k",
        [],
        ["person"],
    )
    relation = (
        f"(\n{indent(_exposed(asked, binder))}\n) AS o\n"
        f"LEFT JOIN (\n{indent(sessions)}\n) AS u ON o.subject = u.person\n"
        "ARRAY JOIN arrayConcat([o.subject], u.sessions) AS key"
    )
    return select([f"o.{name} AS {name}" for name in ("subject", *_facts(asked))] + ["key"], relation, [])


def _exposed(asked: Asked, binder: Binder) -> str:
    """`least` and `most` are places among the known variants, from 1; 0 is any other."""
    first = ["min(e.ts) AS first_at"]
    if asked.breakdown is not None:
        value = f"toString({event_column(asked.breakdown, binder)})"
        first = [
            f"min((e.ts, {value})) AS first",
            "tupleElement(first, 1) AS first_at",
            "tupleElement(first, 2) AS value",
        ]
    first.append("addMicroseconds(first_at, {window:Int64}) AS until")
    variant = f"indexOf({binder.bind(asked.variants, TEXTS)}, e.variant)"
    columns = [
        f"multiIf(e.user_id != '', {_hashed('e.user_id')}, k.person != 0, k.person, e.session_key) AS subject",
        *first,
        f"min({variant}) AS least",
        f"max({variant}) AS most",
    ]
    relation = _events(asked.where, joined=asked.breakdown is not None and asked.breakdown.joined)
    relation += f"\nLEFT JOIN (\n{indent(_known())}\n) AS k ON e.session_key = k.session_key"
    return select(columns, relation, [*_exposures(), *_render(asked.where, binder)], ["subject"])


def _known() -> str:
    """Sessions with a user. Parts of a session's row without one don't matter to the greatest."""
    columns = ["s.session_key AS session_key", f"{_hashed('max(s.user_id)')} AS person"]
    where = ["s.site_id = {site:String}", *WHOLE_SESSIONS.sessions, "s.user_id != ''"]
    return select(columns, "sessions AS s", where, ["s.session_key"])


def _facts(asked: Asked) -> list[str]:
    """What is known of a subject from its exposures."""
    return ["least", "most", "first_at", "until", *(["value"] if asked.breakdown is not None else [])]


def _exposures() -> list[str]:
    return [
        "e.site_id = {site:String}",
        f"e.ts >= {START}",
        f"e.ts < {_EXPOSED_UNTIL}",
        "e.name = 'exposure'",
        f"e.experiment = {{experiment:{TEXT}}}",
    ]


def _goal_reached(goals: Sequence[str]) -> list[str]:
    return ["e.site_id = {site:String}", f"e.ts >= {START}", f"e.ts < {END}", f"({' OR '.join(goals)})"]


def _all_conditions(asked: Asked) -> list[Condition]:
    return [condition for goal in asked.goals for condition in goal.where]


def _events(conditions: Sequence[Condition], *, joined: bool = False) -> str:
    """`events` as `e`, with the session's row beside it where a dimension needs that."""
    if not joined and not any(match.dimension.joined for match in matches(conditions)):
        return "events AS e"
    where = ["s.site_id = {site:String}", *WHOLE_SESSIONS.sessions, f"s.started_at < {END}", f"s.ended_at >= {START}"]
    return events_with_sessions(select(BESIDE_EVENTS, "sessions AS s FINAL", where))


def _render(where: Sequence[Condition], binder: Binder) -> list[str]:
    return [
        render(condition, lambda dimension: event_column(dimension, binder), binder, WHOLE_SESSIONS)
        for condition in where
    ]


def _all_of(where: Sequence[Condition], binder: Binder) -> str:
    return f"({' AND '.join(_render(where, binder))})"


def _hashed(user: str) -> str:
    """A user as one number, as a session is."""
    return f"sipHash64({user})"


def _most_frequent(sql: str) -> str:
    return f"{sql}\nORDER BY events DESC, name\nLIMIT {{most:UInt64}}"
