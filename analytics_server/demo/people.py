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
from analytics_server.demo.world import ANY_PLACE, NEW_WAYS, RETURN_WAYS, Deck, VisitorPlace, Way

DAY_S = 86_400
AGAIN_TODAY = 0.12
"""Share of sessions by people who were here in the last hours."""
REMEMBERED = 400
VARIANTS = ("choose", "taste")
_LOYALTY: Deck[float] = Deck([(45, 0.0), (35, 0.4), (20, 1.5)])


class Person:
    """One browser and who sits before it. `user_id` is "" until they sign up."""

    __slots__ = ("address", "place", "profile", "seen_at", "user_id", "variant")

    def __init__(self, profile: Profile, place: VisitorPlace, address: str, variant: str) -> None:
        self.profile = profile
        self.place = place
        self.address = address
        self.variant = variant
        self.user_id = ""
        self.seen_at = 0.0


class People:
    """Draws the person of each session; `moment` is epoch seconds and never goes back."""

    def __init__(self, profiles: list[Profile], rng: random.Random, start: float, end: float) -> None:
        self._rng = rng
        self._start, self._end = start, end
        self._profiles = Deck([(profile.weight, profile) for profile in profiles])
        self._recent: deque[Person] = deque(maxlen=REMEMBERED)
        self._due: list[tuple[float, int, Person]] = []
        self._accounts = 0
        self._ways: Deck[Way] | None = None
        self._ways_until = 0.0

    def visitor(self, moment: float) -> tuple[Person, Way]:
        """Who comes now, and how."""
        rng = self._rng
        if self._due and self._due[0][0] <= moment:
            person = heapq.heappop(self._due)[2]
            way = RETURN_WAYS.draw(rng)
        elif self._recent and rng.random() < AGAIN_TODAY and moment - self._recent[0].seen_at < DAY_S / 2:
            person = self._recent[int(rng.random() * len(self._recent))]
            way = RETURN_WAYS.draw(rng) if person.user_id else self._way(moment)
        else:
            person = self._somebody()
            way = self._way(moment)
            person.seen_at = moment
            self._recent.append(person)
        return person, way

    def sign_up(self, person: Person, moment: float) -> str:
        """Give a person an account and draw when it will be used again; returns the user's id."""
        self._accounts += 1
        person.user_id = f"customer-{self._accounts:05d}"
        loyalty = _LOYALTY.draw(self._rng)
        if loyalty:
            day = 1
            while (then := moment + day * DAY_S + self._rng.gauss(0, 7_200)) < self._end:
                if self._rng.random() < loyalty * (0.06 + 0.2 * math.exp(-day / 10)):
                    heapq.heappush(self._due, (then, self._accounts * 1_000 + day, person))
                day += 1
        return person.user_id

    def _somebody(self) -> Person:
        rng = self._rng
        place = ANY_PLACE.draw(rng)
        bits = rng.getrandbits(17)
        address = f"{place.network}.{bits & 255}.{1 + (bits >> 8) % 254}"
        return Person(self._profiles.draw(rng), place, address, VARIANTS[bits >> 16])

    def _way(self, moment: float) -> Way:
        """One of the ways that are open now; looked up again every hour."""
        if self._ways is None or moment >= self._ways_until:
            share = (moment - self._start) / (self._end - self._start)
            self._ways = Deck([(weight, way) for weight, way in NEW_WAYS if way.days[0] <= share <= way.days[1]])
            self._ways_until = moment + 3_600
        return self._ways.draw(self._rng)
