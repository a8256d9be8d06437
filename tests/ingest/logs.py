"""A log on a directory, with what it reported, and a say in each of its syncs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from analytics_server.config import IngestSection
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.log import Wal
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.ingest.wal.sync import Syncer, make_syncer
from analytics_server.model import COLUMN_NAMES, Row

NEVER = IngestSection(flush_interval_ms=3_600_000, historic_after_days=36_500)


Before = Callable[[int], Awaitable[None]]
"""Runs before each sync of a descriptor."""


class Watched:
    """The syncer that the server uses, and something before each of its syncs."""

    def __init__(self, inner: Syncer, before: Before) -> None:
        self._inner = inner
        self._before = before
        self.close = inner.close

    def sync(self, fd: int) -> asyncio.Future[None]:
        async def sync() -> None:
            await self._before(fd)
            await self._inner.sync(fd)

        return asyncio.ensure_future(sync())


async def nothing(fd: int) -> None:
    pass


class Log:
    """A log on a directory, with what it reported."""

    def __init__(self, directory: Path, settings: IngestSection, before_sync: Before = nothing) -> None:
        self.directory = directory
        self.sealed: list[Sealed] = []
        self.broken: list[str] = []
        self.durable: list[Row] = []
        self.metrics = IngestMetrics(CollectorRegistry())
        self.before_sync = before_sync
        self.wal = Wal(
            directory,
            settings,
            self.metrics,
            on_sealed=self.sealed.append,
            on_broken=self.broken.append,
            on_durable=self.durable.extend,
            syncer=lambda loop, probe: Watched(make_syncer(loop, probe), self._before_sync),
        )

    async def _before_sync(self, fd: int) -> None:
        await self.before_sync(fd)

    @property
    def paths(self) -> list[Path]:
        return sorted(self.directory.glob("*.wal"))

    @property
    def bytes_on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    def titles(self) -> list[str]:
        """What stands in all segments on disk, oldest first."""
        index = COLUMN_NAMES.index("title")
        return [
            str(row[index])
            for path in self.paths
            for _, payload in segment.frames(path)
            for row in segment.rows_of(payload)
        ]


@asynccontextmanager
async def logging_to(directory: Path, before_sync: Before = nothing, **changes: object) -> AsyncIterator[Log]:
    made = Log(directory, msgspec.structs.replace(NEVER, **changes), before_sync)
    made.wal.open()
    made.wal.start()
    try:
        yield made
    finally:
        await made.wal.close()
