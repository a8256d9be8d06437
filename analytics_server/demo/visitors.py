"""Synthetic visitors: new people, people who come back the same day, and those with an account.

Owns who returns when. An account is made by signing up during a session; from then on its
returns are drawn: of a hundred, 45 never come back, 35 now and then, 20 often, less as
weeks go by. Returns replace new visitors, so the number of sessions stays as ordered.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque

from analytics_server.demo.profiles import Profile
from analytics_server.demo.world import ANY_PLACE, NEW_ARRIVALS, RETURN_ARRIVALS, Arrival, VisitorPlace, WeightedChoice

DAY_S = 86_400
AGAIN_TODAY = 0.12
"""Share of sessions by people who were here in the last hours."""
REMEMBERED = 400
VARIANTS = ("choose", "taste")
_LOYALTY: WeightedChoice[float] = WeightedChoice([(45, 0.0), (35, 0.4), (20, 1.5)])


class SyntheticVisitor:
    """One browser and who sits before it. `user_id` is "" until they sign up."""

    __slots__ = ("address", "place", "profile", "seen_at", "user_id", "variant")

    def __init__(self, profile: Profile, place: VisitorPlace, address: str, variant: str) -> None:
        self.profile = profile
        self.place = place
        self.address = address
        self.variant = variant
        self.user_id = ""
        self.seen_at = 0.0


class SyntheticVisitors:
    """Draws the visitor of each session; `moment` is epoch seconds and never goes back."""

    def __init__(self, profiles: list[Profile], rng: random.Random, start: float, end: float) -> None:
        self._rng = rng
        self._start, self._end = start, end
        self._profiles = WeightedChoice([(profile.weight, profile) for profile in profiles])
        self._recent: deque[SyntheticVisitor] = deque(maxlen=REMEMBERED)
        self._due: list[tuple[float, int, SyntheticVisitor]] = []
        self._accounts = 0
        self._arrivals: WeightedChoice[Arrival] | None = None
        self._arrivals_until = 0.0

    def visitor(self, moment: float) -> tuple[SyntheticVisitor, Arrival]:
        """Who comes now, and how."""
        rng = self._rng
        if self._due and self._due[0][0] <= moment:
            visitor = heapq.heappop(self._due)[2]
            arrival = RETURN_ARRIVALS.draw(rng)
        elif self._recent and rng.random() < AGAIN_TODAY and moment - self._recent[0].seen_at < DAY_S / 2:
            visitor = self._recent[int(rng.random() * len(self._recent))]
            arrival = RETURN_ARRIVALS.draw(rng) if visitor.user_id else self._arrival(moment)
        else:
            visitor = self._somebody()
            arrival = self._arrival(moment)
            visitor.seen_at = moment
            self._recent.append(visitor)
        return visitor, arrival

    def sign_up(self, visitor: SyntheticVisitor, moment: float) -> str:
        """Give a visitor an account and draw when it will be used again; returns the user's id."""
        self._accounts += 1
        visitor.user_id = f"customer-{self._accounts:05d}"
        loyalty = _LOYALTY.draw(self._rng)
        if loyalty:
            day = 1
            while (then := moment + day * DAY_S + self._rng.gauss(0, 7_200)) < self._end:
                if self._rng.random() < loyalty * (0.06 + 0.2 * math.exp(-day / 10)):
                    heapq.heappush(self._due, (then, self._accounts * 1_000 + day, visitor))
                day += 1
        return visitor.user_id

    def _somebody(self) -> SyntheticVisitor:
        rng = self._rng
        place = ANY_PLACE.draw(rng)
        bits = rng.getrandbits(17)
        address = f"{place.network}.{bits & 255}.{1 + (bits >> 8) % 254}"
        return SyntheticVisitor(self._profiles.draw(rng), place, address, VARIANTS[bits >> 16])

    def _arrival(self, moment: float) -> Arrival:
        """One of the arrivals of this time; looked up again every hour."""
        if self._arrivals is None or moment >= self._arrivals_until:
            share = (moment - self._start) / (self._end - self._start)
            self._arrivals = WeightedChoice(
                [(weight, arrival) for weight, arrival in NEW_ARRIVALS if arrival.days[0] <= share <= arrival.days[1]]
            )
            self._arrivals_until = moment + 3_600
        return self._arrivals.draw(self._rng)
