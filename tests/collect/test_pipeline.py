"""From a beacon to a row: sessions, visitors, first touch, and rows that can always be stored."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.config import SitesSection
from analytics_server.ingest.flush.batch import to_columns
from analytics_server.model import COLUMN_INDEX, SESSION_ATTRIBUTES
from tests.collect.formats.test_native import FIELDS, JSON_VALUES
from tests.collect.world import NOON, World, answered

MINUTE = 60
DAY = 86_400


def view(path: str = "/", **fields: object) -> dict[str, object]:
    return {"site": "a.example", "name": "pageview", "url": f"https://a.example{path}", **fields}


@given(
    fields=st.dictionaries(FIELDS, JSON_VALUES | st.sampled_from([NOON * 1000, "https://a.example/x"]), max_size=8),
    trusted=st.booleans(),
)
async def test_whatever_was_accepted_can_be_stored(fields: dict[str, object], trusted: bool) -> None:
    world = World()

    answer = await world.send(
        json.dumps({"site": "a.example", "name": "x", **fields}).encode(), token="collect" if trusted else ""
    )

    assert answer.status in (202, 400, 413)
    for row in world.wal.rows:
        msgspec.msgpack.encode(row)
        to_columns([row], 1)
        for value in row:
            if isinstance(value, str):
                assert "\x00" not in value
                value.encode()


# ---- sessions --------------------------------------------------------------


async def test_a_visitor_s_session_ends_after_thirty_minutes_without_an_event() -> None:
    world = World()
    for minutes in (0, 30, 60, 90.1):
        world.now = NOON + minutes * MINUTE
        await world.send(view())

    sessions = [event["session_id"] for event in world.events]
    assert sessions[0] == sessions[1] == sessions[2] != sessions[3]
    assert world.events[2]["session_start"] == world.events[0]["ts"]


async def test_a_session_goes_on_over_midnight_with_its_visitor() -> None:
    world = World()
    midnight = (NOON // DAY + 1) * DAY
    for seconds in (-60, 60, 25 * MINUTE, 50 * MINUTE):
        world.now = midnight + seconds
        await world.send(view())

    assert len({event["session_id"] for event in world.events}) == 1
    assert len({event["visitor_id"] for event in world.events}) == 1


async def test_a_visitor_who_comes_back_the_next_day_is_another() -> None:
    world = World()
    for day in range(3):
        world.now = NOON + day * DAY
        await world.send(view())

    assert len({event["visitor_id"] for event in world.events}) == 3
    assert len({event["session_id"] for event in world.events}) == 3


async def test_a_late_event_joins_the_session_it_belongs_to() -> None:
    world = World()
    await world.send(view("/one"))
    world.now += 60 * MINUTE
    await world.send(view("/two"))
    await world.send(view("/late", timestamp=(NOON + 5 * MINUTE) * 1000))
    await world.send(view("/earlier", timestamp=(NOON - 5 * MINUTE) * 1000))

    one, two, late, earlier = [event["session_id"] for event in world.events]
    assert one == late == earlier != two


async def test_the_client_s_session_is_taken_as_it_is_for_each_site() -> None:
    world = World()
    await world.send(view(session_id="tab"))
    world.now += 5 * 3_600
    await world.send(view(session_id="tab"))
    await world.send({**view(session_id="tab"), "site": "b.example"})

    assert [event["session_id"] for event in world.events] == ["tab"] * 3
    starts = [event["session_start"] for event in world.events]
    assert starts[0] == starts[1] != starts[2]


async def test_events_of_one_moment_keep_the_order_of_their_request() -> None:
    world = World()
    await world.send([view(f"/{number}", timestamp=NOON * 1000) for number in range(50)])

    times = [event["ts"] for event in world.events]
    assert [event["path"] for event in world.events] == [f"/{number}" for number in range(50)]
    assert times == sorted(set(times))
    assert {ts // 1000 for ts in times} == {int(NOON * 1000)}


async def test_events_are_put_in_order_of_their_times() -> None:
    world = World()
    await world.send([view(f"/{at}", timestamp=(NOON - at) * 1000) for at in (1, 3, 2)])

    assert [event["path"] for event in world.events] == ["/3", "/2", "/1"]


# ---- first touch -----------------------------------------------------------


async def test_all_events_of_a_session_carry_what_its_first_one_brought() -> None:
    world = World()
    await world.send(
        view("/?utm_source=letter&utm_medium=email", screen={"width": 800, "height": 600}, language="de-AT")
    )
    await world.send(view("/b?utm_source=ad", referrer="https://www.google.com/", language="fr"))

    first, later = ({name: event[name] for name in SESSION_ATTRIBUTES} for event in world.events)
    assert first == later
    assert (first["utm_source"], first["screen"], first["language"]) == ("letter", "800x600", "de-AT")


async def test_the_language_comes_from_the_header_when_the_event_has_none() -> None:
    world = World()
    await world.send(view(), headers={"accept-language": "sv-SE,sv;q=0.9"})

    assert world.events[0]["language"] == "sv-SE"


async def test_own_pages_are_no_referrer() -> None:
    world = World()
    await world.send(view("/b", referrer="https://a.example/a"))

    assert (world.events[0]["referrer"], world.events[0]["source"]) == ("", world.events[0]["source"])
    assert world.events[0]["channel"] == "Direct"


# ---- visitors --------------------------------------------------------------


async def test_site_address_and_agent_make_the_visitor() -> None:
    world = World()
    await world.send(view())
    await world.send(view(), address="192.0.2.2")
    await world.send(view(), headers={"user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/140.0"})
    await world.send({**view(), "site": "b.example"})
    await world.send(view())

    visitors = [event["visitor_id"] for event in world.events]
    assert len(set(visitors)) == 4
    assert visitors[0] == visitors[4]


async def test_switched_off_nobody_has_an_id_and_every_event_is_a_session() -> None:
    world = World(visitor=False)
    for _ in range(3):
        await world.send(view())
    await world.send(view(session_id="tab"))

    assert {event["visitor_id"] for event in world.events} == {0}
    assert len({event["session_id"] for event in world.events}) == 4


async def test_a_server_that_tells_only_the_user_counts_by_user() -> None:
    world = World()
    for user in ("u1", "u2", "u1"):
        await world.send(view(user_id=user), token="collect")

    visitors = [event["visitor_id"] for event in world.events]
    assert visitors[0] == visitors[2] != visitors[1]


# ---- answers ---------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["drop", "reject", "duplicate", "accept"])
async def test_every_event_is_counted_once(outcome: str) -> None:
    world = World()
    beacon = view(event_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
    if outcome == "duplicate":
        await world.send(beacon)
    await world.send(
        {**beacon, "url": "x"} if outcome == "reject" else beacon, headers={"dnt": "1"} if outcome == "drop" else {}
    )

    assert world.sample("ingest_events_total", outcome="accepted") == (outcome in ("accept", "duplicate"))
    assert world.sample("ingest_events_total", outcome="rejected") == (outcome == "reject")
    assert world.sample("ingest_dropped_total", reason="dnt") == (outcome == "drop")
    assert world.sample("ingest_dropped_total", reason="duplicate") == (outcome == "duplicate")


async def test_each_step_counts_what_it_does_not_pass_on() -> None:
    world = World(respect_dnt=True)
    beacon = view(event_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
    await world.send([beacon, {**beacon, "url": "x"}, {"site": "a b", "name": "x"}, beacon])
    await world.send([view(), view()], headers={"dnt": "1"})
    await world.send(view(user_agent="curl/8.5.0"), token="collect")

    counts = {step: (count.dropped, count.rejected) for step, count in world.pipeline.counts.items()}
    assert {step: count for step, count in counts.items() if count != (0, 0)} == {
        "privacy_signal": (2, 0),
        "site": (0, 1),
        "sender": (1, 0),
        "page": (0, 1),
        "duplicate": (1, 0),
    }
    assert world.sample("ingest_step_events_total", step="privacy_signal", outcome="dropped") == 2
    assert world.sample("ingest_step_events_total", step="page", outcome="rejected") == 1
    assert world.sample("ingest_step_events_total", step="row", outcome="rejected") == 0


async def test_rejections_come_in_the_order_of_the_request() -> None:
    world = World()
    events = [view(timestamp=(NOON - number) * 1000, name="" if number % 2 else "x") for number in range(6)]

    assert [r["index"] for r in answered(await world.send(events))["rejected"]] == [1, 3, 5]


async def test_the_number_of_sites_is_bounded() -> None:
    world = World(sites=SitesSection(max_sites=2))

    answers = [await world.send({"site": f"{name}.example", "name": "x"}) for name in "abca"]

    assert [answer.status for answer in answers] == [202, 202, 404, 202]


async def test_what_could_not_be_written_is_not_remembered() -> None:
    world = World()
    beacon = view(event_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
    world.wal.failure = "disk full"
    failed = await world.send(beacon)
    world.wal.failure = ""
    again = await world.send(beacon)

    assert (failed.status, failed.retry_after_s) == (503, 5)
    assert (again.status, len(world.wal.rows)) == (202, 1)
    assert world.sample("ingest_events_total", outcome="failed") == 1


async def test_ids_made_here_are_unique_and_grow() -> None:
    world = World()
    await world.send([view() for _ in range(500)])
    ids = [row[COLUMN_INDEX["event_id"]] for row in world.wal.rows]

    assert len(set(ids)) == 500
    assert all(isinstance(made, bytes) and made[6] >> 4 == 7 and made[8] >> 6 == 2 for made in ids)


async def test_rejections_of_a_batch_are_told_in_the_order_of_the_request() -> None:
    """Whatever their times are, and whichever step refuses them."""
    world = World()
    events = [view(timestamp=(NOON - number) * 1000, url="x" if number % 2 else None) for number in range(6)]

    assert [r["index"] for r in answered(await world.send(events))["rejected"]] == [0, 1, 2, 3, 4, 5]


async def test_events_of_one_sender_in_a_batch_have_one_visitor_and_others_have_another() -> None:
    """What is remembered from one event to the next never reaches an event of another sender."""
    world = World()
    chrome, firefox = (f"Mozilla/5.0 (X11; Linux x86_64) {name}/140.0 Safari/537.36" for name in ("Chrome", "Firefox"))
    senders: list[dict[str, object]] = [
        {"ip": "192.0.2.7", "user_agent": chrome},
        {"ip": "192.0.2.7", "user_agent": chrome},
        {"ip": "192.0.2.7", "user_agent": firefox},
        {"ip": "192.0.2.8", "user_agent": firefox},
        {"user_id": "u"},
        {"ip": "192.0.2.7", "user_agent": chrome},
        {"ip": "192.0.2.7"},
        {"user_agent": chrome},
        {"site": "b.example", "ip": "192.0.2.7", "user_agent": chrome},
    ]
    await world.send([{**view(), **sender} for sender in senders], token="collect")
    alone = World()
    for sender in senders:
        await alone.send({**view(), **sender}, token="collect")

    visitors = [event["visitor_id"] for event in world.events]
    assert visitors == [event["visitor_id"] for event in alone.events]
    assert visitors[0] == visitors[1] == visitors[5]
    assert len(set(visitors)) == 7
