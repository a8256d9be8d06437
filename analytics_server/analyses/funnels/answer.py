"""The shape of a funnel's answer, and how it is made of the numbers that SQL gives.

Conversions are per cent with two digits; times are seconds with three, null for a step without subjects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.query.answer import whole_number
from analytics_server.query.language.event_match import EventMatch

CONVERSION_DIGITS = 2
SECONDS_DIGITS = 3

Status = Literal["building", "ready", "failed"]


class StepAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `dropped`: subjects that came to the step before and not to this one.

    `conversion` is from the first step, `step_conversion` from the one before; so are the two medians.
    """

    name: str
    count: int
    conversion: float | None
    step_conversion: float | None
    dropped: int
    median_seconds: float | None
    step_median_seconds: float | None


class ValueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The funnel of the subjects whose best attempt began with that value of the breakdown."""

    value: str
    steps: list[StepAnswer]


class SavedState(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a saved funnel's own tables. `progress`: per cent of the history that is in them."""

    id: str
    name: str
    status: Status
    progress: float


class FunnelMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer rests on. Times are the site's, with their offset."""

    table: str
    time_zone: str
    date_range: tuple[str, str]
    elapsed_ms: float
    rows_read: int
    bytes_read: int
    warnings: list[str]
    saved: SavedState | UnsetType = UNSET
    total_rows: int | UnsetType = UNSET


class FunnelAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/funnels`; `query` is the funnel as it was understood."""

    steps: list[StepAnswer]
    breakdown: list[ValueAnswer]
    meta: FunnelMeta
    query: dict[str, object]


class DrilledSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session in which a subject's best attempt began. `steps`: how many the subject reached.

    `entered_at`: when it did step 1. `user_id`: of funnels by user.
    """

    session_id: str
    started_at: str
    entered_at: str
    entry_page: str
    source: str
    country: str
    steps: int
    user_id: str | UnsetType = UNSET


class DrillAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/funnels/sessions`: the latest entries first. `total`: of all pages."""

    sessions: list[DrilledSession]
    total: int
    meta: FunnelMeta
    query: dict[str, object]


def show_steps(steps: Sequence[EventMatch], numbers: Sequence[object]) -> list[StepAnswer]:
    """The steps from a statement's columns: all counts, then per step from the second on the two medians."""
    counts = [whole_number(number) for number in numbers[: len(steps)]]
    medians = numbers[len(steps) :]
    found = []
    for index, step in enumerate(steps):
        count, before = counts[index], counts[max(0, index - 1)]
        from_first, from_before = medians[2 * index - 2 : 2 * index] if index else (None, None)
        found.append(
            StepAnswer(
                name=step.label,
                count=count,
                conversion=_share(count, counts[0]),
                step_conversion=_share(count, before),
                dropped=before - count,
                median_seconds=_seconds(from_first) if count else None,
                step_median_seconds=_seconds(from_before) if count else None,
            )
        )
    return found


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, CONVERSION_DIGITS) if whole else None


def _seconds(middle: object) -> float | None:
    """The mean of the two values in the middle, which are microseconds."""
    if not isinstance(middle, list | tuple):
        return None
    return round(sum(int(value) for value in middle) / 2_000_000, SECONDS_DIGITS)
