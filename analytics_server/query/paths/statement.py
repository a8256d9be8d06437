"""The SQL of paths: each session's sequence, cut to the steps asked for, then the links counted and the tail grouped.

Pure: values are bound. One statement, so that nodes and links are of the same moment. Rows:
`step` (1 = at the anchor), `source` and `target` (a value, or '' if grouped), `source_kind` and `target_kind`
(`VALUE`, `TAIL`; the target also `OVER` or `BEYOND`), `sessions`. Parameters: `site`, `start`, `end`, `anchor`,
`steps`, `limit`.

Positions count from the anchor outwards, so backward paths are reversed sequences; the answer turns them round.
"""

from __future__ import annotations

from analytics_server.query.binding import TEXT, Binder
from analytics_server.query.edges import START, WHOLE_SESSIONS
from analytics_server.query.fields import SESSION
from analytics_server.query.paths.request import PathQuestion
from analytics_server.query.scoped import indent, select
from analytics_server.query.selection import Selection, choose_sessions

VALUE, TAIL, OVER, BEYOND = 0, 1, 2, 3
"""A value of its own; one of the tail; the session's path is over; the last step asked for, whatever follows."""

_STEPS = "{steps:UInt8}"
_LIMIT = "{limit:UInt64}"


def select_paths(question: PathQuestion, binder: Binder) -> tuple[str, Selection]:
    """The statement, and which sessions it reads."""
    chosen = choose_sessions(question.where, binder)
    ranked = f"(\n{indent(_ranked(_links(_sequences(question, chosen, binder))))}\n)"
    columns = [
        "step",
        f"if(source_place <= {_LIMIT}, {VALUE}, {TAIL}) AS source_kind",
        f"if(source_kind = {VALUE}, source, '') AS source_name",
        f"multiIf(next_kind != {VALUE}, next_kind, target_place <= {_LIMIT}, {VALUE}, {TAIL}) AS target_kind",
        f"if(target_kind = {VALUE}, target, '') AS target_name",
        "sum(sessions) AS count",
    ]
    groups = ["step", "source_kind", "source_name", "target_kind", "target_name"]
    return select(columns, ranked, [], groups), chosen


def _ranked(links: str) -> str:
    """Each link with the places of both its ends among the values of their step; the larger first, then by name.

    All that is at a step came there from the step before, so a target's count is the sum of the links to it.
    """
    totals = select(
        [
            "*",
            "sum(sessions) OVER (PARTITION BY step, source) AS source_total",
            "sum(sessions) OVER (PARTITION BY step, next_kind, target) AS target_total",
        ],
        f"(\n{indent(links)}\n)",
        [],
    )
    return select(
        [
            "*",
            "dense_rank() OVER (PARTITION BY step ORDER BY source_total DESC, source) AS source_place",
            "dense_rank() OVER (PARTITION BY step, next_kind ORDER BY target_total DESC, target) AS target_place",
        ],
        f"(\n{indent(totals)}\n)",
        [],
    )


def _links(sequences: str) -> str:
    """Pairs of neighbours, with how many sessions have them; the last value is followed by how the path ends."""
    columns = [
        "step",
        "path[step] AS source",
        f"multiIf(step = {_STEPS}, {BEYOND}, step = length(path), {OVER}, {VALUE}) AS next_kind",
        f"if(next_kind = {VALUE}, path[step + 1], '') AS target",
        "count() AS sessions",
    ]
    relation = f"(\n{indent(sequences)}\n)\nARRAY JOIN arrayEnumerate(path) AS step"
    return select(columns, relation, [], ["step", "source", "next_kind", "target"])


def _sequences(question: PathQuestion, chosen: Selection, binder: Binder) -> str:
    """One row per session: the values from the anchor outwards, as many as asked for."""
    value = "e.path" if question.by == "pageview" else "e.name"
    # Of events at the same moment the smaller value comes first, as for entry and exit pages.
    whole = f"arrayCompact(arrayMap(one -> tupleElement(one, 2), arraySort(groupArray((e.ts, toString({value}))))))"
    if question.anchor is None:
        columns, having = [f"arraySlice({whole}, 1, {_STEPS}) AS path"], ""
    else:
        anchor = binder.name("anchor", question.anchor, TEXT)
        order = whole if question.direction == "forward" else f"arrayReverse({whole})"
        columns = [f"{order} AS outwards", f"indexOf(outwards, {anchor}) AS place"]
        columns.append(f"arraySlice(outwards, place, {_STEPS}) AS path")
        having = "\nHAVING place > 0"
    where = [
        "e.site_id = {site:String}",
        f"e.ts >= {START}",
        *WHOLE_SESSIONS.events,
        f"{SESSION.events} IN (\n{indent(chosen.select([SESSION.sessions]))}\n)",
    ]
    if question.by == "pageview":
        where.append("e.name = 'pageview'")
    return select(columns, "events AS e", where, [SESSION.events]) + having
