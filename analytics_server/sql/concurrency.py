"""Who may run SQL now: few at a time, so that it never starves beacons, charts and live counts.

A query that finds no turn waits a while. Neither a site nor a token ever has all turns, and neither can take all
places to wait: its next query is told to come later (429). When everything is taken, all are (503).

The engine can't always be interrupted. The turn of a query that outlives its time limit is passed on, so that the
others don't wait for it; its own site and token go without until the engine has ended it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from analytics_server.errors import TooManyRequests, Unavailable

WAITING_PER_TURN = 8
OVERRUNS_PER_TURN = 4
"""So many turns are passed on for each there is; each such query still takes a core."""

Holder = tuple[str, str]


@dataclass(eq=False, slots=True)
class Turn:
    """A place to run, or to wait for one. `holders`: the site and the token that it counts for."""

    holders: tuple[Holder, ...]
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_running: bool = False
    is_passed_on: bool = False


class Turns:
    """Counts who runs and who waits. Only the event loop calls it."""

    def __init__(self, *, at_once: int, per_site: int, wait_s: float) -> None:
        self._at_once = at_once
        self._share = max(1, at_once - 1)
        self._places = at_once * (1 + WAITING_PER_TURN)
        self._per_holder = {"site": per_site, "token": max(per_site, self._places // 2)}
        self._wait_s = wait_s
        self._present: Counter[Holder] = Counter()
        self._running: Counter[Holder] = Counter()
        self._waiting: list[Turn] = []
        self._taken = 0
        self._passed_on = 0

    async def take(self, site_id: str, token_id: str = "") -> Turn:
        """Wait for a turn; `give_back` ends it. Raises `TooManyRequests` or `Unavailable`."""
        turn = Turn((("site", site_id), *([("token", token_id)] if token_id else [])))
        for kind, name in turn.holders:
            mine = self._present[kind, name]
            if mine >= self._per_holder[kind]:
                raise TooManyRequests(
                    f"{mine} queries of this {kind} run or wait already ([sql] site_queries): ask again when one has"
                    " ended.",
                    code="too_many_queries",
                )
        if self._taken + len(self._waiting) >= self._places:
            raise Unavailable("Too many SQL queries wait already ([sql] queries): ask again soon.", code="busy")
        self._present.update(turn.holders)
        self._waiting.append(turn)
        self._grant()
        try:
            async with asyncio.timeout(self._wait_s):
                await turn.granted
        except BaseException as error:
            self.give_back(turn)
            if not isinstance(error, TimeoutError):
                raise
            raise Unavailable(
                f"No SQL query could begin within {self._wait_s:g} s ([sql] queries, wait_s): ask again soon.",
                code="busy",
            ) from None
        return turn

    def pass_on(self, turn: Turn) -> None:
        """The engine goes on with a query that was given up: others need not wait for it."""
        if turn.is_running and not turn.is_passed_on and self._passed_on < self._at_once * OVERRUNS_PER_TURN:
            turn.is_passed_on = True
            self._passed_on += 1
            self._taken -= 1
            self._grant()

    def give_back(self, turn: Turn) -> None:
        """End a turn that was taken."""
        self._present.subtract(turn.holders)
        if turn.is_running:
            self._running.subtract(turn.holders)
            self._passed_on -= turn.is_passed_on
            self._taken -= not turn.is_passed_on
        else:
            self._waiting.remove(turn)
        for counter in (self._present, self._running):
            for holder in turn.holders:
                if not counter[holder]:
                    del counter[holder]
        self._grant()

    def _grant(self) -> None:
        """Give free turns to those that wait longest, of holders that have room for one more."""
        for turn in list(self._waiting):
            if self._taken >= self._at_once:
                return
            if all(self._running[holder] < self._share for holder in turn.holders):
                self._waiting.remove(turn)
                turn.is_running = True
                self._taken += 1
                self._running.update(turn.holders)
                if not turn.granted.done():
                    turn.granted.set_result(None)
