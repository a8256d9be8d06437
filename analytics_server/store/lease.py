"""Leases: one holder among several servers for work in the background, with a time limit.

ClickHouse has no compare-and-set, so a lease is taken in three steps: look whether somebody has it, write a claim, look
again. Only who is then alone has it; of two who meet both withdraw, and try again another time. Each writes before it
looks, so at least one of two sees the other: there are never two holders.

A claim ends by itself. Its end is written by ClickHouse's clock and judged here by this process's own monotonic clock
from the moment before the claim was sent, so a holder that stalls gives up before anybody else can begin. What is done
under a lease must bear to be done twice all the same: a statement that was sent goes on after its holder has lost the
lease.

A turn (`SharedTurn`) is a lease that is waited for: work that must not be done beside other work of its kind.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.store.protocol import Store
from analytics_server.store.settings import READ_NOW

log = logging.getLogger(__name__)

TABLE = "leases"
CLAIM_BYTES = 12
MOST_S = 86_400.0
RENEWALS = 4
"""A lease is renewed when a quarter of its time is over: of three tries that fail none loses it."""
TIMEOUT_S = 30.0
TURN_S = 60.0
"""After so long another server goes on where one was killed in its turn."""
LOOK_S = 1.0

_WRITE = (
    "INSERT INTO leases (name, claim, step, holder, ends_at, at)"
    " SELECT {name:String}, {claim:String}, {step:UInt32}, {holder:String},"
    " now64(6, 'UTC') + toIntervalMillisecond({for_ms:Int64}), now64(6, 'UTC')"
)
_LIVE = (
    "SELECT claim, argMax(ends_at, step) AS end FROM leases WHERE name = {name:String}"
    " GROUP BY claim HAVING end > now64(6, 'UTC')"
)

_LIVE_OF_ALL = (
    "SELECT name, claim, max(l.step) AS step, any(l.holder) AS holder FROM leases AS l GROUP BY name, claim"
    " HAVING argMax(l.ends_at, l.step) > now64(6, 'UTC')"
)


class Lease:
    """One server's side of a lease. `holder`: who this is, to be shown; `ttl_s`: for how long it is taken at a time."""

    def __init__(
        self, store: Store, name: str, *, holder: str, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if not 0 < ttl_s <= MOST_S:
            raise ValueError(f"A lease is taken for at most {MOST_S:g} s, not for {ttl_s:g} s.")
        self._store = store
        self._name = name
        self._holder = holder
        self._ttl_s = ttl_s
        self._clock = clock
        self._claim = ""
        self._step = 0
        self._ends = 0.0

    @property
    def is_held(self) -> bool:
        """Does this process have it, and for how long it was taken is not over?"""
        return bool(self._claim) and self._clock() < self._ends

    async def take(self) -> bool:
        """Take it, or renew it where this process has it; False when another one has it. Raises a store error.

        After an error it is held for as long as it was before; a claim that was written all the same keeps others out
        until it ends.
        """
        if not self.is_held:
            self._claim = ""
            if await self._live():
                return False
            self._claim, self._step, self._ends = secrets.token_hex(CLAIM_BYTES), 0, 0.0
        claim, began = self._claim, self._clock()
        await self._write(claim, self._ttl_s)
        if await self._live() != {claim}:
            await self._withdraw(claim)
            return False
        self._ends = began + self._ttl_s
        return self.is_held

    async def keep(self) -> None:
        """Renew it in time, until it is lost; a task to own. No other call but `is_held` meanwhile."""
        while self.is_held:
            await asyncio.sleep(self._ttl_s / RENEWALS)
            await self._renew()

    async def _renew(self) -> None:
        """Once; while ClickHouse can't be asked, the old end counts."""
        try:
            if self.is_held and not await self.take():
                log.warning("a lease is lost", extra={"lease": self._name})
        except StoreError as error:
            log.warning(
                "a lease is not renewed, will try again", extra={"lease": self._name, "reason": str(error)[:200]}
            )

    async def release(self) -> None:
        """Let another server have it now. Never raises: unreleased, it ends by itself."""
        claim, self._claim, self._ends = self._claim, "", 0.0
        if claim:
            await self._withdraw(claim)

    async def _withdraw(self, claim: str) -> None:
        self._claim = ""
        try:
            await self._write(claim, -1.0)
        except StoreError as error:
            log.debug("a claim was not withdrawn", extra={"lease": self._name, "reason": error.message[:200]})

    async def _write(self, claim: str, for_s: float) -> None:
        self._step += 1
        await self._store.command(
            _WRITE,
            {
                "name": self._name,
                "claim": claim,
                "step": self._step,
                "holder": self._holder,
                "for_ms": int(for_s * 1000),
            },
        )
        await self._store.catch_up([TABLE], timeout_s=TIMEOUT_S)

    async def _live(self) -> set[str]:
        """The claims that have not ended."""
        answer = await self._store.query(_LIVE, {"name": self._name}, settings=READ_NOW, timeout_s=TIMEOUT_S)
        return {str(claim) for claim, _ in answer.rows}


@asynccontextmanager
async def leased(lease: Lease) -> AsyncIterator[bool]:
    """Was the lease taken? It is renewed meanwhile, and released at the end: work of any length asks `is_held`.

    Raises a store error where it can't be said whether it was taken.
    """
    taken = await lease.take()
    renewing = asyncio.create_task(lease.keep(), name="lease") if taken else None
    try:
        yield taken
    finally:
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait({renewing})
        await lease.release()


class SharedTurn:
    """One kind of work, on one server at a time. Whoever loses the turn meanwhile stops. Within the process a lock of
    the caller's decides, so that one waits at most. `ttl_s`: how long a killed server's turn lasts."""

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


async def end_left_over(store: Store) -> None:
    """End what a killed process still holds, where the engine belongs to this process alone. Raises a store error."""
    if not store.capabilities.owns_files:
        return
    answer = await store.query(f"SELECT count() FROM ({_LIVE_OF_ALL})", settings=READ_NOW, timeout_s=TIMEOUT_S)
    if answer.rows[0][0]:
        await store.command(
            "INSERT INTO leases (name, claim, step, holder, ends_at, at)"
            f" SELECT name, claim, step + 1, holder, now64(6, 'UTC'), now64(6, 'UTC') FROM ({_LIVE_OF_ALL})"
        )
