"""The store of either engine, and chains on it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from analytics_server.audit.chain import SERVER_CHAIN
from analytics_server.audit.log import AuditLog
from analytics_server.http.audit import AuditEntry
from analytics_server.store import Store, make_store, migrate
from tests.store.conftest import Engines, empty_store, engines, events_database, store

__all__ = ["empty_store", "engines", "events_database", "store"]

START_US = 1_764_000_000_000_000
DAY_US = 86_400_000_000


@dataclass(slots=True)
class Clock:
    """Microseconds; each reading is one later than the last."""

    now_us: int = START_US
    _ticks: Iterator[int] = field(default_factory=itertools.count)

    def __call__(self) -> int:
        return self.now_us + next(self._ticks)


def an_entry(number: int = 0, *, site_id: str = "example.com") -> AuditEntry:
    """A question of a token."""
    return AuditEntry(
        action="query_site",
        operation="query",
        principal_kind="token",
        principal_id="abcdef012345",
        principal_name="Anna",
        site_id=site_id,
        rows=number,
        query_hash="0" * 64,
    )


async def opened(store: Store, directory: Path, clock: Clock | None = None, *, chain: str = SERVER_CHAIN) -> AuditLog:
    """The chain of a data directory, open."""
    log = AuditLog(store, directory, chain, clock=clock or Clock())
    await log.open()
    return log


@pytest.fixture(scope="module")
def store_on_loop(engines: Engines) -> Iterator[tuple[Store, asyncio.Runner]]:
    """A store with the schema, on a loop of its own: hypothesis runs its examples in plain functions."""
    made = make_store(engines.config(threads=1))

    async def prepare() -> None:
        await made.open()
        await migrate(made)

    with asyncio.Runner() as runner:
        runner.run(prepare())
        yield made, runner
        runner.run(made.close())


@pytest.fixture
async def empty_migrated(empty_store: Store) -> Store:
    """A database with the schema and nothing else."""
    await migrate(empty_store)
    return empty_store
