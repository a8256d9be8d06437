"""SQL on both engines, on the world of two sites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from analytics_server.config import ClickhouseSection, Config, LimitsSection, SqlSection
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.sql.guard import Guard
from analytics_server.sql.printer.functions import Functions, load_functions
from analytics_server.sql.service import SqlRequest, SqlService
from analytics_server.store import Store, make_store, migrate
from tests.query.conftest import store, world
from tests.sql.world import MINE, SITES, Event, World, insert_world, make_world

__all__ = ["store", "world"]

NOW = datetime(2026, 11, 6, 12, tzinfo=UTC)
TIMEOUT_S = 2.0


class Directory:
    """The two sites."""

    def get(self, site_id: str) -> Site | None:
        return SITES.get(site_id)


@dataclass(frozen=True, slots=True)
class SqlClient:
    """Sends queries to a service and reads its answers."""

    service: SqlService
    kind: str

    async def ask(self, query: str, params: Mapping[str, object] | None = None, *, site_id: str = MINE) -> Any:
        """The JSON answer. Raises what the service raises."""
        return msgspec.json.decode(await self.raw(query, params, site_id=site_id))

    async def rows(self, query: str, params: Mapping[str, object] | None = None) -> list[list[Any]]:
        answer = await self.ask(query, params)
        rows: list[list[Any]] = answer["rows"]
        return rows

    async def raw(
        self, query: str, params: Mapping[str, object] | None = None, *, site_id: str = MINE, format_: str = "json"
    ) -> bytes:
        request = SqlRequest(site_id=site_id, query=query, params=dict(params or {}))
        return b"".join([piece async for piece in self.service.run(request, format_)])


@pytest.fixture(scope="session")
def functions() -> Functions:
    return load_functions()


@pytest.fixture(scope="session")
def guard(functions: Functions) -> Guard:
    return Guard(functions, max_chars=20_000, max_rows=1_000)


@pytest.fixture(scope="session")
def worlds() -> tuple[World, list[Event]]:
    return make_world()


@pytest.fixture(scope="session")
def site_world(worlds: tuple[World, list[Event]]) -> World:
    return worlds[0]


@pytest.fixture(scope="module", params=["embedded", "server"])
def filled(request: pytest.FixtureRequest, worlds: tuple[World, list[Event]]) -> Iterator[tuple[str, Store]]:
    """An engine with both sites in it; in process a database beside the other tests', since it allows one path."""
    kind = str(request.param)
    if kind == "embedded":
        shared: Store = request.getfixturevalue("store")
        location = asyncio.run(shared.open()).location
        section = ClickhouseSection(url=f"chdb://{location}", database="sql_test", threads=3)
    else:
        section = ClickhouseSection(url=str(request.getfixturevalue("clickhouse_url")), threads=3)
    opened = make_store(Config(clickhouse=section))

    async def prepare() -> None:
        await opened.open()
        await migrate(opened)
        answer = await opened.query("SELECT count() FROM events")
        if answer.rows[0][0] == 0:
            await insert_world(opened, *worlds)

    asyncio.run(prepare())
    yield kind, opened
    asyncio.run(opened.close())


def make_service(store: Store, **changes: Any) -> SqlService:
    limits = SqlSection(**{"timeout_s": TIMEOUT_S, "rows": 1_000, "memory_mb": 256, **changes})
    return SqlService(QueryContext(store, Directory(), lambda: NOW, LimitsSection()), limits)


@pytest.fixture
async def sql_client(filled: tuple[str, Store]) -> AsyncIterator[SqlClient]:
    kind, store = filled
    service = make_service(store)
    yield SqlClient(service, kind)
    await service.close()
