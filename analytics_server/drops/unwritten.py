"""Counts of dropped and rejected events since the last flush, in memory.

A beacon costs one update of a dictionary. Constraint: bounded, whatever is sent. Sites that exist
share `MOST_COUNTS` fairly: the one that holds most loses its oldest count first. Names that no site has are kept
apart, `MOST_UNKNOWN` of them; the one noted longest ago gives way, and its counts go on under no name. What no longer
fits is counted in `left_out`. An example is stored only as it is handed in: it must identify no person.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import nlargest
from operator import itemgetter
from typing import NamedTuple

from analytics_server.fair_shares import SiteShares

QUARTER_S = 900
MOST_COUNTS = 10_000
"""Of all sites that exist together; ordinary traffic makes some ten per site and quarter of an hour."""

MOST_UNKNOWN = 100
MOST_COUNTS_OF_UNKNOWN = 50
"""So many names that no site has, and so many counts of each."""

MOST_EXAMPLES = 20
WRITTEN_EXAMPLES = 5
"""Of each count: so many are told apart, and so many of these, the most frequent, are written."""

NO_NAME = ""
"""Stands for names that can't be a site's, and for those that gave way."""


class DropRow(NamedTuple):
    """Events of one site, quarter of an hour, reason, kind and example. Times in seconds since 1970."""

    site_id: str
    bucket_s: int
    reason: str
    kind: str
    example: str
    events: int
    last_s: int


class _Count:
    __slots__ = ("events", "examples", "last_s")

    def __init__(self) -> None:
        self.events = 0
        self.last_s = 0
        self.examples: dict[str, int] = {}

    def see(self, example: str, events: int) -> None:
        known = self.examples
        if example in known:
            known[example] += events
        elif len(known) < MOST_EXAMPLES:
            known[example] = events

    def include(self, other: _Count) -> None:
        self.events += other.events
        self.last_s = max(self.last_s, other.last_s)
        for example, events in other.examples.items():
            self.see(example, events)


_Key = tuple[int, str, str]
_Counts = dict[_Key, _Count]


class UnwrittenDrops:
    """The counts that are not in ClickHouse yet."""

    def __init__(self) -> None:
        self._known: dict[str, _Counts] = {}
        self._unknown: OrderedDict[str, _Counts] = OrderedDict()
        self._nameless: _Counts = {}
        self._shares = SiteShares()
        self.left_out = 0
        """Events whose counts did not fit, since the last `take`."""

    def add(self, site_id: str, at_s: int, reason: str, kind: str, example: str, events: int, exists: bool) -> None:
        """Count events. `site_id`: "" where the name can't be a site's. `exists`: is there such a site?"""
        key = (at_s - at_s % QUARTER_S, reason, kind)
        count = self._of_site(site_id, key) if exists else self._of_unknown(site_id, key)
        count.events += events
        if at_s > count.last_s:
            count.last_s = at_s
        if example:
            count.see(example, events)

    def rows(self) -> Iterator[DropRow]:
        """All counts as rows."""
        for sites in (self._known.items(), self._unknown.items(), ((NO_NAME, self._nameless),)):
            for site_id, counts in sites:
                for (bucket_s, reason, kind), count in counts.items():
                    rest = count.events
                    for example, events in nlargest(WRITTEN_EXAMPLES, count.examples.items(), key=itemgetter(1)):
                        rest -= events
                        yield DropRow(site_id, bucket_s, reason, kind, example, events, count.last_s)
                    if rest:
                        yield DropRow(site_id, bucket_s, reason, kind, "", rest, count.last_s)

    def take(self) -> list[DropRow]:
        """All counts, which are forgotten here."""
        rows = list(self.rows())
        self._known, self._unknown, self._nameless, self._shares = {}, OrderedDict(), {}, SiteShares()
        self.left_out = 0
        return rows

    def _of_site(self, site_id: str, key: _Key) -> _Count:
        counts = self._known.get(site_id)
        if counts is not None and (count := counts.get(key)) is not None:
            return count
        if self._shares.total >= MOST_COUNTS:
            self._make_room()
        self._shares.add(site_id)
        count = self._known.setdefault(site_id, {})[key] = _Count()
        return count

    def _make_room(self) -> None:
        largest = self._shares.largest()
        counts = self._known[largest]
        self.left_out += counts.pop(next(iter(counts))).events
        if not counts:
            del self._known[largest]
        self._shares.remove(largest)

    def _of_unknown(self, site_id: str, key: _Key) -> _Count:
        if not site_id:
            return self._found_or_made(self._nameless, key)
        counts = self._unknown.get(site_id)
        if counts is None:
            if len(self._unknown) >= MOST_UNKNOWN:
                self._forget_name()
            counts = self._unknown[site_id] = {}
        self._unknown.move_to_end(site_id)
        return self._found_or_made(counts, key)

    def _forget_name(self) -> None:
        _, counts = self._unknown.popitem(last=False)
        for key, count in counts.items():
            self._found_or_made(self._nameless, key).include(count)

    def _found_or_made(self, counts: _Counts, key: _Key) -> _Count:
        count = counts.get(key)
        if count is None:
            if len(counts) >= MOST_COUNTS_OF_UNKNOWN:
                self.left_out += counts.pop(next(iter(counts))).events
            count = counts[key] = _Count()
        return count
