"""Repeated event ids: accepted, counted once.

Two generations of sets of 16-byte ids: a look-up is one or two set reads; the older
generation goes when the window has passed or the younger is full. Bounded by
`capacity`. An id is remembered only once its event is durable or on its way to be; if
writing fails it is forgotten, so that the client's retry is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Duplicates:
    """Ids seen within the window."""

    __slots__ = ("_clock", "_half", "_old", "_turned_at", "_window_s", "_young")

    def __init__(self, *, window_s: int, capacity: int, clock: Callable[[], float]) -> None:
        self._window_s = window_s
        self._half = max(1, capacity // 2)
        self._clock = clock
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._turned_at = clock()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def seen(self, site_id: str, event_id: bytes) -> bool:
        """Was this id already accepted for the site? Remembers it if not. Off when the window is 0."""
        if not self._window_s:
            return False
        key = site_id.encode() + event_id
        if key in self._young or key in self._old:
            return True
        if len(self._young) >= self._half or self._clock() - self._turned_at > self._window_s:
            self._old, self._young = self._young, set()
            self._turned_at = self._clock()
        self._young.add(key)
        return False

    def remembers(self, keys: Iterable[tuple[str, bytes]]) -> bool:
        """Are all these ids still known? One that is not belonged to an event that could not be written."""
        return all(
            (key := site_id.encode() + event_id) in self._young or key in self._old for site_id, event_id in keys
        )

    def forget(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Take ids back whose events could not be written."""
        for site_id, event_id in keys:
            key = site_id.encode() + event_id
            self._young.discard(key)
            self._old.discard(key)
