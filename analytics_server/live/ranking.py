"""Labels ranked by their distinct visitors of the last half hour.

Owns one list of the live view (pages, sources or countries of one site).
Constraint: adding costs well under a microsecond and reading is independent of the
number of visitors, so the counts are kept up to date instead of being computed: a
(visitor, label) pair is counted when it first appears and taken back when the last
minute it was seen in leaves the window.
"""

from __future__ import annotations

from heapq import nlargest

WINDOW_MINUTES = 30
MAX_LABELS = 2_000
MAX_LABEL_CHARS = 512

Pair = tuple[int, str]


class Ranking:
    """Distinct visitors per label over the last `WINDOW_MINUTES` calendar minutes.

    Holds at most `MAX_LABELS` labels; while it is full, new labels are left out until
    older ones have left the window. Only visitors whose id has no bit of `count_mask`
    set are counted (see `SiteActivity`, which decides how many visitors are kept).
    """

    __slots__ = ("_counts", "_touched", "count_mask", "pairs")

    def __init__(self) -> None:
        self.pairs: dict[Pair, int] = {}
        self.count_mask = 0
        self._counts: dict[str, int] = {}
        self._touched: dict[int, list[Pair]] = {}

    def add(self, visitor: int, label: str, minute: int) -> None:
        """Note that the visitor was seen with the label in the minute (since the epoch)."""
        pair = (visitor, label)
        last = self.pairs.get(pair)
        if last is not None:
            if last >= minute:
                return
        elif not self._admit(visitor, label):
            return
        self.pairs[pair] = minute
        touched = self._touched.get(minute)
        if touched is None:
            self._touched[minute] = [pair]
        else:
            touched.append(pair)

    def _admit(self, visitor: int, label: str) -> bool:
        count = self._counts.get(label)
        if count is None:
            if len(self._counts) >= MAX_LABELS or len(label) > MAX_LABEL_CHARS:
                return False
            count = 0
        self._counts[label] = count if visitor & self.count_mask else count + 1
        return True

    def expire(self, minute: int) -> None:
        """Forget what was last seen in `minute` or before."""
        for old in [known for known in self._touched if known <= minute]:
            for pair in self._touched.pop(old):
                last = self.pairs.get(pair)
                if last is not None and last <= minute:
                    del self.pairs[pair]
                    if not pair[0] & self.count_mask:
                        self._counts[pair[1]] -= 1
        if len(self._counts) > MAX_LABELS // 2 or not self.pairs:
            self._recount()

    def keep_only(self, keep_mask: int, count_mask: int) -> None:
        """Keep the pairs of visitors without a bit of `keep_mask`; count by `count_mask`."""
        self.count_mask = count_mask
        self.pairs = {pair: minute for pair, minute in self.pairs.items() if not pair[0] & keep_mask}
        self._touched = {}
        for pair, minute in self.pairs.items():
            self._touched.setdefault(minute, []).append(pair)
        self._recount()

    def _recount(self) -> None:
        counts: dict[str, int] = {}
        for visitor, label in self.pairs:
            counts[label] = counts.get(label, 0) + (0 if visitor & self.count_mask else 1)
        self._counts = counts

    def top(self, limit: int) -> list[tuple[str, int]]:
        """The `limit` labels with most visitors; equal ones in alphabetical order."""
        weight = self.count_mask + 1
        best = nlargest(limit, ((count, label) for label, count in self._counts.items() if count))
        if len(best) == limit:
            floor = best[-1][0]
            best = [(count, label) for label, count in self._counts.items() if count >= floor]
        best.sort(key=lambda item: (-item[0], item[1]))
        return [(label, count * weight) for count, label in best[:limit]]
