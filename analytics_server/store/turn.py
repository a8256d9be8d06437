"""Taking turns: work that must not be done beside other work of its kind, in this process or on another server.

Where other servers may write to the same ClickHouse, a turn is a lease (`lease.py`), waited for; it is renewed
meanwhile, and whoever loses it stops. Within the process the caller's own lock decides, so that one waits at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from analytics_server.errors import StoreRetryable
from analytics_server.store.lease import Lease
from analytics_server.store.protocol import Store

TURN_S = 60.0
"""After so long another server goes on where one was killed in its turn."""
LOOK_S = 1.0


class SharedTurn:
    """One kind of work. `ttl_s`: how long a killed server's turn lasts."""

    def __init__(self, store: Store, name: str, *, holder: str, ttl_s: float = TURN_S) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._ttl_s = ttl_s

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for the turn, and have it. Raises `StoreRetryable` where it was lost meanwhile, or a store error."""
        if self._store.capabilities.owns_files:  # no other server can
            yield
            return
        lease = Lease(self._store, self._name, holder=self._holder, ttl_s=self._ttl_s)
        while True:
            if await lease.take():
                break
            await asyncio.sleep(LOOK_S)
        work = asyncio.timeout(None)
        keeping = asyncio.create_task(self._keep(lease, work), name="turn")
        try:
            async with work:
                yield
        except TimeoutError as error:
            if not work.expired():
                raise
            raise StoreRetryable(f"The turn ({self._name}) is lost: another server may be at it.") from error
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
            await lease.release()

    async def _keep(self, lease: Lease, work: asyncio.Timeout) -> None:
        await lease.keep()
        work.reschedule(asyncio.get_running_loop().time())
