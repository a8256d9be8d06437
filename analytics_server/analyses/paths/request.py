"""What may be asked of paths, and the shape of the answer: a graph that a sankey diagram can draw as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from analytics_server.errors import RequestError
from analytics_server.model import stored_site_id
from analytics_server.query.answer import AnswerMeta
from analytics_server.query.language.conditions import Condition, normalise
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.library import Library
from analytics_server.query.language.shapes import DateRange
from analytics_server.query.language.time_range import RangeSpec

MIN_STEPS = 2
MAX_STEPS = 10
DEFAULT_STEPS = 5
MAX_NODES = 50
DEFAULT_NODES = 10
TEXT_CHARS = 2_048

OTHER = "(other)"
EXIT = "(exit)"
ENTRY = "(entry)"

Kind = Literal["value", "other", "exit", "entry"]
Direction = Literal["forward", "backward"]


class PathsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/paths`: forward from `start`, backward from `end`, or from the session's entry."""

    site_id: Annotated[str, Meta(min_length=1, max_length=253)]
    date_range: DateRange = "30d"
    start: Annotated[str, Meta(max_length=TEXT_CHARS)] | None = None
    end: Annotated[str, Meta(max_length=TEXT_CHARS)] | None = None
    steps: Annotated[int, Meta(ge=MIN_STEPS, le=MAX_STEPS)] = DEFAULT_STEPS
    limit: Annotated[int, Meta(ge=1, le=MAX_NODES)] = DEFAULT_NODES
    filters: tuple[object, ...] = ()
    by: Literal["pageview", "event"] = "pageview"


class PathNode(msgspec.Struct, frozen=True, kw_only=True):
    """A page or event at a step, from left to right in time. `kind` tells the grouped and the ends from values."""

    id: str
    step: int
    name: str
    kind: Kind
    count: int


class PathLink(msgspec.Struct, frozen=True, kw_only=True):
    """So many sessions went from the node `source` to the node `target`."""

    source: str
    target: str
    count: int


class PathsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/paths`. `sessions`: how many have a path; the nodes they share count as many."""

    direction: Direction
    sessions: int
    nodes: list[PathNode]
    links: list[PathLink]
    meta: AnswerMeta
    query: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathQuestion:
    """A checked request. `anchor`: the value that paths begin or end with; None = the session's entry."""

    site_id: str
    date_range: RangeSpec
    direction: Direction
    anchor: str | None
    steps: int
    limit: int
    where: tuple[Condition, ...]
    by: Literal["pageview", "event"]

    def normalised(self) -> dict[str, object]:
        """As JSON with all defaults, without the range."""
        return {
            "site_id": self.site_id,
            "start": self.anchor if self.direction == "forward" else None,
            "end": self.anchor if self.direction == "backward" else None,
            "steps": self.steps,
            "limit": self.limit,
            "filters": [normalise(condition) for condition in self.where],
            "by": self.by,
        }


def check_paths(request: PathsRequest, library: Library) -> PathQuestion:
    """Raises `RequestError`."""
    if request.start is not None and request.end is not None:
        raise RequestError(
            'Give "start" or "end", not both: paths go forward from a start or backward from an end.',
            code="bad_request",
        )
    return PathQuestion(
        site_id=stored_site_id(request.site_id),
        date_range=request.date_range,
        direction="forward" if request.end is None else "backward",
        anchor=request.start if request.end is None else request.end,
        steps=request.steps,
        limit=request.limit,
        where=parse_filters(request.filters, library),
        by=request.by,
    )
