"""The ClickHouse interface over HTTP, on both engines, on the world of two sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.principals import Role
from analytics_server.access.tokens import Token
from analytics_server.clickhouse.held import HeldAnswers
from analytics_server.clickhouse.root import with_root
from analytics_server.clickhouse.routes import endpoints
from analytics_server.clickhouse.service import ClickhouseService
from analytics_server.config import ClickhouseApiSection
from analytics_server.http.audit import AuditEntry
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.routing.routes import route_table
from analytics_server.sql.service import SqlService
from tests.http.authorizer import KnownTokens
from tests.query.conftest import store, world
from tests.sql.conftest import SqlClient, filled, functions, guard, sql_client, worlds
from tests.sql.world import FOREIGN, MINE, SITES

__all__ = ["filled", "functions", "guard", "sql_client", "store", "world", "worlds"]

ODD = "it's.example"
ONE, TWO, ALL, GONE = "ast_one", "ast_two", "ast_all", "ast_gone"
TOKENS = {ONE: (MINE,), TWO: (MINE, ODD), ALL: (MINE, FOREIGN, ODD), GONE: ("gone.example",)}
HttpClient = TestClient[web.Request, web.Application]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        return self.headers.get("X-ClickHouse-Exception-Code", "")


@dataclass(frozen=True, slots=True)
class Asking:
    """Sends texts as a client of ClickHouse does."""

    http: HttpClient
    service: SqlService
    noted: list[AuditEntry]
    held: HeldAnswers

    async def ask(self, text: str = "", *, token: str = ONE, method: str = "POST", **params: str) -> Reply:
        return await self.send(text, params, {"X-ClickHouse-Key": token}, method=method)

    async def send(
        self,
        text: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        method: str = "POST",
        path: str = "/clickhouse/",
    ) -> Reply:
        body = text.encode() if method == "POST" else None
        async with self.http.request(
            method, path, params=params, data=body, headers=headers, allow_redirects=False
        ) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.read())


class Notes:
    """Keeps audit entries."""

    def __init__(self) -> None:
        self.noted: list[AuditEntry] = []

    def note(self, entry: AuditEntry) -> None:
        self.noted.append(entry)

    async def append(self, entry: AuditEntry) -> None:
        raise AssertionError("a question is never waited for")


async def serve(
    client: AiohttpClient,
    sql: SqlService,
    *,
    most_sites: int = 100,
    at_root: bool = True,
    held_mb: int = 64,
    others: Sequence[Endpoint] = (),
) -> Asking:
    """The interface of a service, with the tokens above. `others`: endpoints beside it."""
    service = ClickhouseService(
        sql, SITES.values, ClickhouseApiSection(sites=most_sites, at_root=at_root, held_mb=held_mb)
    )
    known = {
        f"Bearer {token}": Token(token_id=token.removeprefix("ast_"), role=Role.READ, sites=sites).principal()
        for token, sites in TOKENS.items()
    }
    app = web.Application()
    recorder = Notes()
    app.add_routes(
        route_table(with_root([*others, *endpoints(service)], service), GateAuthorizer(KnownTokens(known)), recorder)
    )
    return Asking(await client(app), sql, recorder.noted, service.held)


@pytest.fixture
async def asking(aiohttp_client: AiohttpClient, sql_client: SqlClient) -> Asking:
    return await serve(aiohttp_client, sql_client.service)
