"""Labels ranked by their distinct visitors of the last half hour.

Owns one list of the live view (pages, sources or countries of one site).
Constraint: adding costs a fraction of a microsecond, and reading is independent of the
number of visitors but for the half hour after a peak, in which some of those kept do not count yet.
"""

from __future__ import annotations

from heapq import nlargest

WINDOW_MINUTES = 30
MAX_LABELS = 2_000
MAX_LABEL_CHARS = 512


class Ranking:
    """Distinct visitors per label over the last `WINDOW_MINUTES` calendar minutes.

    Holds at most `MAX_LABELS` labels; while it is full, new labels are left out until
    older ones have left the window. Only visitors whose id has no bit of the mask that counts
    set are counted (see `SiteActivity`, which decides how many visitors are kept).
    `size`: how many pairs of a visitor and a label are kept; `keep_mask`: none of their visitors has a bit of it.
    """

    __slots__ = ("_count_mask", "_seen", "keep_mask", "size")

    def __init__(self) -> None:
        self.size = 0
        self._seen: dict[str, dict[int, int]] = {}  # by label the minute in which each visitor was last seen with it
        self.keep_mask = 0
        self._count_mask = 0

    def add(self, visitor: int, label: str, minute: int) -> None:
        """Note that the visitor was seen with the label in the minute (since the epoch)."""
        seen = self._seen.get(label)
        if seen is None:
            if len(self._seen) >= MAX_LABELS or len(label) > MAX_LABEL_CHARS:
                return
            seen = self._seen[label] = {}
        last = seen.get(visitor)
        if last is None:
            self.size += 1
            seen[visitor] = minute
        elif last < minute:
            seen[visitor] = minute

    def expire(self, minute: int) -> None:
        """Forget what was last seen in `minute` or before."""
        for label, seen in list(self._seen.items()):
            if min(seen.values()) <= minute:
                self._keep(label, {visitor: last for visitor, last in seen.items() if last > minute})

    def keep_only(self, keep_mask: int, count_mask: int) -> None:
        """Keep the visitors without a bit of `keep_mask`; count by `count_mask`."""
        self.keep_mask, self._count_mask = keep_mask, count_mask
        for label, seen in list(self._seen.items()):
            self._keep(label, {visitor: last for visitor, last in seen.items() if not visitor & keep_mask})

    def _keep(self, label: str, left: dict[int, int]) -> None:
        self.size -= len(self._seen[label]) - len(left)
        if left:
            self._seen[label] = left
        else:
            del self._seen[label]

    def _counts(self) -> list[tuple[int, str]]:
        mask = self._count_mask
        if mask == self.keep_mask:
            return [(len(seen), label) for label, seen in self._seen.items()]
        counted = ((sum(not visitor & mask for visitor in seen), label) for label, seen in self._seen.items())
        return [(count, label) for count, label in counted if count]

    def top(self, limit: int) -> list[tuple[str, int]]:
        """The `limit` labels with most visitors; equal ones in alphabetical order."""
        counts = self._counts()
        best = nlargest(limit, counts)
        if len(best) == limit:
            floor = best[-1][0]
            best = [(count, label) for count, label in counts if count >= floor]
        best.sort(key=lambda item: (-item[0], item[1]))
        weight = self._count_mask + 1
        return [(label, count * weight) for count, label in best[:limit]]
