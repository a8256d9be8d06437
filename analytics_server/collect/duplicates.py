"""Repeated event ids: accepted, counted once.

Two generations of ids: a look-up reads one or both; the older generation goes when the
window has passed or the younger is full. At least the newest half of `capacity` is known, at about
20 bytes an id: a generation is 16,384 sorted arrays of 64-bit hashes (keyed with this process's own random
key, so nobody can choose colliding ids; by chance, with ten million ids remembered, one new
id in 10^12 is taken for a repeated one). An id is remembered only once its event is
durable or on its way to be; if writing fails it is forgotten, so that the client's retry is kept.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

Key = tuple[str, bytes]
"""A site and an event's id, which is unique within it."""

_MASK = (1 << 64) - 1
_SHARD_BITS = 14
_SHIFT = 64 - _SHARD_BITS
_SHARDS_AT_ONCE = 64
CHUNK_IDS = 100_000


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
        shard = self._shards[number >> _SHIFT]
        if shard is None:
            self._shards[number >> _SHIFT] = array("Q", (number,))
        else:
            place = bisect_left(shard, number)
            if place < len(shard) and shard[place] == number:
                return False
            shard.insert(place, number)
        self.count += 1
        return True

    def add_sorted(self, numbers: list[array[int]]) -> None:
        """Put many in, given in ascending order: most of them into new shards."""
        starts = [0] * len(numbers)
        for first in range(0, len(self._shards), _SHARDS_AT_ONCE):
            bound = (first + _SHARDS_AT_ONCE) << _SHIFT
            found: set[int] = set()
            for at, part in enumerate(numbers):
                end = bisect_left(part, bound, starts[at])
                found.update(part[starts[at] : end])
                starts[at] = end
            if not found:
                continue
            for shard in self._shards[first : first + _SHARDS_AT_ONCE]:
                found.update(shard or ())
            self._replace(first, sorted(found))

    def _replace(self, first: int, ordered: list[int]) -> None:
        """`ordered` is all there is in the shards from `first` on."""
        start = 0
        for index in range(first, first + _SHARDS_AT_ONCE):
            end = bisect_left(ordered, (index + 1) << _SHIFT, start)
            before = self._shards[index]
            self.count += end - start - (len(before) if before is not None else 0)
            self._shards[index] = array("Q", ordered[start:end]) if end > start else None
            start = end

    def discard(self, number: int) -> None:
        shard = self._shards[number >> _SHIFT]
        if shard is not None and number in self:
            del shard[bisect_left(shard, number)]
            self.count -= 1


class Duplicates:
    """Ids seen within the window."""

    __slots__ = (
        *("_chunk", "_clock", "_half", "_old", "_restored", "_sorted", "_turned_at", "_window_s", "_young"),
        "losses",
    )

    def __init__(self, *, window_s: int, capacity: int, clock: Callable[[], float]) -> None:
        self._window_s = window_s
        self._half = max(1, capacity // 2)
        self._clock = clock
        self._young = _Generation()
        self._old = _Generation()
        self._turned_at = clock()
        self.losses = 0
        """So often ids were taken back: what was known before that may not be on disk."""
        self._chunk: array[int] = array("Q")
        self._sorted: list[array[int]] = []
        self._restored = 0

    def __len__(self) -> int:
        return self._young.count + self._old.count

    def seen(self, key: Key) -> bool:
        """Was this id already accepted for the site? Remembers it if not. Off when the window is 0."""
        if not self._window_s:
            return False
        number = hash(key) & _MASK
        if self._old.count and number in self._old:
            return True
        young = self._young
        if young.count >= self._half or self._clock() - self._turned_at > self._window_s:
            if number in young:
                return True
            self._old, self._young = young, _Generation()
            self._turned_at = self._clock()
            young = self._young
        return not young.add(number)

    def room(self) -> int:
        """How many ids of a former run `restore` still takes."""
        return max(0, self._half - self._young.count - self._restored) if self._window_s else 0

    def restore(self, keys: Sequence[Key]) -> None:
        """Take ids of a former run, newest first; beyond half the capacity they are left out.

        They are known after `settle`: sorting many at once is three times as fast as putting each in its place.
        """
        if room := self.room():
            chunk = self._chunk
            chunk.extend([hash(key) & _MASK for key in keys[:room]])
            self._restored += min(room, len(keys))
            if len(chunk) >= CHUNK_IDS:
                self._sort_chunk()

    def settle(self) -> None:
        """Remember what was restored."""
        self._sort_chunk()
        self._young.add_sorted(self._sorted)
        self._sorted, self._restored = [], 0

    def _sort_chunk(self) -> None:
        if self._chunk:
            self._sorted.append(array("Q", sorted(self._chunk)))
            self._chunk = array("Q")

    def remembers(self, keys: Iterable[Key]) -> bool:
        """Are all these ids known?"""
        return all((number := hash(key) & _MASK) in self._young or number in self._old for key in keys)

    def forget(self, keys: Iterable[Key]) -> None:
        """Take ids back whose events could not be written."""
        self.losses += 1
        for key in keys:
            number = hash(key) & _MASK
            self._young.discard(number)
            self._old.discard(number)
