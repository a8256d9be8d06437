"""After a restart: the sessions that may still go on and the event ids seen.

They are read back from ClickHouse, and from the log for what ClickHouse has not taken yet (`undelivered`),
before the first beacon is accepted: a session goes on, and a repeated event counts once.
"""

from __future__ import annotations

import asyncio
from binascii import unhexlify
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from analytics_server.collect.duplicates import Duplicates
from analytics_server.collect.session import Sessions
from analytics_server.config import CollectSection
from analytics_server.ingest.segment import Sealed, new_batch_id
from analytics_server.model import SESSION_ATTRIBUTES
from analytics_server.store.protocol import Store

MOST_READ_TWICE = 100_000
"""More events of the log's segments are not delivered before their ids are restored."""


async def restore_sessions(sessions: Sessions, store: Store, now: float, settings: CollectSection) -> int:
    """Load the newest sessions that are still open, up to the capacity; returns how many.

    A server's own session counts as open within `session_timeout_s` of its last event, a
    client's within `client_session_timeout_s`, or of the arrival of one: imports bring events of long ago.
    Raises a store error.
    """
    moment = datetime.fromtimestamp(now, UTC)
    client_since = moment - timedelta(seconds=settings.client_session_timeout_s)
    imported = await store.query(
        f"""
        SELECT site_id, session_id, toUnixTimestamp64Micro(session_start) AS opened, toUnixTimestamp64Micro(ts) AS at,
               {", ".join(SESSION_ATTRIBUTES)}
        FROM events
        WHERE batch_id >= greatest({{arrived:UInt64}}, (
              SELECT min(batch_id) FROM (
                  SELECT batch_id FROM events
                  WHERE batch_id >= {{arrived:UInt64}} AND ts < {{client_since:DateTime64(6, 'UTC')}}
                  ORDER BY batch_id DESC
                  LIMIT {{most:UInt32}})))
          AND ts < {{client_since:DateTime64(6, 'UTC')}}
          AND NOT match(session_id, '^s[0-9a-f]{{16}}$')
        ORDER BY batch_id DESC, ts DESC
        LIMIT 1 BY site_id, session_id
        LIMIT {{most:UInt32}}
        """,
        {
            "arrived": new_batch_id(client_since.timestamp()) >> 22 << 22,
            "client_since": client_since,
            "most": settings.max_sessions,
        },
        timeout_s=60.0,
    )
    for site_id, session_id, opened, at, *attributes in reversed(imported.rows):
        times = (int(str(opened)), min(int(str(opened)), int(str(at))), int(str(at)))
        sessions.restore(str(site_id), str(session_id), [], times, tuple(str(value) for value in attributes))
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
            "client_since": client_since,
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
    return len(imported.rows) + len(answer.rows)


async def restore_event_ids(
    duplicates: Duplicates, store: Store, now: float, settings: CollectSection, *, read: Sequence[Sealed] = ()
) -> int:
    """Remember the newest ids of the window again, as many as there is room for; returns how many.

    By the time of their arrival, which `batch_id` begins with, not by the event's own. `read`: the WAL segments
    whose ids are known already, which may have been delivered meanwhile. They can be older than what
    was delivered before: one that was put back keeps its batch's id. Streamed: there may be millions. Raises a
    store error.
    """
    room = duplicates.room()
    if not room:
        return 0
    known = {b"%016X" % sealed.batch_id for sealed in read}
    restored, rest = 0, b""
    async for piece in store.stream(
        """
        SELECT hex(event_id), leftPad(hex(batch_id), 16, '0'), site_id
        FROM events
        WHERE batch_id >= {since:UInt64}
        ORDER BY batch_id DESC
        LIMIT {most:UInt32}
        """,
        {
            "since": new_batch_id(now - settings.duplicate_window_s) >> 22 << 22,
            "most": room + min(sum(sealed.events for sealed in read), MOST_READ_TWICE),
        },
        format="TabSeparatedRaw",
        timeout_s=120.0,
    ):
        *lines, rest = (rest + piece).split(b"\n")
        if known:
            lines = [line for line in lines if line[_HEX + 1 : _SITE - 1] not in known]
        duplicates.restore([(line[_SITE:].decode(), unhexlify(line[:_HEX])) for line in lines])
        restored += len(lines)
        await asyncio.sleep(0)
    return min(restored, room)


_HEX = 32
"""Digits of an event id."""

_SITE = _HEX + 1 + 16 + 1
"""Where the site begins: after the digits of the batch's id."""
