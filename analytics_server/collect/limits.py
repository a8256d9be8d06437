"""Rate limits per site and per address, with bounded memory.

Token buckets that hold two seconds' worth, or an hour's for what is counted by the
hour. Addresses are kept only as Python hashes (salted per process), at most `capacity`
of them: when there are more, the older generation is forgotten, which errs on the side
of letting a beacon in.
"""

from __future__ import annotations

from collections.abc import Callable

BURST_S = 2.0
HOUR_S = 3_600.0


class RateLimiter:
    """`rate` events per second and key, in bursts of `burst_s` times that; 0 switches it off."""

    __slots__ = ("_burst_s", "_capacity", "_clock", "_old", "_rate", "_young")

    def __init__(self, rate: float, capacity: int, clock: Callable[[], float], *, burst_s: float = BURST_S) -> None:
        self._rate = rate
        self._burst_s = burst_s
        self._capacity = max(1, capacity // 2)
        self._clock = clock
        self._young: dict[int, tuple[float, float]] = {}
        self._old: dict[int, tuple[float, float]] = {}

    @property
    def is_on(self) -> bool:
        """Is there a limit of all keys?"""
        return self._rate > 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def allow(self, key: str, events: int = 1, *, own_rate: float = 0, owing: bool = False) -> bool:
        """May this key send so many events now? What is allowed at once may take a bucket into debt, to be waited off.

        `own_rate`: that of this key, if it is the lower one or the only one; 0 for none. `owing`: they belong to what
        was allowed already, and are only counted, down to a debt of one burst: who sends for a key that others send
        for too must not silence it for longer.
        """
        rate = self._of(own_rate)
        if not rate:
            return True
        digest = hash(key)
        now = self._clock()
        most = rate * self._burst_s
        level, at = self._young.get(digest) or self._old.get(digest) or (most, now)
        level = min(most, level + (now - at) * rate)
        allowed = owing or level > _NOTHING
        if owing:
            level = max(level - events, min(level, -most))
        elif allowed:
            level -= events
        if digest not in self._young and len(self._young) >= self._capacity:
            self._old, self._young = self._young, {}
        self._young[digest] = (level, now)
        return allowed

    def wait_s(self, key: str, *, own_rate: float = 0) -> int:
        """In how many whole seconds a key that was refused may send again, if nothing is allowed meanwhile."""
        digest = hash(key)
        known = self._young.get(digest) or self._old.get(digest)
        if known is None:
            return 1
        level, at = known
        rate = self._of(own_rate)
        return max(1, int((_NOTHING - level) / rate - (self._clock() - at)) + 1)

    def _of(self, own_rate: float) -> float:
        return min(self._rate or own_rate, own_rate) if own_rate else self._rate


def hourly(rate: int, capacity: int, clock: Callable[[], float]) -> RateLimiter:
    """So many an hour and key, all of them at once if need be; 0 switches it off."""
    return RateLimiter(rate / HOUR_S, capacity, clock, burst_s=HOUR_S)


_NOTHING = 1e-6
"""A bucket with less is empty: sums of fractions are not exact."""
