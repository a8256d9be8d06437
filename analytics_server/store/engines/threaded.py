"""One store for both engines: clickhouse-connect's blocking clients in own threads.

The library offers the same client API for a server (HTTP) and for the engine in
process, the latter blocking only. Running both in threads gives one code path, one
set of tests, and an event loop that never waits. Each thread has its own client
(a handle is cheap and must not be shared). Inserts have a thread of their own, so
that a slow question never delays a flush, and so has their encoding: it goes on while the engine writes.
Questions are shared fairly between sites (see `workers`); streamed answers have threads beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from clickhouse_connect.driver.client import Client

from analytics_server.errors import (
    AnalyticsError,
    StoreError,
    StoreFatal,
    StoreRetryable,
    StoreTimeout,
    TooManyRequests,
)
from analytics_server.store.engines.stream_source import source_of
from analytics_server.store.engines.streaming import kill_statement, pieces_of
from analytics_server.store.error_codes import EngineCode
from analytics_server.store.errors_map import not_sent, translate
from analytics_server.store.native import encode, wire_type
from analytics_server.store.protocol import Capabilities, Encoded, Parameters, ResultSet, Settings, StoreInfo
from analytics_server.store.settings import ALL_ANSWER, INSERT_SETTINGS, SERVER_INSERT_SETTINGS, limited, plain
from analytics_server.store.workers import Closed, Full, Workers

if TYPE_CHECKING:
    from _typeshed import SupportsRead

T = TypeVar("T")

END_CHECK_S = 0.2
TIMEOUT_MARGIN_S = 5.0
"""How much longer the caller waits than the engine is told to run."""

STREAMS = 64
"""Streamed answers at once; who may ask for one is bounded by those who offer them."""

CLOSE_WAIT_S = 3.0
"""So long a stop waits for questions that still run; then they are left to the end of the process."""


class ThreadedStore:
    """`Store` over a factory of clickhouse-connect clients. `scratch`: of the engine in process, where it may write."""

    def __init__(
        self,
        *,
        kind: str,
        capabilities: Capabilities,
        location: str,
        database: str,
        make_client: Callable[[], Client],
        prepare: Callable[[], Client],
        threads: int,
        cluster: str = "",
        site_waiting: int = 100,
        scratch: Path | None = None,
    ) -> None:
        self._kind = kind
        self._scratch = scratch
        self.capabilities = capabilities
        self._location = location
        self.database = database
        self._cluster = cluster
        self._make_client = make_client
        self._prepare = prepare
        self._local = threading.local()
        self._anchor: Client | None = None
        self._clients: list[Client] = []
        self._lock = threading.Lock()
        self._site_waiting = site_waiting
        self._readers = Workers("store-read", threads, most_waiting=site_waiting, on_exit=self._drop_client)
        self._streams = Workers("store-stream", STREAMS, most_waiting=STREAMS, on_exit=self._drop_client)
        self.is_left = False
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="store-encode")
        self._column_types: dict[tuple[str, tuple[str, ...]], list[str]] = {}

    # ---- life ----------------------------------------------------------

    async def open(self) -> StoreInfo:
        """See `Store.open`."""
        if self._anchor is None:
            self._anchor = await self._run(self._writer, "Opening ClickHouse", self._prepare)
        asked = "Asking ClickHouse's version"
        version = await self._run(self._writer, asked, lambda: str(self._client().server_version))
        return StoreInfo(kind=self._kind, version=version, location=self._location)

    async def close(self) -> None:
        """See `Store.close`."""
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        deadline = time.monotonic() + CLOSE_WAIT_S
        ended = [each.close(deadline - time.monotonic()) for each in (self._readers, self._streams)]
        self._encoder.shutdown(wait=True, cancel_futures=True)
        self._writer.shutdown(wait=True)
        if not all(ended):
            self.is_left = True
            return
        for client in (*self._clients, *([self._anchor] if self._anchor else [])):
            with contextlib.suppress(Exception):
                client.close()
        self._clients.clear()
        self._anchor = None

    async def ping(self) -> bool:
        """See `Store.ping`."""
        try:
            await self.query("SELECT 1", timeout_s=5.0)
        except StoreError:
            return False
        return True

    # ---- work ----------------------------------------------------------

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        """See `Store.command`."""
        await self._run(self._writer, "A statement", lambda: self._client().command(sql, parameters=plain(parameters)))

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        timeout_s: float = 30.0,
        tenant: str = "",
    ) -> ResultSet:
        """See `Store.query`."""
        merged = limited(settings, timeout_s)

        def ask() -> ResultSet:
            started = time.perf_counter()
            result = self._client().query(sql, parameters=plain(parameters), settings=merged)
            summary = result.summary or {}
            return ResultSet(
                columns=tuple(result.column_names),
                rows=[tuple(row) for row in result.result_rows],
                rows_read=int(summary.get("read_rows", 0)),
                bytes_read=int(summary.get("read_bytes", 0)),
                elapsed_ms=(time.perf_counter() - started) * 1000,
            )

        return await self._read("A query", ask, timeout_s + TIMEOUT_MARGIN_S, tenant)

    async def insert(
        self,
        table: str,
        columns: Sequence[str],
        data: Sequence[Sequence[object]],
        *,
        settings: Settings | None = None,
        timeout_s: float = 60.0,
        query_id: str = "",
    ) -> None:
        """See `Store.insert`."""
        encoded = await self.encode(table, columns, [data])
        await self.insert_encoded(table, encoded, settings=settings, timeout_s=timeout_s, query_id=query_id)

    async def encode(
        self,
        table: str,
        columns: Sequence[str],
        blocks: Iterable[Sequence[Sequence[object]]],
        *,
        pause_s: float = 0.0,
    ) -> Encoded:
        """See `Store.encode`."""

        def work() -> Encoded:
            types = [wire_type(kind) for kind in self._types_of(self._client(), table, tuple(columns))]
            return encode(columns, types, blocks, compress=self.capabilities.compresses_inserts, pause_s=pause_s)

        return await self._run(self._encoder, "An insert's encoding", work)

    async def insert_encoded(
        self,
        table: str,
        encoded: Encoded,
        *,
        settings: Settings | None = None,
        timeout_s: float = 60.0,
        query_id: str = "",
    ) -> None:
        """See `Store.insert_encoded`."""
        named: dict[str, str] = dict(SERVER_INSERT_SETTINGS) if self.capabilities.keeps_query_log else {}
        if query_id and self.capabilities.inserts_outlive_calls:
            named["query_id"] = query_id
        merged = {**INSERT_SETTINGS, **named, **(settings or {}), "max_execution_time": timeout_s}

        def write() -> None:
            self._client().raw_insert(
                table,
                list(encoded.columns),
                (piece for piece in encoded.pieces),
                settings=merged,
                fmt="Native",
                compression=encoded.compression or None,
            )

        # No time-out on this side: the engine's own ends the insert, and giving up here while it
        # still ran would let a second attempt overtake it.
        await self._run(self._writer, f"An insert into {table}", write)

    async def end_inserts(self, id_prefix: str, *, timeout_s: float = 60.0) -> None:
        """See `Store.end_inserts`."""
        if not self.capabilities.inserts_outlive_calls:
            return
        condition, parameters = "WHERE startsWith(query_id, {prefix:String})", {"prefix": id_prefix}
        processes, kill, at_once = "system.processes", "KILL QUERY", dict[str, int]()
        if self._cluster:
            processes, kill = f"clusterAllReplicas('{self._cluster}', system.processes)", f"{kill} {self._on_cluster}"
            at_once = {"distributed_ddl_task_timeout": 0}
        deadline = time.monotonic() + timeout_s
        while True:
            answer = await self.query(f"SELECT count() FROM {processes} {condition}", parameters, settings=ALL_ANSWER)
            if not int(str(answer.rows[0][0])):
                return
            if time.monotonic() > deadline:
                raise StoreRetryable(f"An insert still runs on the server after {timeout_s:.0f} s.")
            with contextlib.suppress(StoreError):  # without the right to kill it, wait for its own end
                await self._statement(f"{kill} {condition} ASYNC", parameters, at_once)
            await asyncio.sleep(END_CHECK_S)

    async def catch_up(self, tables: Sequence[str], *, timeout_s: float = 60.0) -> None:
        """See `Store.catch_up`."""
        if not self._cluster:
            return
        limits = {"receive_timeout": int(timeout_s), "distributed_ddl_task_timeout": int(timeout_s)}
        for table in tables:
            statement = f"SYSTEM SYNC REPLICA {self._on_cluster} `{self.database}`.`{table}` LIGHTWEIGHT"
            try:
                await self._statement(statement, None, {**limits, "distributed_ddl_output_mode": "throw"})
            except StoreError as error:  # a table that was dropped meanwhile has nothing to catch up with
                if error.engine_code != EngineCode.UNKNOWN_TABLE:
                    raise

    def stream(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        format: str,
        settings: Settings | None = None,
        has_settings: bool = False,
        timeout_s: float = 60.0,
    ) -> AsyncGenerator[bytes, None]:
        """See `Store.stream`."""
        merged, mark, scratch = limited(settings, timeout_s), uuid.uuid4().hex, self._scratch
        kill = kill_statement(mark, in_process=scratch is not None)

        def source() -> AbstractContextManager[SupportsRead[bytes]]:
            client = self._client()
            return source_of(client, sql, parameters, merged, format, scratch, has_settings=has_settings, mark=mark)

        def after() -> None:
            if scratch is not None:  # what was set on it was for this stream
                self._drop_client()

        return pieces_of(
            source,
            self._streams.submit,
            after=after,
            kill=lambda: self._statement(kill, None, {}),
            is_left=lambda: self.is_left,
        )

    # ---- inside --------------------------------------------------------

    @property
    def _on_cluster(self) -> str:
        return f"ON CLUSTER `{self._cluster}`"

    async def _statement(self, sql: str, parameters: Parameters | None, settings: Settings) -> None:
        """A statement that may wait for other servers, and must not hold up the inserts."""
        values, chosen = plain(parameters), dict(settings)
        await self._read("A statement", lambda: self._client().command(sql, parameters=values, settings=chosen))

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            try:
                client = self._make_client()
            except Exception as error:
                raise not_sent(translate(error, "Opening a connection to ClickHouse")) from error
            self._local.client = client
            with self._lock:
                self._clients.append(client)
        return client

    def _discard_client(self) -> None:
        """After a failure the engine in process puts what the failed query had already written in front of
        the handle's next answer, and keeps its locks: the thread takes a new handle for its next call."""
        if self.capabilities.spoils_failed_handles:
            self._drop_client()

    def _drop_client(self) -> None:
        """The thread needs its client no more."""
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            return
        self._local.client = None
        with self._lock:
            self._clients.remove(client)
        with contextlib.suppress(Exception):
            client.close()

    def _types_of(self, client: Client, table: str, columns: tuple[str, ...]) -> list[str]:
        """Column types of a table, asked once."""
        key = (table, columns)
        types = self._column_types.get(key)
        if types is None:
            rows = client.query(
                "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
                parameters={"table": table},
            ).result_rows
            by_name = {str(name): str(kind) for name, kind in rows}
            if missing := [column for column in columns if column not in by_name]:
                raise StoreFatal(
                    f"The table {table} lacks the columns {', '.join(missing)}: run analytics-server migrate.",
                    engine_code=EngineCode.NO_SUCH_COLUMN_IN_TABLE,
                )
            types = [by_name[column] for column in columns]
            if len(self._column_types) > 256:
                self._column_types.clear()
            self._column_types[key] = types
        return types

    async def _run(self, pool: ThreadPoolExecutor, what: str, work: Callable[[], T]) -> T:
        try:
            future = pool.submit(self._guarded(what, work))
        except RuntimeError as error:
            raise StoreRetryable(f"{what} came after the store was closed.") from error
        return await asyncio.wrap_future(future)

    async def _read(self, what: str, work: Callable[[], T], timeout_s: float | None = None, tenant: str = "") -> T:
        try:
            future = self._readers.submit(self._guarded(what, work), tenant)
        except Closed as error:
            raise StoreRetryable(f"{what} came after the store was closed.") from error
        except Full:
            raise TooManyRequests(
                f"{self._site_waiting} questions of this site wait already ([limits] site_waiting): ask again when some"
                " are answered.",
                code="too_many_queries",
            ) from None
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            self._readers.abandon(future)
            raise StoreTimeout(f"{what} got no answer within {timeout_s:.0f} s.") from error

    def _guarded(self, what: str, work: Callable[[], T]) -> Callable[[], T]:
        def guarded() -> T:
            try:
                return work()
            except AnalyticsError:
                raise
            except Exception as error:
                self._discard_client()
                raise translate(error, what) from error

        return guarded
