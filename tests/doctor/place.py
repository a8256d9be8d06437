"""An installation for the doctor to look at: a data directory, a database, and ways to damage both."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from analytics_server.batch_ids import first_batch_id
from analytics_server.config import ClickhouseSection, Config, ExportSection, GeoSection, ServerSection
from analytics_server.doctor.examination import Examination
from analytics_server.doctor.report import Finding, Report
from analytics_server.ingest.wal import segment
from analytics_server.model import COLUMN_NAMES, Row
from analytics_server.store import Store, make_store
from tests.ingest.rows import NOVEMBER_US, row

MINUTE_US = 60_000_000
DAY_US = 1_440 * MINUTE_US
NOVEMBER_S = NOVEMBER_US / 1e6
_encode = msgspec.msgpack.Encoder().encode


def events(seed: int, count: int = 60, *, start_us: int = NOVEMBER_US) -> list[Row]:
    """Events of some sessions of two sites, over two months; sessions go on over midnight and have two visitors."""
    chosen = random.Random(seed)
    rows = []
    for index in range(count):
        session = chosen.randrange(8)
        opened_us = start_us + session * 5 * DAY_US
        rows.append(
            row(
                site_id=f"site-{session % 2}",
                session_id=f"s{session}",
                session_start=opened_us,
                ts=opened_us + (index * 17 + chosen.randrange(9)) * MINUTE_US,
                name=chosen.choice(["pageview", "click", "engagement"]),
                path=f"/{chosen.randrange(5)}",
                visitor_id=session + 1 + (index % 2) * 100,
                user_id=("", "ann", "bo")[session % 3],
                hostname=f"site-{session % 2}.example",
                browser=("Firefox", "Safari")[session % 3 == 0],
                event_id=chosen.randbytes(16),
            )
        )
    return rows


def segment_bytes(groups: Sequence[Sequence[Row]], batch_id: int) -> bytes:
    """A WAL segment with one frame per group."""
    content = segment.head_bytes(batch_id, 1_762_000_000_000)
    for sequence, group in enumerate(groups, 1):
        parts = [segment.array_head(len(group)), *map(_encode, group)]
        content += segment.frame_head(sequence, parts) + b"".join(parts)
    return content


class Place:
    """One database and one data directory; the doctor's clock is `ahead_s` ahead, or shows `now`."""

    def __init__(self, data_dir: Path, url: str, database: str) -> None:
        self.config = Config(
            server=ServerSection(data_dir=str(data_dir)),
            clickhouse=ClickhouseSection(url=url, database=database, threads=2, connect_timeout_s=2.0),
        )
        self.store: Store = make_store(self.config)
        self.now: float | None = None
        self.ahead_s = 0.0
        self._batches = 0

    @property
    def wal_dir(self) -> Path:
        return self.config.wal_dir

    def set_geo(self, path: Path) -> None:
        self.config = msgspec.structs.replace(self.config, geo=GeoSection(database=str(path)))

    def set_archive(self, path: Path) -> None:
        self.config = msgspec.structs.replace(self.config, export=ExportSection(directory=str(path)))

    def batch_id(self, age_s: float) -> int:
        """An id of a batch that arrived so long ago; later ones are greater."""
        self._batches += 1
        return first_batch_id(self.clock() - age_s) + self._batches

    def clock(self) -> float:
        import time

        return time.time() + self.ahead_s if self.now is None else self.now

    async def insert(self, rows: Sequence[Row], *, batch_id: int = 0, age_s: float = 86_400 * 3) -> int:
        """Rows into `events`, as the flush would; returns the batch id."""
        batch_id = batch_id or self.batch_id(age_s)
        columns = [list(values) for values in zip(*rows, strict=True)]
        columns[COLUMN_NAMES.index("event_id")] = [
            int.from_bytes(value, "big") for value in columns[COLUMN_NAMES.index("event_id")]
        ]
        columns[COLUMN_NAMES.index("props")] = [value or {} for value in columns[COLUMN_NAMES.index("props")]]
        await self.store.insert("events", (*COLUMN_NAMES, "batch_id"), [*columns, [batch_id] * len(rows)])
        return batch_id

    async def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return (await self.store.query(sql)).rows

    async def rollups(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the rollups say, one row per key, whatever parts it lies in."""
        return {
            "sessions": await self.rows(
                "SELECT site_id, session_id, opened_at, started_at, ended_at, arraySort(visitor_ids), pageviews, "
                "events, interactions, entry, exit, hostname, browser "
                "FROM sessions FINAL ORDER BY site_id, session_id, opened_at"
            ),
            "traffic": await self.rows(
                "SELECT site_id, bucket, name, sum(events), uniqIfMerge(visitors) FROM traffic "
                "GROUP BY site_id, bucket, name ORDER BY site_id, bucket, name"
            ),
            "openings": await self.rows(
                "SELECT site_id, bucket, sum(events) FROM openings GROUP BY site_id, bucket ORDER BY site_id, bucket"
            ),
            "activity": await self.rows(
                "SELECT site_id, name, user_id, day, sum(events), min(first_at), max(last_at) FROM activity "
                "GROUP BY site_id, name, user_id, day ORDER BY site_id, name, user_id, day"
            ),
        }

    async def report(self, *, repair: bool = False, accept_loss: bool = False) -> Report:
        return await Examination(
            self.config,
            repair=repair,
            accept_loss=accept_loss,
            clock=self.clock,
            advance=lambda what, done, total: None,
            rest_s=1.0,
        ).run()

    async def look(self, *, repair: bool = False, accept_loss: bool = False) -> dict[str, Finding]:
        """The findings by check."""
        report = await self.report(repair=repair, accept_loss=accept_loss)
        return {finding.check: finding for finding in report.findings}
