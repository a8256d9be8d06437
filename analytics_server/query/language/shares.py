"""Shares of visitors: which wider question a row's visitors are divided by, and which filters choose a goal.

`percentage`, `conversion_rate` and `group_conversion_rate` are visitors of the question
divided by visitors of the same question without something: its dimensions, its goal.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analytics_server.query.dimensions import GOAL, Dimension
from analytics_server.query.language.conditions import Both, Condition, Either, Named, matches
from analytics_server.query.metrics import Metric, Share, find_metric

if TYPE_CHECKING:
    from analytics_server.query.language.request import Question

VISITORS = find_metric("visitors")


def counted(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """What has to be read for these metrics: visitors for a share, the metric itself otherwise."""
    return tuple(dict.fromkeys(VISITORS if metric.share else metric for metric in metrics))


def shares_of(question: Question) -> tuple[Share, ...]:
    """The kinds of shares that the question asks for."""
    return tuple(dict.fromkeys(metric.share for metric in question.metrics if metric.share))


def wider(question: Question, share: Share) -> Question:
    """The question whose visitors a share is of."""
    grouped = share is Share.OF_GROUP_WITHOUT_GOAL
    return replace(
        question,
        metrics=(VISITORS,),
        dimensions=tuple(d for d in question.dimensions if d is not GOAL) if grouped else (),
        where=question.where if share is Share.OF_ALL else without_goals(question.where),
        order_by=(),
        goals=(),
    )


def goal_fields(question: Question) -> tuple[Dimension, ...]:
    """What the goals that the question groups by look at."""
    return tuple(match.dimension for match in matches([goal.condition for goal in question.goals]))


def chosen_goals(condition: Condition) -> tuple[Condition, ...]:
    """What the goals mean among which the condition chooses; nothing if it does anything else."""
    match condition:
        case Named(kind="goal"):
            return (condition.condition,)
        case Either():
            found = [chosen_goals(inner) for inner in condition.conditions]
            return tuple(goal for goals in found for goal in goals) if found and all(found) else ()
    return ()


def without_goals(where: Sequence[Condition]) -> tuple[Condition, ...]:
    """The conditions that don't choose a goal."""
    kept: list[Condition] = []
    for condition in where:
        if chosen_goals(condition):
            continue
        if isinstance(condition, Both):
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
        elif isinstance(condition, Both):
            found += goals_in(condition.conditions)
    return found
