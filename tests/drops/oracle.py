"""The answer of `GET /api/v1/drops`, worked out from every single drop by brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from analytics_server.collect.drops import DropReason

KEPT = timedelta(days=30)
QUARTER = timedelta(minutes=15)
Summary = dict[tuple[str, str], tuple[int, bool, dict[str, int], str]]


class Noted(NamedTuple):
    """Events that were not kept."""

    at_s: int
    site_id: str
    reason: str
    kind: str
    example: str
    events: int

    @property
    def quarter(self) -> datetime:
        return datetime.fromtimestamp(self.at_s // 900 * 900, UTC)


def asked_for(
    notes: Iterable[Noted], sites: set[str] | None, start: datetime, end: datetime, now: datetime
) -> list[Noted]:
    """By quarters of an hour that begin before the end, and end after the start; not older than 30 days."""
    return [
        note
        for note in notes
        if (sites is None or note.site_id in sites)
        and note.quarter + QUARTER > max(start, now - KEPT)
        and note.quarter < end
    ]


def summaries(notes: list[Noted], zone: ZoneInfo) -> Summary:
    """By site and reason: events, was it rejected, events by kind, the latest time."""
    found: Summary = {}
    for key in {(note.site_id, note.reason) for note in notes}:
        of_key = [note for note in notes if (note.site_id, note.reason) == key]
        kinds = Counter[str]()
        for note in of_key:
            if note.kind:
                kinds[note.kind] += note.events
        last = datetime.fromtimestamp(max(note.at_s for note in of_key), zone).isoformat()
        rejected = key[1] not in {reason.value for reason in DropReason}
        found[key] = sum(note.events for note in of_key), rejected, dict(kinds), last
    return found


def hours(notes: list[Noted], zone: ZoneInfo) -> dict[tuple[str, str], int]:
    """By the local clock's hour and reason."""
    found = Counter[tuple[str, str]]()
    for note in notes:
        local = note.quarter.astimezone(zone)
        found[local.replace(minute=0).isoformat(timespec="minutes"), note.reason] += note.events
    return dict(found)


def examples(notes: list[Noted], site_id: str, reason: str) -> list[tuple[str, int]]:
    """The five most frequent; exact where a minute has no more than five."""
    found = Counter[str]()
    for note in notes:
        if (note.site_id, note.reason) == (site_id, reason) and note.example:
            found[note.example] += note.events
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))[:5]
