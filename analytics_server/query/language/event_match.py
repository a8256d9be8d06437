"""Which events a specification matches: what goals, funnel steps, cohorts and experiments have in common.

An `EventSpec` names events by `event`, by `filters`, by a saved `goal`, or several of them
together (all must hold on the same event). `name` is the event's name too, unless the spec
says otherwise which events it means; then it is what the step is called in the answer:

- `{"name": "signup"}`: events named signup.
- `{"name": "pageview", "filters": [["is", "event:page", ["/pricing"]]]}`: standard event names stay names.
- `{"name": "Saw the prices", "filters": [["is", "event:page", ["/pricing"]]]}`: a label, because the
  filters speak of the event's page, name, scroll depth or goal.
- `{"name": "signup", "filters": [["is", "event:props:plan", ["pro"]]]}`: events named signup with that plan.

Pure. Every answer shows how its specs were read (`normalised`).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from analytics_server.errors import RequestError
from analytics_server.model import STANDARD_EVENTS
from analytics_server.query.dimensions import find_dimension
from analytics_server.query.language.conditions import And, Condition, Match, Not, Or, SavedFilter, normalise
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.goal_filters import goal_events, goals_in
from analytics_server.query.language.library import Library
from analytics_server.query.language.shapes import Filters

NAME_CHARS = 120

_SAYS_WHICH = frozenset({"event:name", "event:page", "event:scroll_depth"})


class EventSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Some of a site's events; see the module."""

    name: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    event: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    goal: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    filters: Filters = ()


class EventMatch(msgspec.Struct, frozen=True, kw_only=True):
    """A spec as it was read: what it is called, and what must hold of an event.

    `currency`: the one in which its revenue counts, if it is a goal that has one.
    """

    label: str
    where: tuple[Condition, ...]
    currency: str = ""

    def normalised(self) -> dict[str, object]:
        """As JSON, for the answer."""
        return {"name": self.label, "filters": [normalise(condition) for condition in self.where]}


def read_spec(spec: EventSpec, place: str, library: Library) -> EventMatch:
    """Which events a spec means. `place`: where it stands in the request, for messages. Raises `RequestError`."""
    filters = parse_filters(spec.filters, library, place=f"{place}.filters")
    event, label = spec.event, spec.name
    speaks = any(map(_says_which, filters))
    if spec.name and not event and not spec.goal and (spec.name in STANDARD_EVENTS or not speaks):
        event = spec.name
    own = filters
    if event:
        own = (Match(find_dimension("event:name"), "is", (event,), negated=False), *filters)
    where, currency = own, ""
    if spec.goal:  # which decides whether passive events are meant
        goal = library.goal(spec.goal, place=f"{place}.goal")
        where, currency = (*goal.conditions, *own), goal.currency
    elif own:
        where = goal_events(own)
    chosen = {goal.currency for goals in goals_in(filters) for goal in goals}
    if not currency and len(chosen) == 1:
        currency = chosen.pop()
    if not where:
        raise RequestError(
            f'{place} says of no event that it is meant: give "name" (or "event"), "goal" or "filters",'
            ' such as {"name": "signup"}.',
            code="bad_step",
        )
    return EventMatch(label=label or spec.goal or event or "events", where=where, currency=currency)


def _says_which(condition: Condition) -> bool:
    """Does a filter speak of the event's own name, page or goal, at whatever depth?"""
    match condition:
        case Match():
            return condition.dimension.name in _SAYS_WHICH
        case And() | Or():
            return any(map(_says_which, condition.conditions))
        case Not():
            return _says_which(condition.condition)
        case SavedFilter():
            return condition.kind == "goal"
    return False
