"""Fair shares of a bounded store that several sites use: who holds most gives way first.

Max-min fairness: a site that holds no more than the capacity divided by the number of sites keeps all it
has, whatever the others send. Owns only the counting; what an entry is, and which of a site's entries goes
first, is the store's. Constraint: `add`, `remove` and `largest` take constant time, however many sites there are, and
`add` costs next to nothing until the first question for the largest: it is asked only of a store that is full.
"""

from __future__ import annotations

from collections.abc import Mapping


class SiteShares:
    """How many entries each site holds, and which site holds most."""

    __slots__ = ("_by_count", "_held", "_most", "total")

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._by_count: dict[int, dict[str, None]] | None = None
        """The sites that hold so many, the one that came to it first in front; None until the largest is asked for."""
        self._most = 0
        self.total = 0

    def __len__(self) -> int:
        """Sites that hold anything."""
        return len(self._held)

    def held(self, site_id: str) -> int:
        """How many entries the site holds."""
        return self._held.get(site_id, 0)

    @property
    def most(self) -> int:
        """What the largest holds."""
        if self._by_count is None:
            self._rank()
        return self._most

    def largest(self) -> str:
        """The site that holds most. Raises `KeyError` when none holds anything."""
        by_count = self._by_count if self._by_count is not None else self._rank()
        return next(iter(by_count[self._most]))

    def add(self, site_id: str, entries: int = 1) -> None:
        """The site holds so many more."""
        before = self._held.get(site_id, 0)
        self._held[site_id] = before + entries
        self.total += entries
        if self._by_count is not None:
            self._move(self._by_count, site_id, before, before + entries)

    def remove(self, site_id: str, entries: int = 1) -> None:
        """The site holds so many less."""
        before = self._held[site_id]
        if before == entries:
            del self._held[site_id]
        else:
            self._held[site_id] = before - entries
        self.total -= entries
        if self._by_count is not None:
            self._move(self._by_count, site_id, before, before - entries)

    def _rank(self) -> dict[int, dict[str, None]]:
        by_count: dict[int, dict[str, None]] = {}
        for site_id, count in self._held.items():
            by_count.setdefault(count, {})[site_id] = None
        self._by_count, self._most = by_count, max(by_count, default=0)
        return by_count

    def _move(self, by_count: dict[int, dict[str, None]], site_id: str, before: int, count: int) -> None:
        if before:
            peers = by_count[before]
            del peers[site_id]
            if not peers:
                del by_count[before]
        if count:
            by_count.setdefault(count, {})[site_id] = None
        if count > self._most:
            self._most = count
        elif before == self._most and before not in by_count:
            self._most = max(by_count, default=0) if before - count > 1 else count


def fair_level(held: Mapping[str, int], capacity: int) -> int:
    """The level of max-min fairness: the most that one site may hold, so that what all hold together fits."""
    left, level = capacity, 0
    counts = sorted(held.values())
    for at, count in enumerate(counts):
        level = left // (len(counts) - at)
        if count > level:
            return level
        left -= count
    return counts[-1] if counts else 0
