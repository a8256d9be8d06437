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
from analytics_server.query.language.conditions import Both, Condition, Match, Named, matches
from analytics_server.query.parameters import Binder
from analytics_server.query.sql.range_edges import SESSION_MARGIN_S
from analytics_server.query.sql.render import render_on_events

START = "{start:DateTime64(6, 'UTC')}"
END = "{end:DateTime64(6, 'UTC')}"
UNTIL = "{until:DateTime64(6, 'UTC')}"
AT = "toUInt64(toUnixTimestamp64Micro(e.ts))"

SUBJECTS: dict[By, str] = {"session": "e.session_key", "visitor": "e.visitor_id", "user": "e.user_id"}
KNOWN: dict[By, str] = {"session": "", "visitor": "e.visitor_id != 0", "user": "e.user_id != ''"}
"""What must hold of an event for its subject to be known."""


def elements_of_events(
    funnel: Funnel, binder: Binder, entry_value: str = "", dimension: Dimension | None = None
) -> str:
    """A SELECT of `subject`, `elements` and, if wanted, `entries`: (µs, value) of the first steps.

    `dimension`: the one that the value reads.

    Parameters that the caller binds: `site`, `start`, `end` and `until`, the end plus the window.
    """
    steps = [all_of(render_on_events(step.where, binder)) for step in funnel.steps]
    barred = [all_of(render_on_events(one.meant.where, binder)) for one in funnel.exclude]
    entry = f"{steps[0]} AND e.ts < {END}"
    wanted = [entry, *steps[1:], *barred] if funnel.order != "strict" else [*steps, *barred]
    numbered = [(entry, 1), *((sql, number) for number, sql in enumerate(steps[1:], 2))]
    numbered += [(sql, exclusion_number(index)) for index, sql in enumerate(barred)]
    if funnel.order == "strict":
        numbered.append((f"{steps[0]} AND e.ts >= {END}", OTHER))
    columns = [f"{SUBJECTS[funnel.by]} AS subject", f"{_collected(funnel, numbered)} AS elements"]
    dimensions = [match.dimension for match in matches(funnel.conditions())]
    if dimension is not None:
        dimensions.append(dimension)
    if entry_value:
        columns.append(f"groupUniqArrayIf(({AT}, {entry_value}), {entry}) AS entries")
    where = [
        "e.site_id = {site:String}",
        f"e.ts >= {START}",
        f"e.ts < {UNTIL}",
        *([KNOWN[funnel.by]] if KNOWN[funnel.by] else []),
        *render_on_events(funnel.where, binder),
        "(" + " OR ".join(f"({sql})" for sql in wanted) + ")",
    ]
    relation = "events AS e" + (_SESSIONS if any(dimension.joined for dimension in dimensions) else "")
    conditions = "\n    AND ".join(where)
    return f"SELECT {', '.join(columns)}\nFROM {relation}\nWHERE {conditions}\nGROUP BY subject"


def all_of(conditions: Sequence[str]) -> str:
    """All of them, as one condition."""
    return "(" + " AND ".join(conditions) + ")"


_SESSIONS = f"""
INNER JOIN (
    SELECT s.opened_at AS opened_at, s.session_id AS session_id,
        tupleElement(min(s.entry), 'path') AS entry_page, tupleElement(max(s.exit), 'path') AS exit_page
    FROM sessions AS s
    WHERE s.site_id = {{site:String}} AND s.opened_at < {UNTIL} + INTERVAL {SESSION_MARGIN_S} SECOND
    GROUP BY s.opened_at, s.session_id
    HAVING max(s.ended_at) >= {START}
) AS s ON e.session_start = s.opened_at AND e.session_id = s.session_id"""


def _collected(funnel: Funnel, numbered: Sequence[tuple[str, int]]) -> str:
    if is_exclusive(funnel):
        parts = ", ".join(f"{sql}, {number}" for sql, number in numbered)
        return f"groupArray(toUInt64({element(AT, 0)} - multiIf({parts}, 0)))"
    parts = ", ".join(f"if({sql}, {element(AT, number)}, 0)" for sql, number in numbered)
    return f"groupArrayArray(arrayFilter(x -> x != 0, [{parts}]))"


def is_exclusive(funnel: Funnel) -> bool:
    """Is it plain from the names that no event is more than one thing?"""
    seen: set[str] = set()
    for where in (*(step.where for step in funnel.steps), *(one.meant.where for one in funnel.exclude)):
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
            case Named():
                if found := _names((condition.condition,)):
                    return found
            case Both():
                if found := _names(condition.conditions):
                    return found
    return set()
