"""Filters by what they depend on: single events, the session from its first event on, or the session's whole row.

Worked out once for a question; which rows may be left out before they are merged or joined rests on it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.dimensions import PAGE, Scope
from analytics_server.query.language.conditions import And, Condition, Match, Not, Or, SavedFilter, matches


@dataclass(frozen=True, slots=True)
class FilterClasses:
    """The conditions of a question, each class in the order of the question.

    `about_events`: their truth depends on single events. Of the others, `settled` are true of a session from its first
    event on, `unsettled` are known once the parts of its row are merged, and `of_merged_sessions`, some of these, ask
    for what no event tells. `beside_events`: all but the latter. `names_page`: a filter is written on event:page, in
    a segment too; not in a goal or has_done, which stand for events of their own.
    """

    about_events: tuple[Condition, ...]
    settled: tuple[Condition, ...]
    unsettled: tuple[Condition, ...]
    of_merged_sessions: tuple[Condition, ...]
    beside_events: tuple[Condition, ...]
    names_page: bool


def classify(where: Sequence[Condition]) -> FilterClasses:
    """The conditions by what they depend on."""
    about_events: list[Condition] = []
    settled: list[Condition] = []
    unsettled: list[Condition] = []
    of_merged_sessions: list[Condition] = []
    beside_events: list[Condition] = []
    for condition in where:
        dimensions = [match.dimension for match in matches((condition,))]
        about_event = any(dimension.scope is Scope.EVENT for dimension in dimensions)
        by_page = any(dimension.joined for dimension in dimensions)
        # Attributes of the first touch are the same on all events of a session; entry and exit page are not known
        # before the parts of its row are merged.
        first_touch = all(dimension.scope is Scope.SESSION for dimension in dimensions) and not by_page
        (about_events if about_event else settled if first_touch else unsettled).append(condition)
        (of_merged_sessions if by_page and not about_event else beside_events).append(condition)
    return FilterClasses(
        about_events=tuple(about_events),
        settled=tuple(settled),
        unsettled=tuple(unsettled),
        of_merged_sessions=tuple(of_merged_sessions),
        beside_events=tuple(beside_events),
        names_page=bool(about_events) and _name_page(about_events),
    )


def of_pages_only(conditions: Sequence[Condition]) -> bool:
    """Do conditions ask nothing of events but their page?"""
    return all(
        match.dimension.scope is Scope.SESSION or match.dimension.name == PAGE.name for match in matches(conditions)
    )


def _name_page(conditions: Sequence[Condition]) -> bool:
    for condition in conditions:
        match condition:
            case Match():
                found = condition.dimension.name == PAGE.name
            case And() | Or():
                found = _name_page(condition.conditions)
            case Not():
                found = _name_page((condition.condition,))
            case SavedFilter():
                found = condition.kind == "segment" and _name_page((condition.condition,))
            case _:
                found = False
        if found:
            return True
    return False


def reads_pages(conditions: Sequence[Condition]) -> bool:
    """Do conditions ask for what no event tells, only the session's row: its entry or exit page?"""
    return any(match.dimension.joined for match in matches(conditions))
