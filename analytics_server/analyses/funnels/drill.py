"""Drill-down of a funnel: the sessions in which the best attempts of a step's subjects began. Pure text."""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.analyses.funnels.compile import attempts_with_entries, bind_range
from analytics_server.analyses.funnels.definition import Drill, Funnel
from analytics_server.query.answer import whole_number
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.sql.select import Select, Statement, Subquery

SESSION_COLUMNS = ("entry_page", "source", "country")

_SESSION_KEY = "(toUInt64(toUnixTimestamp64Micro(e.session_start)), e.session_id)"

SESSIONS = """
SELECT
    toUnixTimestamp64Micro(s.opened_at) AS opened_us, s.session_id, toUnixTimestamp64Micro(min(s.started_at)),
    tupleElement(min(s.entry), 'path'), any(s.source), any(s.country)
FROM sessions AS s
WHERE s.site_id = {site:String}
    AND s.opened_at IN (SELECT fromUnixTimestamp64Micro(arrayJoin({opened:Array(Int64)}), 'UTC'))
    AND s.session_id IN {sessions:Array(String)}
GROUP BY s.opened_at, s.session_id
"""
"""What is shown of sessions, by the microseconds at which they were opened and their ids."""


def compile_drill(
    funnel: Funnel, site_id: str, range_: TimeRange, drill: Drill, *, only_first: bool = False
) -> Statement:
    """Total, level, start (µs), subject, and the session of the first step: when it was opened (µs) and its id."""
    binder = bind_range(site_id, range_, funnel)
    binder.name("step", drill.step if drill.kind == "reached" else drill.step - 1, "UInt64")
    binder.name("limit", 1 if only_first else drill.limit, "UInt64")
    binder.name("offset", 0 if only_first else drill.offset, "UInt64")
    attempts = attempts_with_entries(funnel, binder, _SESSION_KEY)
    query = Select(
        columns=("count() OVER () AS total", "a.level", "a.start", "a.subject", "a.value.1", "a.value.2"),
        source=Subquery(attempts, "a"),
        where=(f"a.level {'>=' if drill.kind == 'reached' else '='} {{step:UInt64}}",),
        order_by=("a.start DESC", "a.value", "a.subject"),
        limit="{limit:UInt64}",
        offset="{offset:UInt64}",
    )
    return Statement(query, binder.values)


def session_keys(site_id: str, keys: Sequence[tuple[object, object]]) -> dict[str, object]:
    """The parameters of `SESSIONS` for sessions by opening (µs) and id."""
    return {
        "site": site_id,
        "opened": sorted({whole_number(opened) for opened, _ in keys}),
        "sessions": sorted({str(session_id) for _, session_id in keys}),
    }
