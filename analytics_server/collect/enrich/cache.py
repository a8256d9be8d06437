"""A bounded cache for the enrichment steps: same input, same answer, fixed memory.

Two generations instead of an LRU list: a look-up is one or two dict reads and
writes nothing on a hit, and when the young generation is full it becomes the old
one and the previous old one is forgotten. What is used often is carried over,
what is not is gone after two turns. It holds at most `capacity` entries; long
keys aren't kept, so that a few huge strings can't fill the memory.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_KEY_CHARS = 512
"""Text longer than this is worked out anew each time (see the module's docstring)."""


class GenerationCache(Generic[K, V]):
    """At most `capacity` (≥ 2) remembered answers. Values are never None."""

    __slots__ = ("_half", "_old", "young")

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self.young: dict[K, V] = {}
        """Where most is found: the hottest paths look here before they call `get`."""
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self.young.keys() | self._old.keys())

    def get(self, key: K) -> V | None:
        """What was put under the key, or None."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember an answer; may forget the generation before."""
        if isinstance(key, str) and len(key) > MAX_KEY_CHARS:
            return
        if len(self.young) >= self._half:
            self._old = self.young
            self.young = {}
        self.young[key] = value

    def clear(self) -> None:
        """Forget all."""
        self.young = {}
        self._old = {}
