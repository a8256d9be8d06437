"""Turns an HTTP request into one statement with its data, parameters and settings.

The SQL is the URL's `query`, the body, or the first followed by the second. The data of
an INSERT goes straight to a file, however large: only the head of the body, where the
SQL is, is kept in memory. A multipart body carries `query` and `param_…` fields and the
files of external tables.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import BasicAuth, BodyPartReader, web

from tests.clickhouse_front.compression import Lz4Frames
from tests.clickhouse_front.engine import ExternalTable
from tests.clickhouse_front.errors import EngineError
from tests.clickhouse_front.statement import Statement, outline

PIECE_BYTES = 262_144

_NOT_SETTINGS = frozenset(
    {
        "query",
        "query_id",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "user",
        "password",
        "quota_key",
        "role",
        "stacktrace",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
    }
)
"""URL parameters that the HTTP handler keeps for itself."""

_EXTERNAL = re.compile(r"^(?P<table>\w+)_(?:structure|types|format)$")

OnHead = Callable[["Incoming"], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Incoming:
    """A request, decoded. `data` is the file with an INSERT's data; the caller removes `files`."""

    sql: bytes = b""
    statement: Statement = field(default_factory=lambda: Statement(first_word=""))
    parameters: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    external: list[ExternalTable] = field(default_factory=list)
    data: Path | None = None
    files: list[Path] = field(default_factory=list)
    body_bytes: int = 0

    def remove_files(self) -> None:
        for path in self.files:
            path.unlink(missing_ok=True)


class Spool:
    """Hands out file names for request bodies; what a killed process left there is removed at the start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        directory.mkdir(parents=True, exist_ok=True)
        for left_over in directory.iterdir():
            left_over.unlink()

    def new_file(self) -> Path:
        return self._directory / f"{next(self._numbers)}.data"


def user_of(request: web.Request) -> str:
    if header := request.headers.get("Authorization", ""):
        if header.startswith("Basic "):
            return str(BasicAuth.decode(header).login)
        return "default"
    return request.headers.get("X-ClickHouse-User") or request.query.get("user") or "default"


async def receive(request: web.Request, spool: Spool, incoming: Incoming, on_head: OnHead, on_body: OnHead) -> None:
    """Read the whole request into `incoming`.

    `on_head` is called once the SQL is known, `on_body` after each further piece of the body.
    """
    url_query = request.query.get("query", "").encode()
    tables = _external_tables(request)
    for name, value in request.query.items():
        if name.startswith("param_"):
            incoming.parameters[name.removeprefix("param_")] = value
        elif name not in _NOT_SETTINGS and not _belongs_to_a_table(name, tables):
            incoming.settings[name] = value
    if request.query.get("compress") == "1" or request.query.get("decompress") == "1":
        raise EngineError("ClickHouse's own block compression is not supported here", "NOT_IMPLEMENTED")
    if request.content_type.startswith("multipart/"):
        incoming.sql = url_query
        await _receive_form(request, spool, incoming)
        _understand(incoming)
        await on_head(incoming)
    else:
        await _receive_body(request, spool, incoming, url_query, on_head, on_body)


async def _receive_body(
    request: web.Request, spool: Spool, incoming: Incoming, url_query: bytes, on_head: OnHead, on_body: OnHead
) -> None:
    head = bytearray(url_query + b"\n" if url_query else b"")
    known = False
    async for piece in _pieces(request):
        incoming.body_bytes += len(piece)
        if known:
            if incoming.data is None:
                head += piece
            else:
                _append(incoming.data, piece)
            await on_body(incoming)
            continue
        head += piece
        statement = outline(bytes(head[: PIECE_BYTES * 2]))
        if statement.data_at >= 0 and statement.data_at < len(head):
            _split(incoming, spool, bytes(head), statement)
            known = True
            await on_head(incoming)
            await on_body(incoming)
    if not known:
        incoming.sql = bytes(head)
        _understand(incoming)
        if incoming.statement.data_at >= 0:
            _split(incoming, spool, bytes(head), incoming.statement)
        await on_head(incoming)


def _understand(incoming: Incoming) -> None:
    if not incoming.sql.strip():
        raise EngineError("Syntax error: Empty query", "SYNTAX_ERROR")
    incoming.statement = outline(incoming.sql)


def _split(incoming: Incoming, spool: Spool, text: bytes, statement: Statement) -> None:
    incoming.statement = statement
    incoming.sql = text[: statement.data_at]
    incoming.data = spool.new_file()
    incoming.files.append(incoming.data)
    _append(incoming.data, text[statement.data_at :])


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    frames = Lz4Frames() if request.headers.get("Content-Encoding") == "lz4" else None
    async for piece in request.content.iter_chunked(PIECE_BYTES):
        plain = frames.feed(piece) if frames is not None else piece
        if plain:
            yield plain


async def _receive_form(request: web.Request, spool: Spool, incoming: Incoming) -> None:
    tables = _external_tables(request)
    reader = await request.multipart()
    async for part in reader:
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        if part.filename is None and part.name not in tables:
            value = bytes(await part.read(decode=True))
            if part.name == "query":
                incoming.sql = incoming.sql + b"\n" + value if incoming.sql else value
            elif part.name.startswith("param_"):
                incoming.parameters[part.name.removeprefix("param_")] = value.decode()
            else:
                incoming.settings[part.name] = value.decode()
            continue
        path = spool.new_file()
        incoming.files.append(path)
        _append(path, b"")
        while piece := await part.read_chunk(PIECE_BYTES):
            _append(path, bytes(piece))
        described = tables.get(part.name, {})
        structure = described.get("structure") or ", ".join(
            f"_{number} {kind.strip()}" for number, kind in enumerate(described.get("types", "").split(","), start=1)
        )
        incoming.external.append(
            ExternalTable(
                name=part.name,
                structure=structure,
                format=described.get("format", "TabSeparated"),
                path=path,
            )
        )


def _external_tables(request: web.Request) -> dict[str, dict[str, str]]:
    """`{"table": {"structure": …}}` from the URL's `table_structure=…`; only a multipart request has such."""
    tables: dict[str, dict[str, str]] = {}
    if request.content_type.startswith("multipart/"):
        for name, value in request.query.items():
            if match := _EXTERNAL.match(name):
                tables.setdefault(match["table"], {})[name.removeprefix(match["table"] + "_")] = value
    return tables


def _belongs_to_a_table(name: str, tables: dict[str, dict[str, str]]) -> bool:
    match = _EXTERNAL.match(name)
    return match is not None and match["table"] in tables


def _append(path: Path, piece: bytes) -> None:
    with path.open("ab") as file:
        file.write(piece)
