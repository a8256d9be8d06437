"""Paths equal what plain loops over all sessions find, and their counts add up, on both engines."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.analyses.paths.request import PathsAnswer, PathsRequest
from analytics_server.analyses.paths.run import run_paths
from analytics_server.model import Site
from tests.analyses.sessions.people import NAMES, PATHS, Past
from tests.analyses.sessions.places import Place, asked, date_ranges, filters, many, sites

Node = tuple[int, str, str]
OTHER, EXIT, ENTRY = "other", "exit", "entry"


def sequence(past: Past, key: tuple[int, str], by: str) -> list[str]:
    """The values of a session, without immediate repeats."""
    happened = sorted((e.at, e.path if by == "pageview" else e.name) for e in past.sessions[key])
    if by == "pageview":
        happened = past.views(key)
    values = [value for _, value in happened]
    return [value for place, value in enumerate(values) if place == 0 or values[place - 1] != value]


def cut(values: list[str], start: str | None, end: str | None, steps: int) -> list[Node]:
    """The steps of one session, from left to right, with where it begins or ends if that is among them."""
    if end is not None:
        if end not in values:
            return []
        last = len(values) - 1 - values[::-1].index(end)
        taken = values[max(0, last + 1 - steps) : last + 1]
        nodes = [(steps + 1 - len(taken) + place, "value", value) for place, value in enumerate(taken)]
        return [(steps - len(taken), ENTRY, ""), *nodes] if len(taken) < steps else nodes
    if start is not None:
        values = values[values.index(start) :] if start in values else []
    nodes = [(place + 1, "value", value) for place, value in enumerate(values[:steps])]
    return [*nodes, (len(nodes) + 1, EXIT, "")] if 0 < len(nodes) < steps else nodes


def grouped(paths: list[list[Node]], limit: int) -> tuple[Counter[Node], Counter[tuple[Node, Node]]]:
    """Nodes and links, where all but the most frequent values of a step are one."""
    counts = Counter(node for path in paths for node in path)
    kept: set[Node] = set()
    for step in {node[0] for node in counts}:
        here = [node for node in counts if node[0] == step and node[1] == "value"]
        kept |= set(sorted(here, key=lambda node: (-counts[node], node[2].encode()))[:limit])

    def shown(node: Node) -> Node:
        return node if node[1] != "value" or node in kept else (node[0], OTHER, "")

    ways = [[shown(node) for node in path] for path in paths]
    return (
        Counter(node for way in ways for node in way),
        Counter(pair for way in ways for pair in pairwise(way)),
    )


def check_sums(answer: PathsAnswer, steps: int) -> None:
    """What flows out of a node is its count, what flows into it too, but at the edges of the graph."""
    out, into = Counter[str](), Counter[str]()
    for link in answer.links:
        out[link.source] += link.count
        into[link.target] += link.count
    forward = answer.direction == "forward"
    for node in answer.nodes:
        if node.kind == "exit" or (node.step == steps and node.kind != "entry"):
            assert out[node.id] == 0
        else:
            assert out[node.id] == node.count
        if node.kind == "entry" or node.step == 1:
            assert into[node.id] == 0
        else:
            assert into[node.id] == node.count
        assert node.kind != ("entry" if forward else "exit")
    anchored = [node for node in answer.nodes if node.step == (1 if forward else steps)]
    assert sum(node.count for node in anchored) == answer.sessions
    assert len({node.id for node in answer.nodes}) == len(answer.nodes)
    assert [node.step for node in answer.nodes] == sorted(node.step for node in answer.nodes)


def check(place: Place, site: Site, *, packed: bool = True, **question: Any) -> PathsAnswer:
    request = asked(PathsRequest, site_id=site.site_id, **question)
    answer = place.run(run_paths(place.context, request, packed=packed))
    past = place.pasts[site.site_id]
    start, end = (datetime.fromisoformat(edge) for edge in answer.meta.date_range)
    steps = question["steps"]
    sequences = [sequence(past, key, question["by"]) for key in past.chosen(start, end, question["filters"])]
    paths = [cut(values, question.get("start"), question.get("end"), steps) for values in sequences]
    nodes, links = grouped(paths, question["limit"])
    by_id = {node.id: (node.step, node.kind, node.name if node.kind == "value" else "") for node in answer.nodes}
    assert {by_id[node.id]: node.count for node in answer.nodes} == nodes
    assert {(by_id[link.source], by_id[link.target]): link.count for link in answer.links} == links
    check_sums(answer, steps)
    return answer


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    by = draw(st.sampled_from(("pageview", "event")))
    anchors = st.sampled_from((*(PATHS if by == "pageview" else sorted(set(NAMES))), "nowhere"))
    anchor = draw(st.one_of(st.none(), st.tuples(st.sampled_from(("start", "end")), anchors)))
    return {
        "by": by,
        "date_range": draw(date_ranges()),
        "filters": draw(filters()),
        "steps": draw(st.sampled_from((2, 3, 5, 10))),
        "limit": draw(st.sampled_from((1, 2, 3, 50))),
        **({anchor[0]: anchor[1]} if anchor else {}),
    }


@many
@given(site=sites, question=questions())
def test_paths_are_what_the_sessions_did(place: Place, site: Site, question: dict[str, Any]) -> None:
    check(place, site, **question)


@settings(parent=many, max_examples=15)
@given(site=sites, question=questions())
def test_pairs_give_what_packed_numbers_give(place: Place, site: Site, question: dict[str, Any]) -> None:
    assert check(place, site, packed=False, **question).nodes == check(place, site, **question).nodes


def test_sessions_cross_the_edges_of_the_ranges(place: Place) -> None:
    """Else the questions without filters on events, which look up the crossing ones alone, would prove little."""
    crossing = 0
    for past in place.pasts.values():
        for events in past.sessions.values():
            first, last = min(event.at for event in events), max(event.at for event in events)
            crossing += past.local(first).date() != past.local(last).date()
    assert crossing > 100
