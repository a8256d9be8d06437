"""After a restart: the sessions that may still go on and the event ids seen.

They are read back from ClickHouse, and from the log for what ClickHouse has not taken yet,
before the first beacon is accepted: a session goes on, and a repeated event counts once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from analytics_server.collect.duplicates import Duplicates
from analytics_server.collect.session import Sessions
from analytics_server.config import CollectSection
from analytics_server.ingest import segment
from analytics_server.ingest.segment import Sealed, SegmentError, new_batch_id
from analytics_server.model import COLUMN_INDEX, SESSION_ATTRIBUTES
from analytics_server.store.protocol import Store


async def restore_sessions(sessions: Sessions, store: Store, now: float, settings: CollectSection) -> int:
    """Load the newest sessions that are still open, up to the capacity; returns how many.

    A server's own session counts as open within `session_timeout_s` of its last event, a
    client's within `client_session_timeout_s`. Raises a store error.
    """
    moment = datetime.fromtimestamp(now, UTC)
    answer = await store.query(
        f"""
        SELECT site_id, session_id, visitor_ids,
               toUnixTimestamp64Micro(opened_at) AS opened, toUnixTimestamp64Micro(started_at) AS first,
               toUnixTimestamp64Micro(ended_at) AS last, {", ".join(SESSION_ATTRIBUTES)}
        FROM sessions FINAL
        WHERE opened_at >= {{horizon:DateTime64(6, 'UTC')}}
          AND ended_at >= if(
              match(session_id, '^s[0-9a-f]{{16}}$'),
              {{open_since:DateTime64(6, 'UTC')}},
              {{client_since:DateTime64(6, 'UTC')}})
        ORDER BY last DESC
        LIMIT {{most:UInt32}}
        """,
        {
            "horizon": moment - timedelta(seconds=settings.client_session_timeout_s * 2),
            "open_since": moment - timedelta(seconds=settings.session_timeout_s),
            "client_since": moment - timedelta(seconds=settings.client_session_timeout_s),
            "most": settings.max_sessions,
        },
        timeout_s=60.0,
    )
    for row in reversed(answer.rows):
        site_id, session_id, visitor_ids, opened, first, last, *attributes = row
        sessions.restore(
            str(site_id),
            str(session_id),
            [int(str(visitor)) for visitor in visitor_ids],  # type: ignore[attr-defined]
            (int(str(opened)), int(str(first)), int(str(last))),
            tuple(str(value) for value in attributes),
        )
    return len(answer.rows)


async def restore_event_ids(duplicates: Duplicates, store: Store, now: float, settings: CollectSection) -> int:
    """Remember the newest ids of the window again, up to half the capacity; returns how many.

    By the time of their arrival, which `batch_id` begins with, not by the event's own. Oldest
    first and streamed: there may be millions. Raises a store error.
    """
    if not settings.duplicate_window_s:
        return 0
    restored, rest = 0, b""
    async for piece in store.stream(
        """
        SELECT hex(event_id), site_id
        FROM (
            SELECT site_id, event_id, batch_id
            FROM events
            WHERE batch_id >= {since:UInt64}
            ORDER BY batch_id DESC
            LIMIT {most:UInt32}
        )
        ORDER BY batch_id
        """,
        {
            "since": new_batch_id(now - settings.duplicate_window_s) >> 22 << 22,
            "most": max(1, settings.max_duplicate_ids // 2),
        },
        format="TabSeparatedRaw",
        timeout_s=120.0,
    ):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            event_id, _, site_id = line.partition(b"\t")
            duplicates.seen(site_id.decode(), bytes.fromhex(event_id.decode()))
        restored += len(lines)
        await asyncio.sleep(0)
    return restored


class Undelivered:
    """What the log's own segments say, for those that ClickHouse could not take yet."""

    def __init__(self, most_sessions: int) -> None:
        self._most = most_sessions
        self._sessions: OrderedDict[tuple[str, str], _Part] = OrderedDict()
        self.sites: set[str] = set()
        self.stop = False
        """Set it to break off a long reading."""

    def read(self, segments: Iterable[Sealed], duplicates: Duplicates) -> None:
        """Remember the event ids, and collect the sessions. Blocking; one frame at a time is in memory.

        Read ClickHouse after this, so that nothing is missed that is delivered meanwhile.
        """
        for sealed in segments:
            with contextlib.suppress(OSError, SegmentError):  # the flusher meets the same and says so
                columns = segment.read_head(sealed.path).header.columns
                for _, payload in segment.frames(sealed.path):
                    if self.stop:
                        return
                    with contextlib.suppress(msgspec.DecodeError):
                        for row in segment.rows_of(payload, columns):
                            with contextlib.suppress(TypeError, ValueError, IndexError):  # delivery will refuse it
                                duplicates.seen(row[_SITE], row[_EVENT_ID])  # type: ignore[arg-type]
                                self._add(row)

    def _add(self, row: Sequence[Any]) -> None:
        self.sites.add(row[_SITE])
        key = (row[_SITE], row[_SESSION])
        part = self._sessions.get(key)
        if part is None:
            attributes = tuple(row[index] for index in _ATTRIBUTES)
            self._sessions[key] = _Part(row[_START], row[_TS], row[_TS], {row[_VISITOR]}, attributes)
            if len(self._sessions) > self._most:
                self._sessions.popitem(last=False)
            return
        part.first_us, part.last_us = min(part.first_us, row[_TS]), max(part.last_us, row[_TS])
        part.visitor_ids.add(row[_VISITOR])
        self._sessions.move_to_end(key)

    def apply(self, sessions: Sessions) -> int:
        """Add the sessions to those restored from ClickHouse; returns how many."""
        for (site_id, session_id), part in self._sessions.items():
            times = (part.opened_us, part.first_us, part.last_us)
            sessions.restore(site_id, session_id, sorted(part.visitor_ids), times, part.attributes)
        applied = len(self._sessions)
        self._sessions.clear()
        return applied


@dataclass(slots=True)
class _Part:
    """What the log knows of one session; times in microseconds since 1970."""

    opened_us: int
    first_us: int
    last_us: int
    visitor_ids: set[int]
    attributes: tuple[str, ...]


_SITE, _TS, _EVENT_ID, _SESSION, _START, _VISITOR = (
    COLUMN_INDEX[name] for name in ("site_id", "ts", "event_id", "session_id", "session_start", "visitor_id")
)
_ATTRIBUTES = [COLUMN_INDEX[name] for name in SESSION_ATTRIBUTES]
