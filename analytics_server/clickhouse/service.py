"""Answers what clients of ClickHouse ask: their statements and system tables, through the guarded SQL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable

from analytics_server.clickhouse.catalog import EngineFacts, catalog_of, function_rows
from analytics_server.clickhouse.formats import NATIVE
from analytics_server.clickhouse.held import HeldAnswers
from analytics_server.clickhouse.hello import hello_block, is_hello
from analytics_server.clickhouse.request.question import ClickHouseQuery
from analytics_server.clickhouse.running import RunningQueries
from analytics_server.clickhouse.scope import VisibleSites
from analytics_server.clickhouse.statements import (
    ANSWER_TABLE,
    FROM_ANSWER,
    ClientStatement,
    Kill,
    read_kill,
    read_statement,
)
from analytics_server.clickhouse.values import typed_values
from analytics_server.config import ClickhouseApiSection
from analytics_server.model import Site
from analytics_server.sql.catalog import Catalog, VirtualTable
from analytics_server.sql.service import MB, SqlQuestion, SqlService


class ClickhouseService:
    """`sites`: all that there are."""

    def __init__(self, sql: SqlService, sites: Callable[[], Iterable[Site]], section: ClickhouseApiSection) -> None:
        self.sql = sql
        self.section = section
        self.running = RunningQueries()
        self.held = HeldAnswers(section.held_mb * MB)
        self._sites = sites
        self._facts: EngineFacts | None = None

    def site_ids(self) -> list[str]:
        """The ids of all sites."""
        return [site.site_id for site in self._sites()]

    async def answer(
        self, query: ClickHouseQuery, scope: VisibleSites, user: str, token_id: str
    ) -> AsyncGenerator[bytes] | None:
        """The answer's pieces in the format that was asked for; None for a statement without an answer.

        Raises `RequestError` or a `StoreError`, the generator `Unavailable` besides.
        """
        self.sql.guard.check_size(query.text)
        kill = read_kill(query.text)
        if kill is None:
            self.sql.check_room(scope.sites, token_id)
        facts = await self._known_facts()
        if query.format == NATIVE and query.revision and is_hello(query.text):
            return _one(hello_block(facts.version, query.revision))
        catalog = catalog_of(scope, user, facts)
        statement = self._killed(kill, user, token_id) if kill else read_statement(query.text, scope.database, catalog)
        if statement.is_empty:
            return None
        text = statement.explained or statement.query or FROM_ANSWER
        question = SqlQuestion(
            sites=scope.sites,
            query=text,
            params=typed_values(text, query.params),
            catalog=_with(catalog, statement.table),
            settings=query.settings.values,
            dropped=query.settings.dropped,
            explained_in=scope.database if statement.explained else "",
        )
        return self.sql.pieces(question, query.format, token_id=token_id)

    def _killed(self, kill: Kill, user: str, token_id: str) -> ClientStatement:
        is_there = self.running.has(token_id, kill.query_id)
        if not kill.is_test:
            self.running.end(token_id, kill.query_id)
        return ClientStatement(table=kill.answered(user, was_running=is_there))

    async def _known_facts(self) -> EngineFacts:
        """What is told of the engine, asked once."""
        if self._facts is None:
            features = await self.sql.features()
            answer = await self.sql.context.store.query("SELECT version()", timeout_s=self.sql.limits.timeout_s)
            self._facts = EngineFacts(
                version=str(answer.rows[0][0]),
                functions=function_rows(self.sql.guard.functions, features.has_function),
            )
        return self._facts


def _with(catalog: Catalog, table: VirtualTable | None) -> Catalog:
    if table is None:
        return catalog
    return Catalog(
        databases=catalog.databases,
        tables={**catalog.tables, ANSWER_TABLE: table},
        constants=catalog.constants,
        drops_settings=catalog.drops_settings,
    )


async def _one(piece: bytes) -> AsyncGenerator[bytes]:
    yield piece
