"""Deduplication of events by their ids: a repeated one is accepted, and counted once.

An id is remembered for the window at least, for one and a half windows at most while its site sends others, and
as long as there is room: past the capacity the site that holds most forgets its oldest, so that no site can make
another's ids be forgotten. About 20 bytes an id: 64-bit hashes, keyed with this process's own random key, so
a client can't choose colliding ids (by chance, with ten million ids remembered, one new id in 10^12 is taken for a
repeated one). An id is remembered only once its event is durable or on its way to be; if writing fails it is
forgotten, so that the client's retry is kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

from analytics_server.collect.identity.id_set import IdQueue, IdSet
from analytics_server.fair_shares import SiteShares

EventKey = tuple[str, bytes]
"""A site and an event's id, which is unique within it."""

_MASK = (1 << 64) - 1
CHUNK_IDS = 100_000
EXPIRED_AT_ONCE = 2
"""Each new id of a site takes so many expired ones out: more than come in, and never many at once."""


class Duplicates:
    """Ids seen within the window, of all sites."""

    __slots__ = ("_capacity", "_clock", "_ids", "_queues", "_restored", "_shares", "_window_s", "losses")

    def __init__(self, *, window_s: int, capacity: int, clock: Callable[[], float]) -> None:
        self._window_s = window_s
        self._capacity = max(1, capacity)
        self._clock = clock
        self._ids = IdSet()
        self._queues: dict[str, IdQueue] = {}
        self._shares = SiteShares()
        self.losses = 0
        """How often ids were taken back: what was known before that may not be on disk."""
        self._restored: dict[str, array[int]] = {}
        """Ids of a former run until they are settled, the newest first. They count in the shares."""

    def __len__(self) -> int:
        return self._ids.count

    def seen(self, key: EventKey) -> bool:
        """Was this id already accepted for the site? Remembers it if not. Off when the window is 0."""
        if not self._window_s:
            return False
        site_id, now = key[0], self._clock()
        queue = self._queues.get(site_id)
        if queue is None:
            queue = self._queues[site_id] = self._new_queue(now)
        elif now > queue.due_at:
            self._expire(site_id, queue, now)
        number = hash(key) & _MASK
        if not self._ids.add(number):
            return True
        queue.append(number, now)
        shares = self._shares
        shares.add(site_id)
        while shares.total > self._capacity:
            self._forget_oldest(shares.largest())
        return False

    def _new_queue(self, now: float) -> IdQueue:
        return IdQueue(self._window_s / 2, due_at=now + self._window_s)

    def _expire(self, site_id: str, queue: IdQueue, now: float) -> None:
        for _ in range(EXPIRED_AT_ONCE):
            queue.due_at = (queue.oldest_at() if queue else now) + self._window_s
            if now <= queue.due_at:
                return
            self._ids.discard(queue.pop())
            self._shares.remove(site_id)

    def _forget_oldest(self, site_id: str) -> None:
        self._ids.discard(self._queues[site_id].pop())
        self._shares.remove(site_id)

    # ---- after a restart -----------------------------------------------

    @property
    def restorable(self) -> int:
        """How many ids of a former run are taken back: half the capacity. 0 when ids are not remembered."""
        return max(1, self._capacity // 2) if self._window_s else 0

    def restored(self) -> dict[str, int]:
        """How many were taken back so far, by site."""
        return {site_id: len(numbers) for site_id, numbers in self._restored.items()}

    def restore(self, keys: Sequence[EventKey]) -> None:
        """Take ids of a former run, newest first; past `restorable` the site with most loses its oldest.

        They are known after `settle`: sorting many at once is three times as fast as putting each in its place.
        """
        most, shares = self.restorable, self._shares
        if not most:
            return
        found: dict[str, list[int]] = {}
        for key in keys:
            numbers = found.get(key[0])
            if numbers is None:
                numbers = found[key[0]] = []
            numbers.append(hash(key) & _MASK)
        for site_id, numbers in found.items():
            if shares.total >= most and shares.held(site_id) >= shares.most:
                continue  # they would be the first to go
            self._restored.setdefault(site_id, array("Q")).extend(numbers)
            shares.add(site_id, len(numbers))
        while shares.total > most:
            site_id = shares.largest()
            self._restored[site_id].pop()
            shares.remove(site_id)

    def settle(self) -> None:
        """Remember what was restored. Before the first `seen`."""
        now = self._clock()
        chunk: array[int] = array("Q")
        chunks: list[array[int]] = []
        for site_id, numbers in self._restored.items():
            numbers.reverse()
            self._queues.setdefault(site_id, self._new_queue(now)).put_before(numbers, now)
            chunk.extend(numbers)
            if len(chunk) >= CHUNK_IDS:
                chunks.append(array("Q", sorted(chunk)))
                chunk = array("Q")
        chunks.append(array("Q", sorted(chunk)))
        self._ids.add_sorted(chunks)
        self._restored = {}

    # ---- when writing failed -------------------------------------------

    def forget(self, keys: Iterable[EventKey]) -> None:
        """Take ids back whose events could not be written."""
        self.losses += 1
        found: dict[str, set[int]] = {}
        for key in keys:
            number = hash(key) & _MASK
            if number in self._ids:
                self._ids.discard(number)
                found.setdefault(key[0], set()).add(number)
        for site_id, numbers in found.items():
            queue = self._queues.get(site_id)
            if queue is not None and (gone := queue.discard(numbers)):
                self._shares.remove(site_id, gone)
