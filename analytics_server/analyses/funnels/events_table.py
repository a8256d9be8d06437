"""Where elements come from: `events`, read directly.

One row per subject, with what its events in the range and one window behind it are to the funnel.
Only rows that match a step or an exclusion are read; where the steps' names exclude one another, each
event is one element at most, which is cheaper to collect.

Entry and exit page stand only in the session's row, so conditions on them join `sessions`. Pure text.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.analyses.funnels.attempts import OTHER, element, exclusion_number
from analytics_server.analyses.funnels.definition import By, Funnel
from analytics_server.query.dimensions import Dimension
from analytics_server.query.language.conditions import And, Condition, GoalEvents, Match, SavedFilter
from analytics_server.query.language.filter_classes import reads_pages
from analytics_server.query.parameters import MOMENT, Binder
from analytics_server.query.sql.from_tables import EVENTS, SITE_OF_EVENTS, events_with_sessions, session_pages
from analytics_server.query.sql.range_edges import EDGES, SESSION_MARGIN_S
from analytics_server.query.sql.render import render_on_events
from analytics_server.query.sql.select import Expression, Select, and_, compose, compose_list, or_, select

UNTIL = f"{{until:{MOMENT}}}"
AT = "toUInt64(toUnixTimestamp64Micro(e.ts))"

SUBJECTS: dict[By, str] = {"session": "e.session_key", "visitor": "e.visitor_id", "user": "e.user_id"}
KNOWN: dict[By, str] = {"session": "", "visitor": "e.visitor_id != 0", "user": "e.user_id != ''"}
"""What must hold of an event for its subject to be known."""


def elements_of_events(
    funnel: Funnel, binder: Binder, entry_value: str = "", dimension: Dimension | None = None
) -> Select:
    """A SELECT of `subject`, `elements` and, if wanted, `entries`: (µs, value) of the first steps.

    `dimension`: the one that the value reads.

    Parameters that the caller binds: `site`, `start`, `end` and `until`, the end plus the window.
    """
    steps = [and_(render_on_events(step.where, binder)) for step in funnel.steps]
    barred = [and_(render_on_events(one.events.where, binder)) for one in funnel.exclude]
    entry = compose(steps[0], f" AND e.ts < {EDGES.end}")
    wanted = [entry, *steps[1:], *barred] if funnel.order != "strict" else [*steps, *barred]
    numbered = [(entry, 1), *((step, number) for number, step in enumerate(steps[1:], 2))]
    numbered += [(condition, exclusion_number(index)) for index, condition in enumerate(barred)]
    if funnel.order == "strict":
        numbered.append((compose(steps[0], f" AND e.ts >= {EDGES.end}"), OTHER))
    columns = [f"{SUBJECTS[funnel.by]} AS subject", compose(_collected(funnel, numbered), " AS elements")]
    if entry_value:
        columns.append(compose(f"groupUniqArrayIf(({AT}, {entry_value}), ", entry, ") AS entries"))
    where = [
        SITE_OF_EVENTS,
        f"e.ts >= {EDGES.start}",
        f"e.ts < {UNTIL}",
        *known_subject(funnel),
        *render_on_events(funnel.where, binder),
        or_([compose("(", condition, ")") for condition in wanted]),
    ]
    joined = reads_pages(funnel.conditions()) or (dimension is not None and dimension.joined)
    source = events_with_sessions(_sessions()) if joined else EVENTS
    return select(columns, source, where, ["subject"])


def known_subject(funnel: Funnel) -> list[str]:
    """What must hold of an event for its subject to be known."""
    return [KNOWN[funnel.by]] if KNOWN[funnel.by] else []


def _sessions() -> Select:
    """Entry and exit page of the sessions whose events may count."""
    return session_pages(
        [f"s.opened_at < {UNTIL} + INTERVAL {SESSION_MARGIN_S} SECOND"], [f"max(s.ended_at) >= {EDGES.start}"]
    )


def _collected(funnel: Funnel, numbered: Sequence[tuple[Expression, int]]) -> Expression:
    if is_exclusive(funnel):
        parts = compose_list(", ", [compose(condition, f", {number}") for condition, number in numbered])
        return compose(f"groupArray(toUInt64({element(AT, 0)} - multiIf(", parts, ", 0)))")
    parts = compose_list(
        ", ", [compose("if(", condition, f", {element(AT, number)}, 0)") for condition, number in numbered]
    )
    return compose("groupArrayArray(arrayFilter(x -> x != 0, [", parts, "]))")


def is_exclusive(funnel: Funnel) -> bool:
    """Is it plain from the names that no event is more than one thing?"""
    seen: set[str] = set()
    for where in (*(step.where for step in funnel.steps), *(one.events.where for one in funnel.exclude)):
        names = _names(where)
        if not names or seen & names:
            return False
        seen |= names
    return True


def _names(where: Sequence[Condition]) -> set[str]:
    """The events' names that conditions leave; nothing if they leave any."""
    for condition in where:
        match condition:
            case Match(method="is", negated=False, case_sensitive=True) if condition.dimension.name == "event:name":
                return set(condition.values)
            case SavedFilter() | GoalEvents():
                if found := _names((condition.condition,)):
                    return found
            case And():
                if found := _names(condition.conditions):
                    return found
    return set()
