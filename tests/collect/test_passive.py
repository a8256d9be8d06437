"""Passive events tell more about a page view: they open no session, fix no first touch, keep none open endlessly."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from analytics_server.model import ACTIVE, PASSIVE, PASSIVE_LATE, SESSION_ATTRIBUTES
from tests.collect.session_oracle import Sent, expected
from tests.collect.world import NOON, World, answered

SITE = "a.example"
URL = f"https://{SITE}/"
MINUTE, HOUR, DAY = 60, 3_600, 86_400
MIDNIGHT = NOON + 12 * HOUR
LANDING = f"{URL}landing?utm_source=google&utm_medium=cpc&utm_campaign=sale"


async def send(world: World, name: str = "pageview", *, after_s: float = 0, **fields: Any) -> dict[str, Any]:
    world.now += after_s
    return answered(await world.send({"site": SITE, "name": name, "url": URL, **fields}))


def sessions_of(world: World) -> list[list[str]]:
    """The names of events by session, in order."""
    found: dict[str, list[str]] = {}
    for event in world.events:
        found.setdefault(event["session_id"], []).append(event["name"])
    return list(found.values())


@pytest.mark.parametrize("name", ["engagement", "scroll", "web_vital"])
async def test_a_passive_event_joins_the_session_that_timed_out(name: str) -> None:
    world = World()
    await send(world, referrer="https://www.google.com/")
    assert (await send(world, name, after_s=2 * HOUR))["accepted"] == 1

    first, late = world.events
    assert first["session_id"] == late["session_id"]
    assert (first["passive"], late["passive"]) == (ACTIVE, PASSIVE_LATE)
    assert late["source"] == "Google"


async def test_it_takes_no_campaign_from_the_next_session() -> None:
    world = World()
    await send(world)
    await send(world, "engagement", after_s=HOUR)
    await send(world, url=LANDING, referrer="https://www.google.com/", after_s=1)

    *_, landing = world.events
    assert sessions_of(world) == [["pageview", "engagement"], ["pageview"]]
    assert (landing["source"], landing["channel"], landing["utm_campaign"]) == ("Google", "Paid Search", "sale")


async def test_within_the_gap_it_keeps_the_session_open() -> None:
    world = World()
    await send(world)
    await send(world, "engagement", after_s=29 * MINUTE)
    await send(world, after_s=29 * MINUTE)

    assert sessions_of(world) == [["pageview", "engagement", "pageview"]]
    assert [event["passive"] for event in world.events] == [ACTIVE, PASSIVE, ACTIVE]


@pytest.mark.parametrize(
    ("after_s", "dropped"), [(DAY - 1, {}), (DAY, {}), (DAY + 1, {"no_session": 1}), (3 * DAY, {"no_session": 1})]
)
async def test_a_session_takes_passive_events_for_24_hours(after_s: float, dropped: dict[str, int]) -> None:
    world = World()
    await send(world)
    assert (await send(world, "scroll", after_s=after_s, scroll_depth=80)).get("dropped", {}) == dropped


async def test_without_a_session_it_is_dropped_and_said_so() -> None:
    world = World()
    unknown: tuple[dict[str, Any], ...] = ({}, {"session_id": "unknown"})
    for fields in unknown:
        answer = await send(world, "engagement", engagement_ms=5_000, **fields)
        assert answer == {"accepted": 0, "dropped": {"no_session": 1}, "rejected": []}
    await send(world)
    assert (await send(world, "engagement", session_id="unknown"))["dropped"] == {"no_session": 1}
    assert [event["name"] for event in world.events] == ["pageview"]


async def test_by_its_session_id_it_finds_the_tab_whoever_sends_it() -> None:
    world = World()
    await send(world, session_id="tab")
    await world.send({"site": SITE, "name": "scroll", "url": URL, "session_id": "tab"}, address="198.51.100.7")

    first, scroll = world.events
    assert scroll["visitor_id"] == first["visitor_id"]


async def test_the_latest_session_takes_it() -> None:
    world = World()
    await send(world)
    await send(world, after_s=HOUR)
    await send(world, "engagement", after_s=HOUR)
    assert sessions_of(world) == [["pageview"], ["pageview", "engagement"]]


async def test_of_one_batch_events_are_taken_in_the_order_of_time() -> None:
    world = World()
    events = [
        {"site": SITE, "name": "engagement", "url": URL, "timestamp": (NOON - 10) * 1_000},
        {"site": SITE, "name": "pageview", "url": URL, "timestamp": (NOON - 20) * 1_000},
    ]
    assert answered(await world.send(events))["accepted"] == 2


async def test_a_session_over_midnight_keeps_its_visitor() -> None:
    world = World()
    world.now = MIDNIGHT - 10 * MINUTE
    await send(world)
    await send(world, after_s=20 * MINUTE)
    await send(world, "engagement", after_s=2 * HOUR)
    assert len({(event["session_id"], event["visitor_id"]) for event in world.events}) == 1

    await send(world)  # a new session: of the new day
    assert len({event["visitor_id"] for event in world.events}) == 2


async def test_a_session_over_midnight_survives_a_restart() -> None:
    before = World()
    before.now = MIDNIGHT - 10 * MINUTE
    await send(before)
    await send(before, after_s=20 * MINUTE)
    first, last = before.events
    world = World()
    times = (first["session_start"], first["ts"], last["ts"])
    attributes = tuple(first[name] for name in SESSION_ATTRIBUTES)
    world.sessions.restore(SITE, first["session_id"], [first["visitor_id"]], times, attributes)
    world.now = MIDNIGHT + 35 * MINUTE
    await send(world)

    (event,) = world.events
    assert (event["session_id"], event["visitor_id"]) == (first["session_id"], first["visitor_id"])


async def test_a_tab_over_midnight_keeps_its_visitor() -> None:
    world = World()
    world.now = MIDNIGHT - HOUR
    await send(world, session_id="tab")
    await send(world, session_id="tab", after_s=2 * HOUR)
    assert len({event["visitor_id"] for event in world.events}) == 1


async def test_a_known_user_over_midnight_keeps_the_visitor() -> None:
    world = World()
    world.now = MIDNIGHT - 10 * MINUTE
    for _ in range(2):
        await world.send({"site": SITE, "name": "order", "user_id": "u1"}, token="collect", headers={"user-agent": ""})
        world.now += 15 * MINUTE
    assert len({(event["session_id"], event["visitor_id"]) for event in world.events}) == 1


async def test_an_event_of_the_day_before_that_comes_late_joins() -> None:
    world = World()
    world.now = MIDNIGHT + 5
    await send(world)
    await send(world, timestamp=(MIDNIGHT - 5) * 1_000)
    assert len({(event["session_id"], event["visitor_id"]) for event in world.events}) == 1


async def test_it_joins_after_a_restart_too() -> None:
    """A former run's session is taken back, so that events look for one of the day before; the late one finds none."""
    before = World()
    before.now = MIDNIGHT - 20 * MINUTE
    await send(before)
    (first,) = before.events
    world = World()
    times = (first["session_start"], first["ts"], first["ts"])
    attributes = tuple(first[name] for name in SESSION_ATTRIBUTES)
    world.sessions.restore("b.example", first["session_id"], [first["visitor_id"]], times, attributes)
    world.now = MIDNIGHT + 5
    await send(world)
    await send(world, timestamp=(MIDNIGHT - 5) * 1_000)
    assert len({(event["session_id"], event["visitor_id"]) for event in world.events}) == 1


async def test_another_network_within_the_day_is_another_visitor() -> None:
    world = World()
    await send(world, session_id="tab")
    await world.send({"site": SITE, "name": "pageview", "url": URL, "session_id": "tab"}, address="198.51.100.7")
    assert len({event["visitor_id"] for event in world.events}) == 2


async def test_without_visitors_only_a_session_id_finds_the_session() -> None:
    world = World(visitor=False)
    await send(world)
    assert (await send(world, "engagement"))["dropped"] == {"no_session": 1}
    await send(world, session_id="tab")
    assert (await send(world, "engagement", session_id="tab"))["accepted"] == 1
    assert {event["visitor_id"] for event in world.events} == {0}


@pytest.mark.parametrize(
    ("sent", "stored", "warnings"),
    [
        (False, 0, []),
        (True, 1, []),
        (None, 1, []),
        ("false", 0, ["made_boolean"]),
        ("No", 0, ["made_boolean"]),
        (0, 0, ["made_boolean"]),
        (1.0, 1, ["made_boolean"]),
        ("maybe", 1, ["left_out"]),
        ([], 1, ["left_out"]),
    ],
)
async def test_interactive(sent: object, stored: int, warnings: list[str]) -> None:
    world = World()
    answer = await send(world, "chat shown", interactive=sent)
    assert [warning["code"] for warning in answer.get("warnings", [])] == warnings
    assert [event["interactive"] for event in world.events] == [stored]


NAMES = ("pageview", "click", "order", "exposure", "engagement", "engagement", "scroll", "web_vital")
STEPS_S = (1, 40, 29 * MINUTE, 30 * MINUTE, 31 * MINUTE, 2 * HOUR, 9 * HOUR, 23 * HOUR, 30 * HOUR)

steps = st.lists(
    st.tuples(
        st.sampled_from(STEPS_S),
        st.integers(0, 2),
        st.sampled_from(NAMES),
        st.sampled_from(("", "", "", "tab")),
        st.sampled_from(("", "one", "two")),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=150, deadline=None)
async def test_any_stream_makes_the_sessions_of_the_definitions(chosen: list[tuple[int, int, str, str, str]]) -> None:
    world = World(client_session_timeout_s=100 * DAY)
    at = int(NOON)
    stream: list[Sent] = []
    dropped = 0
    for step_s, person, name, tab, campaign in chosen:
        at += step_s
        world.now = at
        world.sessions.expire()
        sent = Sent(at=at, person=person, name=name, session_id=tab and f"{tab}{person}", campaign=campaign)
        stream.append(sent)
        url = f"{URL}?utm_campaign={campaign}" if campaign else URL
        beacon: dict[str, Any] = {"site": SITE, "name": name, "url": url, "experiment": {"id": "e", "variant": "v"}}
        if sent.session_id:
            beacon["session_id"] = sent.session_id
        answer = answered(await world.send(beacon, address=f"192.0.2.{person}"))
        dropped += answer.get("dropped", {}).get("no_session", 0)

    right, right_dropped = expected(stream, world.settings.session_timeout_s)
    found: dict[str, list[dict[str, Any]]] = {}
    for event in world.events:
        found.setdefault(event["session_id"], []).append(event)
    assert [[(event["name"], event["ts"] // 1_000_000) for event in events] for events in found.values()] == [
        session.events for session in right
    ]
    assert [{event["utm_campaign"] for event in events} for events in found.values()] == [
        {session.campaign} for session in right
    ]
    visitors = [{event["visitor_id"] for event in events} for events in found.values()]
    assert all(len(one) == 1 for one in visitors)
    of_visitor = dict(zip([session.visitor for session in right], visitors, strict=True))
    assert all(of_visitor[session.visitor] == one for session, one in zip(right, visitors, strict=True))
    assert dropped == right_dropped
