"""The SQL of paths: each session's sequence, cut to the steps asked for, then the links counted and the tail grouped.

Pure: values are bound. One statement, so that nodes and links are of the same moment. Rows: `step` (1 = at the
anchor), what stands there, what follows, and the sessions that go this way; both ends as kind (`VALUE`, `TAIL`; what
follows also `OVER` or `BEYOND`) and value ('' unless `VALUE`). Parameters: `site`, `start`, `end`, `anchor`, `steps`,
`limit`, `until` and those of the filters.

Positions count from the anchor outwards, so backward paths are reversed sequences; the answer turns them round.

Values are numbers until the last moment: their places in alphabetical order. Time and number of an event make one
64-bit number, which sorts as both and is collected several times faster than a pair (`Packing`). Where they don't fit,
pairs are collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from analytics_server.analyses.paths.request import PathQuestion
from analytics_server.query.dimensions import SESSION
from analytics_server.query.language.filter_classes import classify
from analytics_server.query.parameters import MOMENT, TEXT, Binder
from analytics_server.query.sql.from_tables import EVENTS, SITE_OF_EVENTS
from analytics_server.query.sql.range_edges import EDGES, crossing_edge
from analytics_server.query.sql.render import render_on_events
from analytics_server.query.sql.select import (
    ArrayJoin,
    Expression,
    Select,
    Subquery,
    compose,
    is_in,
    select,
)
from analytics_server.query.sql.session_selection import choose_sessions

VALUE, TAIL, OVER, BEYOND = 0, 1, 2, 3
"""A value of its own; one of the tail; the session's path is over; the last step asked for, whatever follows."""

_STEPS = "{steps:UInt8}"
_LIMIT = "{limit:UInt64}"
_UNTIL = f"{{until:{MOMENT}}}"
_BITS = 64


@dataclass(frozen=True, slots=True)
class Packing:
    """How many of the 64 bits hold the value's number; the others hold the microseconds since the range began."""

    bits: int

    @property
    def most(self) -> int:
        """The greatest number of a value."""
        return (1 << self.bits) - 1


def fit(span_us: int, values: int) -> Packing | None:
    """The packing for events of that many microseconds and values, or None if there is none."""
    packing = Packing(min(31, _BITS - max(1, span_us.bit_length())))
    return packing if packing.bits > 0 and values <= packing.most else None


def select_extent(question: PathQuestion) -> Select:
    """One row: when the last event of the sessions happened that may count, and how many values there are."""
    values = select(
        [f"uniqExact({_value(question)})"],
        EVENTS,
        [*_scope(question), f"e.ts >= {EDGES.start}", compose("e.ts <= ", EDGES.active_until)],
    )
    columns = [compose(EDGES.active_until, " AS until"), compose(values, " AS number_of_values")]
    return select(columns, None)


def select_paths(question: PathQuestion, packing: Packing | None, binder: Binder) -> Select:
    """The statement; also binds `until`'s placeholder, which the caller gives its value."""
    links = _links(_sequences(question, packing, binder))
    columns = [
        "step",
        f"if(source_place <= {_LIMIT}, {VALUE}, {TAIL}) AS source_kind",
        f"if(source_kind = {VALUE}, names[source], '') AS source_name",
        f"multiIf(next_kind != {VALUE}, next_kind, target_place <= {_LIMIT}, {VALUE}, {TAIL}) AS target_kind",
        f"if(target_kind = {VALUE}, names[target], '') AS target_name",
        "sum(sessions) AS count",
    ]
    groups = ["step", "source_kind", "source_name", "target_kind", "target_name"]
    found = select(columns, Subquery(_ranked(links)), [], groups)
    return replace(found, scalars=(("names", _names(question, packing)),))


def _names(question: PathQuestion, packing: Packing | None) -> Select:
    """All values in alphabetical order: a value's number is its place here."""
    ordered = Select(
        columns=(f"toString({_value(question)}) AS value",),
        source=EVENTS,
        where=tuple(_events(question)),
        group_by=("value",),
        order_by=("value",),
        limit=str(packing.most) if packing else "",
    )
    return select(["groupArray(value)"], Subquery(ordered))


def _ranked(links: Select) -> Select:
    """Each link with the places of both its ends among the values of their step; the larger first, then by name.

    All that is at a step came there from the step before, so a target's count is the sum of the links to it.
    """
    totals = select(
        [
            "*",
            "sum(sessions) OVER (PARTITION BY step, source) AS source_total",
            "sum(sessions) OVER (PARTITION BY step, next_kind, target) AS target_total",
        ],
        Subquery(links),
    )
    return select(
        [
            "*",
            "dense_rank() OVER (PARTITION BY step ORDER BY source_total DESC, source) AS source_place",
            "dense_rank() OVER (PARTITION BY step, next_kind ORDER BY target_total DESC, target) AS target_place",
        ],
        Subquery(totals),
    )


def _links(sequences: Select) -> Select:
    """Pairs of neighbours, with how many sessions have them; the last value is followed by how the path ends."""
    columns = [
        "step",
        "path[step] AS source",
        f"multiIf(step = {_STEPS}, {BEYOND}, step = length(path), {OVER}, {VALUE}) AS next_kind",
        f"if(next_kind = {VALUE}, path[step + 1], 0) AS target",
        "count() AS sessions",
    ]
    source = ArrayJoin(Subquery(sequences), "arrayEnumerate(path) AS step")
    return select(columns, source, [], ["step", "source", "next_kind", "target"])


def _sequences(question: PathQuestion, packing: Packing | None, binder: Binder) -> Select:
    """One row per session: the numbers of its values from the anchor outwards, as many as asked for."""
    number = f"toUInt32(transform({_value(question)}, names, arrayEnumerate(names), 0))"
    # Of events at the same moment the smaller value comes first, as for entry and exit pages.
    if packing is None:
        ordered = f"arrayMap(one -> tupleElement(one, 2), arraySort(groupArray((e.ts, {number}))))"
    else:
        moment = f"toUInt64(toUnixTimestamp64Micro(e.ts) - toUnixTimestamp64Micro({EDGES.start}))"
        packed = f"{moment} * {packing.most + 1} + {number}"
        ordered = f"arrayMap(one -> toUInt32(bitAnd(one, {packing.most})), arraySort(groupArray({packed})))"
    whole = f"arrayCompact({ordered})"
    if question.anchor is None:
        columns, having = [f"arraySlice({whole}, 1, {_STEPS}) AS path"], []
    else:
        anchor = f"indexOf(names, {binder.name('anchor', question.anchor, TEXT)})"
        columns = [f"{whole if question.direction == 'forward' else f'arrayReverse({whole})'} AS outwards"]
        columns += [f"indexOf(outwards, {anchor}) AS place", f"arraySlice(outwards, place, {_STEPS}) AS path"]
        having = ["place > 0"]
    # An event of a value that came up after the names were read has no number yet: it came too late.
    return Select(
        columns=tuple(columns),
        source=EVENTS,
        where=(*_events(question), f"{number} > 0", *_chosen(question, binder)),
        group_by=(SESSION.events,),
        having=tuple(having),
    )


def _chosen(question: PathQuestion, binder: Binder) -> Sequence[Expression]:
    """The events of the sessions that begin in the range and pass the filters."""
    if len(classify(question.where).settled) < len(question.where):
        chosen = choose_sessions(question.where, binder)
        return [is_in((SESSION.events,), chosen.select([SESSION.sessions]))]
    # What filters ask for stands on each event, and only the few sessions that cross an edge must be looked up.
    earlier = crossing_edge([SESSION.sessions], EDGES.start)
    beyond = crossing_edge([SESSION.sessions], EDGES.end)
    return [
        is_in((SESSION.events,), earlier, negated=True),
        compose(f"(e.ts < {EDGES.end} OR ", is_in((SESSION.events,), beyond), ")"),
        *render_on_events(question.where, binder, EDGES.whole_sessions),
    ]


def _events(question: PathQuestion) -> list[str]:
    """The events that may count."""
    return [*_scope(question), f"e.ts >= {EDGES.start}", f"e.ts <= {_UNTIL}"]


def _scope(question: PathQuestion) -> list[str]:
    views = ["e.name = 'pageview'"] if question.by == "pageview" else []
    return [SITE_OF_EVENTS, *views]


def _value(question: PathQuestion) -> str:
    return "e.path" if question.by == "pageview" else "e.name"
