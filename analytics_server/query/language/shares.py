"""Shares of visitors: which wider question a row's visitors are divided by.

`percentage`, `conversion_rate` and `group_conversion_rate` are visitors of the question
divided by visitors of the same question without something: its dimensions, its goal.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analytics_server.query.dimensions import GOAL, Dimension
from analytics_server.query.language.conditions import matches
from analytics_server.query.language.goal_filters import without_goals
from analytics_server.query.language.request import Question
from analytics_server.query.metrics import Metric, Share, find_metric

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
