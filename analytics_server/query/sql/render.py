"""Conditions as SQL over whatever columns the caller names.

The same filter works on events, sessions and totals. Identifiers come from the registry of dimensions, values are
bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import ACTIVE_EVENT, GOAL, SESSION, Dimension
from analytics_server.query.language.conditions import (
    And,
    Condition,
    DoneInOrder,
    GoalEvents,
    HasDone,
    Match,
    Not,
    Or,
    SavedFilter,
    matches,
)
from analytics_server.query.parameters import TEXT, TEXTS, Binder
from analytics_server.query.sql.comparisons import render_comparison
from analytics_server.query.sql.from_tables import EVENTS, SITE_OF_EVENTS, events_with_sessions, session_pages
from analytics_server.query.sql.select import (
    Expression,
    Relation,
    Select,
    Subquery,
    and_,
    compose,
    is_in,
    not_,
    or_,
    select,
)
from analytics_server.query.sql.templates import fill

Column = Callable[[Dimension], str]

_WHOLE_KEY = ("e.session_start", "e.session_id")
_NEVER = "toDateTime64('2299-12-31 00:00:00', 6, 'UTC')"
_BEFORE_ALL = "toDateTime64('1900-01-01 00:00:00', 6, 'UTC')"


@dataclass(frozen=True, slots=True)
class Reach:
    """What all events (`e`) and sessions (`s`) meet that has_done or sequence may have to look at.

    Nothing: the site's whole past.

    Only for speed: leaving events out that belong to a session in question makes the answer wrong.
    """

    events: tuple[Expression, ...] = ()
    sessions: tuple[Expression, ...] = ()


EVERYTHING = Reach()


def render(condition: Condition, column: Column, binder: Binder, reach: Reach = EVERYTHING) -> Expression:
    """The condition as SQL over the columns that `column` names.

    `column` is asked for `dimensions.SESSION` too, when there is a has_done or sequence: the session's key, as that
    dimension has it for events and sessions, or opened_at and session_id. They need the parameter `site`, and those of
    `reach`.
    """
    match condition:
        case Match():
            return _render_match(condition, column(condition.dimension), binder)
        case And():
            return and_([render(inner, column, binder, reach) for inner in condition.conditions] or ["1"])
        case Or():
            return or_([render(inner, column, binder, reach) for inner in condition.conditions] or ["0"])
        case Not():
            return not_(render(condition.condition, column, binder, reach))
        case HasDone():
            meeting = _sessions_meeting(condition.condition, _key_of(column), binder, reach)
            return is_in((column(SESSION),), meeting, negated=condition.negated)
        case DoneInOrder():
            return is_in((column(SESSION),), _sessions_in_order(condition.steps, _key_of(column), binder, reach))
        case GoalEvents():
            holds, active = render(condition.condition, column, binder, reach), compose(column(ACTIVE_EVENT))
            if condition.passive is None:
                return and_([holds, active])
            return and_([holds, or_([active, render(condition.passive, column, binder, reach)])])
        case SavedFilter():
            return render(condition.condition, column, binder, reach)


def render_on_events(where: Sequence[Condition], binder: Binder, reach: Reach = EVERYTHING) -> list[Expression]:
    """Conditions as SQL over a row `e` of `events`.

    Dimensions that only a session's row knows (`Dimension.joined`) are read from `s.`, so the caller joins it
    (see `from_tables.events_with_sessions`).
    """
    return [render(condition, lambda dimension: event_column(dimension, binder), binder, reach) for condition in where]


def event_column(dimension: Dimension, binder: Binder) -> str:
    """A dimension as an expression over a row `e` of `events` (`s` of its session, if `joined`).

    Raises `RequestError` (unsupported_dimension) for event:goal, of which an event may have several.
    """
    if dimension is GOAL:
        raise RequestError(
            "event:goal can't be used here, as an event may be one of several goals: name one goal instead.",
            code="unsupported_dimension",
        )
    return with_key(dimension.events, dimension, binder)


def with_key(sql: str, dimension: Dimension, binder: Binder) -> str:
    """An expression of the dimension with what it names bound."""
    blanks = blanks_of(dimension, binder)
    return fill(sql, **blanks) if blanks else sql


def blanks_of(dimension: Dimension, binder: Binder) -> dict[str, str]:
    """What a dimension's expressions name: its property's or experiment's name, and constant lists."""
    blanks = {"key": binder.bind(dimension.key, TEXT)} if dimension.key else {}
    if dimension.lists is not None:
        blanks |= {name: binder.bind(texts, TEXTS) for name, texts in dimension.lists().items()}
    return blanks


def _render_match(match: Match, column: str, binder: Binder) -> Expression:
    comparison = render_comparison(match, column, binder)
    if not match.negated:
        return comparison
    if match.method == "is" or not match.dimension.present:
        return not_(comparison)
    # Texts are compared with what is there: an event without the property says nothing about it.
    return and_([with_key(match.dimension.present, match.dimension, binder), not_(comparison)])


def _key_of(column: Column) -> tuple[str, ...]:
    """The session's key as an event has it: its hash, unless what is compared with it is exact."""
    return (SESSION.events,) if column(SESSION) in (SESSION.events, SESSION.sessions) else _WHOLE_KEY


def _sessions_meeting(condition: Condition, key: tuple[str, ...], binder: Binder, reach: Reach) -> Select:
    """The sessions with an event that meets the condition."""
    meeting = render_on_events((condition,), binder, reach)
    return select(key, _events_for((condition,), reach), [SITE_OF_EVENTS, *reach.events, *meeting])


def _sessions_in_order(steps: Sequence[Condition], key: tuple[str, ...], binder: Binder, reach: Reach) -> Select:
    """The sessions with events that meet the steps one after the other, by one reading of the events.

    Times say what is later: of events at the same microsecond none is. Of each step the earliest event is taken that
    lies after the one of the step before, which leaves most room for what follows: so a session needs the earliest of
    the first step, all of those between, a level of the statement for each, and the latest of the last.
    """
    flags = [f"step_{number}" for number in range(len(steps))]
    keys = [f"key_{number}" for number in range(len(key))]
    rendered = zip(render_on_events(steps, binder, reach), flags, strict=True)
    events = select(
        [
            *(f"{part} AS {name}" for part, name in zip(key, keys, strict=True)),
            "e.ts AS at",
            *(compose(step, f" AS {name}") for step, name in rendered),
        ],
        _events_for(steps, reach),
        [SITE_OF_EVENTS, *reach.events, f"({' OR '.join(flags)})"],
    )
    between = [f"at_{number}" for number in range(1, len(steps) - 1)]
    found = select(
        [
            *(f"q.{name} AS {name}" for name in keys),
            f"min(if(q.{flags[0]}, q.at, {_NEVER})) AS taken",
            *(f"groupArrayIf(q.at, q.{flag}) AS {name}" for flag, name in zip(flags[1:-1], between, strict=True)),
            f"max(if(q.{flags[-1]}, q.at, {_BEFORE_ALL})) AS last",
        ],
        Subquery(events, "q"),
        group_by=[f"q.{name}" for name in keys],
    )
    for place, name in enumerate(between, 1):
        taken = f"arrayMin(arrayPushBack(arrayFilter(at -> at > q.taken, q.{name}), {_NEVER})) AS taken"
        kept = (f"q.{other} AS {other}" for other in (*keys, *between[place:], "last"))
        found = select([taken, *kept], Subquery(found, "q"))
    return select([f"q.{name}" for name in keys], Subquery(found, "q"), ["q.taken < q.last"])


def _events_for(conditions: Sequence[Condition], reach: Reach) -> Relation:
    joined = any(match.dimension.joined for match in matches(conditions))
    return events_with_sessions(session_pages(reach.sessions)) if joined else EVENTS
