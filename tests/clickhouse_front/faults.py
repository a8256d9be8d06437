"""The ways this server can be told to misbehave, over `/_faults` on its own port.

A fault names what goes wrong, which statements it meets, and how often. A fault is
taken once per statement, when the statement's SQL is known; the first one in the order
of posting that fits is used. Only for tests.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Literal

import msgspec

_TABLE = re.compile(rb"\s*INSERT\s+INTO\s+(?:TABLE\s+)?(?:`?\w+`?\.)?`?(\w+)", re.IGNORECASE)


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong.

    `stall`: no answer until released or killed, `when` "before" or "after" it was executed; a `deaf` one can't be
    killed, like a server's thread that waits for a disk;
    `reset_request`: the connection is reset after `after_bytes` of the request's body, nothing is executed;
    `drop_response`: executed, then the connection is closed without an answer;
    `cut_response`: executed, then reset after `after_bytes` of the answer's body;
    `error`: the exception called `error`, instead of executing or (`when` "after") in spite of it;
    `slow`: executed `delay_ms` later;
    `down`: every connection is closed at once, whatever it asks.
    """

    kind: Literal["stall", "reset_request", "drop_response", "cut_response", "error", "slow", "down"]
    statement: Literal["any", "insert", "select"] = "any"
    contains: str = ""
    times: int = 1
    when: Literal["before", "after"] = "before"
    error: str = ""
    delay_ms: int = 0
    after_bytes: int = 0
    deaf: bool = False


class FaultReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is set (with the times left; 0 = until cleared), what has happened.

    `inserted`: when the inserts into each table came, in seconds of a clock that only goes forward.
    """

    faults: list[Fault]
    fired: dict[str, int]
    stalled: list[str]
    inserts: int
    statements: int
    inserted: dict[str, list[float]] = {}


class Faults:
    """The switches and their counters."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._fired: dict[str, int] = {}
        self._stalled: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self.inserts = 0
        self.statements = 0
        self._inserted: dict[str, list[float]] = {}

    def report(self) -> FaultReport:
        return FaultReport(
            faults=list(self._faults),
            fired=dict(self._fired),
            stalled=list(self._stalled),
            inserts=self.inserts,
            statements=self.statements,
            inserted=dict(self._inserted),
        )

    def count(self, sql: bytes, *, is_insert: bool) -> None:
        """Take note of a statement."""
        self.statements += 1
        if is_insert:
            self.inserts += 1
            table = _TABLE.match(sql)
            self._inserted.setdefault(table[1].decode() if table else "", []).append(time.monotonic())

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()
        self._fired.clear()
        self._inserted.clear()
        self.inserts = self.statements = 0
        self.release()

    def release(self) -> None:
        """Let everything that is stalled go on."""
        for gate in self._stalled.values():
            gate.set()

    def take(self, sql: bytes, *, is_insert: bool, down: bool = False) -> Fault | None:
        """The fault that this statement meets, if any."""
        text = sql[:65_536].decode("utf-8", "replace").lower()
        kind = "insert" if is_insert else "select"
        for index, fault in enumerate(self._faults):
            if (fault.kind == "down") != down:
                continue
            if fault.statement not in ("any", kind) or fault.contains.lower() not in text:
                continue
            if fault.times == 1:
                del self._faults[index]
            elif fault.times:
                self._faults[index] = msgspec.structs.replace(fault, times=fault.times - 1)
            self._fired[fault.kind] = self._fired.get(fault.kind, 0) + 1
            return fault
        return None

    async def stall(self, query_id: str, cancelled: asyncio.Event, *, deaf: bool = False) -> None:
        """Wait until released or, unless `deaf`, until the query is killed."""
        gate = self._stalled[query_id] = asyncio.Event()
        await self._notify()
        waits = [asyncio.ensure_future(event.wait()) for event in ([gate] if deaf else [gate, cancelled])]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            del self._stalled[query_id]
            await self._notify()

    async def wait_stalled(self, count: int) -> None:
        """Wait until so many queries are stalled."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._stalled) >= count)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
