"""The HTTP face: `/`, `/ping`, and `/_faults` for tests.

A statement runs in a task of its own: like in a real server, a client that goes away
does not undo an INSERT whose body has arrived; a query that only reads is cancelled if
the client asked for that. Answers are built whole before the first byte is sent, as
with `wait_end_of_query=1`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from aiohttp import web

from tests.clickhouse_front import compression
from tests.clickhouse_front.engine import Answer, Engine, Work
from tests.clickhouse_front.errors import EngineError
from tests.clickhouse_front.faults import Fault, Faults
from tests.clickhouse_front.registry import Registry, RunningQuery, kill_request
from tests.clickhouse_front.request import Incoming, Spool, receive, user_of
from tests.clickhouse_front.statement import outline

QUERY_THREADS = 32
KILL_INTERVAL_S = 0.05
MAX_FORM_BYTES = 1 << 40

_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}


class ConnectionDropped(Exception):
    """A fault closed the client's connection: there is no client to answer."""


class Front:
    """One server: its engine, its running queries, its faults."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._spool = Spool(path / "spool")
        self._engine = Engine(path / "engine")
        self._registry = Registry()
        self._faults = Faults()
        self._queries = ThreadPoolExecutor(QUERY_THREADS, thread_name_prefix="query")
        self._control = ThreadPoolExecutor(2, thread_name_prefix="control")
        self._tasks: set[asyncio.Task[Answer]] = set()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_FORM_BYTES)
        application.router.add_route("*", "/", self._statement)
        application.router.add_get("/ping", self._ping)
        application.router.add_get("/_faults", self._get_faults)
        application.router.add_post("/_faults", self._add_fault)
        application.router.add_delete("/_faults", self._clear_faults)
        application.router.add_post("/_faults/release", self._release)
        application.router.add_get("/_faults/stalled/{count}", self._wait_stalled)
        application.on_cleanup.append(self._close)
        return application

    async def _close(self, _application: web.Application) -> None:
        self._faults.clear()
        for query in self._registry:
            query.cancelled.set()
            await self._cancel(query)
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.to_thread(self._queries.shutdown)
        await asyncio.to_thread(self._control.shutdown)
        self._engine.close()

    # ---- statements ----------------------------------------------------

    async def _ping(self, request: web.Request) -> web.Response:
        if self._faults.take(b"", is_insert=False, down=True):
            _reset(request)
        return web.Response(text="Ok.\n")

    async def _statement(self, request: web.Request) -> web.StreamResponse:
        if self._faults.take(b"", is_insert=False, down=True):
            _reset(request)
            return web.Response()
        if request.method == "GET" and "query" not in request.query:
            return web.Response(text="Ok.\n")
        query_id = request.query.get("query_id") or request.headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4())
        incoming = Incoming()
        try:
            query = self._registry.begin(query_id, user_of(request))
        except EngineError as error:
            return await self._error(error, query_id)
        handed_over = False
        fault: Fault | None = None

        async def on_head(known: Incoming) -> None:
            nonlocal fault
            query.sql, query.read_only = known.sql, known.statement.only_reads
            self._faults.count(known.sql, is_insert=known.statement.is_insert)
            fault = self._faults.take(known.sql, is_insert=known.statement.is_insert)

        async def on_body(known: Incoming) -> None:
            query.check()
            if fault is not None and fault.kind == "reset_request" and known.body_bytes >= fault.after_bytes:
                raise ConnectionDropped

        try:
            await receive(request, self._spool, incoming, on_head, on_body)
            if fault is not None and fault.kind == "reset_request":
                raise ConnectionDropped
            task = asyncio.create_task(self._run(request, query, incoming, fault))
            handed_over = True
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            answer = await self._wait(request, query, task)
        except EngineError as error:
            return await self._error(error, query_id)
        except ConnectionDropped:
            _reset(request)
            return web.Response()
        finally:
            if not handed_over:
                self._registry.end(query)
                incoming.remove_files()
        if fault is not None and fault.kind == "drop_response":
            _reset(request)
            return web.Response()
        return await self._answer(request, query_id, incoming, answer, fault)

    async def _wait(self, request: web.Request, query: RunningQuery, task: asyncio.Task[Answer]) -> Answer:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            if query.read_only and request.query.get("cancel_http_readonly_queries_on_client_close") == "1":
                query.cancelled.set()
                await self._cancel(query)
            raise

    async def _run(self, request: web.Request, query: RunningQuery, incoming: Incoming, fault: Fault | None) -> Answer:
        try:
            if fault is not None and fault.when == "before":
                await self._meet(fault, query)
            if fault is not None and fault.kind == "slow":
                await asyncio.sleep(fault.delay_ms / 1000)
            query.check()
            sql = incoming.sql.decode("utf-8", "replace")
            if incoming.statement.first_word == "KILL" and (request_to_kill := kill_request(sql)):
                return await self._kill(request_to_kill.where, request_to_kill.mode, query, incoming)
            work = Work(
                sql=self._registry.replace_processes(incoming.sql) if query.read_only else incoming.sql,
                statement=incoming.statement,
                query_id=query.query_id,
                format=_default_format(request),
                database=request.query.get("database") or request.headers.get("X-ClickHouse-Database") or "",
                session_id=request.query.get("session_id", ""),
                parameters=incoming.parameters,
                settings=incoming.settings,
                external=incoming.external,
                data=incoming.data,
                read_only=request.method == "GET",
            )
            answer = await asyncio.get_running_loop().run_in_executor(self._queries, self._engine.run, work)
            if fault is not None and fault.when == "after":
                await self._meet(fault, query)
            return answer
        finally:
            self._registry.end(query)
            incoming.remove_files()

    async def _meet(self, fault: Fault, query: RunningQuery) -> None:
        if fault.kind == "stall":
            query.deaf = fault.deaf
            await self._faults.stall(query.query_id, query.cancelled, deaf=fault.deaf)
        elif fault.kind == "error":
            raise EngineError("Raised on request, for a test", fault.error)

    # ---- KILL QUERY ----------------------------------------------------

    async def _kill(self, where: str, mode: str, asking: RunningQuery, incoming: Incoming) -> Answer:
        """Kill what matches; SYNC waits until the killed queries have ended."""
        found = await self._ask(
            Work(
                sql=f"SELECT query_id FROM {self._registry.as_table()} WHERE {where} FORMAT TabSeparatedRaw".encode(),
                statement=outline(b"SELECT"),
                query_id=str(uuid.uuid4()),
                parameters=incoming.parameters,
            )
        )
        killed = [
            query
            for query_id in found.body.decode().splitlines()
            if (query := self._registry.get(query_id)) is not None and query is not asking
        ]
        if mode != "TEST":
            for query in killed:
                if not query.deaf:
                    query.cancelled.set()
            await asyncio.gather(*(self._cancel(query) for query in killed))
            if mode == "SYNC":
                await asyncio.gather(*(self._until_ended(query) for query in killed))
        status = "finished" if mode == "SYNC" else "waiting"
        lines = [
            "\t".join((status, query.query_id, query.user, query.sql.decode("utf-8", "replace").replace("\n", "\\n")))
            for query in killed
        ]
        return Answer(body="".join(line + "\n" for line in lines).encode(), summary={})

    async def _until_ended(self, query: RunningQuery) -> None:
        """Ask again and again: the first request may have come before the engine knew the query."""
        while not query.ended.is_set():
            await self._cancel(query)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(query.ended.wait(), KILL_INTERVAL_S)

    async def _cancel(self, query: RunningQuery) -> None:
        if query.deaf:
            return
        await asyncio.get_running_loop().run_in_executor(self._control, self._engine.cancel, query.query_id)

    async def _ask(self, work: Work) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._control, self._engine.run, work)

    # ---- answers -------------------------------------------------------

    async def _answer(
        self, request: web.Request, query_id: str, incoming: Incoming, answer: Answer, fault: Fault | None
    ) -> web.StreamResponse:
        headers = self._headers(query_id)
        headers["X-ClickHouse-Summary"] = msgspec.json.encode(
            {name: str(value) for name, value in answer.summary.items()}
        ).decode()
        if incoming.statement.answers_rows:
            output = incoming.statement.format or _default_format(request)
            headers["X-ClickHouse-Format"] = output
            headers["Content-Type"] = _CONTENT_TYPES.get(output, "text/plain; charset=UTF-8")
        body = answer.body
        wanted = request.query.get("enable_http_compression") == "1"
        encoding = compression.choose(request.headers.get("Accept-Encoding", "")) if wanted and body else ""
        if encoding:
            headers["Content-Encoding"] = encoding
            body = await asyncio.to_thread(compression.pack, body, encoding)
        if fault is not None and fault.kind == "cut_response":
            response = web.StreamResponse(headers={**headers, "Content-Length": str(len(body))})
            await response.prepare(request)
            await response.write(body[: fault.after_bytes])
            _reset(request, hard=False)
            return response
        return web.Response(body=body, headers=headers)

    async def _error(self, error: EngineError, query_id: str) -> web.Response:
        if not error.number:
            error.number = await asyncio.to_thread(self._engine.number_of, error.name)
        headers = {
            **self._headers(query_id),
            "X-ClickHouse-Exception-Code": str(error.number),
            "Content-Type": "text/plain; charset=UTF-8",
        }
        return web.Response(status=error.status, body=error.body(self._engine.version).encode(), headers=headers)

    def _headers(self, query_id: str) -> dict[str, str]:
        return {
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._engine.timezone,
            "X-ClickHouse-Server-Display-Name": "clickhouse-front",
        }

    # ---- faults --------------------------------------------------------

    async def _get_faults(self, _request: web.Request) -> web.Response:
        return _json(self._faults.report())

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.content.read(), type=Fault)
            if fault.kind == "error":
                await asyncio.to_thread(self._engine.number_of, fault.error)
        except (msgspec.DecodeError, ValueError) as error:
            return web.Response(status=400, text=str(error))
        self._faults.add(fault)
        return _json(self._faults.report())

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return _json(self._faults.report())

    async def _release(self, _request: web.Request) -> web.Response:
        self._faults.release()
        return _json(self._faults.report())

    async def _wait_stalled(self, request: web.Request) -> web.Response:
        await self._faults.wait_stalled(int(request.match_info["count"]))
        return _json(self._faults.report())


def _default_format(request: web.Request) -> str:
    return request.query.get("default_format") or request.headers.get("X-ClickHouse-Format") or "TabSeparated"


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _reset(request: web.Request, *, hard: bool = True) -> None:
    """Close the client's connection; `hard` sends a reset, otherwise what was written still goes out."""
    transport = request.transport
    if transport is None:
        return
    if not hard:
        transport.close()
        return
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
