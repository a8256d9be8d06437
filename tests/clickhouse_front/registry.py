"""Which queries run, under the ids their clients gave them.

The engine in process gives every query an id of its own, and after a failure it lists a
query until its handle is used again or closed. So the front keeps the list itself:
`system.processes` and KILL QUERY are answered from here, and a query counts as running
until its thread has truly come back.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.clickhouse_front.errors import EngineError

_PROCESSES = re.compile(rb"\bsystem\s*\.\s*processes\b", re.IGNORECASE)

_KILL = re.compile(
    r"KILL\s+QUERY\s+(?:ON\s+CLUSTER\s+\S+\s+)?WHERE\s+(?P<where>.*?)"
    r"(?:\s+(?P<mode>SYNC|ASYNC|TEST))?(?:\s+FORMAT\s+\w+)?\s*;?\s*$",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True, eq=False)
class RunningQuery:
    query_id: str
    user: str
    started: float
    sql: bytes = b""
    read_only: bool = False
    deaf: bool = False
    """Does a fault keep it from ever hearing that it should stop?"""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise EngineError("Query was cancelled", "QUERY_WAS_CANCELLED", 394)


@dataclass(slots=True, frozen=True)
class KillRequest:
    where: str
    mode: str


class Registry:
    """The running queries by id."""

    def __init__(self) -> None:
        self._running: dict[str, RunningQuery] = {}

    def __iter__(self) -> Iterator[RunningQuery]:
        return iter(list(self._running.values()))

    def get(self, query_id: str) -> RunningQuery | None:
        return self._running.get(query_id)

    def begin(self, query_id: str, user: str) -> RunningQuery:
        if query_id in self._running:
            raise EngineError(
                f"Query with id = {query_id} is already running", "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", 216
            )
        query = RunningQuery(query_id=query_id, user=user, started=time.monotonic())
        self._running[query_id] = query
        return query

    def end(self, query: RunningQuery) -> None:
        self._running.pop(query.query_id, None)
        query.ended.set()

    def as_table(self) -> str:
        """The list as a table expression, standing in for `system.processes`."""
        now = time.monotonic()
        rows = ", ".join(
            f"(1, {_quoted(query.user)}, {_quoted(query.query_id)}, {now - query.started:.6f}, "
            f"{int(query.cancelled.is_set())}, {_quoted(query.sql[:4096].decode('utf-8', 'replace'))})"
            for query in self
        )
        structure = (
            "is_initial_query UInt8, user String, query_id String, elapsed Float64, is_cancelled UInt8, query String"
        )
        return f"(SELECT * FROM values('{structure}', {rows}))"

    def replace_processes(self, sql: bytes) -> bytes:
        table = self.as_table().encode()
        return _PROCESSES.sub(lambda _match: table, sql)


def kill_request(sql: str) -> KillRequest | None:
    """The parts of a KILL QUERY statement; None for anything else."""
    match = _KILL.match(sql.strip())
    return KillRequest(where=match["where"], mode=(match["mode"] or "ASYNC").upper()) if match else None


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"
