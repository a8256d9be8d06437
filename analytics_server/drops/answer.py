"""`GET /api/v1/drops`: what is asked, the shape of the answer, and how sums become one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.collect.drops import DropReason
from analytics_server.collect.rejections import RejectionCode
from analytics_server.drops.table import MOST_LISTED, DropSelection, DropTotals
from analytics_server.query.context import show_range
from analytics_server.query.language.buckets import label_bucket
from analytics_server.query.language.time_range import RangeSpec

SHOWN_EXAMPLES = 5
_DROPS = {reason.value: reason for reason in DropReason}
_REJECTIONS = {code.value: code for code in RejectionCode}


class DropsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked. `site_id` "": all sites that the token covers."""

    site_id: str
    date_range: RangeSpec


class DropExample(msgspec.Struct, frozen=True, kw_only=True):
    """What events were about, and how many were: a host, a path, a robot's name, or a name that is no site's."""

    value: str
    events: int


class DropSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one site that were not kept for one reason, over the range.

    `rejected`: the client was told (`reason` is a rejection's code); otherwise dropped, `reason` is a drop's. `kinds`:
    of `bot`, which bots. `examples`: the most frequent first. `last_at`: the latest, in the zone of `meta`. `site_id`
    is as the events named it, and empty where that can't be a site's id, or where many names were made up at once.
    """

    site_id: str
    reason: str
    rejected: bool
    events: int
    last_at: str
    about: str
    remedy: str
    kinds: dict[str, int] = {}
    examples: list[DropExample] = []


class DropHour(msgspec.Struct, frozen=True, kw_only=True):
    """Events that were not kept for one reason within one hour; `time` is when it begins."""

    time: str
    reason: str
    rejected: bool
    events: int


class DropsMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer rests on. `kept_days`: counts older than that are gone, whatever range is asked for."""

    time_zone: str
    date_range: tuple[str, str]
    kept_days: int
    warnings: list[str] = []


class DropsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`drops`: by site and reason, most events first; 1,000 at most. `hours`: by time and reason, in order of time.

    `site_exists` is there when a site was named.
    """

    drops: list[DropSummary]
    hours: list[DropHour]
    meta: DropsMeta
    site_exists: bool | UnsetType = UNSET


def make_answer(
    totals: DropTotals,
    selection: DropSelection,
    meta: Callable[[tuple[str, str]], DropsMeta],
    site_exists: bool | UnsetType,
) -> DropsAnswer:
    """The sums as they are told."""
    zone = selection.range_.zone
    summaries = sorted(_summaries(totals, zone), key=lambda drop: (-drop.events, drop.site_id, drop.reason))
    hours = [
        DropHour(time=label_bucket(hour_s, "hour", zone), reason=reason, rejected=reason not in _DROPS, events=events)
        for (hour_s, reason), events in sorted(totals.hours.items())
    ]
    return DropsAnswer(
        drops=summaries[:MOST_LISTED], hours=hours, meta=meta(show_range(selection.range_)), site_exists=site_exists
    )


def _summaries(totals: DropTotals, zone: ZoneInfo) -> Iterator[DropSummary]:
    for (site_id, reason), kinds in totals.kinds.items():
        drop = _DROPS.get(reason)
        known = drop or _REJECTIONS.get(reason)
        examples = sorted(totals.examples.get((site_id, reason), {}).items(), key=lambda item: (-item[1], item[0]))
        yield DropSummary(
            site_id=site_id,
            reason=reason,
            rejected=drop is None,
            events=sum(kinds.values()),
            last_at=datetime.fromtimestamp(totals.last_s[site_id, reason], zone).isoformat(),
            about="" if known is None else known.about,
            remedy="" if known is None else known.remedy,
            kinds={kind: events for kind, events in sorted(kinds.items(), key=lambda item: -item[1]) if kind},
            examples=[DropExample(value=value, events=events) for value, events in examples[:SHOWN_EXAMPLES]],
        )
