"""What an answer must say beside its numbers: which currency they are in, and what they are not.

Pure. Amounts of different currencies are never added: a question whose events have several
is refused, unless it groups by currency.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import CURRENCY, GOAL
from analytics_server.query.language.conditions import Condition, Match, Or
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.metrics import VISITORS, MetricKind, counted, find_metric

MOST_NAMED = 10
"""So many currencies are named when a question is refused for having several."""

DAILY_VISITORS = (
    "visitors of several days are the sum of each day's visitors: nobody can be recognised the day after, so who comes"
    " on three days counts three times."
)
PARTIAL_COMPARISON = "The range is not over: it is compared with the same part of the earlier one."
RUNNING = "The range is not over: its numbers will still grow."
NO_GOALS = "The site has no saved goals to group by."


def needs_currency(question: Question) -> bool:
    """Does the answer hold amounts whose currency its rows don't name?"""
    amounts = any(metric.kind in (MetricKind.AMOUNT, MetricKind.MEAN_AMOUNT) for metric in question.metrics)
    return amounts and CURRENCY not in question.dimensions


def currencies_of(question: Question) -> Question:
    """Which currencies the events have that the question adds up."""
    where: list[Condition] = [*question.where, Match(CURRENCY, "is", ("",), negated=True)]
    if GOAL in question.dimensions:
        where.append(Or(tuple(goal.condition for goal in question.goals)))
    return replace(
        question,
        metrics=(find_metric("total_revenue"),),
        dimensions=(CURRENCY,),
        where=tuple(where),
        goals=(),
        order_by=(),
    )


def one_currency(found: Collection[str]) -> str:
    """The only one of them, or "" if there is none. Raises `RequestError` (several_currencies)."""
    if len(found) > 1:
        named = ", ".join(sorted(found)[:MOST_NAMED])
        raise RequestError(
            f"The revenue asked for is in several currencies ({named}), and amounts of different currencies are never"
            f' added. Choose one by a filter such as ["is", "event:currency", ["{min(found)}"]], or group by the'
            ' dimension "event:currency".',
            code="several_currencies",
        )
    return next(iter(found), "")


def warnings_of(question: Question, range_: TimeRange, now: datetime, *, compared: bool) -> list[str]:
    """What a reader of the numbers should know."""
    found: list[str] = []
    if VISITORS in counted(question.metrics) and question.interval in (None, "week", "month") and _has_days(range_):
        found.append(DAILY_VISITORS)
    if range_.start <= now < range_.end:
        found.append(PARTIAL_COMPARISON if compared else RUNNING)
    if GOAL in question.dimensions and not question.goals:
        found.append(NO_GOALS)
    return found


def _has_days(range_: TimeRange) -> bool:
    """Does the range touch more than one local day?"""
    first, last = (at.astimezone(range_.zone).date() for at in (range_.start, range_.end - timedelta(microseconds=1)))
    return first != last
