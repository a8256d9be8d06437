"""Concurrency limit of SQL: few queries at a time, so that it never starves beacons, charts and live counts.

A query that finds no free slot waits a while. No single site or token ever has all slots, nor all places to wait: its
next query is told to come later (429). When everything is taken, all are (503).

The engine can't always be interrupted. The slot of a query that outlives its time limit is given to the next one, so
that the others don't wait for it; its own site and token go without until the engine has ended it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from analytics_server.errors import TooManyRequests, Unavailable

OVERRUNS_PER_SLOT = 4
"""So many slots are reassigned for each there is; each such query still takes a core."""

Holder = tuple[str, str]


@dataclass(eq=False, slots=True)
class Slot:
    """A place to run, or to wait for one. `holders`: the sites and the token that it counts for."""

    holders: tuple[Holder, ...]
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_running: bool = False
    is_reassigned: bool = False


class ConcurrencyLimit:
    """Counts who runs and who waits. Only the event loop calls it."""

    def __init__(self, *, at_once: int, waiting: int, per_site: int, wait_s: float) -> None:
        self._at_once = at_once
        self._share = max(1, at_once - 1)
        self._places = at_once + waiting
        half = max(1, self._places // 2)
        self._per_holder = {"site": min(per_site, half), "token": half}
        of_all = "half of [sql] queries and waiting"
        self._settings = {"site": "[sql] site_queries" if per_site <= half else of_all, "token": of_all}
        self._wait_s = wait_s
        self._present: Counter[Holder] = Counter()
        self._running: Counter[Holder] = Counter()
        self._waiting: list[Slot] = []
        self._taken = 0
        self._reassigned = 0

    async def acquire(self, sites: Sequence[str], token_id: str = "") -> Slot:
        """Wait for a slot, which counts for each of the sites; `release` ends it.

        Raises `TooManyRequests` or `Unavailable`.
        """
        slot = Slot(_holders(sites, token_id))
        self._check(slot.holders)
        self._present.update(slot.holders)
        self._waiting.append(slot)
        self._grant()
        try:
            async with asyncio.timeout(self._wait_s):
                await slot.granted
        except BaseException as error:
            self.release(slot)
            if not isinstance(error, TimeoutError):
                raise
            raise cannot_begin(self._wait_s) from None
        return slot

    def check(self, sites: Sequence[str], token_id: str = "") -> None:
        """Refuse what `acquire` would refuse at once: before anything was worked out for it."""
        self._check(_holders(sites, token_id))

    def _check(self, holders: Sequence[Holder]) -> None:
        for kind, name in holders:
            mine = self._present[kind, name]
            if mine >= self._per_holder[kind]:
                raise TooManyRequests(
                    f"{mine} queries of this {kind} run or wait already ({self._settings[kind]}): ask again when one"
                    " has ended.",
                    code="too_many_queries",
                )
        if self._taken + len(self._waiting) >= self._places:
            raise Unavailable("Too many SQL queries wait already ([sql] waiting): ask again soon.", code="busy")

    def reassign(self, slot: Slot) -> None:
        """The engine goes on with a query that was given up: others need not wait for it."""
        if slot.is_running and not slot.is_reassigned and self._reassigned < self._at_once * OVERRUNS_PER_SLOT:
            slot.is_reassigned = True
            self._reassigned += 1
            self._taken -= 1
            self._grant()

    def release(self, slot: Slot) -> None:
        """Free a slot, or leave the queue."""
        self._present.subtract(slot.holders)
        if slot.is_running:
            self._running.subtract(slot.holders)
            self._reassigned -= slot.is_reassigned
            self._taken -= not slot.is_reassigned
        else:
            self._waiting.remove(slot)
        for counter in (self._present, self._running):
            for holder in slot.holders:
                if not counter[holder]:
                    del counter[holder]
        self._grant()

    def _grant(self) -> None:
        """Give free slots to those that wait longest, of holders that have room for one more."""
        for slot in list(self._waiting):
            if self._taken >= self._at_once:
                return
            if all(self._running[holder] < self._share for holder in slot.holders):
                self._waiting.remove(slot)
                slot.is_running = True
                self._taken += 1
                self._running.update(slot.holders)
                if not slot.granted.done():
                    slot.granted.set_result(None)


def _holders(sites: Sequence[str], token_id: str) -> tuple[Holder, ...]:
    return (*(("site", site) for site in sites), *([("token", token_id)] if token_id else []))


def cannot_begin(wait_s: float) -> Unavailable:
    """What is said to a query that has waited so long."""
    return Unavailable(
        f"No SQL query could begin within {wait_s:g} s ([sql] queries, wait_s): ask again soon.", code="busy"
    )
