"""Sessions and the edges of a range: which rows to read, and which sessions cross.

Pure text. A session's row has the key (site_id, opened_at, session_id), which its events
carry as (session_start, session_id), both hashed as `session_key`. `opened_at` is close
to the true start, `started_at`, but not equal to it when events arrive late, hence
`SESSION_MARGIN_S`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analytics_server.query.sql.render import Reach
from analytics_server.query.sql.scope import Scoped, indent, is_settled, key_of_session, select

SESSION_MARGIN_S = 86_400
"""How far a session's first event may lie from the time the session was opened, in seconds.

Public beacons lie at most a day behind. A trusted import that sends a session's events out
of order by more than this is missing from answers whose range ends in between."""

START = "{start:DateTime64(6, 'UTC')}"
END = "{end:DateTime64(6, 'UTC')}"

STARTED = (f"s.started_at >= {START}", f"s.started_at < {END}")
"""The sessions that belong to the range."""

HOURS = (
    "arrayJoin(arrayMap("
    f"step -> toStartOfHour(greatest(s.started_at, {START})) + INTERVAL step HOUR, "
    f"range(toUInt32(dateDiff('hour', greatest(s.started_at, {START}),"
    f" least(s.ended_at, {END})) + 1)))) AS hour"
)
"""Each hour of the range in which a session may have events."""

BESIDE_EVENTS = (
    "s.opened_at AS opened_at",
    "s.session_id AS session_id",
    "s.started_at AS started_at",
    "tupleElement(s.entry, 'path') AS entry_page",
    "tupleElement(s.exit, 'path') AS exit_page",
)
"""What an event needs of its session's row."""


_SESSION_COLUMN = re.compile(r"\bs\.(\w+)")
_MERGED_BY = {
    "started_at": "min",
    "ended_at": "max",
    "user_id": "max",
    "pageviews": "sum",
    "events": "sum",
    "interactions": "sum",
    "entry": "min",
    "exit": "max",
    "visitor_ids": "groupUniqArrayArray",
}
"""How the columns of `sessions` merge (schema/0002), where it isn't `any`."""


def opened_near_range(since: str = START) -> list[str]:
    """Conditions on the table's key that no session of the range fails."""
    return [
        "s.site_id = {site:String}",
        f"s.opened_at >= {since} - INTERVAL {SESSION_MARGIN_S} SECOND",
        f"s.opened_at < {END} + INTERVAL {SESSION_MARGIN_S} SECOND",
    ]


def opened_well_inside() -> list[str]:
    """Conditions on the table's key alone, met only by sessions that lie wholly inside the range."""
    return [
        "s.site_id = {site:String}",
        f"s.opened_at >= {START} + INTERVAL {SESSION_MARGIN_S} SECOND",
        f"s.opened_at < {open_since(END)}",
    ]


def started_in_range() -> list[str]:
    """The same with conditions on the table's key."""
    return [*opened_near_range(), *STARTED]


def few_sessions(used: Sequence[str], conditions: Sequence[str], *, exact: bool) -> str:
    """`sessions` as `s` where conditions leave few rows: merged by grouping, which FINAL would do for all rows' keys.

    `conditions` hold for all parts of a session's row alike; `used` are the expressions that read `s`.
    """
    names = sorted(set(_SESSION_COLUMN.findall("\n".join(used))))
    columns = [f"{_MERGED_BY.get(name, 'any')}(s.{name}) AS {name}" for name in names]
    key = key_of_session(exact=exact).split(", ")
    return f"(\n{indent(select(columns, 'sessions AS s', opened_near_range(), key, conditions))}\n) AS s"


def crossing(scoped: Scoped, columns: Sequence[str], *edges: str) -> str:
    """The sessions that begin before an edge of the range and end at or after it, each once."""
    return "\nUNION DISTINCT\n".join(crossing_edge(columns, edge, _settled(scoped)) for edge in edges)


def crossing_edge(columns: Sequence[str], edge: str, settled: Sequence[str] = ()) -> str:
    """The sessions that begin before one edge and end at or after it; `settled`: true of every part of their rows."""
    return select(
        columns,
        "sessions AS s FINAL",
        [
            "s.site_id = {site:String}",
            f"s.opened_at >= {open_since(edge)}",
            f"s.opened_at < {edge} + INTERVAL {SESSION_MARGIN_S} SECOND",
            f"s.started_at < {edge}",
            f"s.ended_at >= {edge}",
        ],
        prewhere=settled,
    )


def not_whole(scoped: Scoped, columns: Sequence[str], inside: Sequence[str], *, final: bool) -> str:
    """The sessions with events in the range that don't lie wholly inside one unit of it.

    Without `final`, the parts of sessions that don't: parts that are not merged may each be whole.
    """
    return overlapping(scoped, columns, [f"NOT ({' AND '.join(inside)})"], final=final)


def events_with_sessions(sessions: str) -> str:
    """`events`, with the row of the given sessions beside each event."""
    return (
        f"events AS e\nINNER JOIN (\n{indent(sessions)}\n) AS s"
        " ON e.session_start = s.opened_at AND e.session_id = s.session_id"
    )


def events_relation(scoped: Scoped, *, join: bool) -> str:
    """`events`, with the session's row beside each event where that is needed."""
    return events_with_sessions(overlapping(scoped, BESIDE_EVENTS, [], final=True)) if join else "events AS e"


def overlapping(scoped: Scoped, columns: Sequence[str], where: Sequence[str], *, final: bool = False) -> str:
    """The sessions, or parts of them, with events in the range."""
    return select(
        columns,
        f"sessions AS s{' FINAL' if final else ''}",
        [*opened_near_range(open_since(START)), f"s.started_at < {END}", f"s.ended_at >= {START}", *where],
        prewhere=_settled(scoped),
    )


def _settled(scoped: Scoped) -> list[str]:
    return scoped.on_sessions([condition for condition in scoped.question.where if is_settled(condition)])


def open_since(edge: str) -> str:
    """When the longest-running session that is still active at an edge of the range was opened.

    Read without FINAL: a part of a session's row has `ended_at` past the edge exactly if the
    merged row has.
    """
    return (
        f"(SELECT if(count() = 0, {edge}, min(o.opened_at)) FROM sessions AS o"
        f" WHERE o.site_id = {{site:String}} AND o.opened_at < {edge} AND o.ended_at >= {edge})"
    )


def _active_until(edge: str) -> str:
    """When the last event of a session happened that was opened before an edge of the range, or soon after it."""
    return (
        f"(SELECT if(count() = 0, {edge}, max(o.ended_at)) FROM sessions AS o"
        f" WHERE o.site_id = {{site:String}} AND o.opened_at < {edge} + INTERVAL {SESSION_MARGIN_S} SECOND"
        f" AND o.ended_at >= {edge})"
    )


ACTIVE_UNTIL = _active_until(END)
"""No session that begins in the range has an event after this."""

WHOLE_SESSIONS = Reach(
    events=(
        f"e.ts >= {open_since(START)} - INTERVAL {SESSION_MARGIN_S} SECOND",
        f"e.ts <= {ACTIVE_UNTIL}",
    ),
    sessions=tuple(opened_near_range(open_since(START))[1:]),
)
"""All events of the sessions that have one in the range: what has_done has to look at."""
