"""After a restart: the sessions that may still go on and the event ids seen, read back from ClickHouse.

Run it when everything the log held has been delivered, so that nothing is missing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from analytics_server.collect.duplicates import Duplicates
from analytics_server.collect.session import Sessions
from analytics_server.config import CollectSection
from analytics_server.ingest.segment import new_batch_id
from analytics_server.model import SESSION_ATTRIBUTES
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

    By the time of their arrival, which `batch_id` begins with, not by the event's own. Raises a store error.
    """
    if not settings.duplicate_window_s:
        return 0
    answer = await store.query(
        """
        SELECT site_id, replaceAll(toString(event_id), '-', '')
        FROM events
        WHERE batch_id >= {since:UInt64}
        ORDER BY batch_id DESC
        LIMIT {most:UInt32}
        """,
        {
            "since": new_batch_id(now - settings.duplicate_window_s) >> 22 << 22,
            "most": max(1, settings.max_duplicate_ids // 2),
        },
        timeout_s=60.0,
    )
    for site_id, event_id in reversed(answer.rows):
        duplicates.seen(str(site_id), bytes.fromhex(str(event_id)))
    return len(answer.rows)
