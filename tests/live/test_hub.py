"""The live hub: windows, distinct counts, limits."""

from __future__ import annotations

import random

import pytest

from analytics_server.live import activity, hub
from analytics_server.live.hub import Hub, SeedRow
from tests.live.rows import START, Clock, event_row


def seconds(value: float) -> int:
    return int(value * 1_000_000)


def entries(snapshot: dict[str, object], key: str) -> list[dict[str, object]]:
    found = snapshot[key]
    assert isinstance(found, list)
    return found


def test_site_without_events_has_an_empty_snapshot_of_the_full_shape() -> None:
    snapshot = Hub(Clock()).snapshot("nobody.example")
    assert snapshot["visitors"] == 0
    assert snapshot["pageviews_per_minute"] == [0] * 30
    assert [snapshot[key] for key in ("pages", "sources", "countries", "events")] == [[], [], [], []]


def test_counts_each_visitor_once_and_every_pageview() -> None:
    live = Hub(Clock())
    for visitor, path in ((1, "/"), (1, "/"), (1, "/pricing"), (2, "/")):
        live.record([event_row(visitor_id=visitor, path=path, source="Google", country="DE")])
    live.record([event_row(visitor_id=2, name="signup", path="/thanks")])
    snapshot = live.snapshot("a.example")
    assert snapshot["visitors"] == 2
    assert entries(snapshot, "pages") == [{"path": "/", "visitors": 2}, {"path": "/pricing", "visitors": 1}]
    assert entries(snapshot, "sources") == [{"source": "Google", "visitors": 2}]
    assert entries(snapshot, "countries") == [{"country": "DE", "visitors": 2}]
    assert entries(snapshot, "events") == [{"name": "pageview", "count": 4}, {"name": "signup", "count": 1}]
    assert snapshot["pageviews_per_minute"] == [0] * 29 + [4]
    assert snapshot["events_seen"] == 5


def test_visitor_counts_for_five_minutes_after_the_last_event() -> None:
    clock = Clock()
    live = Hub(clock)
    live.record([event_row()])
    clock.now = START + 299.9
    assert live.snapshot("a.example")["visitors"] == 1
    clock.now = START + 300.1
    assert live.snapshot("a.example")["visitors"] == 0


def test_lists_and_minutes_reach_back_thirty_calendar_minutes() -> None:
    clock = Clock()
    live = Hub(clock)
    live.record([event_row(path="/old")])
    clock.now = START + 29 * 60
    live.record([event_row(path="/new", ts=seconds(clock.now))])
    snapshot = live.snapshot("a.example")
    assert snapshot["pageviews_per_minute"] == [1] + [0] * 28 + [1]
    assert [page["path"] for page in entries(snapshot, "pages")] == ["/new", "/old"]
    clock.now = START + 30 * 60
    snapshot = live.snapshot("a.example")
    assert snapshot["pageviews_per_minute"] == [0] * 28 + [1, 0]
    assert [page["path"] for page in entries(snapshot, "pages")] == ["/new"]
    assert entries(snapshot, "events") == [{"name": "pageview", "count": 1}]


def test_page_seen_again_stays_for_thirty_minutes_from_then() -> None:
    clock = Clock()
    live = Hub(clock)
    live.record([event_row()])
    clock.now = START + 20 * 60
    live.record([event_row(ts=seconds(clock.now))])
    clock.now = START + 40 * 60
    assert entries(live.snapshot("a.example"), "pages") == [{"path": "/", "visitors": 1}]
    clock.now = START + 50 * 60
    assert entries(live.snapshot("a.example"), "pages") == []


def test_late_event_counts_in_its_own_minute_and_a_too_late_one_not_at_all() -> None:
    live = Hub(Clock())
    live.record([event_row(ts=seconds(START - 600))])
    live.record([event_row(ts=seconds(START - 1801))])
    snapshot = live.snapshot("a.example")
    assert snapshot["pageviews_per_minute"] == [0] * 19 + [1] + [0] * 10
    assert snapshot["visitors"] == 0
    assert snapshot["events_seen"] == 1


def test_event_from_the_future_counts_in_the_current_minute() -> None:
    live = Hub(Clock())
    live.record([event_row(ts=seconds(START + 290))])
    assert live.snapshot("a.example")["pageviews_per_minute"] == [0] * 29 + [1]


def test_events_without_a_visitor_count_as_pageviews_only() -> None:
    live = Hub(Clock())
    live.record([event_row(visitor_id=0, source="Google")])
    snapshot = live.snapshot("a.example")
    assert snapshot["visitors"] == 0
    assert snapshot["pageviews_per_minute"] == [0] * 29 + [1]
    assert entries(snapshot, "sources") == []


def test_sites_do_not_see_each_other() -> None:
    live = Hub(Clock())
    live.record([event_row(site_id="b.example")])
    assert live.snapshot("a.example")["visitors"] == 0


def test_clock_set_back_starts_afresh_instead_of_failing() -> None:
    clock = Clock()
    live = Hub(clock)
    live.record([event_row()])
    clock.now = START - 3600
    live.record([event_row(ts=seconds(clock.now))])
    assert live.snapshot("a.example")["pageviews_per_minute"] == [0] * 29 + [1]


def test_more_visitors_than_the_cap_are_estimated_from_a_fair_sample() -> None:
    live = Hub(Clock())
    numbers = random.Random(7)
    shown = 4 * hub.MAX_PAIRS_OF_SITE
    for index in range(shown):
        path = "/even" if index % 2 else "/odd"
        live.record([event_row(visitor_id=numbers.getrandbits(64) | 1 << 63, path=path)])
    snapshot = live.snapshot("a.example")
    assert snapshot["visitors"] == pytest.approx(shown, rel=0.05)
    assert sum(int(str(page["visitors"])) for page in entries(snapshot, "pages")) == pytest.approx(shown, rel=0.05)
    assert snapshot["events_seen"] == shown


def test_memory_stays_bounded_with_endless_new_labels_and_names() -> None:
    live = Hub(Clock())
    numbers = random.Random(7)
    for index in range(30_000):
        live.record([event_row(visitor_id=numbers.getrandbits(64), path=f"/{index}", name=f"event {index}")])
        live.record([event_row(visitor_id=numbers.getrandbits(64), path=f"/{index}", source=f"source {index}")])
    site = live._sites["a.example"]
    assert len(site.present) <= hub.MAX_PAIRS_OF_SITE
    assert site.pages.size <= hub.MAX_PAIRS_OF_SITE
    assert len(site.event_counts(10**6)) <= activity.MAX_EVENT_NAMES


def test_beyond_the_limit_the_site_with_the_fewest_events_makes_room_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub, "MAX_SITES", 2)
    clock = Clock()
    live = Hub(clock)
    for name in ("a", "a", "invented-1", "invented-2", "invented-3"):
        live.record([event_row(site_id=name)])
    seen = [live.snapshot(name)["events_seen"] for name in ("a", "invented-1", "invented-2", "invented-3")]
    assert seen == [2, 0, 1, 0]
    clock.now = START + 1
    live.record([event_row(site_id="new", ts=seconds(clock.now))])
    assert [live.snapshot(name)["events_seen"] for name in ("a", "invented-2", "new")] == [2, 0, 1]


def test_many_small_sites_do_not_make_a_large_one_count_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "MAX_PAIRS", 10_000)
    monkeypatch.setattr(hub, "MIN_PAIRS_OF_SITE", 4)
    live = Hub(Clock())
    numbers = random.Random(7)
    for number in range(500):
        live.record([event_row(site_id=f"invented-{number}", visitor_id=numbers.getrandbits(64))])
    for _ in range(3_000):
        live.record([event_row(visitor_id=numbers.getrandbits(64))])
    for number in range(500):
        live.record([event_row(site_id=f"invented-{number}", visitor_id=numbers.getrandbits(64))])

    assert live.snapshot("a.example")["visitors"] == 3_000
    assert sum(min(site.cap, hub.MAX_PAIRS) for site in live._sites.values()) <= 10_000


def test_sample_widens_again_after_a_peak_and_counts_exactly() -> None:
    clock = Clock()
    live = Hub(clock)
    numbers = random.Random(7)
    for _ in range(3 * hub.MAX_PAIRS_OF_SITE):
        live.record([event_row(visitor_id=numbers.getrandbits(64))])
    visitors = [numbers.getrandbits(64) for _ in range(11)]
    for minute in range(1, 100):
        clock.now = START + minute * 60
        for visitor in visitors:
            live.record([event_row(visitor_id=visitor, ts=seconds(clock.now))])
    snapshot = live.snapshot("a.example")
    assert snapshot["visitors"] == 11
    assert entries(snapshot, "pages") == [{"path": "/", "visitors": 11}]


def test_agrees_with_a_plain_count_for_random_traffic() -> None:
    numbers = random.Random(11)
    clock = Clock()
    live = Hub(clock)
    sent: list[tuple[float, int, str]] = []
    for _ in range(5_000):
        clock.now += numbers.random()
        ts = clock.now - numbers.choice((0, 0, 0, 40, 700))
        visitor, path = numbers.randrange(1, 40), f"/{numbers.randrange(6)}"
        sent.append((ts, visitor, path))
        live.record([event_row(ts=seconds(ts), visitor_id=visitor, path=path)])
    snapshot = live.snapshot("a.example")
    first_minute = int(clock.now // 60) - 29
    in_window = [item for item in sent if item[0] // 60 >= first_minute]
    expected = {path: len({v for _, v, p in in_window if p == path}) for path in {p for _, _, p in in_window}}
    assert {page["path"]: page["visitors"] for page in entries(snapshot, "pages")} == expected
    assert snapshot["visitors"] == len({v for ts, v, _ in sent if ts >= clock.now - 300})
    minutes = [sum(ts // 60 == first_minute + offset for ts, _, _ in sent) for offset in range(30)]
    assert snapshot["pageviews_per_minute"] == minutes


def test_seed_counts_grouped_rows_like_events() -> None:
    live = Hub(Clock())
    row = SeedRow(
        site_id="a.example",
        ts=seconds(START - 61),
        name="pageview",
        visitor_id=5,
        path="/",
        source="Google",
        country="DE",
        count=3,
    )
    live.seed([row])
    snapshot = live.snapshot("a.example")
    assert snapshot["visitors"] == 1
    assert snapshot["pageviews_per_minute"] == [0] * 27 + [3, 0, 0]
    assert entries(snapshot, "events") == [{"name": "pageview", "count": 3}]
