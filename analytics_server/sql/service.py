"""Runs guarded SQL: the settings that bound it, its slot, its pieces.

The engine ends a query that passes its limits, but looks at the time only between blocks of
rows. So the answer to the client has a time limit of its own, after which the slot is given to
others; the site's and the token's own is given back when the engine has truly ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from analytics_server.config import SqlSection
from analytics_server.errors import StoreError, StoreTimeout
from analytics_server.http.streams.csv_cells import HarmlessCells
from analytics_server.http.streams.row_tally import RowTally
from analytics_server.profiles.tables import profile_of
from analytics_server.query.context import QueryContext
from analytics_server.sql.answer import FORMATS, JsonAnswer
from analytics_server.sql.catalog import EMPTY, Catalog, VirtualTable
from analytics_server.sql.concurrency import ConcurrencyLimit, Slot, cannot_begin
from analytics_server.sql.engine_errors import answer_too_big, explain
from analytics_server.sql.engine_features import ask_features
from analytics_server.sql.features import EngineFeatures
from analytics_server.sql.guard import Guard, Guarded
from analytics_server.sql.printer.functions import Functions, load_functions
from analytics_server.sql.printer.tables import SETTINGS, TABLES
from analytics_server.sql.printer.weight import PRINTED_BYTES
from analytics_server.sql.refusal import SqlRefused
from analytics_server.store.literals import literal
from analytics_server.store.protocol import Settings

MB = 1024 * 1024
RANGE_ELEMENTS = 1_000_000
"""Numbers that range() may make of one block of rows."""

BLOCK_ROWS = 8_192
"""Rows that are worked on between two looks at the clock."""

SMALL_BLOCKS = {
    "max_block_size": 1_024,
    "max_joined_block_size_rows": 1_024,
    "function_range_max_elements_in_block": 100_000,
}
"""For queries that build long texts."""

SETTINGS_BYTES = 500_000
"""Of the settings behind what is printed: they name each site twice."""

OVERTIME_S = 2.0
"""How much longer than the engine may run the client waits for its answer."""

RECURSIONS = 400
"""Rounds of a WITH RECURSIVE: the days of a year."""

NUMBERS = {
    "readonly": 1,
    "max_block_size": BLOCK_ROWS,
    "max_query_size": PRINTED_BYTES + SETTINGS_BYTES,
    "function_range_max_elements_in_block": RANGE_ELEMENTS,
    "allow_introspection_functions": 0,
    "max_recursive_cte_evaluation_depth": RECURSIONS,
    # Both make arithmetic on sums of Decimals out of queries without any; the engine in process has none.
    "optimize_arithmetic_operations_in_aggregate_functions": 0,
    "optimize_syntax_fuse_functions": 0,
    "joined_subquery_requires_alias": 0,
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_quote_decimals": 0,
    "output_format_json_quote_denormals": 0,
    "output_format_json_escape_forward_slashes": 0,
    "output_format_json_validate_utf8": 1,
    **SETTINGS,
}
NO_SEMI_JOINS = "query_plan_convert_any_join_to_semi_or_anti_join"
"""The engine in process lacks semi and anti joins, and fails where it makes one out of another join."""

TEXTS = {
    # The parallel kind never ends when the engine in process fails to build its table.
    "join_algorithm": "hash",
    "timeout_overflow_mode": "throw",
    "read_overflow_mode": "throw",
    "result_overflow_mode": "throw",
    "date_time_output_format": "simple",
}

_OF_THE_FORMAT: Settings = {
    **{name: value for name, value in NUMBERS.items() if name.startswith("output_format_")},
    "date_time_output_format": TEXTS["date_time_output_format"],
}
"""Also beside the statement: streams of the engine in process heed them there alone."""

FORMAT_SETTINGS = frozenset(_OF_THE_FORMAT) | {"output_format_write_statistics"}


class SqlRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/sql`."""

    site_id: Annotated[str, Meta(min_length=1, max_length=253)]
    query: str
    params: dict[str, object] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlQuestion:
    """A text and the sites whose rows it may see, at least one; each of them exists.

    `settings`: of the format and of the session, as they stand in a statement. `dropped` is filled while the text is
    read: settings of its own that are not followed. `explained_in`: where it is given, the answer is the guarded text
    itself, line by line, with that name for the database.
    """

    sites: Sequence[str]
    query: str
    params: Mapping[str, object] = field(default_factory=dict)
    catalog: Catalog = EMPTY
    settings: Mapping[str, str | int] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    explained_in: str = ""


class SqlService:
    """Answers SQL on the rows of one site or several."""

    def __init__(self, context: QueryContext, limits: SqlSection, functions: Functions | None = None) -> None:
        self._store = context.store
        self.context = context
        self.limits = limits
        self.guard = Guard(
            functions or load_functions(),
            max_chars=limits.max_chars,
            max_rows=limits.rows,
            max_tokens=limits.max_tokens,
        )
        self._slots = ConcurrencyLimit(
            at_once=limits.queries, waiting=limits.waiting, per_site=limits.site_queries, wait_s=limits.wait_s
        )
        self._reading = asyncio.Lock()
        self._ending: set[asyncio.Task[None]] = set()
        self._database = ""
        self._closed: list[str] = []
        """All other tables: the engine is told to show nothing of them, should the guard ever let one through."""
        self._optional: dict[str, int] = {}
        self._features: EngineFeatures | None = None

    async def run(
        self,
        request: SqlRequest,
        format_: str,
        *,
        token_id: str = "",
        raw_csv: bool = False,
        most_rows: int | None = None,
        tally: RowTally | None = None,
    ) -> AsyncGenerator[bytes]:
        """The answer in pieces. `raw_csv`: cells as they are, for machines. `most_rows`: of JSON, if fewer are wanted.
        `tally`: counts the rows that are sent.

        Raises `RequestError`, `NotFound`, `Unavailable` or a `StoreError`."""
        if format_ not in FORMATS:
            raise SqlRefused(f"format is one of {', '.join(FORMATS)}.", code="bad_format")
        question = self._question(request)
        started = time.perf_counter()
        shape = JsonAnswer(min(most_rows or self.limits.rows, self.limits.rows)) if format_ == "json" else None
        cells = HarmlessCells() if format_ == "csv" and not raw_csv else None
        reshaped = shape or cells
        async with aclosing(self.pieces(question, FORMATS[format_][0], token_id=token_id)) as pieces:
            async for piece in pieces:
                ready = reshaped.feed(piece) if reshaped else piece
                if tally is not None:
                    tally.take(piece, None if shape is None else shape.rows)
                if ready:
                    yield ready
        if cells is not None and (last := cells.end()):
            yield last
        if shape is not None:
            elapsed_ms = (time.perf_counter() - started) * 1000
            yield shape.end(elapsed_ms, await self.context.own_events.of(question.sites[0]))

    async def pieces(self, question: SqlQuestion, engine_format: str, *, token_id: str = "") -> AsyncGenerator[bytes]:
        """The answer as the engine writes it in one of its formats, within all limits.

        Raises `RequestError`, `Unavailable` or a `StoreError`."""
        self.guard.check_size(question.query)
        slot = await self._slots.acquire(question.sites, token_id)
        run = _Run()
        try:
            guarded = await self.guarded(question)
            question.dropped.extend(guarded.dropped)
            if question.explained_in:
                question = _of_lines(guarded.sql.splitlines(), question)
                guarded = await self.guarded(question)
            run.begin(self._stream(guarded, question, engine_format))
            size = 0
            async for piece in run.pieces(self.limits.timeout_s + OVERTIME_S):
                size += len(piece)
                if size > self.limits.answer_mb * MB:
                    raise answer_too_big()
                yield piece
        except StoreError as error:
            raise explain(error, question.query) from error
        finally:
            await self._finish(run, slot)

    def check_room(self, sites: Sequence[str], token_id: str) -> None:
        """Raises `TooManyRequests` or `Unavailable` where a question of theirs would be refused at once."""
        self._slots.check(sites, token_id)

    async def check(self, request: SqlRequest) -> None:
        """Refuse what the guard would refuse, without asking for a row.

        Raises `RequestError`, `Unavailable` or a `StoreError`."""
        await self.guarded(self._question(request))

    def _question(self, request: SqlRequest) -> SqlQuestion:
        site_id = self.context.site(request.site_id).site_id
        return SqlQuestion(sites=(site_id,), query=request.query, params=request.params)

    async def check_text(self, site_id: str, text: str, params: Mapping[str, object]) -> None:
        """`check` for a text that is to be saved."""
        await self.check(SqlRequest(site_id=site_id, query=text, params=dict(params)))

    async def guarded(self, question: SqlQuestion) -> Guarded:
        """The statement that answers the question.

        One text at a time is read, in a thread: two would take the interpreter from the event loop twice as often.
        Raises `RequestError`, `Unavailable` or a `StoreError`."""
        self.guard.check_size(question.query)
        database = await self.database()
        sites = {site: profile_of(self.context.site(site).profile).hidden_columns for site in question.sites}
        features = await self.features()
        async with self._turn_to_read():
            return await asyncio.to_thread(
                self.guard.check,
                question.query,
                question.params,
                sites=sites,
                database=question.explained_in or database,
                catalog=question.catalog,
                features=features,
            )

    @asynccontextmanager
    async def _turn_to_read(self) -> AsyncIterator[None]:
        """Raises `Unavailable` where the texts in front take as long as a query may wait."""
        try:
            async with asyncio.timeout(self.limits.wait_s):
                await self._reading.acquire()
        except TimeoutError:
            raise cannot_begin(self.limits.wait_s) from None
        try:
            yield
        finally:
            self._reading.release()

    async def database(self) -> str:
        """The database that holds the tables, asked once."""
        if not self._database:
            answer = await self._store.query(
                "SELECT currentDatabase(), countIf(s.name = {name:String}),"
                " (SELECT groupArray(t.name) FROM system.tables AS t"
                " WHERE t.database = currentDatabase() AND t.name NOT IN {open:Array(String)})"
                " FROM system.settings AS s",
                {"name": NO_SEMI_JOINS, "open": list(TABLES)},
                timeout_s=self.limits.timeout_s,
            )
            database, known, closed = answer.rows[0]
            self._closed = [str(name) for name in closed] if isinstance(closed, list | tuple) else []
            self._optional = {NO_SEMI_JOINS: 0} if known else {}
            self._database = str(database)
        return self._database

    async def features(self) -> EngineFeatures:
        """What this ClickHouse has, asked once."""
        if self._features is None:
            self._features = await ask_features(self._store, timeout_s=self.limits.timeout_s)
        return self._features

    async def close(self) -> None:
        """Wait a moment for queries that the engine has not ended yet."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=OVERTIME_S)

    async def _finish(self, run: _Run, slot: Slot) -> None:
        """Give the slot back when the engine has ended: at once, or in the background if it is still busy."""

        async def end() -> None:
            try:
                await run.end()
            finally:
                self._slots.release(slot)

        if not run.is_busy:
            await end()
            return
        self._slots.reassign(slot)
        task = asyncio.create_task(end(), name="sql-ending")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _stream(self, guarded: Guarded, question: SqlQuestion, format_: str) -> AsyncGenerator[bytes]:
        settings = ", ".join(f"{name} = {value}" for name, value in self._settings(guarded, question).items())
        of_the_format = {name: value for name, value in question.settings.items() if name in FORMAT_SETTINGS}
        pieces = self._store.stream(
            f"{guarded.sql}\nSETTINGS {settings}",
            guarded.parameters,
            format=format_,
            settings={"wait_end_of_query": 1, **_OF_THE_FORMAT, **self._of_pretty(), **of_the_format},
            has_settings=True,
            timeout_s=self.limits.timeout_s,
        )
        async with aclosing(pieces):  # who leaves in the middle waits until the engine has ended
            async for piece in pieces:
                yield piece

    def _of_pretty(self) -> dict[str, int]:
        """The formats for people stop at as many rows as all others."""
        return {"output_format_pretty_max_rows": self.limits.rows + 1}

    def _settings(self, guarded: Guarded, question: SqlQuestion) -> Mapping[str, str]:
        """They stand in the statement, so that both engines take them all, `readonly` included."""
        database = self._database
        own = f"site_id IN ({', '.join(literal(site) for site in question.sites)})"
        filters = {f"{database}.{name}": own for name in TABLES} | {f"{database}.{name}": "0" for name in self._closed}
        limits = {
            "max_execution_time": self.limits.timeout_s,
            "max_memory_usage": self.limits.memory_mb * MB,
            "max_rows_to_read": self.limits.read_rows,
            "max_bytes_to_read": self.limits.read_mb * MB,
            "max_result_bytes": self.limits.answer_mb * MB,
        }
        numbers = {**NUMBERS, **self._optional, **(SMALL_BLOCKS if guarded.builds_long_texts else {})}
        pairs = ", ".join(f"{literal(table)}: {literal(condition)}" for table, condition in filters.items())
        return {
            **{name: str(number) for name, number in guarded.settings.items()},
            **{name: str(number) for name, number in limits.items()},
            **{name: str(number) for name, number in (numbers | self._of_pretty()).items()},
            **{name: literal(text) for name, text in TEXTS.items()},
            **{name: literal(value) for name, value in question.settings.items()},
            "additional_table_filters": f"{{{pairs}}}",
        }


def _of_lines(lines: Sequence[str], question: SqlQuestion) -> SqlQuestion:
    """The question for these lines, within what the other is allowed."""
    table = VirtualTable({"explain": "String"}, [(line,) for line in lines])
    return SqlQuestion(
        sites=question.sites,
        query="SELECT * FROM explanation",
        catalog=Catalog(tables={("", "explanation"): table}),
        settings=question.settings,
    )


class _Run:
    """One query in the engine: its pieces, and whether the engine is still busy with the first."""

    def __init__(self) -> None:
        self._source: AsyncGenerator[bytes] | None = None
        self._first: asyncio.Future[bytes] | None = None

    @property
    def is_busy(self) -> bool:
        return self._first is not None and not self._first.done()

    def begin(self, source: AsyncGenerator[bytes]) -> None:
        self._source = source
        self._first = asyncio.ensure_future(_next(source))

    async def pieces(self, wait_s: float) -> AsyncIterator[bytes]:
        """All pieces. Raises `StoreTimeout` when the first does not come in time."""
        assert self._source is not None, "begin comes first"
        assert self._first is not None, "begin comes first"
        await asyncio.wait({self._first}, timeout=wait_s)
        if not self._first.done():
            raise StoreTimeout("The engine has not ended the query in time.")
        yield self._first.result()
        async for piece in self._source:
            yield piece

    async def end(self) -> None:
        """Tell the engine to end what it still does, and return when it has."""
        if self._first is not None:
            self._first.cancel()
            await asyncio.wait({self._first})
            if not self._first.cancelled():
                self._first.exception()
        if self._source is not None:
            await self._source.aclose()


async def _next(source: AsyncGenerator[bytes]) -> bytes:
    return await anext(source, b"")
