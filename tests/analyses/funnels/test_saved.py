"""A saved funnel answers as the same funnel does directly, whatever came before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from analytics_server.analyses.funnels.definition import FunnelBody, FunnelRequest
from analytics_server.analyses.funnels.materialized import maintenance
from analytics_server.analyses.funnels.materialized.comparison import ComparedDays, compare_days
from analytics_server.analyses.funnels.materialized.facts import Facts
from analytics_server.errors import NotFound
from analytics_server.rollups.build_ids import first_build_id
from analytics_server.rollups.materialized_views import read_views
from analytics_server.saved.store import Kind, SavedThing
from tests.analyses.funnels import oracle
from tests.analyses.funnels.conftest import NOW, Place, iso
from tests.analyses.funnels.streams import BASE, DAY_US, SECOND, Happening, insert, streams
from tests.analyses.funnels.test_oracle import Case, cases, numbers, patiently
from tests.query.world import micros

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
TOGETHER = 3
RANGES: tuple[tuple[object, object], ...] = (
    ("2025-10-20", "2025-11-10"),
    ("2025-10-25", "2025-10-25"),
    ("2025-10-24", "2025-10-27"),
    (iso(BASE - DAY_US // 3), iso(BASE + DAY_US * 5 // 2)),
)

Streams = list[tuple[list[Happening], list[Happening], Case, str]]
many = st.lists(st.tuples(streams(), streams(), cases(), st.sampled_from("ubnk")), min_size=TOGETHER, max_size=TOGETHER)


async def save(place: Place, site_id: str, sent: dict[str, object], name: str = "way") -> SavedThing:
    body = {key: value for key, value in sent.items() if key in FunnelBody.__struct_fields__}
    return await place.saved.put(Kind.FUNNEL, site_id, name, msgspec.convert(body, FunnelBody))


async def delete(place: Place, thing: SavedThing) -> None:
    await place.saved.delete(Kind.FUNNEL, thing.site_id, thing.id)


async def settle(place: Place) -> None:
    """Run the maintenance until every funnel is ready."""
    while await place.maintenance.round():
        pass


async def compare(place: Place, thing: SavedThing) -> ComparedDays:
    """What doctor compares."""
    return await compare_days(place.store, place.funnels.facts(thing), timeout_s=60, settings={})


def check_ranges(place: Place, site_id: str, events: Sequence[Happening], case: Case, *, days: bool) -> None:
    tables = set()
    for range_ in RANGES:
        asked = {"site_id": site_id, "date_range": range_}
        saved = place.runner.run(place.service.run(msgspec.convert({**asked, "funnel": "way"}, FunnelRequest)))
        direct = place.runner.run(place.service.run(msgspec.convert(case.sent | asked, FunnelRequest)))
        assert saved.steps == direct.steps
        assert saved.query == direct.query
        assert direct.meta.table == "events"
        assert saved.meta.table != "events"
        tables |= set(saved.meta.table.split("+"))
        start, end = (micros_of(edge) for edge in saved.meta.date_range)
        attempts = oracle.best_attempts(case.plan, events, start, end)
        assert numbers(saved.steps) == oracle.steps_of(case.plan, list(attempts.values()))
    if days and events:
        assert "funnel_days" in tables


def micros_of(text: str) -> int:
    return micros(datetime.fromisoformat(text))


@settings(patiently, max_examples=2)
@given(asked=many)
def test_saved_funnels_equal_direct_ones(place: Place, asked: Streams) -> None:
    """Part of the events is there before the funnel, part comes when its days have been made."""
    sites = [(place.new_site(zone), before, late, case) for before, late, case, zone in asked]
    place.runner.run(insert(place.store, {site_id: before for site_id, before, _, _ in sites}))
    things = [place.runner.run(save(place, site_id, case.sent)) for site_id, _, _, case in sites]
    place.runner.run(settle(place))
    for site_id, before, _, case in sites:
        check_ranges(place, site_id, before, case, days=case.sent["window"] != 90 * 86_400)
    compared = [place.runner.run(compare(place, thing)) for thing in things]
    assert not any(days.wrong or days.stale for days in compared)
    place.runner.run(insert(place.store, {site_id: late for site_id, _, late, _ in sites}, batch_id=20))
    for site_id, before, late, case in sites:
        check_ranges(place, site_id, [*before, *late], case, days=False)
    for thing, earlier in zip(things, compared, strict=True):
        again = place.runner.run(compare(place, thing))
        assert not again.wrong
        assert again.held + len(again.stale) == earlier.held
    for thing in things:
        place.runner.run(delete(place, thing))
        place.runner.run(place.maintenance.forget(thing))


def test_ways_over_midnight_are_whole_in_kept_days(place: Place) -> None:
    """Later steps on the next day, sessions, visitors and users that enter on several days, and who only enters."""
    hour = 3_600 * SECOND
    days = [BASE + number * DAY_US for number in range(-2, 3)]
    events = [
        Happening(
            at=day + int(offset * hour) + person,
            name=name,
            path="/",
            plan="",
            source="",
            session=person,
            opened_at=BASE - 2 * DAY_US + person * hour if person < 2 else day + 23 * hour + person,
            user_id=("", "anna", "bert", "clara")[person % 4],
        )
        for day in days
        for person in range(8)
        for offset, name in ((23, "pageview"), (24.5 if person % 2 else 23.2, "click"), (26, "pageview"))
        if (person + day // DAY_US) % 3
    ]
    for number, (by, window, order) in enumerate(
        [("session", "12h", "ordered"), ("visitor", "12h", "strict"), ("user", "12h", "any"), ("user", "3d", "ordered")]
    ):
        site_id = place.new_site("ubnk"[number])
        place.runner.run(insert(place.store, {site_id: events}))
        sent: dict[str, object] = {
            "steps": [{"event": "pageview"}, {"event": "click"}],
            "by": by,
            "window": window,
            "order": order,
        }
        thing = place.runner.run(save(place, site_id, sent))
        place.runner.run(settle(place))
        for range_ in RANGES:
            asked = {"site_id": site_id, "date_range": range_}
            saved = place.runner.run(place.service.run(msgspec.convert({**asked, "funnel": "way"}, FunnelRequest)))
            direct = place.runner.run(place.service.run(msgspec.convert(sent | asked, FunnelRequest)))
            assert saved.steps == direct.steps
            assert "funnel_days" in saved.meta.table
        assert direct.steps[1].count > 0
        place.runner.run(delete(place, thing))
        place.runner.run(place.maintenance.forget(thing))


NASTY = "FROM events AS e' GROUP BY \\ {p_0:String} \0 é😀"


@pytest.mark.parametrize("by", ["session", "visitor", "user"])
def test_flush_and_doctor_can_work_with_the_view(place: Place, by: str) -> None:
    """Also where the funnel's texts look like SQL, and where its steps overlap."""
    site_id = place.new_site()
    steps = [
        {"filters": [["is", "event:page", [NASTY, "/"]]]},
        {"filters": [["contains", "event:props:plan", [NASTY]]]},
    ]
    thing = place.runner.run(save(place, site_id, {"steps": steps, "by": by, "exclude": [{"event": NASTY}]}))
    place.runner.run(settle(place))
    facts = place.funnels.facts(thing)
    views = place.runner.run(read_views(place.store))
    assert facts.view not in views.unfit
    rollup = next(one for one in views.rollups if one.view == facts.view)
    assert rollup.keys == ("site_id", "ts", "subject", "number")
    assert rollup.by_month
    event = Happening(
        at=BASE, name=NASTY, path=NASTY, plan=f"x{NASTY}", source="", session=1, opened_at=BASE, user_id="anna"
    )
    place.runner.run(insert(place.store, {site_id: [event]}))
    sql = f"SELECT groupArray(number) FROM (SELECT number FROM {facts.table} ORDER BY number)"
    assert place.runner.run(place.store.query(sql)).rows == [([1, 2, 21],)]
    expected = f"SELECT count() FROM ({rollup.over('site_id = {site:String}')})"
    assert place.runner.run(place.store.query(expected, {"site": site_id})).rows == [(3,)]
    place.runner.run(delete(place, thing))
    place.runner.run(place.maintenance.forget(thing))
    left = f"SELECT count() FROM system.tables WHERE database = currentDatabase() AND startsWith(name, '{facts.table}')"
    assert place.runner.run(place.store.query(left)).rows == [(0,)]


def test_events_inserted_between_view_and_fill_are_counted_once(place: Place) -> None:
    """The fill meets what the view has written already, and is done twice on top of it."""
    site_id = place.new_site()
    events = [
        Happening(at=BASE + n, name=name, path="", plan="", source="", session=n % 5, opened_at=BASE, user_id="")
        for n, name in enumerate(["pageview", "click"] * 20)
    ]
    thing = place.runner.run(save(place, site_id, {"steps": [{"name": "pageview"}, {"name": "click"}]}))
    facts = place.funnels.facts(thing)
    place.runner.run(insert(place.store, {site_id: events[::2]}))
    place.runner.run(place.store.command(facts.create_table().replace(" ${ON_CLUSTER}", "").replace(
        "${ENGINE:AggregatingMergeTree}", "AggregatingMergeTree")))  # fmt: skip
    place.runner.run(place.store.command(facts.create_view().replace(" ${ON_CLUSTER}", "")))
    place.runner.run(insert(place.store, {site_id: events[1::2]}, batch_id=5))
    for _ in range(2):  # a server that died after a fill, before it could say so
        place.runner.run(settle(place))
        saved = place.runner.run(place.service.run(msgspec.convert(
            {"site_id": site_id, "funnel": "way", "date_range": RANGES[0]}, FunnelRequest)))  # fmt: skip
        assert [step.count for step in saved.steps] == [3, 3]
        assert saved.meta.saved is not UNSET
        assert (saved.meta.saved.status, saved.meta.saved.progress) == ("ready", 100.0)
        place.runner.run(
            place.store.query("DELETE FROM funnel_fills WHERE definition = {d:String}", {"d": facts.definition})
        )
    place.runner.run(delete(place, thing))
    place.runner.run(place.maintenance.forget(thing))


def test_building_is_said_and_answered_directly(place: Place) -> None:
    site_id = place.new_site()
    thing = place.runner.run(save(place, site_id, {"steps": [{"name": "pageview"}, {"name": "click"}]}))
    asked = msgspec.convert({"site_id": site_id, "funnel": thing.id, "date_range": "7d"}, FunnelRequest)
    answer = place.runner.run(place.service.run(asked))
    assert answer.meta.table == "events"
    assert answer.meta.saved is not UNSET
    assert (answer.meta.saved.name, answer.meta.saved.status) == ("way", "building")
    place.runner.run(delete(place, thing))
    with pytest.raises(NotFound):
        place.runner.run(place.service.run(asked))


def test_tables_that_nobody_saved_are_dropped_in_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    site_id = place.new_site()
    thing = place.runner.run(save(place, site_id, {"steps": [{"name": "pageview"}, {"name": "click"}]}))
    place.runner.run(settle(place))
    table = place.funnels.facts(thing).table
    place.runner.run(delete(place, thing))  # by another server, which died before it dropped them
    there = f"SELECT count() FROM system.tables WHERE database = currentDatabase() AND startsWith(name, '{table}')"
    place.runner.run(place.maintenance.round())
    assert place.runner.run(place.store.query(there)).rows == [(2,)]
    monkeypatch.setattr(maintenance, "ORPHAN_S", 0.0)
    place.runner.run(place.maintenance.round())
    assert place.runner.run(place.store.query(there)).rows == [(0,)]


def test_days_that_nobody_reads_are_swept(place: Place) -> None:
    old = first_build_id(NOW.timestamp() - 3 * 3_600)
    columns = ["site_id", "definition", "day", "build_id", "subjects"]
    place.runner.run(
        place.store.insert("funnel_days", columns, [["a"] * 2, ["b"] * 2, [NOW.date()] * 2, [old, old << 1], [1] * 2])
    )
    place.runner.run(place.maintenance.sweep())
    rows = place.runner.run(place.store.query("SELECT build_id FROM funnel_days WHERE definition = 'b'")).rows
    assert rows == [(old << 1,)]
    place.runner.run(place.store.query("DELETE FROM funnel_days WHERE definition = 'b'"))


def test_a_funnel_that_cannot_be_filled_has_failed_and_is_tried_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_id = place.new_site()
    thing = place.runner.run(save(place, site_id, {"steps": [{"name": "pageview"}, {"name": "click"}]}))
    facts = place.funnels.facts(thing)
    monkeypatch.setattr(Facts, "fill", lambda facts: "INSERT INTO no_such_table SELECT 1")
    event = Happening(at=BASE, name="click", path="", plan="", source="", session=1, opened_at=BASE, user_id="")
    place.runner.run(insert(place.store, {site_id: [event]}))
    assert place.runner.run(place.maintenance.round())
    state = place.maintenance.state(facts)
    assert (state.status, state.usable) == ("failed", False)
    assert "no_such_table" in state.reason
    monkeypatch.undo()
    place.runner.run(settle(place))
    assert (state.status, state.reason) == ("ready", "")
    place.runner.run(delete(place, thing))
    place.runner.run(place.maintenance.forget(thing))
