"""Fills a write-ahead log as an outage of ClickHouse would: `python -m benchmarks.backlog DIR EVENTS`.

Sealed WAL segments of a batch's size with rows of the demo's traffic, each with an event id of
its own and in sessions of its own. A process of its own, so that the memory it takes is not
counted for the process that drains.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analytics_server.batch_ids import created_ms, new_batch_id
from analytics_server.config import IngestSection
from analytics_server.ingest.wal import segment
from analytics_server.model import COLUMN_INDEX
from benchmarks.flush import demo_rows

MODULE = "benchmarks.backlog"
POOL_ROWS = 100_000
GROUP_ROWS = 500
UUID_BYTES = 16
_EVENT_ID, _SESSION_ID = COLUMN_INDEX["event_id"], COLUMN_INDEX["session_id"]


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    events: int
    segments: int
    bytes: int


def fill(directory: Path, events: int, per_segment: int) -> Backlog:
    """Write segments until there are so many events."""
    directory.mkdir(parents=True, exist_ok=True)
    pool = demo_rows(min(events, POOL_ROWS))
    batch_id = written = segments = size = 0
    while written < events:
        batch_id = new_batch_id(time.time(), batch_id)
        count = min(per_segment, events - written)
        path = directory / f"{batch_id:020d}{segment.SUFFIX}"
        with path.open("wb") as file:
            file.write(segment.head_bytes(batch_id, created_ms(batch_id)))
            for sequence, start in enumerate(range(0, count, GROUP_ROWS), 1):
                rows = min(GROUP_ROWS, count - start)
                payload = [segment.array_head(rows), *_rows(pool, written + start, rows)]
                file.write(b"".join([segment.frame_head(sequence, payload), *payload]))
        written += count
        segments += 1
        size += path.stat().st_size
    return Backlog(events=written, segments=segments, bytes=size)


def _rows(pool: Sequence[tuple[object, ...]], start: int, count: int) -> list[bytes]:
    encode = msgspec.msgpack.encode
    made = []
    for number in range(start, start + count):
        row = list(pool[number % len(pool)])
        row[_EVENT_ID] = os.urandom(UUID_BYTES)
        row[_SESSION_ID] = f"{row[_SESSION_ID]}{number // len(pool)}"
        made.append(encode(row))
    return made


async def work(directory: Path, events: int) -> Backlog:
    """For `benchmarks.worker`."""
    return fill(directory, events, IngestSection().batch_events)


if __name__ == "__main__":
    print(msgspec.json.encode(fill(Path(sys.argv[1]), int(sys.argv[2]), IngestSection().batch_events)).decode())
