"""Checks of what was set aside for an operator: damaged segments, and dead letters with their reasons."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from analytics_server.doctor.report import BaseCheck, Facts, Finding, count, size
from analytics_server.ingest.flush.dead_letters import ABOUT, read_all
from analytics_server.ingest.wal import segment

MOST_NAMES = 20


class QuarantineCheck(BaseCheck):
    """Damaged WAL segments, and other files found in their place, kept as they were."""

    name = "quarantine"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def examine(self) -> Finding:
        """Count files and the events that can be read in them."""
        files = await asyncio.to_thread(_inventory, self._directory)
        events, held = sum(one.events for one in files), sum(one.bytes for one in files)
        unreadable = [one.name for one in files if not one.events]
        facts: Facts = {
            "files": len(files),
            "events": events,
            "bytes": held,
            "names": [one.name for one in files[:MOST_NAMES]],
            "without_events": unreadable[:MOST_NAMES],
        }
        if not files:
            return self.ok("No damaged WAL segment was kept.", **facts)
        first = unreadable or [one.name for one in files]
        nothing = f"; nothing can be read in {count(len(unreadable), 'of them', 'of them')}" if unreadable else ""
        return self.warning(
            f"{count(len(files), 'damaged WAL segment')} with {count(events, 'readable event')} ({size(held)}) "
            f"{'is' if len(files) == 1 else 'are'} kept in {self._directory}, {first[0]} first{nothing}.",
            "What could be read was delivered; what an empty or unreadable file held is lost, unless a backup has it. "
            "Look at the disk, keep the files while you may need them, then delete them.",
            **facts,
        )


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the quarantine; `events` is 0 when nothing in it can be read."""

    name: str
    bytes: int
    events: int


def _inventory(directory: Path) -> list[KeptFile]:
    found = []
    for path in sorted(directory.glob("*")) if directory.is_dir() else ():
        try:
            events = segment.scan(path).rows
        except (segment.SegmentError, OSError):
            events = 0
        found.append(KeptFile(path.name, path.lstat().st_size, events))
    return found


class DeadLettersCheck(BaseCheck):
    """Events that ClickHouse would not take."""

    name = "dead_letters"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def examine(self) -> Finding:
        """Count letters and events by reason."""
        found = await asyncio.to_thread(read_all, self._directory)
        events: Counter[str] = Counter()
        for one in found:
            events[one.letter.reason] += one.letter.events
        facts: Facts = {"letters": len(found), "events": events.total(), "reasons": [*events]}
        if not found:
            return self.ok("There are no dead letters.", **facts)
        reasons = "; ".join(f"{number:,}: {ABOUT[reason]}" for reason, number in events.most_common())
        return self.warning(
            f"{count(len(found), 'dead letter')} with {count(events.total(), 'event')} not stored ({reasons}).",
            "See why with analytics-server dead-letters list; then retry or export them.",
            **facts,
        )
