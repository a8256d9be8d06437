"""Runs a paths question: check, ask, and make nodes and links of the counted pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics_server.analyses.paths.request import (
    ENTRY,
    EXIT,
    OTHER,
    Kind,
    PathLink,
    PathNode,
    PathQuestion,
    PathsAnswer,
    PathsRequest,
    check_paths,
)
from analytics_server.analyses.paths.statement import BEYOND, OVER, TAIL, fit, select_extent, select_paths
from analytics_server.query.answer import whole_number
from analytics_server.query.context import Cost, QueryContext, meta_of, show_range
from analytics_server.query.parameters import COUNT, TEXT, Binder


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: its step from left to right, and what it is."""

    step: int
    kind: Kind
    name: str

    @property
    def id(self) -> str:
        # A value may be called as a group is: the sign behind the step tells them apart.
        return f"{self.step}/{self.name}" if self.kind == "value" else f"{self.step}-{self.kind}"


_ORDER: tuple[Kind, ...] = ("value", "other", "entry", "exit")


async def run_paths(context: QueryContext, request: PathsRequest, *, packed: bool = True) -> PathsAnswer:
    """Answer `POST /api/v1/paths`. `packed` False: collect pairs, as where a packing does not fit.

    Raises `RequestError`, `NotFound` or a store error.
    """
    question = check_paths(request, context.library(request.site_id))
    site = context.site(request.site_id)
    context.check_profile(site, question.where)
    await context.check_patterns(question.where)
    range_, _ = await context.range_of(site, question.date_range)
    binder = Binder()
    binder.name("site", site.site_id, TEXT)
    binder.moment("start", range_.start)
    binder.moment("end", range_.end)
    extent = await context.query(select_extent(question), binder.values)
    until, values = extent.rows[0]
    assert isinstance(until, datetime), "a DateTime64 gives an aware time"
    span_us = (until - range_.start) // timedelta(microseconds=1)
    packing = fit(max(0, span_us), whole_number(values)) if packed else None
    binder.moment("until", until)
    binder.name("steps", question.steps, COUNT)
    binder.name("limit", question.limit, COUNT)
    result = await context.query(select_paths(question, packing, binder), binder.values)
    nodes, links = make_graph(question, result.rows)
    cost = Cost().plus(extent).plus(result)
    anchored = 1 if question.direction == "forward" else question.steps
    return PathsAnswer(
        direction=question.direction,
        sessions=sum(node.count for node in nodes if node.step == anchored and node.kind in ("value", "other")),
        nodes=nodes,
        links=links,
        meta=meta_of(
            "events+sessions",
            range_,
            cost,
            context.site_warnings(site, range_),
        ),
        query=question.normalised() | {"date_range": list(show_range(range_))},
    )


def make_graph(question: PathQuestion, rows: Iterable[Sequence[object]]) -> tuple[list[PathNode], list[PathLink]]:
    """Nodes by step, the most frequent first; links in the order of their ends."""
    forward = question.direction == "forward"
    counts: Counter[_Place] = Counter()
    flows: Counter[tuple[_Place, _Place]] = Counter()
    for distance, near_kind, near_name, far_kind, far_name, sessions in rows:
        count, away = whole_number(sessions), whole_number(distance)
        near = _place(question, away, whole_number(near_kind), str(near_name))
        counts[near] += count
        if far_kind == BEYOND:
            continue
        far = _place(question, away + 1, whole_number(far_kind), str(far_name))
        if far_kind == OVER:
            counts[far] += count
        flows[(near, far) if forward else (far, near)] += count
    ordered = sorted(counts, key=lambda place: (place.step, _ORDER.index(place.kind), -counts[place], place.name))
    position = {place: index for index, place in enumerate(ordered)}
    nodes = [PathNode(id=p.id, step=p.step, name=p.name, kind=p.kind, count=counts[p]) for p in ordered]
    links = [
        PathLink(source=source.id, target=target.id, count=flows[source, target])
        for source, target in sorted(flows, key=lambda ends: (position[ends[0]], position[ends[1]]))
    ]
    return nodes, links


def _place(question: PathQuestion, distance: int, kind: int, name: str) -> _Place:
    step = distance if question.direction == "forward" else question.steps + 1 - distance
    if kind == TAIL:
        return _Place(step, "other", OTHER)
    if kind == OVER:
        return _Place(step, "exit", EXIT) if question.direction == "forward" else _Place(step, "entry", ENTRY)
    return _Place(step, "value", name)
