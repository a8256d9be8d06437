"""What happens to the processes: `kill -9`, SIGTERM, restarts, and ClickHouse's faults, at random, one after another.

Bounded: one trouble at a time, each with an end, and a pause between them in which work gets done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.server import RunningServer

PAUSE_S = (2.0, 7.0)
SHORT_S = (0.0, 2.5)
START_S = 4.0
BUSY = ("TOO_MANY_PARTS", "MEMORY_LIMIT_EXCEEDED", "TIMEOUT_EXCEEDED", "TOO_MANY_SIMULTANEOUS_QUERIES")


class Chaos:
    """Troubles for one server and, with a ClickHouse of its own, for that too."""

    def __init__(self, server: RunningServer, front: ClickHouseFront | None, rng: random.Random) -> None:
        self._server = server
        self._front = front
        self._rng = rng
        self._before_end: Callable[[], Awaitable[None]] | None = None
        self.done: Counter[str] = Counter()
        self.bad_exits: list[str] = []
        self.longest = (0.0, "none")
        """Seconds, and which trouble it was: most of it is starting and stopping."""
        self.troubles: dict[Callable[[], Awaitable[None]], int] = {
            self._kill_server: 5,
            self._kill_starting: 2,
            self._stop_server: 3,
        }
        if front is not None:
            self.troubles |= {
                self._kill_clickhouse: 4,
                self._restart_clickhouse: 2,
                self._kill_both: 2,
                self._fault: 10,
                self._down: 2,
            }

    def before_end(self, look: Callable[[], Awaitable[None]]) -> None:
        """What is to be read from a server before it is killed or stopped."""
        self._before_end = look

    async def run(self, stop: asyncio.Event) -> None:
        """One trouble after another until `stop`, each kind at least once if the time allows."""
        first = list(self.troubles)
        self._rng.shuffle(first)
        while not await self._wait(stop, *PAUSE_S):
            trouble = first.pop() if first else self._rng.choices(*zip(*self.troubles.items(), strict=True))[0]
            started = time.monotonic()
            await trouble()
            self.longest = max(self.longest, (time.monotonic() - started, trouble.__name__.strip("_")))

    async def recover(self) -> None:
        """Everything runs again, nothing is faulty."""
        if self._front is not None:
            if not self._front.is_running:
                await asyncio.to_thread(self._front.restart)
            await asyncio.to_thread(self._front.faults.clear)

    async def stop_server(self) -> None:
        """SIGTERM; a bad exit code is noted."""
        await self._look()
        code = await asyncio.to_thread(self._server.terminate)
        if code != 0:
            self.bad_exits.append(f"exit code {code} after SIGTERM")

    # ---- the server ----------------------------------------------------

    async def _kill_server(self) -> None:
        self.done["kill -9 of the server"] += 1
        await self._look()
        await asyncio.to_thread(self._server.kill)
        await self._rest(0.0, 0.5)
        await asyncio.to_thread(self._server.restart)

    async def _kill_starting(self) -> None:
        """The server is killed, and again while it starts."""
        await self._look()
        await asyncio.to_thread(self._server.kill)
        self.done["kill -9 of the server"] += 1
        starting = asyncio.create_task(asyncio.to_thread(self._server.restart))
        await self._rest(0.05, START_S)
        with contextlib.suppress(AssertionError):
            if not starting.done():
                self.done["kill -9 of the starting server"] += 1
                os.kill(self._server.pid, signal.SIGKILL)
            await starting
        if starting.exception() is not None:
            await asyncio.to_thread(self._server.restart)

    async def _stop_server(self) -> None:
        self.done["SIGTERM of the server"] += 1
        await self.stop_server()
        await asyncio.to_thread(self._server.restart)

    # ---- ClickHouse ----------------------------------------------------

    async def _kill_clickhouse(self) -> None:
        assert self._front is not None
        self.done["kill -9 of ClickHouse"] += 1
        await asyncio.to_thread(self._front.kill)
        await self._rest(*SHORT_S)
        await asyncio.to_thread(self._front.restart)

    async def _restart_clickhouse(self) -> None:
        assert self._front is not None
        self.done["restart of ClickHouse"] += 1
        await asyncio.to_thread(self._front.terminate)
        await self._rest(*SHORT_S)
        await asyncio.to_thread(self._front.restart)

    async def _kill_both(self) -> None:
        """The server starts first and has to wait for ClickHouse."""
        assert self._front is not None
        self.done["kill -9 of both"] += 1
        await self._look()
        await asyncio.to_thread(self._front.kill)
        await asyncio.to_thread(self._server.kill)
        starting = asyncio.create_task(asyncio.to_thread(self._server.restart))
        await self._rest(*SHORT_S)
        await asyncio.to_thread(self._front.restart)
        await starting

    async def _fault(self) -> None:
        """One of the front's switches, for the next insert or two; a stall ends after a while."""
        assert self._front is not None
        rng = self._rng
        faults = (
            Fault(kind="stall", statement="insert", when="before"),
            Fault(kind="stall", statement="insert", when="after"),
            Fault(kind="drop_response", statement="insert", times=rng.randint(1, 3)),
            Fault(kind="reset_request", statement="insert", after_bytes=rng.randrange(20_000), times=rng.randint(1, 3)),
            Fault(kind="cut_response", times=rng.randint(1, 3), after_bytes=rng.randrange(3)),
            Fault(kind="slow", statement="insert", delay_ms=rng.randint(100, 2_000), times=rng.randint(1, 3)),
            Fault(kind="error", statement="insert", error=rng.choice(BUSY), times=rng.randint(1, 3)),
            Fault(kind="error", statement="insert", when="after", error=rng.choice(BUSY)),
            Fault(kind="error", statement="select", error=rng.choice(BUSY), times=rng.randint(1, 2)),
        )
        fault = rng.choice(faults)
        self.done[f"ClickHouse: {fault.kind} {fault.when if fault.kind in ('stall', 'error') else ''}".strip()] += 1
        await asyncio.to_thread(self._front.faults.add, fault)
        await self._rest(0.5, 5.0)
        if rng.random() < 0.3:
            await self._kill_server()
        await asyncio.to_thread(self._front.faults.clear)

    async def _down(self) -> None:
        assert self._front is not None
        self.done["ClickHouse: down"] += 1
        await asyncio.to_thread(self._front.faults.add, Fault(kind="down", times=0))
        await self._rest(1.0, 6.0)
        await asyncio.to_thread(self._front.faults.clear)

    # ---- inside --------------------------------------------------------

    async def _look(self) -> None:
        if self._before_end is not None:
            await self._before_end()

    async def _rest(self, shortest_s: float, longest_s: float) -> None:
        await asyncio.sleep(self._rng.uniform(shortest_s, longest_s))

    async def _wait(self, stop: asyncio.Event, shortest_s: float, longest_s: float) -> bool:
        """Wait a while; true when it is time to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._rng.uniform(shortest_s, longest_s))
        return stop.is_set()
