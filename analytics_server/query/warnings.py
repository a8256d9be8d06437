"""What an answer must say beside its numbers: which currency they are in, and what they are not.

Pure. Amounts of different currencies are never added: a question whose events have several
is refused, unless it groups by currency, or by goals that have one each.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from analytics_server.errors import RequestError
from analytics_server.query.dimensions import CURRENCY, GOAL
from analytics_server.query.language.conditions import Match
from analytics_server.query.language.goal_filters import goals_in
from analytics_server.query.language.request import Question
from analytics_server.query.language.time_range import TimeRange
from analytics_server.query.metrics import AMOUNTS, VISITORS, find_metric

MOST_NAMED = 10
"""So many currencies are named when a question is refused for having several."""

DAILY_VISITORS = (
    "visitors of several days are the sum of each day's visitors: nobody can be recognised the day after, so who comes"
    " on three days counts three times."
)
PARTIAL_COMPARISON = "The range is not over: it is compared with the same part of the earlier one."
PAIR_STANDS = "A pair to compare with stands as it is: match_day_of_week does not move it."
RUNNING = "The range is not over: its numbers will still grow."
NO_GOALS = "The site has no saved goals to group by."


def needs_currency(question: Question) -> bool:
    """Does the answer hold amounts whose currency its rows don't name?"""
    amounts = any(metric.kind in AMOUNTS for metric in question.metrics)
    return amounts and CURRENCY not in question.dimensions


def currencies_of(question: Question) -> Question:
    """Which currencies the events have that the question adds up."""
    by_goal = GOAL in question.dimensions
    paying = () if by_goal else question.paying
    return replace(
        question,
        metrics=(find_metric("total_revenue"),),  # which passive events count for too
        dimensions=(GOAL, CURRENCY) if by_goal else (CURRENCY,),
        where=(*question.where, *paying, Match(CURRENCY, "is", ("",), negated=True)),
        order_by=(),
    )


def one_currency(found: Collection[str], question: Question) -> str:
    """The only one of them, or that of the chosen goal, or "". Raises `RequestError` (several_currencies)."""
    if len(found) > 1:
        raise _several("The revenue asked for is", found, "")
    chosen = {goal.currency for goals in goals_in(question.where) for goal in goals}
    return next(iter(found or (chosen if len(chosen) == 1 else ())), "")


def goal_currencies(found: Iterable[tuple[str, str]], question: Question) -> dict[str, str]:
    """The currency of each goal's revenue: the goal's own, else the only one there is. `found`: pairs of both.

    A goal without revenue and without a currency of its own has none. Raises `RequestError` (several_currencies).
    """
    seen: dict[str, set[str]] = {}
    for name, currency in found:
        seen.setdefault(name, set()).add(currency)
    shown: dict[str, str] = {}
    for goal in question.goals:
        currencies = seen.get(goal.name, set())
        if len(currencies) > 1 and not goal.currency:
            raise _several(f"The revenue of the goal {goal.name!r} is", currencies, " Or give the goal a currency.")
        if currency := goal.currency or next(iter(currencies), ""):
            shown[goal.name] = currency
    return shown


def _several(what: str, found: Collection[str], also: str) -> RequestError:
    named = ", ".join(sorted(found)[:MOST_NAMED])
    return RequestError(
        f"{what} in several currencies ({named}), and amounts of different currencies are never added. Choose one by a"
        f' filter such as ["is", "event:currency", ["{min(found)}"]], or group by the dimension "event:currency".'
        f"{also}",
        code="several_currencies",
    )


def warnings_of(question: Question, range_: TimeRange, now: datetime, hidden_goals: Sequence[str] = ()) -> list[str]:
    """What a reader of the numbers should know. `hidden_goals`: the site's profile forbids what they compare."""
    found: list[str] = []
    counts_visitors = any(metric is VISITORS or metric.share for metric in question.metrics)
    if counts_visitors and question.interval in (None, "week", "month") and _has_days(range_):
        found.append(DAILY_VISITORS)
    if range_.start <= now < range_.end:
        found.append(PARTIAL_COMPARISON if isinstance(question.comparison, str) else RUNNING)
    if question.match_day_of_week and not isinstance(question.comparison, str):
        found.append(PAIR_STANDS)
    if hidden_goals:
        named = ", ".join(map(repr, hidden_goals[:MOST_NAMED])) + (", …" if len(hidden_goals) > MOST_NAMED else "")
        found.append(f"Goals are left out that compare what the site's profile forbids: {named}.")
    elif GOAL in question.dimensions and not question.goals:
        found.append(NO_GOALS)
    return found


def _has_days(range_: TimeRange) -> bool:
    """Does the range touch more than one local day?"""
    first, last = (at.astimezone(range_.zone).date() for at in (range_.start, range_.end - timedelta(microseconds=1)))
    return first != last
