"""Fair shares of a bounded store that several sites use: who holds most gives way first.

Max-min fairness: a site that holds no more than the capacity divided by the number of sites keeps all it
has, whatever the others send. Owns only the counting; what an entry is, and which of a site's entries goes
first, is the store's. Constraint: `add`, `remove` and `largest` take constant time, however many sites there are.
"""

from __future__ import annotations

from collections.abc import Mapping


class SiteShares:
    """How many entries each site holds, and which site holds most."""

    __slots__ = ("_by_count", "_held", "most", "total")

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._by_count: dict[int, dict[str, None]] = {}
        """The sites that hold so many, the one that came to it first in front."""
        self.most = 0
        """What the largest holds."""
        self.total = 0

    def __len__(self) -> int:
        """Sites that hold anything."""
        return len(self._held)

    def held(self, site_id: str) -> int:
        return self._held.get(site_id, 0)

    def largest(self) -> str:
        """The site that holds most. Raises `KeyError` when none holds anything."""
        return next(iter(self._by_count[self.most]))

    def add(self, site_id: str, entries: int = 1) -> None:
        """The site holds so many more."""
        self._set(site_id, self._held.get(site_id, 0) + entries)

    def remove(self, site_id: str, entries: int = 1) -> None:
        """The site holds so many less."""
        self._set(site_id, self._held[site_id] - entries)

    def _set(self, site_id: str, count: int) -> None:
        before = self._held.get(site_id, 0)
        self.total += count - before
        if before:
            peers = self._by_count[before]
            del peers[site_id]
            if not peers:
                del self._by_count[before]
        if count:
            self._held[site_id] = count
            self._by_count.setdefault(count, {})[site_id] = None
        elif before:
            del self._held[site_id]
        if count > self.most:
            self.most = count
        elif before == self.most and before not in self._by_count:
            self.most = max(self._by_count, default=0) if before - count > 1 else count


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
