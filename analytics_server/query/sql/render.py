"""Conditions as SQL over whatever columns the caller names.

The same filter works on events, sessions and totals. Identifiers come from the registry of dimensions, values are
bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import GOAL, SESSION, Dimension
from analytics_server.query.language.conditions import Both, Condition, Done, Either, Match, Named, Neither, matches
from analytics_server.query.parameters import TEXT, TEXTS, Binder

Column = Callable[[Dimension], str]

_WHOLE_KEY = "e.session_start, e.session_id"


@dataclass(frozen=True, slots=True)
class Reach:
    """What all events (`e`) and sessions (`s`) meet that has_done may have to look at; nothing = the site's whole past.

    Only for speed: leaving events out that belong to a session in question makes the answer wrong.
    """

    events: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()


EVERYTHING = Reach()


def render(condition: Condition, column: Column, binder: Binder, reach: Reach = EVERYTHING) -> str:
    """The condition as SQL over the columns that `column` names.

    `column` is asked for `fields.SESSION` too, when there is a has_done: the session's key, as that dimension has it
    for events and sessions, or opened_at and session_id. has_done needs the parameter `site`, and those of `reach`.
    """
    match condition:
        case Match():
            sql = _render_match(condition, column(condition.dimension), binder)
            return f"NOT ({sql})" if condition.negated else sql
        case Both():
            parts = [render(inner, column, binder, reach) for inner in condition.conditions]
            return f"({' AND '.join(parts) or '1'})"
        case Either():
            parts = [render(inner, column, binder, reach) for inner in condition.conditions]
            return f"({' OR '.join(parts) or '0'})"
        case Neither():
            return f"NOT ({render(condition.condition, column, binder, reach)})"
        case Done():
            return _render_done(condition, column, binder, reach)
        case Named():
            return render(condition.condition, column, binder, reach)


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
    return sql.replace("@key", binder.bind(dimension.key, TEXT)) if dimension.key else sql


def wildcard_pattern(wildcard: str) -> str:
    """`*` stands for anything but a slash, `**` for anything; the whole value must fit."""
    parts = ({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", wildcard) if part)
    return r"(?s)\A" + "".join(parts) + r"\z"


def render_on_events(where: tuple[Condition, ...], binder: Binder) -> list[str]:
    """The conditions as SQL over a row `e` of `events`.

    Dimensions that only a session's row knows (`Dimension.joined`) are read from `s.`, so whoever asks joins it
    (see `edges.events_relation`).
    """

    return [render(condition, lambda dimension: event_column(dimension, binder), binder) for condition in where]


def _render_match(match: Match, column: str, binder: Binder) -> str:
    if match.method == "is":
        if match.case_sensitive:
            return f"{column} IN {binder.bind(match.values, TEXTS)}"
        # By RE2's case folding: the engine in process is built without lowerUTF8.
        whole = rf"(?i)\A(?:{'|'.join(map(re.escape, match.values))})\z"
        return f"match({column}, {binder.bind(whole, TEXT)})"
    if match.method == "contains":
        search = "multiSearchAny" if match.case_sensitive else "multiSearchAnyCaseInsensitiveUTF8"
        return f"{search}({column}, {binder.bind(match.values, TEXTS)})"
    expressions = match.values if match.method == "matches" else tuple(map(wildcard_pattern, match.values))
    return "(" + " OR ".join(f"match({column}, {binder.bind(text, TEXT)})" for text in expressions) + ")"


def _render_done(done: Done, column: Column, binder: Binder, reach: Reach) -> str:
    """The session is among those of the events that meet the condition."""
    key = column(SESSION)
    where = [
        "e.site_id = {site:String}",
        *reach.events,
        render(done.condition, lambda dimension: event_column(dimension, binder), binder, reach),
    ]
    relation = "events AS e"
    if any(match.dimension.joined for match in matches((done.condition,))):
        relation += _with_pages(reach)
    inner = SESSION.events if key in (SESSION.events, SESSION.sessions) else _WHOLE_KEY
    lines = [f"SELECT {inner}", f"FROM {relation}", f"WHERE {' AND '.join(where)}"]
    body = "\n".join(f"    {line}" for line in "\n".join(lines).split("\n"))
    return f"({key}) {'NOT IN' if done.negated else 'IN'} (\n{body}\n)"


def _with_pages(reach: Reach) -> str:
    """The join of entry and exit page, by grouping: what a session's parts say together."""
    return (
        "\nINNER JOIN (\n"
        "    SELECT s.opened_at AS opened_at, s.session_id AS session_id,"
        " tupleElement(min(s.entry), 'path') AS entry_page, tupleElement(max(s.exit), 'path') AS exit_page\n"
        f"    FROM sessions AS s WHERE {' AND '.join(['s.site_id = {site:String}', *reach.sessions])}\n"
        "    GROUP BY s.opened_at, s.session_id\n"
        ") AS s ON e.session_start = s.opened_at AND e.session_id = s.session_id"
    )
