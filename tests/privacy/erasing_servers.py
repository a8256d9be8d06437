"""What the tests of erasures on several servers share: a server's side of them on the real engine, no process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.privacy.certificate import Certificate
from analytics_server.privacy.erasure import ErasureResources
from analytics_server.privacy.erasure_jobs import ErasureJobs
from analytics_server.privacy.erasures import Erasures
from analytics_server.privacy.expiry.recording import REMOVAL_TURN
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store import Store, make_store, migrate
from analytics_server.store.lease import TABLE, SharedTurn
from tests.ingest.flush.test_letter_removal import BATCH, NOW


class EmptyLog:
    """A server's log in which nothing is. `may_go`: its delivery ends; `is_delivered`: the answer."""

    def __init__(self) -> None:
        self.is_delivered = True
        self.is_held = asyncio.Event()
        self.may_go = asyncio.Event()
        self.may_go.set()

    def cut_off(self) -> int:
        return BATCH

    async def delivered(self, batch_id: int, timeout_s: float) -> bool:
        self.is_held.set()
        await self.may_go.wait()
        return self.is_delivered


class OneServer:
    """What erasures are to one server; `now` is its clock."""

    def __init__(self, store: Store, directory: Path, *, has_other_servers: bool = True) -> None:
        self.now = NOW
        self.log = EmptyLog()
        self.directory = directory
        self.certificates: list[Certificate] = []
        self.is_ending = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        for name in ("letters", "quarantine", "wal"):
            (directory / name).mkdir(parents=True)
        self.hashes = UserHashes(store)
        self.erasures = Erasures(
            store,
            ErasureJobs(store, lambda: self.now),
            self.hashes,
            ErasureResources(
                log=self.log,
                letters=directory / "letters",
                quarantine=directory / "quarantine",
                has_other_servers=has_other_servers,
                merging=contextlib.nullcontext,
                removing=contextlib.nullcontext,
                turn=SharedTurn(store, REMOVAL_TURN, holder=directory.name).taken,
            ),
            wal=directory / "wal",
            cluster="",
            on_done=self._done,
        )

    async def _done(self, certificate: Certificate) -> None:
        self.certificates.append(certificate)
        self.is_ending.set()
        await self.may_end.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work()) for work in (self.erasures.run, self.erasures.follow)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(scope="module")
def engine(embedded_path: Path) -> Config:
    return Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="erasures_test"))


@pytest.fixture
async def store(engine: Config) -> AsyncIterator[Store]:
    made = make_store(engine)
    await made.open()
    await migrate(made)
    for table in ("erasures", "erasure_subjects", TABLE):
        await made.command(f"TRUNCATE TABLE {table}")
    yield made
    await made.close()


@pytest.fixture
async def servers(store: Store, tmp_path: Path) -> tuple[OneServer, OneServer]:
    """Two servers on one ClickHouse."""
    pair = OneServer(store, tmp_path / "a"), OneServer(store, tmp_path / "b")
    for server in pair:
        await server.hashes.load()
    return pair
