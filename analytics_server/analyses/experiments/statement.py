"""The SQL of an experiment: per variant, how many subjects were exposed and what they did afterwards.

Pure: values are bound, expressions come from the field registry. One statement reads all that is counted, so that
exposures and conversions are of the same moment. Its parts, from the inside:

- `known`: sessions in which a user was known at some time. A subject is an event's user, else the user of its
  session, else the session: a user who signs up after the exposure is one subject, not two.
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
from dataclasses import dataclass, replace

from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.conditions import Condition
from analytics_server.query.language.event_match import EventMatch
from analytics_server.query.language.filter_classes import reads_pages
from analytics_server.query.parameters import TEXT, TEXTS, Binder
from analytics_server.query.sql.from_tables import (
    BESIDE_EVENTS,
    EVENTS,
    SESSION_PARTS,
    SESSIONS,
    SITE_OF_EVENTS,
    SITE_OF_SESSIONS,
    events_with_sessions,
)
from analytics_server.query.sql.range_edges import EDGES
from analytics_server.query.sql.render import event_column, render_on_events
from analytics_server.query.sql.select import (
    ArrayJoin,
    Expression,
    Join,
    Relation,
    Select,
    Subquery,
    and_,
    compose,
    or_,
    select,
)

UNITS = 10_000
"""Of the currency's own unit: what `revenue_amount` counts in."""

COUNTED, MIXED, UNKNOWN = 0, 1, 2
"""A subject of one known variant; of several; of none that the experiment has."""

_EXPOSED_UNTIL = "{exposed_until:DateTime64(6, 'UTC')}"
_LATER = "g.ts > x.first_at AND g.ts <= x.until"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsQuestion:
    """What the statement depends on, beside the bound range."""

    variants: tuple[str, ...]
    goals: tuple[EventMatch, ...]
    where: tuple[Condition, ...]
    breakdown: Dimension | None = None
    currencies: tuple[str, ...] = ()


def select_variants() -> Select:
    """The variants that exposures name, the most frequent first."""
    where = [*_exposures(), "e.variant != ''"]
    return _most_frequent(select(["e.variant AS name", "count() AS events"], EVENTS, where, ["name"]))


def select_sites() -> Select:
    """All sites where the experiment was shown: of every tenant, so the caller filters them by its rights."""
    where = ["e.name = 'exposure'", f"e.experiment = {{experiment:{TEXT}}}"]
    return replace(select(["e.site_id AS site"], EVENTS, where, ["site"]), order_by=("site",))


def select_currencies(asked: ResultsQuestion, binder: Binder) -> Select:
    """The currencies of the goals' events, the most frequent first."""
    where = [*_goal_reached([_all_of(goal.where, binder) for goal in asked.goals]), "e.revenue_amount != 0"]
    source = _events(_all_conditions(asked))
    return _most_frequent(
        select(["toString(e.revenue_currency) AS name", "count() AS events"], source, where, ["name"])
    )


def select_results(asked: ResultsQuestion, binder: Binder) -> Select:
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
    return select(columns, Subquery(_subjects(asked, binder), "p"), [], ["state", "variant", "value"])


def select_breakdown(asked: ResultsQuestion, binder: Binder, limit: int) -> Select:
    """The same rows for the values with most subjects, these first, and behind each row how many values there are."""
    rows = select(["*"], Subquery(select_results(asked, binder)), [f"state = {COUNTED}"])
    totals = select(["*", "sum(subjects) OVER (PARTITION BY value) AS total"], Subquery(rows))
    places = select(["*", "dense_rank() OVER (ORDER BY total DESC, value) AS place"], Subquery(totals))
    counted = select(["*", "max(place) OVER () AS all_values"], Subquery(places))
    few = f"place <= {binder.name('limit', limit, 'UInt64')}"
    found = select(["* EXCEPT (total, place)"], Subquery(counted), [few])
    return replace(found, order_by=("place", "variant"))


def _subjects(asked: ResultsQuestion, binder: Binder) -> Select:
    """One row per exposed subject: what it was shown, and per goal whether (`c_`) and by how much revenue (`r_`)."""
    columns = [f"any(x.{name}) AS {name}" for name in _facts(asked)]
    for goal, events in enumerate(asked.goals):
        columns.append(f"countIf(g.g_{goal} AND {_LATER}) > 0 AS c_{goal}")
        for place, currency in enumerate(asked.currencies):
            own = f"g.currency = {binder.bind(currency, TEXT)}" if events.currency in ("", currency) else "0"
            columns.append(f"sumIf(g.amount, g.g_{goal} AND {own} AND {_LATER}) AS r_{goal}_{place}")
    source = Join(
        Subquery(_goal_events(asked, binder), "g"), "RIGHT", Subquery(_keys(asked, binder), "x"), "ON g.key = x.key"
    )
    return select(columns, source, [], ["x.subject"])


def _goal_events(asked: ResultsQuestion, binder: Binder) -> Select:
    goals = [_all_of(goal.where, binder) for goal in asked.goals]
    columns: list[Expression] = [
        f"if(e.user_id = '', e.session_key, {_hashed('e.user_id')}) AS key",
        "e.ts AS ts",
        *(compose(goal, f" AS g_{index}") for index, goal in enumerate(goals)),
    ]
    if asked.currencies:
        columns += ["e.revenue_currency AS currency", "e.revenue_amount AS amount"]
    return select(columns, _events(_all_conditions(asked)), _goal_reached(goals))


def _keys(asked: ResultsQuestion, binder: Binder) -> Select:
    """The exposed subjects, once per key by which their events are found: the user's, and of sessions without one."""
    sessions = select(
        ["k.person AS person", "groupArray(k.session_key) AS sessions"], Subquery(_known(), "k"), [], ["person"]
    )
    exposed = Subquery(_exposed(asked, binder), "o")
    source = ArrayJoin(
        Join(exposed, "LEFT", Subquery(sessions, "u"), "ON o.subject = u.person"),
        "arrayConcat([o.subject], u.sessions) AS key",
    )
    return select([f"o.{name} AS {name}" for name in ("subject", *_facts(asked))] + ["key"], source)


def _exposed(asked: ResultsQuestion, binder: Binder) -> Select:
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
    events = _events(asked.where, joined=asked.breakdown is not None and asked.breakdown.joined)
    source = Join(events, "LEFT", Subquery(_known(), "k"), "ON e.session_key = k.session_key")
    return select(columns, source, [*_exposures(), *_render(asked.where, binder)], ["subject"])


def _known() -> Select:
    """Sessions with a user. Parts of a session's row without one don't matter to the greatest."""
    columns = ["s.session_key AS session_key", f"{_hashed('max(s.user_id)')} AS person"]
    where = [SITE_OF_SESSIONS, *EDGES.whole_sessions.sessions, "s.user_id != ''"]
    return select(columns, SESSION_PARTS, where, ["s.session_key"])


def _facts(asked: ResultsQuestion) -> list[str]:
    """What is known of a subject from its exposures."""
    return ["least", "most", "first_at", "until", *(["value"] if asked.breakdown is not None else [])]


def _exposures() -> list[str]:
    return [
        SITE_OF_EVENTS,
        f"e.ts >= {EDGES.start}",
        f"e.ts < {_EXPOSED_UNTIL}",
        "e.name = 'exposure'",
        f"e.experiment = {{experiment:{TEXT}}}",
    ]


def _goal_reached(goals: Sequence[Expression]) -> list[Expression]:
    return [*EDGES.events, or_(goals)]


def _all_conditions(asked: ResultsQuestion) -> list[Condition]:
    return [condition for goal in asked.goals for condition in goal.where]


def _events(conditions: Sequence[Condition], *, joined: bool = False) -> Relation:
    """`events` as `e`, with the session's row beside it where a dimension needs that."""
    if not joined and not reads_pages(conditions):
        return EVENTS
    where = [
        SITE_OF_SESSIONS,
        *EDGES.whole_sessions.sessions,
        f"s.started_at < {EDGES.end}",
        f"s.ended_at >= {EDGES.start}",
    ]
    return events_with_sessions(select(BESIDE_EVENTS, SESSIONS, where))


def _render(where: Sequence[Condition], binder: Binder) -> list[Expression]:
    return render_on_events(where, binder, EDGES.whole_sessions)


def _all_of(where: Sequence[Condition], binder: Binder) -> Expression:
    return and_(_render(where, binder))


def _hashed(user: str) -> str:
    """A user as one number, as a session is."""
    return f"sipHash64({user})"


def _most_frequent(query: Select) -> Select:
    return replace(query, order_by=("events DESC", "name"), limit="{most:UInt64}")
