"""The same store tests run on both engines: in process, and a server over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config, ServerSection
from analytics_server.store import Store, make_store, migrate
from tests.clickhouse import drop_database

_numbers = itertools.count(1)


class Engines:
    """Makes configs for one engine, each with a database of its own, and drops those of a server."""

    def __init__(self, kind: str, url: str, data_dir: Path) -> None:
        self.kind = kind
        self.url = url
        self._data_dir = data_dir
        self._databases: list[str] = []

    def config(self, *, threads: int = 4, database: str = "") -> Config:
        """A config for a fresh database (or the one named)."""
        name = database or f"store_test_{next(_numbers)}"
        self._databases.append(name)
        return Config(
            server=ServerSection(data_dir=str(self._data_dir)),
            clickhouse=ClickhouseSection(url=self.url, database=name, threads=threads, connect_timeout_s=2.0),
        )

    def drop_databases(self) -> None:
        if self.kind == "server":
            for name in self._databases:
                drop_database(self.url, name)


@pytest.fixture(scope="module", params=["embedded", "server"])
def engines(
    request: pytest.FixtureRequest, embedded_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engines]:
    kind = str(request.param)
    url = f"chdb://{embedded_path}" if kind == "embedded" else str(request.getfixturevalue("clickhouse_server"))
    made = Engines(kind, url, tmp_path_factory.mktemp("data"))
    yield made
    made.drop_databases()


@pytest.fixture(scope="module")
def events_database(engines: Engines) -> str:
    """The database that the tests of one engine share; each uses its own tables, sites and batches."""
    return engines.config().clickhouse.database


@pytest.fixture
async def store(engines: Engines, events_database: str) -> AsyncIterator[Store]:
    """An open, migrated store with a single reading thread, so that queries follow each other on one handle."""
    made = make_store(engines.config(threads=1, database=events_database))
    await made.open()
    await migrate(made)
    yield made
    await made.close()


@pytest.fixture
async def empty_store(engines: Engines) -> AsyncIterator[Store]:
    """An open store on an empty database."""
    made = make_store(engines.config())
    await made.open()
    yield made
    await made.close()
