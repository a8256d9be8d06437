"""Repeated event ids: accepted, counted once.

Two generations of ids: a look-up reads one or both; the older generation goes when the
window has passed or the younger is full. At least the newest half of `capacity` is known, at about
20 bytes an id: a generation is 65,536 sorted arrays of 64-bit hashes (keyed with this process's own random
key, so nobody can choose colliding ids; by chance, with ten million ids remembered, one new
id in 10^12 is taken for a repeated one). An id is remembered only once its event is
durable or on its way to be; if writing fails it is forgotten, so that the client's retry is kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable

_MASK = (1 << 64) - 1
_SHARD_BITS = 16
_SHIFT = 64 - _SHARD_BITS


class _Generation:
    """A set of 64-bit numbers."""

    __slots__ = ("_shards", "count")

    def __init__(self) -> None:
        self._shards: list[array[int] | None] = [None] * (1 << _SHARD_BITS)
        self.count = 0

    def __contains__(self, number: int) -> bool:
        shard = self._shards[number >> _SHIFT]
        if shard is None:
            return False
        place = bisect_left(shard, number)
        return place < len(shard) and shard[place] == number

    def add(self, number: int) -> bool:
        """Put it in; False when it was there."""
        index = number >> _SHIFT
        shard = self._shards[index]
        if shard is None:
            self._shards[index] = array("Q", (number,))
        else:
            place = bisect_left(shard, number)
            if place < len(shard) and shard[place] == number:
                return False
            shard.insert(place, number)
        self.count += 1
        return True

    def discard(self, number: int) -> None:
        shard = self._shards[number >> _SHIFT]
        if shard is not None and number in self:
            del shard[bisect_left(shard, number)]
            self.count -= 1


class Duplicates:
    """Ids seen within the window."""

    __slots__ = ("_clock", "_half", "_old", "_turned_at", "_window_s", "_young")

    def __init__(self, *, window_s: int, capacity: int, clock: Callable[[], float]) -> None:
        self._window_s = window_s
        self._half = max(1, capacity // 2)
        self._clock = clock
        self._young = _Generation()
        self._old = _Generation()
        self._turned_at = clock()

    def __len__(self) -> int:
        return self._young.count + self._old.count

    def seen(self, site_id: str, event_id: bytes) -> bool:
        """Was this id already accepted for the site? Remembers it if not. Off when the window is 0."""
        if not self._window_s:
            return False
        number = hash((site_id, event_id)) & _MASK
        if self._old.count and number in self._old:
            return True
        young = self._young
        if young.count >= self._half or self._clock() - self._turned_at > self._window_s:
            if number in young:
                return True
            self._old, self._young = young, _Generation()
            self._turned_at = self._clock()
        return not self._young.add(number)

    def remembers(self, keys: Iterable[tuple[str, bytes]]) -> bool:
        """Are all these ids still known? One that is not belonged to an event that could not be written."""
        return all((number := hash(key) & _MASK) in self._young or number in self._old for key in keys)

    def forget(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Take ids back whose events could not be written."""
        for key in keys:
            number = hash(key) & _MASK
            self._young.discard(number)
            self._old.discard(number)
