"""Leases: one holder among several servers for work in the background, with a time limit.

ClickHouse has no compare-and-set, so a lease is taken in three steps: look whether it is taken, write a claim, look
again. Only who is then alone has it; of two who meet both withdraw, and try again another time. Each writes before it
looks, so at least one of two sees the other: there are never two holders.

A claim ends by itself. Its end is written by ClickHouse's clock and judged here by this process's own monotonic clock
from the moment before the claim was sent, so a holder that stalls gives up before another can begin. What is done
under a lease must bear to be done twice all the same: a statement that was sent goes on after its holder has lost the
lease.

A turn (`SharedTurn`) is a lease that is waited for: work that must not be done beside other work of its kind.
"""

from __future__ import annotations

import asyncio
import logging
import random
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
"""Who waits for a turn looks about that often."""
PAUSE_S = 2 * LOOK_S
"""So long a server does not take a turn again that it had: those that wait come first."""
TELL_S = 60.0
"""Who has waited for so long says so."""

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

    @property
    def ends(self) -> float:
        """When what was taken is over, by this process's clock."""
        return self._ends

    async def keep(self, renewed: Callable[[float], object] = lambda ends: None) -> None:
        """Renew it in time, until it is lost; a task to own. No other call but `is_held` meanwhile.

        `renewed`: called with the new end after each renewal.
        """
        while self.is_held:
            await asyncio.sleep(self._ttl_s / RENEWALS)
            await self._renew()
            if self.is_held:
                renewed(self._ends)

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
    """One kind of work, on one server at a time. A server that loses the turn stops. Within the process a lock of
    the caller's decides, so that one waits at most. `ttl_s`: how long a killed server's turn lasts.

    There is no queue: who waits looks again and again. Who had the turn lets the others look once before it takes the
    turn again.
    """

    def __init__(self, store: Store, name: str, *, holder: str, ttl_s: float = TURN_S) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._ttl_s = ttl_s
        self._again_at = 0.0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for the turn, and have it. Raises `StoreRetryable` where it was lost meanwhile, or a store error.

        The work is cancelled when the lease is over, also while a renewal hangs.
        """
        if self._store.capabilities.owns_files:  # no other server can
            yield
            return
        clock = asyncio.get_running_loop().time
        lease = Lease(self._store, self._name, holder=self._holder, ttl_s=self._ttl_s, clock=clock)
        await self._take(lease, clock)
        work = asyncio.timeout_at(lease.ends)
        keeping = asyncio.create_task(_keep(lease, work), name="turn")
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
            self._again_at = clock() + PAUSE_S

    async def _take(self, lease: Lease, clock: Callable[[], float]) -> None:
        """Wait until it is taken; two who meet wait for different times, the longer the slower ClickHouse answers."""
        began, is_told = clock(), False
        await asyncio.sleep(max(0.0, self._again_at - began))
        while True:
            tried_at = clock()
            if await lease.take():
                return
            now = clock()
            if not is_told and now - began >= TELL_S:
                is_told = True
                log.warning("still waiting for a turn", extra={"turn": self._name, "waited_s": int(now - began)})
            await asyncio.sleep(random.uniform(LOOK_S / 2, LOOK_S + 2 * (now - tried_at)))


async def _keep(lease: Lease, work: asyncio.Timeout) -> None:
    """Renew the lease: the work may go on until its end, and no longer."""

    def bound(ends: float) -> None:
        if not work.expired():
            work.reschedule(ends)

    await lease.keep(bound)
    bound(asyncio.get_running_loop().time())


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
