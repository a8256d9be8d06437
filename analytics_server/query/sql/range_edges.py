"""Sessions and the edges of a range: which rows to read, and which sessions cross.

A session's row has the key (site_id, opened_at, session_id), which its events carry as (session_start, session_id),
both hashed as `session_key`. `opened_at` is close to the true start, `started_at`, but not equal to it when events
arrive late, hence `SESSION_MARGIN_S`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from analytics_server.query.parameters import MOMENT
from analytics_server.query.sql.from_tables import SESSIONS, SITE_OF_EVENTS, SITE_OF_SESSIONS
from analytics_server.query.sql.render import Reach
from analytics_server.query.sql.select import Expression, Scalar, Select, Table, compose, select

SESSION_MARGIN_S = 86_400
"""How far a session's first event may lie from the time the session was opened, in seconds.

Public beacons lie at most a day behind. A trusted import that sends a session's events out
of order by more than this is missing from answers whose range ends in between."""


@dataclass(frozen=True, slots=True)
class RangeEdges:
    """A range by the placeholders of its first instant and of the first one after it."""

    start: str
    end: str

    @property
    def events(self) -> tuple[str, ...]:
        """The site's events in the range."""
        return SITE_OF_EVENTS, f"e.ts >= {self.start}", f"e.ts < {self.end}"

    @property
    def started(self) -> tuple[str, str]:
        """The sessions that belong to the range."""
        return f"s.started_at >= {self.start}", f"s.started_at < {self.end}"

    @property
    def hours(self) -> str:
        """Each hour of the range in which a session may have events, as the column `hour`."""
        first = f"greatest(s.started_at, {self.start})"
        return (
            "arrayJoin(arrayMap("
            f"step -> toStartOfHour({first}) + INTERVAL step HOUR, "
            f"range(toUInt32(dateDiff('hour', {first}, least(s.ended_at, {self.end})) + 1)))) AS hour"
        )

    def opened_near(self, since: Expression = "") -> list[Expression]:
        """Conditions on the table's key that no session of the range fails; `since` instead of the range's start."""
        return [
            SITE_OF_SESSIONS,
            compose("s.opened_at >= ", since or self.start, f" - INTERVAL {SESSION_MARGIN_S} SECOND"),
            f"s.opened_at < {self.end} + INTERVAL {SESSION_MARGIN_S} SECOND",
        ]

    def opened_well_inside(self) -> list[Expression]:
        """Conditions on the key besides the site, met only by sessions that lie wholly inside the range."""
        return [
            f"s.opened_at >= {self.start} + INTERVAL {SESSION_MARGIN_S} SECOND",
            compose("s.opened_at < ", open_since(self.end)),
        ]

    def started_in_range(self) -> list[Expression]:
        """The sessions that belong to the range, with conditions on the table's key."""
        return [*self.opened_near(), *self.started]

    def overlapping(self) -> list[Expression]:
        """The sessions, or parts of them, with events in the range."""
        return [
            *self.opened_near(open_since(self.start)),
            f"s.started_at < {self.end}",
            f"s.ended_at >= {self.start}",
        ]

    @property
    def active_until(self) -> Expression:
        """No session that begins in the range has an event after this."""
        return compose(
            Scalar(
                _active(
                    self.end,
                    f"if(count() = 0, {self.end}, max(o.ended_at))",
                    f"{self.end} + INTERVAL {SESSION_MARGIN_S} SECOND",
                )
            )
        )

    @property
    def whole_sessions(self) -> Reach:
        """All events of the sessions that have one in the range: what has_done has to look at."""
        return _whole_sessions(self)


@lru_cache(maxsize=64)
def _whole_sessions(edges: RangeEdges) -> Reach:
    since = open_since(edges.start)
    return Reach(
        events=(
            compose("e.ts >= ", since, f" - INTERVAL {SESSION_MARGIN_S} SECOND"),
            compose("e.ts <= ", edges.active_until),
        ),
        sessions=tuple(edges.opened_near(since)[1:]),
    )


def edges_named(suffix: str = "") -> RangeEdges:
    """The edges whose parameters are called `start` and `end`, with a suffix."""
    return RangeEdges(f"{{start{suffix}:{MOMENT}}}", f"{{end{suffix}:{MOMENT}}}")


EDGES = edges_named()
"""Of a statement about one range, with the parameters `start` and `end`."""


@lru_cache(maxsize=64)
def open_since(edge: str) -> Expression:
    """When the longest-running session that is still active at an edge of the range was opened.

    Read without FINAL: a part of a session's row has `ended_at` past the edge exactly if the
    merged row has.
    """
    return compose(Scalar(_active(edge, f"if(count() = 0, {edge}, min(o.opened_at))", edge)))


def crossing_edge(columns: Sequence[Expression], edge: str, settled: Sequence[Expression] = ()) -> Select:
    """The sessions that begin before one edge and end at or after it; `settled`: true of every part of their rows."""
    return select(
        columns,
        SESSIONS,
        [
            SITE_OF_SESSIONS,
            compose("s.opened_at >= ", open_since(edge)),
            f"s.opened_at < {edge} + INTERVAL {SESSION_MARGIN_S} SECOND",
            f"s.started_at < {edge}",
            f"s.ended_at >= {edge}",
        ],
        prewhere=settled,
    )


def _active(edge: str, column: str, opened_before: str) -> Select:
    """One value of the sessions that were opened before an instant and are active at an edge."""
    return select(
        [column],
        Table("sessions", "o"),
        ["o.site_id = {site:String}", f"o.opened_at < {opened_before}", f"o.ended_at >= {edge}"],
    )
