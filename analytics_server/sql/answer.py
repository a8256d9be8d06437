"""Turns ClickHouse's JSON into the API's shape while it is streamed, piece by piece.

ClickHouse writes `JSONCompact` with one row a line: the head (names and types), the rows,
the tail (statistics). Rows pass through untouched; none is ever decoded here.
"""

from __future__ import annotations

import msgspec

from analytics_server.errors import StoreFatal
from analytics_server.query.read_counts import told_bytes, told_rows

FORMATS = {
    "json": ("JSONCompact", "application/json"),
    "csv": ("CSVWithNames", "text/csv; charset=utf-8"),
    "ndjson": ("JSONEachRow", "application/x-ndjson"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
}
"""Name in the address → ClickHouse's format and the answer's type."""


class ColumnAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A column of the answer: its name and ClickHouse's type."""

    name: str
    type: str


class SqlMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What the answer cost, and whether rows were cut off."""

    rows_read: int
    bytes_read: int
    elapsed_ms: float
    truncated: bool


class SqlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /api/v1/sql` in JSON. Written by `JsonAnswer`, never built as a whole."""

    columns: list[ColumnAnswer]
    rows: list[list[object]]
    meta: SqlMeta


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    meta: list[ColumnAnswer]


class _Statistics(msgspec.Struct, frozen=True, kw_only=True):
    rows_read: int = 0
    bytes_read: int = 0


class _Tail(msgspec.Struct, frozen=True, kw_only=True):
    statistics: _Statistics = _Statistics()


class JsonAnswer:
    """Takes ClickHouse's pieces, gives ours."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rest = b""
        self._head: list[bytes] = []
        self._tail: list[bytes] = []
        self._part = "head"
        self.rows = 0
        """Those that are sent."""
        self._cut = False

    def feed(self, piece: bytes) -> bytes:
        """What can be sent after this piece."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        return b"".join(self._line(line) for line in lines)

    def end(self, elapsed_ms: float, own_events: int) -> bytes:
        """The end of the answer, for a site with so many events."""
        last = self._line(self._rest) if self._rest else b""
        if self._part != "tail":
            raise StoreFatal("ClickHouse's answer ends too early.")
        try:
            statistics = msgspec.json.decode(b"{" + b"".join(self._tail), type=_Tail).statistics
        except msgspec.DecodeError as error:
            raise StoreFatal("ClickHouse's answer ends too early.") from error
        meta = SqlMeta(
            rows_read=told_rows(statistics.rows_read, own_events),
            bytes_read=told_bytes(statistics.bytes_read, own_events),
            elapsed_ms=round(elapsed_ms, 1),
            truncated=self._cut,
        )
        return last + b'],"meta":' + msgspec.json.encode(meta) + b"}"

    def _line(self, line: bytes) -> bytes:
        if self._part == "head":
            if line.strip() != b'"data":':
                self._head.append(line)
                return b""
            self._part = "opening"
            head = msgspec.json.decode(b"".join(self._head).rstrip().rstrip(b",") + b"}", type=_Head)
            return b'{"columns":' + msgspec.json.encode(head.meta) + b',"rows":['
        if self._part == "opening":
            self._part = "rows"
            return b""
        if self._part == "tail":
            self._tail.append(line)
            return b""
        return self._row(line.strip())

    def _row(self, line: bytes) -> bytes:
        if not line:
            return b""
        if line in (b"],", b"]"):
            self._part = "tail"
            return b""
        if self.rows == self._max_rows:
            self._cut = True
            return b""
        self.rows += 1
        row = line.removesuffix(b",")
        return row if self.rows == 1 else b"," + row
