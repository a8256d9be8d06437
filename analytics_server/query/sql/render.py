"""Conditions as SQL over whatever columns the caller names.

The same filter works on events, sessions and totals. Identifiers come from the registry of dimensions, values are
bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import GOAL, SESSION, Dimension
from analytics_server.query.language.conditions import And, Condition, HasDone, Match, Not, Or, SavedFilter, matches
from analytics_server.query.parameters import TEXT, TEXTS, Binder
from analytics_server.query.sql.select import Expression, and_, is_in, not_, or_, select
from analytics_server.query.sql.sources import EVENTS, SITE_OF_EVENTS, events_with_sessions, session_pages
from analytics_server.query.sql.templates import fill

Column = Callable[[Dimension], str]

_WHOLE_KEY = ("e.session_start", "e.session_id")


@dataclass(frozen=True, slots=True)
class Reach:
    """What all events (`e`) and sessions (`s`) meet that has_done may have to look at; nothing = the site's whole past.

    Only for speed: leaving events out that belong to a session in question makes the answer wrong.
    """

    events: tuple[Expression, ...] = ()
    sessions: tuple[Expression, ...] = ()


EVERYTHING = Reach()


def render(condition: Condition, column: Column, binder: Binder, reach: Reach = EVERYTHING) -> Expression:
    """The condition as SQL over the columns that `column` names.

    `column` is asked for `dimensions.SESSION` too, when there is a has_done: the session's key, as that dimension has
    it for events and sessions, or opened_at and session_id. has_done needs the parameter `site`, and those of `reach`.
    """
    match condition:
        case Match():
            comparison = _render_match(condition, column(condition.dimension), binder)
            return not_(comparison) if condition.negated else comparison
        case And():
            return and_([render(inner, column, binder, reach) for inner in condition.conditions] or ["1"])
        case Or():
            return or_([render(inner, column, binder, reach) for inner in condition.conditions] or ["0"])
        case Not():
            return not_(render(condition.condition, column, binder, reach))
        case HasDone():
            return _render_done(condition, column, binder, reach)
        case SavedFilter():
            return render(condition.condition, column, binder, reach)


def render_on_events(where: Sequence[Condition], binder: Binder, reach: Reach = EVERYTHING) -> list[Expression]:
    """Conditions as SQL over a row `e` of `events`.

    Dimensions that only a session's row knows (`Dimension.joined`) are read from `s.`, so the caller joins it
    (see `sources.events_with_sessions`).
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
    """The dimension's expression with its property's or experiment's name bound."""
    return fill(sql, key=binder.bind(dimension.key, TEXT)) if dimension.key else sql


def wildcard_pattern(wildcard: str) -> str:
    """`*` stands for anything but a slash, `**` for anything; the whole value must fit."""
    parts = ({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", wildcard) if part)
    return r"(?s)\A" + "".join(parts) + r"\z"


def _render_match(match: Match, column: str, binder: Binder) -> str:
    if match.method == "is":
        if match.case_sensitive:
            return f"{column} IN {binder.bind(match.spellings, TEXTS)}"
        # By RE2's case folding: the engine in process is built without lowerUTF8.
        whole = rf"(?i)\A(?:{'|'.join(map(re.escape, match.spellings))})\z"
        return f"match({column}, {binder.bind(whole, TEXT)})"
    if match.method == "contains":
        search = "multiSearchAny" if match.case_sensitive else "multiSearchAnyCaseInsensitiveUTF8"
        return f"{search}({column}, {binder.bind(match.spellings, TEXTS)})"
    expressions = match.spellings if match.method == "matches" else tuple(map(wildcard_pattern, match.spellings))
    return "(" + " OR ".join(f"match({column}, {binder.bind(text, TEXT)})" for text in expressions) + ")"


def _render_done(done: HasDone, column: Column, binder: Binder, reach: Reach) -> Expression:
    """The session is among those of the events that meet the condition."""
    key = column(SESSION)
    inner = (SESSION.events,) if key in (SESSION.events, SESSION.sessions) else _WHOLE_KEY
    joined = any(match.dimension.joined for match in matches((done.condition,)))
    meeting = select(
        inner,
        events_with_sessions(session_pages(reach.sessions)) if joined else EVENTS,
        [SITE_OF_EVENTS, *reach.events, *render_on_events((done.condition,), binder, reach)],
    )
    return is_in((key,), meeting, negated=done.negated)
