"""Which filters of a question choose a goal, what is left without them, and which events and revenue count. Pure.

Passive events tell more about a page view that was counted, so that a goal is reached by one only if it is about
what they tell: if it names the event, or compares how far a page was scrolled.
"""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.model import PASSIVE_EVENTS
from analytics_server.query.dimensions import CURRENCY, is_property
from analytics_server.query.language.conditions import (
    And,
    Condition,
    GoalEvents,
    Match,
    Not,
    Or,
    SavedFilter,
    matches,
)

ANY_ACTIVE = GoalEvents(And(()), None)
"""Met by every active event."""


def chosen_goals(condition: Condition) -> tuple[SavedFilter, ...]:
    """The goals among which the condition chooses; nothing if it does anything else."""
    match condition:
        case SavedFilter(kind="goal"):
            return (condition,)
        case Or():
            found = [chosen_goals(inner) for inner in condition.conditions]
            return tuple(goal for goals in found for goal in goals) if found and all(found) else ()
    return ()


def without_goals(where: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions that don't choose a goal."""
    kept: list[Condition] = []
    for condition in where:
        if chosen_goals(condition):
            continue
        if isinstance(condition, And):
            inner = without_goals(condition.conditions)
            kept += inner if inner != condition.conditions else (condition,)
        else:
            kept.append(condition)
    return tuple(kept)


def without_properties(where: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions as if each comparison of a property (`event:props:*`) were met.

    Under `not` it is met the other way, so that nothing is left out that the conditions keep. Goals, and what is said
    of the whole session (has_done), stay as they are.
    """
    weakened = (_weakest(condition, True) for condition in where)
    return tuple(condition for condition in weakened if not isinstance(condition, bool))


def goals_in(where: Sequence[Condition]) -> list[tuple[SavedFilter, ...]]:
    """Per filter that chooses goals, which ones."""
    found: list[tuple[SavedFilter, ...]] = []
    for condition in where:
        goals = chosen_goals(condition)
        if goals:
            found.append(goals)
        elif isinstance(condition, And):
            found += goals_in(condition.conditions)
    return found


def is_active(condition: Condition) -> bool:
    """Is it plain from the names that no passive event meets the condition?"""
    match condition:
        case Match(method="is", negated=False, case_sensitive=True) if condition.dimension.name == "event:name":
            return PASSIVE_EVENTS.isdisjoint(condition.values)
        case And():
            return any(map(is_active, condition.conditions))
        case Or():
            return all(map(is_active, condition.conditions))
        case SavedFilter():
            return is_active(condition.condition)
        case GoalEvents():
            return condition.passive is None or is_active(condition.condition)
    return False


def goal_events(where: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Conditions of a goal or a step, such that passive events meet them only where these speak of passive events.

    They do where they compare the event's name (by `is`, `contains` or a pattern, not turned round) or its scroll
    depth, or name a goal, which has its own such rule, and that comparison holds. Of an `or`, the alternative that
    holds must do so. No condition at all is met by active events.
    """
    if not where:
        return (ANY_ACTIVE,)
    each = tuple(map(_negated_inside, where))
    if any(map(_always_tells, each)):
        return where
    return (GoalEvents(where[0] if len(where) == 1 else And(where), _telling(And(each))),)


def _negated_inside(condition: Condition, negated: bool = False) -> Condition:
    """The same condition with `not` around single comparisons only."""
    match condition:
        case Not():
            return _negated_inside(condition.condition, not negated)
        case SavedFilter(kind="segment"):
            return _negated_inside(condition.condition, negated)
        case And() | Or():
            inner = tuple(_negated_inside(each, negated) for each in condition.conditions)
            return And(inner) if isinstance(condition, And) is not negated else Or(inner)
    return Not(condition) if negated else condition


def _always_tells(condition: Condition) -> bool:
    """Does each event that meets the condition do so by what speaks of passive events?"""
    match condition:
        case And():
            return any(map(_always_tells, condition.conditions))
        case Or():
            return all(map(_always_tells, condition.conditions))
    return _tells(condition)


def _telling(condition: Condition) -> Condition | None:
    """What must hold besides the condition of an event that meets it by what speaks of passive events."""
    match condition:
        case And():
            found = [telling for telling in map(_telling, condition.conditions) if telling is not None]
        case Or():
            found = []
            for each in condition.conditions:
                telling = _telling(each)
                if telling is not None:
                    found.append(each if _always_tells(each) else And((each, telling)))
        case _:
            return condition if _tells(condition) else None
    return Or(tuple(found)) if found else None


def _tells(condition: Condition) -> bool:
    """Is it a comparison that speaks of passive events where it holds?"""
    negated = isinstance(condition, Not)
    match condition:
        case SavedFilter(kind="goal"):
            return True
        case (Match() as compared) | Not(condition=Match() as compared):
            name = compared.dimension.name
            return name == "event:scroll_depth" or (name == "event:name" and compared.negated is negated)
    return False


def paying(where: Sequence[Condition]) -> tuple[Condition, ...]:
    """What must hold of an event besides the conditions for its revenue to count: the currency of the goal it is of."""
    found: list[Condition] = []
    for goals in goals_in(where):
        currencies = {goal.currency for goal in goals}
        if currencies == {""}:
            continue
        if len(currencies) == 1:
            found.append(_in_currency(goals[0].currency))
            continue
        found.append(
            Or(
                tuple(
                    And((goal.condition, _in_currency(goal.currency))) if goal.currency else goal.condition
                    for goal in goals
                )
            )
        )
    return tuple(found)


def _in_currency(currency: str) -> Match:
    return Match(CURRENCY, "is", (currency,), negated=False)


def _weakest(condition: Condition, met: bool) -> Condition | bool:
    """The condition with each comparison of a property replaced by `met`."""
    if not any(is_property(match.dimension) for match in matches((condition,))):
        return condition
    match condition:
        case Match():
            return met
        case Not():
            inner = _weakest(condition.condition, not met)
            return not inner if isinstance(inner, bool) else Not(inner)
        case And() | Or():
            settles = isinstance(condition, Or)  # one that is true settles an `or`, one that is false an `and`
            parts = [_weakest(inner, met) for inner in condition.conditions]
            if settles in parts:
                return settles
            left = tuple(part for part in parts if not isinstance(part, bool))
            return type(condition)(left) if left else not settles
        case SavedFilter(kind="segment"):
            return _weakest(condition.condition, met)
    return condition
