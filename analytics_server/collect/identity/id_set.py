"""A large set of 64-bit numbers in little memory, and numbers in the order they came.

Owns how the hashes of event ids are kept: `duplicates` says which, and for how long.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Collection

_SHARD_BITS = 14
_SHIFT = 64 - _SHARD_BITS
_SHARDS_AT_ONCE = 64
QUEUE_PART = 4_096


class IdSet:
    """A set of 64-bit numbers at about 10 bytes each: 16,384 sorted arrays."""

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
        at = number >> _SHIFT
        shard = self._shards[at]
        if shard is None:
            self._shards[at] = array("Q", (number,))
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
        """Take it out, if it is there."""
        shard = self._shards[number >> _SHIFT]
        if shard is None:
            return
        place = bisect_left(shard, number)
        if place < len(shard) and shard[place] == number:
            del shard[place]
            self.count -= 1


class _Part:
    """Numbers that came one after the other. Times are seconds."""

    __slots__ = ("newest_at", "numbers", "open_until")

    def __init__(self, now: float, open_until: float) -> None:
        self.numbers: array[int] = array("Q")
        self.newest_at = now
        self.open_until = open_until


class IdQueue:
    """Numbers in the order they came, 8 bytes each, in parts that know how old they are."""

    __slots__ = ("_parts", "_span_s", "_start", "due_at")

    def __init__(self, span_s: float, due_at: float = 0.0) -> None:
        """`span_s`: so much later a number goes to another part."""
        self._span_s = span_s
        self.due_at = due_at
        """Its owner's: no number is to be taken out before."""
        self._parts: deque[_Part] = deque()
        self._start = 0
        """Of the first part, so many are gone."""

    def append(self, number: int, now: float) -> None:
        """Put in a number that came now."""
        if self._parts:
            part = self._parts[-1]
            numbers = part.numbers
            if now <= part.open_until and len(numbers) < QUEUE_PART:
                numbers.append(number)
                part.newest_at = now
                return
        part = _Part(now, now + self._span_s)
        part.numbers.append(number)
        self._parts.append(part)

    def put_before(self, numbers: array[int], now: float) -> None:
        """Numbers that are older than all that is here, the oldest first; their time counts from now."""
        if self._start:
            del self._parts[0].numbers[: self._start]
            self._start = 0
        for end in range(len(numbers), 0, -QUEUE_PART):
            part = _Part(now, now + self._span_s)
            part.numbers = numbers[max(0, end - QUEUE_PART) : end]
            self._parts.appendleft(part)

    def oldest_at(self) -> float:
        """When the newest number of the oldest part came. Raises `IndexError` when there is none."""
        return self._parts[0].newest_at

    def pop(self) -> int:
        """Take the oldest number out. Raises `IndexError` when there is none."""
        numbers = self._parts[0].numbers
        number = numbers[self._start]
        self._start += 1
        if self._start == len(numbers):
            self._parts.popleft()
            self._start = 0
        return number

    def discard(self, numbers: Collection[int]) -> int:
        """Take numbers out that came lately; how many were found."""
        found = 0
        for at in range(len(self._parts) - 1, -1, -1):
            part, start = self._parts[at], 0 if at else self._start
            kept = array("Q", [number for number in part.numbers[start:] if number not in numbers])
            found += len(part.numbers) - start - len(kept)
            part.numbers = kept
            if not at:
                self._start = 0
            if not kept:
                del self._parts[at]
            if found >= len(numbers):
                break
        return found

    def __bool__(self) -> bool:
        return bool(self._parts)
