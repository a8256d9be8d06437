"""`sent_at`: what a sender's wrong clock does to the time of an event, and that it is put right."""

from __future__ import annotations

from itertools import product

import pytest

from analytics_server.collect.steps.request import SAME_CLOCK_MS
from tests.collect.formats.test_client_sdk import VIEW
from tests.collect.formats.test_leniency import CLICK, warned
from tests.collect.world import NOON, World, answered

HOUR_MS = 3_600_000
NOW_MS = int(NOON * 1000)


@pytest.mark.parametrize(
    ("off_ms", "token"),
    [
        *product((-10 * HOUR_MS, 10 * HOUR_MS, -50 * 365 * 24 * HOUR_MS), ("", "collect")),
        *((off_ms, "") for off_ms in (400, -400)),
        *((off_ms, "collect") for off_ms in (SAME_CLOCK_MS + 10, -SAME_CLOCK_MS - 10)),
    ],
)
async def test_a_wrong_clock_is_corrected_by_the_time_of_sending(off_ms: int, token: str) -> None:
    sent_ms = NOW_MS + off_ms
    age_ms = 5_000
    shapes: list[tuple[str, object]] = [
        ("track", CLICK | {"timestamp": sent_ms - age_ms, "sent_at": sent_ms}),
        ("track", {"events": [CLICK | {"timestamp": sent_ms - age_ms}], "sent_at": sent_ms}),
        ("track", {"events": [CLICK | {"timestamp": sent_ms - age_ms + 0.75}], "sent_at": sent_ms + 0.75}),
        ("view", VIEW | {"timestamp": sent_ms - age_ms, "sentAt": sent_ms}),
        ("batch", {"events": [{"kind": "view", **VIEW, "timestamp": sent_ms - age_ms}], "sent_at": sent_ms}),
        ("batch", {"events": [{"kind": "view", **VIEW, "timestamp": sent_ms - age_ms}], "sentAt": sent_ms}),
        ("batch", {"events": [{"kind": "view", **VIEW, "timestamp": sent_ms - age_ms, "sentAt": sent_ms}]}),
    ]
    for kind, body in shapes:
        world = World()
        answer = answered(await world.send(body, kind=kind, token=token))

        assert answer == {"accepted": 1, "dropped": {}, "rejected": []}
        assert abs(world.events[0]["ts"] // 1000 - (NOW_MS - age_ms)) <= 1
        assert world.sample("ingest_clamped_timestamps_total") == 0


@pytest.mark.parametrize(
    ("timestamp", "sent_at", "age_ms"),
    [
        ("2020-01-01T00:00:00Z", "2020-01-01T01:00:00Z", HOUR_MS),
        ("2020-01-01T00:00:00Z", "2020-01-01T02:00:00+01:00", HOUR_MS),
        (1_577_836_800, 1_577_840_400, HOUR_MS),
        (1_577_836_800, 1_577_840_400_000, HOUR_MS),
        ("2020-01-01T00:00:00Z", 1_577_840_400_000, HOUR_MS),
        (600_000, 900_000, 300_000),
        (1_577_840_400_000, 1_577_836_800_000, 0),
        (NOW_MS - 30 * HOUR_MS, NOW_MS, 24 * HOUR_MS),
    ],
)
async def test_the_age_of_an_event_is_what_its_two_times_differ_by(
    timestamp: object, sent_at: object, age_ms: int
) -> None:
    world = World()
    await world.send(CLICK | {"timestamp": timestamp, "sent_at": sent_at})

    assert world.events[0]["ts"] // 1000 == NOW_MS - age_ms


async def test_an_event_s_own_time_of_sending_beats_the_batch_s() -> None:
    world = World()
    own = CLICK | {"timestamp": NOW_MS - 9_000, "sent_at": NOW_MS - 8_000}
    await world.send({"events": [own, CLICK | {"timestamp": NOW_MS - 9_000}, CLICK], "sent_at": NOW_MS})

    assert sorted(event["ts"] // 1000 - NOW_MS for event in world.events) == [-9_000, -1_000, 0]


@pytest.mark.parametrize("way_ms", [SAME_CLOCK_MS, 400, 0, -SAME_CLOCK_MS])
async def test_the_way_of_a_server_s_request_does_not_move_its_events(way_ms: int) -> None:
    """Or the later of two events would come first when the request of the earlier one took longer."""
    world = World()
    sent_ms = NOW_MS - way_ms
    await world.send({"events": [CLICK | {"timestamp": sent_ms - 2}], "sent_at": sent_ms}, token="collect")

    assert world.events[0]["ts"] // 1000 == sent_ms - 2


async def test_an_event_of_a_server_with_a_right_clock_did_not_happen_after_it_was_sent() -> None:
    world = World()
    await world.send(CLICK | {"timestamp": NOW_MS + HOUR_MS, "sent_at": NOW_MS - 300}, token="collect")

    assert world.events[0]["ts"] // 1000 == NOW_MS - 300


@pytest.mark.parametrize("sent_at", ["soon", "", True, [], {}, 1e300])
async def test_an_unreadable_time_of_sending_is_ignored(sent_at: object) -> None:
    for body in (
        CLICK | {"timestamp": NOW_MS - 5_000, "sent_at": sent_at},
        {"events": [CLICK | {"timestamp": NOW_MS - 5_000}], "sent_at": sent_at},
    ):
        world = World()
        answer = answered(await world.send(body))

        assert warned(answer) == [("sent_at", "left_out")]
        assert world.events[0]["ts"] // 1000 == NOW_MS - 5_000


async def test_a_time_of_sending_that_would_put_an_import_before_2000_is_ignored() -> None:
    world = World()
    event = CLICK | {"timestamp": "2020-01-01T00:00:00Z", "sent_at": "9000-01-01T00:00:00Z"}
    answer = answered(await world.send(event, token="collect"))

    assert warned(answer) == [("sent_at", "left_out")]
    assert world.events[0]["ts"] // 1000 == 1_577_836_800_000


async def test_a_trusted_sender_without_it_keeps_its_times() -> None:
    world = World()
    await world.send(CLICK | {"timestamp": "2020-01-01T00:00:00Z"}, token="collect")

    assert world.events[0]["ts"] // 1000 == 1_577_836_800_000
