"""Counts in memory add up, stay bounded whatever is sent, and invented names displace no real site's."""

from __future__ import annotations

import tracemalloc

from analytics_server.drops.unwritten import (
    MOST_COUNTS,
    MOST_COUNTS_OF_UNKNOWN,
    MOST_EXAMPLES,
    MOST_UNKNOWN,
    QUARTER_S,
    WRITTEN_EXAMPLES,
    DropRow,
    UnwrittenDrops,
)

NOON = 1_764_417_600


def add(
    drops: UnwrittenDrops,
    site: str = "a.example",
    reason: str = "bot",
    *,
    at_s: int = NOON,
    example: str = "",
    events: int = 1,
    exists: bool = True,
) -> None:
    drops.add(site, at_s, reason, "", example, events, exists)


def total(drops: UnwrittenDrops, site: str | None = None) -> int:
    return sum(row.events for row in drops.rows() if site is None or row.site_id == site)


def test_events_of_a_quarter_reason_and_example_are_one_row() -> None:
    drops = UnwrittenDrops()
    add(drops, example="curl", at_s=NOON + 1)
    add(drops, example="curl", at_s=NOON + QUARTER_S - 1, events=2)
    add(drops, at_s=NOON + 5)
    add(drops, at_s=NOON + QUARTER_S)
    add(drops, reason="hostname", example="b.example")
    last = NOON + QUARTER_S - 1
    assert sorted(drops.take()) == [
        DropRow("a.example", NOON, "bot", "", "", 1, last),
        DropRow("a.example", NOON, "bot", "", "curl", 3, last),
        DropRow("a.example", NOON, "hostname", "", "b.example", 1, NOON),
        DropRow("a.example", NOON + QUARTER_S, "bot", "", "", 1, NOON + QUARTER_S),
    ]
    assert list(drops.rows()) == []


def test_the_most_frequent_examples_are_kept_and_all_events_counted() -> None:
    drops = UnwrittenDrops()
    for number in range(MOST_EXAMPLES + 10):
        add(drops, example=f"host-{number:02}.example", events=number + 1)
    rows = list(drops.rows())
    shown = {row.example for row in rows} - {""}
    assert shown == {f"host-{number:02}.example" for number in range(MOST_EXAMPLES - WRITTEN_EXAMPLES, MOST_EXAMPLES)}
    assert total(drops) == sum(range(1, MOST_EXAMPLES + 11))


def test_invented_names_displace_no_real_site() -> None:
    drops = UnwrittenDrops()
    add(drops, "real.example", events=7)
    for number in range(3 * MOST_COUNTS):
        add(drops, f"invented-{number}.example", "unknown_site", exists=False)
    assert total(drops, "real.example") == 7
    assert drops.left_out == 0
    assert total(drops) == 7 + 3 * MOST_COUNTS
    assert len({row.site_id for row in drops.rows()}) == MOST_UNKNOWN + 2


def test_the_name_noted_longest_ago_goes_on_under_no_name() -> None:
    drops = UnwrittenDrops()
    for number in range(MOST_UNKNOWN):
        add(drops, f"{number}.example", "unknown_site", exists=False, example="x", events=2)
    add(drops, "0.example", "unknown_site", exists=False)
    add(drops, "new.example", "unknown_site", exists=False)
    assert total(drops, "0.example") == 3
    assert total(drops, "1.example") == 0
    assert [row for row in drops.rows() if not row.site_id] == [DropRow("", NOON, "unknown_site", "", "x", 2, NOON)]


def test_the_site_that_holds_most_loses_its_oldest_count() -> None:
    drops = UnwrittenDrops()
    add(drops, "small.example", events=3)
    for number in range(MOST_COUNTS):
        add(drops, "large.example", at_s=NOON + number * QUARTER_S)
    assert total(drops, "small.example") == 3
    assert total(drops, "large.example") == MOST_COUNTS - 1
    assert min(row.bucket_s for row in drops.rows() if row.site_id == "large.example") == NOON + QUARTER_S
    assert drops.left_out == 1
    drops.take()
    assert drops.left_out == 0
    for number in range(MOST_COUNTS):
        add(drops, "large.example", at_s=NOON + number * QUARTER_S)
    assert drops.left_out == 0


def test_a_name_of_no_site_holds_few_counts() -> None:
    drops = UnwrittenDrops()
    for number in range(MOST_COUNTS_OF_UNKNOWN + 2):
        add(drops, "new.example", at_s=NOON + number * QUARTER_S, exists=False)
        add(drops, "", at_s=NOON + number * QUARTER_S, exists=False)
    assert total(drops, "new.example") == total(drops, "") == MOST_COUNTS_OF_UNKNOWN
    assert drops.left_out == 4


def test_memory_is_bounded() -> None:
    tracemalloc.start()
    drops = UnwrittenDrops()
    for number in range(2 * MOST_COUNTS):
        add(drops, f"{number % 3000}.example", f"reason-{number % 40}", at_s=NOON + number * 7)
        add(drops, f"{number}.example", "unknown_site", at_s=NOON + number * 7, exists=False)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 << 20
    assert sum(1 for _ in drops.rows()) <= MOST_COUNTS + (MOST_UNKNOWN + 1) * MOST_COUNTS_OF_UNKNOWN
