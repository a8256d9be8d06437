"""Background tasks that a server owns: started by name, restarted when they fail, cancelled together.

Constraint: a task that fails is logged and started again after a pause; none outlives `cancel`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

log = logging.getLogger(__name__)

RESTART_PAUSE_S = 5.0


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
