"""The engine in process, as a server would use it: one handle per request.

A handle costs 0.2 ms and carries all state of a request (database, settings, temporary
tables), so a new one per request isolates requests like HTTP does. It also undoes two
habits of the engine: after a failed query a handle puts what that query had already
written in front of its next answer, and keeps the query's locks. One handle, the
anchor, is never used: it keeps the engine open.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import chdb

from tests.clickhouse_front.errors import EngineError, from_engine
from tests.clickhouse_front.statement import Statement

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*$")


class _Result(Protocol):
    def bytes(self) -> bytes: ...
    def rows_read(self) -> int: ...
    def bytes_read(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def elapsed(self) -> float: ...


@dataclass(slots=True, frozen=True)
class ExternalTable:
    """A file sent along with a query, to be read as a temporary table."""

    name: str
    structure: str
    format: str
    path: Path


@dataclass(slots=True, kw_only=True)
class Work:
    """One statement with all that belongs to it."""

    sql: bytes
    statement: Statement
    query_id: str
    format: str = "TabSeparated"
    database: str = ""
    session_id: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    external: list[ExternalTable] = field(default_factory=list)
    data: Path | None = None
    read_only: bool = False


@dataclass(slots=True, frozen=True)
class Answer:
    """A statement's answer and its statistics, with the names they have in X-ClickHouse-Summary."""

    body: bytes
    summary: dict[str, int]


class Engine:
    """Runs statements; `run` may be called from several threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._anchor = chdb.connect(self._path)
        self._sessions: dict[str, Any] = {}
        self._busy_sessions: set[str] = set()
        self._lock = threading.Lock()
        self.version, self.timezone = self.ask("SELECT version(), timezone()").strip().split("\t")

    def close(self) -> None:
        for handle in self._sessions.values():
            handle.close()
        self._anchor.close()

    def ask(self, sql: str) -> str:
        """A statement of the front's own, answered as tab-separated text."""
        with contextlib.closing(chdb.connect(self._path)) as handle:
            return _query(handle, sql, "TabSeparated").bytes().decode()

    def number_of(self, error_name: str) -> int:
        """ClickHouse's number of an exception's name."""
        found = self.ask(
            f"SELECT number FROM numbers(2000) WHERE errorCodeToName(toInt32(number)) = '{error_name}'"
        ).strip()
        if not found:
            raise ValueError(f"ClickHouse has no exception called {error_name}")
        return int(found)

    def cancel(self, query_id: str) -> None:
        """Ask the engine to end a query. It ends when its thread comes back, not when this returns."""
        self.ask(f"KILL QUERY WHERE Settings['log_comment'] = {_quoted(query_id)} ASYNC")

    def run(self, work: Work) -> Answer:
        """Run one statement. Raises `EngineError`."""
        with self._handle(work.session_id) as handle:
            try:
                self._prepare(handle, work)
                return self._execute(handle, work)
            except EngineError:
                if work.session_id:
                    _query(handle, "SELECT 1", "Null")
                raise

    def _prepare(self, handle: Any, work: Work) -> None:
        if work.database:
            _query(handle, f"USE {_identifier(work.database)}", "Null")
        settings = {**work.settings, "log_comment": work.query_id}
        for name in settings:
            if not _NAME.match(name):
                raise EngineError(f"Unknown setting '{name}'", "UNKNOWN_SETTING", 115)
        assignments = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
        _query(handle, f"SET {assignments}", "Null")
        for table in work.external:
            name = _identifier(table.name)
            _query(handle, f"CREATE TEMPORARY TABLE {name} ({table.structure})", "Null")
            _query(handle, f"INSERT INTO {name} FROM INFILE {_quoted(str(table.path))} FORMAT {table.format}", "Null")
        if work.read_only:
            _query(handle, "SET readonly = 2", "Null")

    def _execute(self, handle: Any, work: Work) -> Answer:
        sql = work.sql
        if work.data is not None:
            sql = work.statement.insert_from_file(work.sql, str(work.data))
        elif re.match(rb"\s*DROP\b", sql, re.IGNORECASE):
            # The engine in process never ends a DROP … SYNC: nothing there removes dropped tables' files.
            sql = re.sub(rb"\bSYNC\s*;?\s*$", b"", sql, flags=re.IGNORECASE)
        result = _query(handle, sql, work.format, work.parameters)
        body = result.bytes()
        if not body and work.statement.only_reads and (work.statement.format or work.format) == "Native":
            body = _empty_native(handle, work)
        return Answer(body=body, summary=_summary(result, work))

    @contextlib.contextmanager
    def _handle(self, session_id: str) -> Iterator[Any]:
        if not session_id:
            with contextlib.closing(chdb.connect(self._path)) as own:
                yield own
            return
        handle: Any
        with self._lock:
            if session_id in self._busy_sessions:
                raise EngineError(f"Session {session_id} is locked by a concurrent client", "SESSION_IS_LOCKED", 373)
            self._busy_sessions.add(session_id)
            handle = self._sessions.get(session_id)
            if handle is None:
                handle = self._sessions[session_id] = chdb.connect(self._path)
        try:
            yield handle
        finally:
            with self._lock:
                self._busy_sessions.discard(session_id)


def _query(handle: Any, sql: str | bytes, output: str, parameters: Mapping[str, str] | None = None) -> _Result:
    try:
        result: _Result = handle.query(sql, output, params=dict(parameters or {}))
    except Exception as error:
        raise from_engine(str(error)) from error
    return result


def _empty_native(handle: Any, work: Work) -> bytes:
    """A server sends the columns of an empty answer, the engine in process sends nothing: add them."""
    try:
        described = _query(
            handle,
            b"DESCRIBE TABLE (" + work.statement.without_format(work.sql).rstrip(b"; \n\t") + b"\n)",
            "TabSeparatedRaw",
            work.parameters,
        )
    except EngineError:
        return b""
    columns = [line.split(b"\t")[:2] for line in described.bytes().splitlines()]
    header = bytearray(_varint(len(columns)) + _varint(0))
    for name, kind in columns:
        header += _varint(len(name)) + name + _varint(len(kind)) + kind
    return bytes(header)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _summary(result: _Result, work: Work) -> dict[str, int]:
    """The engine's `rows_read` counts the answer's rows (or an input file's), `storage_rows_read` what was read."""
    read_rows, read_bytes = result.storage_rows_read(), result.storage_bytes_read()
    written = work.statement.is_insert
    if written and work.data is not None:
        read_rows, read_bytes = result.rows_read(), result.bytes_read()
    return {
        "read_rows": read_rows,
        "read_bytes": read_bytes,
        "written_rows": read_rows if written else 0,
        "written_bytes": read_bytes if written else 0,
        "total_rows_to_read": 0,
        "result_rows": read_rows if written else result.rows_read(),
        "result_bytes": read_bytes if written else result.bytes_read(),
        "elapsed_ns": int(result.elapsed() * 1_000_000_000),
    }


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
