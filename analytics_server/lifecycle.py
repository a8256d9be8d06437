"""Background tasks that a server owns: started by name, restarted when they fail, cancelled together; daily work.

Constraint: a task that fails is logged and started again after a pause; none outlives `cancel`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from analytics_server.errors import AnalyticsError

log = logging.getLogger(__name__)

RESTART_PAUSE_S = 5.0
DAY_S = 86_400.0
RETRY_S = 3_600.0
"""How long daily work waits that failed, or that another server had in hand: that one may have died of it."""

DONE, ELSEWHERE, FAILED = "done", "elsewhere", "failed"


class BackgroundTasks:
    """The tasks of one server."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, work: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Run `work` in a task until `cancel`; when it ends or fails it is started again."""
        self._tasks.append(asyncio.create_task(keep_running(work, name, RESTART_PAUSE_S), name=name))

    async def cancel(self) -> None:
        """Cancel all of them and wait for their end."""
        await cancel(self._tasks)


async def keep_running(work: Callable[[], Coroutine[Any, Any, None]], name: str, pause_s: float) -> None:
    """Run a background task until it is cancelled: when it fails, log it and start it again after the pause."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("background task failed, starting it again", extra={"task": name})
        await asyncio.sleep(pause_s)


async def cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end; a caller that is cancelled itself does not wait for them."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)


class DailyWork:
    """What is to be done once a day by one of all servers. `registry` gets the counter of how it ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ended = Counter("daily_work_total", "Daily work that ended.", ["work", "outcome"], registry=registry)

    async def run(self, name: str, work: Callable[[], Awaitable[bool]]) -> None:
        """Do it at once and then every day, until cancelled; sooner again where it failed or was not this server's.

        `work` returns whether it was done here; False where another server holds its lease.
        """
        while True:
            outcome = await self._once(name, work)
            self._ended.labels(name, outcome).inc()
            await asyncio.sleep(DAY_S if outcome == DONE else RETRY_S)

    async def _once(self, name: str, work: Callable[[], Awaitable[bool]]) -> str:
        try:
            return DONE if await work() else ELSEWHERE
        except (AnalyticsError, OSError) as error:
            log.warning("daily work failed, will try again", extra={"work": name, "reason": str(error)[:200]})
            return FAILED


def daily_tasks(
    registry: CollectorRegistry, *works: tuple[str, Callable[[], Awaitable[bool]]]
) -> Iterator[tuple[Callable[[], Coroutine[Any, Any, None]], str]]:
    """A background task for each piece of daily work, with its name."""
    daily = DailyWork(registry)
    for name, work in works:
        yield partial(daily.run, name, work), name
