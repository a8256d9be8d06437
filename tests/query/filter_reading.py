"""What filters say without looking at an event: which goals and segments they name, and whether they name pages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tests.query.world import GOALS, SEGMENTS, Event

OF_SESSIONS = ("has_done", "has_not_done", "sequence")
"""Operators that say something of the whole session."""


def names_pages(filters: Sequence[Any]) -> bool:
    """Do filters, those of segments included, speak of the event's page, outside goals and has_done?"""
    for item in filters:
        if item[0] in ("and", "or"):
            found = names_pages(item[1])
        elif item[0] == "not":
            found = names_pages([item[1]])
        elif segments := segments_named(item):
            found = any(names_pages(SEGMENTS[name]) for name in segments)
        else:
            found = item[0] not in (*OF_SESSIONS, "goal") and item[1] == "event:page"
        if found:
            return True
    return False


def segments_named(item: Any) -> list[str]:
    """The segments that a filter names, any of which will do."""
    return [item[1]] if item[0] == "segment" else list(item[2]) if item[1] == "segment" else []


def could(item: Any, event: Event, holds: Callable[[Any, Event], bool]) -> set[bool]:
    """Whether a filter holds, for all that the event's properties could be; `holds` says it of any other filter."""
    if item[0] in ("and", "or"):
        every = [could(inner, event, holds) for inner in item[1]]
        return {all(pick) if item[0] == "and" else any(pick) for pick in itertools.product(*every)}
    if item[0] == "not":
        return {not one for one in could(item[1], event, holds)}
    if segments := segments_named(item):
        every = [could(["and", SEGMENTS[name]], event, holds) for name in segments]
        return {any(pick) is not item[0].endswith("_not") for pick in itertools.product(*every)}
    if item[0] not in (*OF_SESSIONS, "goal") and item[1].startswith("event:props:"):
        return {True, False}
    return {holds(item, event)}


def divides_visitors(dimension: str) -> bool:
    """Has a dimension groups of visitors to convert? Goals and properties belong to the events that convert."""
    return dimension != "event:goal" and not dimension.startswith("event:props:")


def goals_named(item: Any) -> list[str]:
    """The goals that `["is", "event:goal", […]]`, `contains` or `matches_wildcard` chooses, whatever comes of it."""
    if item[0].removesuffix("_not") == "matches_wildcard":
        return [name for name in GOALS if any(fnmatchcase(name, text) for text in item[2])]
    if item[0].removesuffix("_not") == "is":
        return [name for name in item[2] if name in GOALS]
    return [name for name in GOALS if any(text in name for text in item[2])]


def ways_to_meet(item: Any, *, turned: bool = False) -> list[list[Any]]:
    """All ways to meet a filter: each is a list of comparisons, some of them in `not`, that must hold together."""
    if item[0] == "not":
        return ways_to_meet(item[1], turned=not turned)
    if item[0] in ("and", "or"):
        inner = [ways_to_meet(each, turned=turned) for each in item[1]]
        if (item[0] == "or") is not turned:
            return [way for ways in inner for way in ways]
        return [list(itertools.chain(*ways)) for ways in itertools.product(*inner)]
    return [[["not", item] if turned else item]]


def speaks_of_passive(item: Any) -> bool:
    """Is a comparison about how far was scrolled, or does it say how the event is named (and not how it isn't)?"""
    operator, name = (item[1] if item[0] == "not" else item)[:2]
    if operator in (*OF_SESSIONS, "goal", "segment"):
        return False
    return name == "event:scroll_depth" or (name == "event:name" and operator.endswith("_not") is (item[0] == "not"))


def chooses_goals(item: Any) -> list[str]:
    """The goals that a filter is a choice among; none if it says anything else."""
    if item[0] == "goal":
        return [item[1]]
    if item[0] in ("is", "contains", "matches_wildcard") and item[1] == "event:goal":
        return goals_named(item)
    if item[0] == "or":
        found = [chooses_goals(inner) for inner in item[1]]
        return [name for names in found for name in names] if all(found) else []
    return []


def without_goals(filters: Sequence[Any]) -> list[Any]:
    kept: list[Any] = []
    for item in filters:
        if item[0] == "and":
            kept += without_goals(item[1])
        elif not chooses_goals(item):
            kept.append(item)
    return kept


def chosen_goals(filters: Sequence[Any]) -> list[list[str]]:
    """Per filter that stands by itself and chooses goals, which ones."""
    found: list[list[str]] = []
    for item in filters:
        found += chosen_goals(item[1]) if item[0] == "and" else [names] if (names := chooses_goals(item)) else []
    return found


def goals_shown(filters: Sequence[Any]) -> list[str]:
    """The goals that `event:goal` groups by."""
    return [name for name in GOALS if all(name in names for names in chosen_goals(filters))]


def pays(event: Event, goal: str, filters: Sequence[Any], is_of_goal: Callable[[Event, str], bool]) -> bool:
    """Does the event's revenue count: for the goal of the row, else for the goals that the filters choose?"""
    if goal:
        return bool(event.currency) and GOALS[goal][0].get("currency") in (None, event.currency)
    return bool(event.currency) and all(
        any(is_of_goal(event, each) and pays(event, each, filters, is_of_goal) for each in goals)
        for goals in chosen_goals(filters)
    )
