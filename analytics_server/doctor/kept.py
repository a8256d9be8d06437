"""Checks of what was set aside for a person: damaged segments, and dead letters with their reasons."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from analytics_server.doctor.report import Facts, Finding, Unmendable, count, size
from analytics_server.ingest import segment
from analytics_server.ingest.dead_letters import ABOUT, read_all


class QuarantineCheck(Unmendable):
    """Damaged WAL segments, kept as they were found."""

    name = "quarantine"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def examine(self) -> Finding:
        files, events, held = await asyncio.to_thread(_inventory, self._directory)
        facts: Facts = {"files": files, "events": events, "bytes": held}
        if not files:
            return self.ok("No damaged WAL segment was kept.", **facts)
        return self.warning(
            f"{count(files, 'damaged WAL segment')} with {count(events, 'readable event')} ({size(held)}) "
            f"{'is' if files == 1 else 'are'} kept in {self._directory}.",
            "What could be read was delivered. Keep the files while you may need them, then delete them.",
            **facts,
        )


def _inventory(directory: Path) -> tuple[int, int, int]:
    files = events = held = 0
    for path in sorted(directory.glob("*")) if directory.is_dir() else ():
        files += 1
        held += path.stat().st_size
        try:
            events += segment.scan(path).rows
        except segment.SegmentError:
            continue
    return files, events, held


class DeadLettersCheck(Unmendable):
    """Events that ClickHouse would not take."""

    name = "dead_letters"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def examine(self) -> Finding:
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
