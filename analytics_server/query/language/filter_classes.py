"""Filters by what they depend on: single events, the session from its first event on, or the session's whole row.

Worked out once for a question; which rows may be left out before they are merged or joined rests on it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.query.dimensions import Scope
from analytics_server.query.language.conditions import Condition, is_about_events, matches


@dataclass(frozen=True, slots=True)
class FilterClasses:
    """The conditions of a question, each class in the order of the question.

    `about_events`: their truth depends on single events. Of the others, `settled` are true of a session from its first
    event on, `unsettled` are known once the parts of its row are merged, and `of_merged_sessions`, some of these, ask
    for what no event tells. `beside_events`: all but the latter.
    """

    about_events: tuple[Condition, ...]
    settled: tuple[Condition, ...]
    unsettled: tuple[Condition, ...]
    of_merged_sessions: tuple[Condition, ...]
    beside_events: tuple[Condition, ...]


def classify(where: Sequence[Condition]) -> FilterClasses:
    """The conditions by what they depend on."""
    of_sessions = [condition for condition in where if not is_about_events(condition)]
    merged = [condition for condition in of_sessions if reads_pages((condition,))]
    return FilterClasses(
        about_events=tuple(condition for condition in where if is_about_events(condition)),
        settled=tuple(condition for condition in of_sessions if _is_settled(condition)),
        unsettled=tuple(condition for condition in of_sessions if not _is_settled(condition)),
        of_merged_sessions=tuple(merged),
        beside_events=tuple(condition for condition in where if condition not in merged),
    )


def reads_pages(conditions: Sequence[Condition]) -> bool:
    """Do conditions ask for what no event tells, only the session's row: its entry or exit page?"""
    return any(match.dimension.joined for match in matches(conditions))


def _is_settled(condition: Condition) -> bool:
    """Is the condition true of a session from its first event on, so that any part of its row decides it?

    Attributes of the first touch are the same on all events; entry and exit page are not known before the rows
    are merged.
    """
    return all(match.dimension.scope is Scope.VISIT and not match.dimension.joined for match in matches((condition,)))
