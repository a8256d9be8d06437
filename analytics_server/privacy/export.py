"""Export of one person's data (GDPR, articles 15 and 20): every stored row that names a user id, as NDJSON or a zip.

What is acknowledged but not yet in ClickHouse is delivered first, so the export is complete at the moment at which it
was asked for. Rows are streamed: memory holds a few pieces of the answer, however many there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Protocol

import msgspec

from analytics_server.errors import StoreError, Unavailable
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.wal.segment import SegmentError
from analytics_server.model import stored_site_id
from analytics_server.privacy.export_page import ExportPage
from analytics_server.privacy.opt_outs import OptOuts
from analytics_server.privacy.person_tables import USER_COLUMN, PersonTable, person_tables
from analytics_server.privacy.scope import ArchivedDays, NothingArchived, SiteScope
from analytics_server.privacy.zip_stream import ZipStream
from analytics_server.rollups.materialized_views import is_gone
from analytics_server.rollups.registry import FUNNEL_FACTS
from analytics_server.store.protocol import Settings, Store

DELIVERY_S = 30.0
"""So long an export waits until what was acknowledged is in ClickHouse."""

TABLE_TIMEOUT_S = 3600.0
LETTERS = "dead_letters"
NDJSON_FILE, PAGE_FILE = "data.ndjson", "index.html"
_SETTINGS: Settings = {
    "output_format_json_quote_64bit_integers": 1,
    "output_format_json_quote_decimals": 1,
    "date_time_output_format": "iso",
    "max_threads": 2,
}
"""Numbers that JavaScript can't hold are text; times say that they are UTC."""

_UNLOGGED: Settings = {"log_queries": 0}
"""The user id is a parameter of these statements: a ClickHouse server's query log must not keep it."""


class Log(Protocol):
    """The log of this server, as far as an export needs it."""

    def cut_off(self) -> int:
        """Seal what is open; the greatest id of the batches that hold what was acknowledged."""

    async def delivered(self, batch_id: int, timeout_s: float) -> bool:
        """Wait until these batches are in ClickHouse."""


class _Line(msgspec.Struct):
    site_id: str = ""


class ExportedRows:
    """Counts the lines of an export as they are written.

    `total`: all of them; `of_sites`: those that name a site, by its id in its one spelling.
    """

    def __init__(self) -> None:
        self.total = 0
        self.of_sites: Counter[str] = Counter()
        self._rest = b""
        self._decode = msgspec.json.Decoder(_Line).decode

    def feed(self, piece: bytes) -> None:
        """The next piece of NDJSON, which may begin and end anywhere."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self.total += len(lines)
        for site_id, rows in Counter(self._decode(line).site_id for line in lines).items():
            if site_id:
                self.of_sites[stored_site_id(site_id)] += rows


class PersonExport:
    """`opt_outs` tells whether the person is on the list; `letters` is where dead letters lie."""

    def __init__(
        self, store: Store, log: Log, letters: Path, opt_outs: OptOuts, archive: ArchivedDays | None = None
    ) -> None:
        self._archive = archive or NothingArchived()
        self._store = store
        self._log = log
        self._letters = letters
        self._opt_outs = opt_outs

    async def begin(self) -> None:
        """Bring what was acknowledged into ClickHouse. Raises `Unavailable` when that takes too long."""
        if not await self._log.delivered(self._log.cut_off(), DELIVERY_S):
            raise Unavailable(
                f"What was collected until now was not in ClickHouse within {DELIVERY_S:.0f} s, and an export without"
                " it would not be complete. Ask again later.",
                code="export_behind",
            )

    async def ndjson(
        self,
        user_id: str,
        scope: SiteScope,
        on_table: Callable[[str], None] = lambda name: None,
        *,
        told: ExportedRows | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """One stored row a line: a JSON object with its columns, and `table`. `on_table` hears which is read next,
        `told` counts the lines.

        Raises a store error.
        """
        async with aclosing(self._lines(user_id, scope, on_table)) as pieces:
            async for piece in pieces:
                if told is not None:
                    await asyncio.to_thread(told.feed, piece)
                yield piece

    async def _lines(
        self, user_id: str, scope: SiteScope, on_table: Callable[[str], None]
    ) -> AsyncGenerator[bytes, None]:
        for table in await person_tables(self._store):
            on_table(table.name)
            async for piece in self._rows(table, user_id, scope):
                yield piece
        on_table(LETTERS)
        for line in await asyncio.to_thread(_letter_lines, self._letters, user_id, scope):
            yield line
        for site_id in self._opt_outs.sites_of(user_id) if scope.sites is None else scope.sites:
            if scope.sites is None or self._opt_outs.has(site_id, user_id):
                yield msgspec.json.encode({"table": "opt_outs", "site_id": site_id}) + b"\n"
        for files in await self._archive.unsearched(scope.covers):
            yield msgspec.json.encode({"table": "archived_days", "not_searched": files}) + b"\n"

    async def zip(
        self,
        user_id: str,
        scope: SiteScope,
        on_table: Callable[[str], None] = lambda name: None,
        *,
        told: ExportedRows | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """A zip of the same NDJSON and a page for people. Raises a store error."""
        archive, page = ZipStream(), ExportPage(user_id)
        archive.begin(NDJSON_FILE)
        async for piece in self.ndjson(user_id, scope, on_table, told=told):
            await asyncio.to_thread(page.add, piece)
            if made := await asyncio.to_thread(archive.add, piece):
                yield made
        archive.begin(PAGE_FILE)
        yield archive.add(page.html().encode()) + archive.end()

    async def _rows(self, table: PersonTable, user_id: str, scope: SiteScope) -> AsyncGenerator[bytes, None]:
        columns = ", ".join(f"`{name}`" for name in table.columns)
        statement = (
            f"SELECT '{table.name}' AS `table`, {columns} FROM {table.source} "
            f"WHERE {table.named_by} = {{user:String}} AND {table.where} AND {scope.condition} "
            f"ORDER BY {table.order}"
        )
        settings = {**_SETTINGS, **(_UNLOGGED if self._store.capabilities.keeps_query_log else {})}
        parameters = {"user": user_id, **scope.parameters}
        pieces = self._store.stream(
            statement, parameters, format="JSONEachRow", settings=settings, timeout_s=TABLE_TIMEOUT_S
        )
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        except StoreError as error:  # a saved funnel may be deleted meanwhile; it held copies of `events`
            if not (table.name.startswith(FUNNEL_FACTS.name) and is_gone(error)):
                raise


def _letter_lines(letters: Path, user_id: str, scope: SiteScope) -> list[bytes]:
    """The person's rows among the dead letters. Blocking."""
    return [
        msgspec.json.encode({"table": LETTERS, **row}) + b"\n"
        for found in dead_letters.read_all(letters)
        for row in _readable(found)
        if row.get(USER_COLUMN) == user_id and scope.covers(str(row.get("site_id")))
    ]


def _readable(found: dead_letters.Found) -> list[dict[str, object]]:
    try:
        return dead_letters.rows_of(found)
    except (SegmentError, OSError, msgspec.DecodeError):  # doctor names it
        return []
