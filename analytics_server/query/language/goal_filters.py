"""Which filters of a question choose a goal, and what is left without them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from analytics_server.query.language.conditions import And, Condition, Or, SavedFilter


def chosen_goals(condition: Condition) -> tuple[Condition, ...]:
    """What the goals mean among which the condition chooses; nothing if it does anything else."""
    match condition:
        case SavedFilter(kind="goal"):
            return (condition.condition,)
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


def goals_in(where: Sequence[Condition]) -> list[tuple[Condition, ...]]:
    """Per filter that chooses goals, what they mean."""
    found: list[tuple[Condition, ...]] = []
    for condition in where:
        goals = chosen_goals(condition)
        if goals:
            found.append(goals)
        elif isinstance(condition, And):
            found += goals_in(condition.conditions)
    return found
