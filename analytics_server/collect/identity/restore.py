"""Recovery after a restart: the sessions that may still go on and the event ids seen.

They are read back from ClickHouse, and from the log for what ClickHouse has not taken yet (`undelivered`),
before the first beacon is accepted: a session goes on, and a repeated event counts once.
"""

from __future__ import annotations

import asyncio
from binascii import unhexlify
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import msgspec

from analytics_server.batch_ids import ARRIVED_SINCE, first_batch_id
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.session import OWN_ID, PASSIVE_S, Sessions
from analytics_server.config import CollectSection
from analytics_server.fair_shares import fair_level
from analytics_server.ingest.wal.segment import MOST_OPEN_S, Sealed
from analytics_server.model import SESSION_ATTRIBUTES
from analytics_server.store.protocol import Store

MOST_READ_TWICE = 100_000
"""More events of the log's segments are not delivered before their ids are restored."""


async def restore_sessions(sessions: Sessions, store: Store, now: float, settings: CollectSection) -> int:
    """Load the newest sessions that are still open, up to the capacity; returns how many.

    A server's own session may go on within `session_timeout_s` of its last event, and take passive events within
    `PASSIVE_S`; a client's goes on within `client_session_timeout_s`, or of the arrival of one: imports bring events of
    long ago. Raises a store error.
    """
    moment = datetime.fromtimestamp(now, UTC)
    client_since = moment - timedelta(seconds=settings.client_session_timeout_s)
    imported = await store.query(
        f"""
        SELECT site_id, session_id, toUnixTimestamp64Micro(session_start) AS opened, toUnixTimestamp64Micro(ts) AS at,
               visitor_id, {", ".join(SESSION_ATTRIBUTES)}
        FROM events
        WHERE {ARRIVED_SINCE} AND batch_id >= (
              SELECT min(batch_id) FROM (
                  SELECT batch_id FROM events
                  WHERE {ARRIVED_SINCE} AND ts < {{client_since:DateTime64(6, 'UTC')}}
                  ORDER BY batch_id DESC
                  LIMIT {{most:UInt32}}))
          AND ts < {{client_since:DateTime64(6, 'UTC')}}
          AND NOT match(session_id, {{own_id:String}})
        ORDER BY batch_id DESC, ts DESC
        LIMIT 1 BY site_id, session_id
        LIMIT {{most:UInt32}}
        """,
        {
            "arrived_since": first_batch_id(client_since.timestamp()),
            "client_since": client_since,
            "own_id": OWN_ID,
            "most": settings.max_sessions,
        },
        timeout_s=60.0,
    )
    for site_id, session_id, opened, at, visitor_id, *attributes in reversed(imported.rows):
        times = (int(str(opened)), min(int(str(opened)), int(str(at))), int(str(at)))
        sessions.restore(
            str(site_id), str(session_id), [int(str(visitor_id))], times, tuple(str(value) for value in attributes)
        )
    restored = len(imported.rows)
    is_open = """opened_at >= {horizon:DateTime64(6, 'UTC')}
          AND ended_at >= if(
              match(session_id, {own_id:String}),
              {open_since:DateTime64(6, 'UTC')},
              {client_since:DateTime64(6, 'UTC')})"""
    since: dict[str, object] = {
        "horizon": moment - timedelta(seconds=settings.client_session_timeout_s * 2),
        "open_since": moment - timedelta(seconds=max(settings.session_timeout_s, PASSIVE_S)),
        "client_since": client_since,
        "own_id": OWN_ID,
    }
    counted = await store.query(
        f"SELECT site_id, uniqExact(session_id) FROM sessions WHERE {is_open} GROUP BY site_id", since, timeout_s=60.0
    )
    for choice in choose_sites(_counts(counted.rows), settings.max_sessions):
        answer = await store.query(
            f"""
            SELECT site_id, session_id, visitor_id, visitor_ids,
                   toUnixTimestamp64Micro(opened_at) AS opened, toUnixTimestamp64Micro(started_at) AS first,
                   toUnixTimestamp64Micro(kept_open_at) AS last, {", ".join(SESSION_ATTRIBUTES)}
            FROM sessions FINAL
            WHERE {is_open} {choice.condition}
            ORDER BY last DESC
            LIMIT {{most:UInt32}}
            """,
            {**since, "sites": choice.sites, "most": choice.most},
            timeout_s=60.0,
        )
        for row in reversed(answer.rows):
            site_id, session_id, visitor_id, visitor_ids, opened, first, last, *attributes = row
            own = int(str(visitor_id))
            others = [int(str(other)) for other in visitor_ids]  # type: ignore[attr-defined]
            sessions.restore(
                str(site_id),
                str(session_id),
                [own, *(other for other in others if other != own)],
                (int(str(opened)), int(str(first)), int(str(last))),
                tuple(str(value) for value in attributes),
            )
        restored += len(answer.rows)
    return restored


async def restore_event_ids(
    duplicates: Duplicates, store: Store, now: float, settings: CollectSection, *, read: Sequence[Sealed] = ()
) -> int:
    """Remember the newest ids of the window again, of each site its share; returns how many were read.

    By the time of their arrival, which `batch_id` begins with (or a time shortly before it, when the WAL segment was
    opened), not by the event's own. `read`: the WAL segments
    whose ids are known already, which may have been delivered meanwhile. They can be older than what
    was delivered before: one that was put back keeps its batch's id. Streamed: there may be millions. Raises a
    store error.
    """
    most = duplicates.restorable
    if not most:
        return 0
    known = {b"%016X" % sealed.batch_id for sealed in read}
    read_twice = min(sum(sealed.events for sealed in read), MOST_READ_TWICE)
    since = first_batch_id(now - settings.duplicate_window_s - MOST_OPEN_S)
    counted = await store.query(
        f"SELECT site_id, count() FROM events WHERE {ARRIVED_SINCE} GROUP BY site_id",
        {"arrived_since": since},
        timeout_s=120.0,
    )
    counts = _counts(counted.rows)
    for site_id, count in duplicates.restored().items():
        counts[site_id] = counts.get(site_id, 0) + count
    restored = 0
    for choice in choose_sites(counts, most):
        rest = b""
        pieces = store.stream(
            f"""
            SELECT hex(event_id), leftPad(hex(batch_id), 16, '0'), site_id
            FROM events
            WHERE {ARRIVED_SINCE} {choice.condition}
            ORDER BY batch_id DESC
            LIMIT {{most:UInt32}}
            """,
            {"arrived_since": since, "sites": choice.sites, "most": choice.most + read_twice},
            format="TabSeparatedRaw",
            timeout_s=120.0,
        )
        async with aclosing(pieces):
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                if known:
                    lines = [line for line in lines if line[_HEX + 1 : _SITE - 1] not in known]
                duplicates.restore([(line[_SITE:].decode(), unhexlify(line[:_HEX])) for line in lines])
                restored += len(lines)
                await asyncio.sleep(0)
    return min(restored, most)


class SiteChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which sites one statement reads (`condition` names the parameter `sites`), and how many rows at most."""

    condition: str
    sites: list[str]
    most: int


def choose_sites(counts: Mapping[str, int], most: int) -> list[SiteChoice]:
    """Statements that together read the newest rows of each site, of those with many no more than their fair share.

    One site at a time, since a limit for each in one statement would make the engine sort them all.
    """
    level = fair_level(counts, most)
    large = sorted(
        (site_id for site_id, count in counts.items() if count > level), key=lambda site_id: -counts[site_id]
    )
    if not large:
        return [SiteChoice(condition="", sites=[], most=most)]
    alone, together = large[:MOST_ALONE], large[MOST_ALONE:]
    chosen = [SiteChoice(condition="AND site_id NOT IN {sites:Array(String)}", sites=large, most=most)]
    if together:
        chosen.append(SiteChoice(condition="AND site_id IN {sites:Array(String)}", sites=together, most=most))
    return chosen + [
        SiteChoice(condition="AND site_id IN {sites:Array(String)}", sites=[one], most=level) for one in alone
    ]


def _counts(rows: Sequence[Sequence[object]]) -> dict[str, int]:
    return {str(site_id): int(str(count)) for site_id, count in rows}


MOST_ALONE = 200
"""So many sites get a statement of their own; what is more than that is read together, newest first."""

_HEX = 32
"""Digits of an event id."""

_SITE = _HEX + 1 + 16 + 1
"""Where the site begins: after the digits of the batch's id."""
