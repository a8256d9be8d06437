"""Which filters of a question choose a goal, what is left without them, and which revenue counts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.model import PASSIVE_EVENTS
from analytics_server.query.dimensions import CURRENCY, is_property
from analytics_server.query.language.conditions import And, Condition, Match, Not, Or, SavedFilter, matches


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
