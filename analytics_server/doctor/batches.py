"""Checks of exactly-once delivery: batches whose outcome is open, and event ids that came twice.

A batch in the log may be in `events` already (the server died before it deleted the
segment): whole or not at all per month is the protocol's normal state, anything else is not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from analytics_server.batch_ids import ARRIVED_SINCE, OF_BATCH, first_batch_id
from analytics_server.config import CollectSection
from analytics_server.doctor.report import BaseCheck, Facts, Finding, count, span
from analytics_server.doctor.wal import ScannedSegment, segments
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.flush.batch import read
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.rollups.rebuild import Advance
from analytics_server.store.protocol import Store

IDS_AT_ONCE = 2_000_000
"""So many event ids are grouped in one query: bounds its memory to some hundred megabytes."""
EXAMPLES = 5


class BatchesCheck(BaseCheck):
    """The batches in the log, less what dead letters hold of them, against the rows of `events` with their ids."""

    name = "batches"

    def __init__(self, store: Store, directory: Path, dead_letters: Path) -> None:
        self._store = store
        self._directory = directory
        self._dead_letters = dead_letters

    async def examine(self) -> Finding:
        """Count the rows of each batch in the log, and compare with the segment."""
        readable = [one for one in await asyncio.to_thread(segments, self._directory) if not one.fault and one.events]
        whole, partial, absent = 0, [], 0
        for one in readable:
            stored = await self._stored(one.batch_id)
            if not stored:
                absent += 1
                continue
            letter = await asyncio.to_thread(dead_letters.find, self._dead_letters, one.batch_id)
            refused = letter.positions if letter else frozenset[int]()
            if stored.total() == one.events - len(refused):
                whole += 1
            elif await asyncio.to_thread(_is_torn, one, stored, refused):
                partial.append(one)
            else:
                absent += 1  # some months are in, the others are still to be sent
        facts: Facts = {
            "batches": len(readable),
            "in_events": whole,
            "to_deliver": absent,
            "partly_stored": [str(one.batch_id) for one in partial],
        }
        if partial:
            return self.error(
                f"{count(len(partial), 'batch is', 'batches are')} only partly in events: {partial[0].batch_id}.",
                "The server sets it aside (dead-letters/) and never guesses: compare its rows with events by event_id.",
                **facts,
            )
        if not readable:
            return self.ok("No batch is open.", **facts)
        parts = [f"{absent} to be delivered"] if absent else []
        parts += (
            [f"{whole} in events already, which the server verifies before it deletes the segment"] if whole else []
        )
        return self.ok(f"Of {count(len(readable), 'open batch', 'open batches')}, {', '.join(parts)}.", **facts)

    async def _stored(self, batch_id: int) -> Counter[int]:
        answer = await self._store.query(
            f"SELECT toYYYYMM(ts) AS month, count() FROM events WHERE {OF_BATCH} GROUP BY month",
            {"batch": batch_id},
        )
        return Counter({int(str(month)): int(str(rows)) for month, rows in answer.rows})


def _is_torn(one: ScannedSegment, stored: Counter[int], refused: frozenset[int]) -> bool:
    """Has a month of the batch some of its rows, but not all?"""
    try:
        batch = read(Sealed(one.path, one.batch_id, one.events, one.bytes, None))
    except FileNotFoundError:  # delivered meanwhile
        return False
    return any(rows != len(batch.positions(month, refused)) for month, rows in stored.items())


class EventIdsCheck(BaseCheck):
    """What a start remembers of event ids, and whether one of them was counted twice."""

    name = "event_ids"

    def __init__(self, store: Store, settings: CollectSection, clock: Callable[[], float], advance: Advance) -> None:
        self._store = store
        self._window_s = settings.duplicate_window_s
        self._restored = max(1, settings.max_duplicate_ids // 2)
        self._clock = clock
        self._advance = advance

    async def examine(self) -> Finding:
        """Look for event ids that count twice, some two million at a time."""
        if not self._window_s:
            return self.ok("Repeated event ids are not looked for ([collect] duplicate_window_s = 0).", window_s=0)
        since = first_batch_id(self._clock() - self._window_s)
        answer = await self._store.query(
            f"SELECT count() FROM events WHERE {ARRIVED_SINCE}", {"arrived_since": since}, timeout_s=300
        )
        total = int(str(answer.rows[0][0]))
        doubles, surplus, examples = 0, 0, list[str]()
        shares = total // IDS_AT_ONCE + 1
        for share in range(shares):
            self._advance("event ids", share, shares)
            answer = await self._store.query(
                f"""
                SELECT count(), sum(times) - count(), groupArray(5)((site_id, toString(event_id)))
                FROM (
                    SELECT site_id, event_id, count() AS times FROM events
                    WHERE {ARRIVED_SINCE} AND cityHash64(event_id) % {{shares:UInt32}} = {{share:UInt32}}
                    GROUP BY site_id, event_id HAVING times > 1
                )
                """,
                {"arrived_since": since, "shares": shares, "share": share},
                timeout_s=300,
            )
            found, more, some = answer.rows[0]
            doubles, surplus = doubles + int(str(found)), surplus + int(str(more))
            examples += [f"{site} {event_id}" for site, event_id in some]  # type: ignore[attr-defined]
        facts: Facts = {
            "window_s": self._window_s,
            "ids_in_window": total,
            "restored_at_start": min(total, self._restored),
            "double_ids": doubles,
            "surplus_events": surplus,
            "examples": examples[:EXAMPLES],
        }
        window = span(self._window_s)
        if doubles:
            return self.error(
                f"{count(doubles, 'event id is', 'event ids are')} in events more than once within {window}: "
                f"{count(surplus, 'event is', 'events are')} counted too often.",
                "Two servers took the same beacon, or one sent it to another server after a restart: "
                "send a client's retries to the server that had its first try. --json names some ids.",
                **facts,
            )
        if total > self._restored:
            return self.warning(
                f"{count(total, 'event')} arrived within {window}, and a start remembers the ids of the newest "
                f"{self._restored:,}: an older one that is repeated after a restart would count again.",
                "Raise [collect] max_duplicate_ids (about 20 bytes of memory each) or shorten duplicate_window_s.",
                **facts,
            )
        return self.ok(
            f"No event id came twice within {window}; a start remembers all {total:,} of them."
            if total
            else f"No events arrived within {window}.",
            **facts,
        )
