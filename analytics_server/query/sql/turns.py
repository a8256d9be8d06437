"""Who may run SQL now: few at a time, so that it never starves beacons, charts and live counts.

A query that finds no turn waits a while. One site can't take all turns and places to wait:
its next query is told to come later (429). When everything is taken, all are (503).
"""

from __future__ import annotations

import asyncio

from analytics_server.errors import TooManyRequests, Unavailable

WAITING_PER_TURN = 8


class Turns:
    """Counts who runs and who waits. Only the event loop calls it."""

    def __init__(self, *, at_once: int, per_site: int, wait_s: float) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._at_once = at_once
        self._per_site = per_site
        self._wait_s = wait_s
        self._sites: dict[str, int] = {}
        self._present = 0

    async def take(self, site_id: str) -> None:
        """Wait for a turn; `give_back` ends it. Raises `TooManyRequests` or `Unavailable`."""
        mine = self._sites.get(site_id, 0)
        if mine >= self._per_site:
            raise TooManyRequests(
                f"{mine} queries of this site run or wait already ([sql] site_queries): ask again when one has ended.",
                code="too_many_queries",
            )
        if self._present >= self._at_once * (1 + WAITING_PER_TURN):
            raise Unavailable("Too many SQL queries wait already ([sql] queries): ask again soon.", code="busy")
        self._sites[site_id] = mine + 1
        self._present += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except BaseException as error:
            self._leave(site_id)
            if not isinstance(error, TimeoutError):
                raise
            raise Unavailable(
                f"No SQL query could begin within {self._wait_s:g} s ([sql] queries, wait_s): ask again soon.",
                code="busy",
            ) from None

    def give_back(self, site_id: str) -> None:
        """End a turn that was taken."""
        self._free.release()
        self._leave(site_id)

    def _leave(self, site_id: str) -> None:
        self._present -= 1
        left = self._sites[site_id] - 1
        if left:
            self._sites[site_id] = left
        else:
            del self._sites[site_id]
