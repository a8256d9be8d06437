"""One site's flood takes nothing from another: shares of the stores that all sites use."""

from __future__ import annotations

from array import array
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.address import network_of
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.id_set import IdQueue
from analytics_server.collect.identity.restore import MOST_ALONE, choose_sites
from analytics_server.config import SitesSection
from analytics_server.fair_shares import SiteShares, fair_level
from tests.collect.identity.test_session import Clock, sessions
from tests.collect.world import World, answered

T0 = 1_700_000_000_000
CAPACITY = 100

Steps = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-3, 3)), max_size=60)


def event_id(number: int) -> str:
    return str(UUID(int=number))


# ---- the counting ----------------------------------------------------------


@given(steps=Steps)
def test_shares_are_what_plain_counting_says(steps: list[tuple[str, int]]) -> None:
    shares, plain = SiteShares(), dict.fromkeys("abc", 0)
    for site, wanted in steps:
        change = max(wanted, -plain[site])
        plain[site] += change
        if change > 0:
            shares.add(site, change)
        elif change < 0:
            shares.remove(site, -change)

        assert shares.total == sum(plain.values())
        assert shares.most == max(plain.values())
        assert [shares.held(one) for one in "abc"] == list(plain.values())
        if shares.total:
            assert plain[shares.largest()] == max(plain.values())


@given(counts=st.lists(st.integers(1, 50), min_size=1, max_size=8), capacity=st.integers(0, 200))
def test_the_fair_level_is_the_highest_that_fits(counts: list[int], capacity: int) -> None:
    level = fair_level({str(at): count for at, count in enumerate(counts)}, capacity)

    assert sum(min(count, level) for count in counts) <= capacity
    assert level >= max(counts) or sum(min(count, level + 1) for count in counts) > capacity


@given(
    added=st.lists(st.integers(0, 500), unique=True, max_size=100), gone=st.integers(0, 120), before=st.integers(0, 30)
)
def test_a_queue_gives_back_in_order_what_was_put_in(added: list[int], gone: int, before: int) -> None:
    queue, plain = IdQueue(span_s=2), list(added)
    for at, number in enumerate(added):
        queue.append(number, float(at))
    for _ in range(min(gone, len(plain))):
        assert queue.pop() == plain.pop(0)
    queue.put_before(array("Q", range(1_000, 1_000 + before)), 0.0)
    plain[:0] = range(1_000, 1_000 + before)
    lately = set(plain[-3:])
    found = queue.discard(lately)
    kept = [number for number in plain if number not in lately]
    rest = [queue.pop() for _ in range(len(plain) - found)]

    assert rest[-1:] == kept[-1:]
    assert not queue
    assert set(rest) >= set(kept)


# ---- sessions --------------------------------------------------------------


def test_a_flood_of_session_ids_does_not_close_another_sites_sessions() -> None:
    open_ones = sessions(capacity=CAPACITY)
    kept = [open_ones.open_client("a", f"tab-{number}", T0, ("first",)) for number in range(20)]
    own = open_ones.open_visitor("a", 7, T0, ("own",))
    for number in range(20 * CAPACITY):
        open_ones.open_client("b", f"invented-{number}", T0, ())
        open_ones.open_visitor("c", number + 1, T0, ())

    assert len(open_ones) == CAPACITY
    assert [open_ones.of_client("a", f"tab-{number}") for number in range(20)] == kept
    assert open_ones.of_visitor("a", 7, T0) is own
    assert open_ones.of_client("b", f"invented-{20 * CAPACITY - 1}") is not None


def test_a_share_no_site_uses_is_another_sites() -> None:
    open_ones = sessions(capacity=CAPACITY)
    for number in range(CAPACITY - 1):
        open_ones.open_client("a", str(number), T0, ())
    open_ones.open_client("b", "one", T0, ())
    assert open_ones.of_client("a", "0") is not None  # moves to the end
    open_ones.open_client("b", "two", T0, ())

    assert open_ones.of_client("a", "1") is None
    assert open_ones.of_client("a", "0") is not None
    assert len(open_ones) == CAPACITY


@given(
    events=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.integers(1, 40)), max_size=300),
    capacity=st.integers(4, 20),
)
def test_each_site_has_what_it_opened_last_up_to_its_share(events: list[tuple[str, bool, int]], capacity: int) -> None:
    open_ones, opened = sessions(capacity), {site: set[tuple[bool, int]]() for site in "abcd"}
    for site, by_client, who in events:
        if by_client:
            open_ones.open_client(site, str(who), T0, ())
        else:
            open_ones.open_visitor(site, who, T0, ())
        opened[site].add((by_client, who))
        assert len(open_ones) <= capacity
    for site, ones in opened.items():
        if len(ones) <= capacity // 4:
            for by_client, who in ones:
                assert open_ones.of_client(site, str(who)) if by_client else open_ones.of_visitor(site, who, T0)


# ---- event ids -------------------------------------------------------------


def test_a_flood_of_event_ids_does_not_let_another_sites_be_counted_twice() -> None:
    known = Duplicates(window_s=3_600, capacity=CAPACITY, clock=Clock())
    mine = [("a", number.to_bytes(16, "big")) for number in range(CAPACITY // 2 - 1)]
    assert not any(known.seen(key) for key in mine)
    for number in range(20 * CAPACITY):
        assert not known.seen(("b", number.to_bytes(16, "big")))

    assert all(known.seen(key) for key in mine)
    assert len(known) == CAPACITY
    assert known.seen(("b", (20 * CAPACITY - 1).to_bytes(16, "big")))


def test_restored_ids_are_shared_out_too() -> None:
    known = Duplicates(window_s=3_600, capacity=2 * CAPACITY, clock=Clock())
    known.restore([("b", number.to_bytes(16, "big")) for number in range(10 * CAPACITY)])
    known.restore([("a", number.to_bytes(16, "big")) for number in range(CAPACITY // 4)])
    assert sum(known.restored().values()) == CAPACITY
    known.settle()

    assert all(known.seen(("a", number.to_bytes(16, "big"))) for number in range(CAPACITY // 4))
    assert all(known.seen(("b", number.to_bytes(16, "big"))) for number in range(CAPACITY * 3 // 4))
    assert not known.seen(("b", (CAPACITY * 3 // 4).to_bytes(16, "big")))


def test_ids_that_were_taken_back_leave_their_share() -> None:
    known = Duplicates(window_s=3_600, capacity=10, clock=Clock())
    for number in range(50):
        key = ("b", number.to_bytes(16, "big"))
        known.seen(key)
        known.forget([key])
    for number in range(10):
        assert not known.seen(("a", number.to_bytes(16, "big")))

    assert len(known) == 10


def test_expired_ids_of_a_site_make_room_as_it_goes_on() -> None:
    clock = Clock()
    known = Duplicates(window_s=3_600, capacity=1_000, clock=clock)
    for number in range(100):
        known.seen(("a", number.to_bytes(16, "big")))
    clock.now += 3_601
    for number in range(100, 200):
        assert not known.seen(("a", number.to_bytes(16, "big")))

    assert len(known) == 100


@pytest.mark.parametrize(
    ("counts", "statements"),
    [
        ({"a": 5, "b": 5}, [([], 10)]),
        ({"a": 2, "b": 500}, [(["b"], 10), (["b"], 8)]),
        ({"a": 20, "b": 500}, [(["b", "a"], 10), (["b"], 5), (["a"], 5)]),
    ],
)
def test_what_is_read_back_of_each_site(counts: dict[str, int], statements: list[tuple[list[str], int]]) -> None:
    assert [(choice.sites, choice.most) for choice in choose_sites(counts, 10)] == statements


def test_the_number_of_statements_is_bounded() -> None:
    assert len(choose_sites({str(number): 100 for number in range(1_000)}, 10_000)) == MOST_ALONE + 2


# ---- the whole -------------------------------------------------------------


async def test_a_visit_goes_on_and_counts_once_through_a_flood_for_another_site() -> None:
    world = World(max_sessions=CAPACITY, max_duplicate_ids=CAPACITY)
    first = {
        "site": "a.example",
        "name": "pageview",
        "url": "https://a.example/?utm_source=news",
        "session_id": "tab",
        "event_id": event_id(1),
    }
    await world.send(first)
    for start in range(0, 3 * CAPACITY, 30):
        flood = [
            {"site": "b.example", "name": "x", "session_id": f"s-{number}", "event_id": event_id(number)}
            for number in range(start, start + 30)
        ]
        assert answered(await world.send(flood, address="198.51.100.9"))["accepted"] == 30
    await world.send(first)
    await world.send({**first, "url": "https://a.example/next", "event_id": event_id(2)})

    mine = [event for event in world.events if event["site_id"] == "a.example"]
    assert [event["path"] for event in mine] == ["/", "/next"]
    assert {(event["session_id"], event["session_start"], event["utm_source"]) for event in mine} == {
        ("tab", mine[0]["session_start"], "news")
    }


@pytest.mark.parametrize(("sites", "made"), [(5, 5), (6, 5)])
async def test_one_address_makes_so_many_sites_an_hour(sites: int, made: int) -> None:
    world = World(address_new_sites_per_h=5)
    answers = [await world.send({"site": f"site-{number}.example", "name": "x"}) for number in range(sites)]

    assert [answer.status for answer in answers] == [202] * made + [429] * (sites - made)
    assert len(world.sites.all()) == made
    assert (await world.send({"site": "site-0.example", "name": "x"})).status == 202  # those that are there go on
    assert (await world.send({"site": "other.example", "name": "x"}, address="198.51.100.1")).status == 202
    assert (await world.send({"site": "trusted.example", "name": "x"}, token="collect")).status == 202
    world.now += 3_600
    assert (await world.send({"site": "later.example", "name": "x"})).status == 202


async def test_an_unknown_site_costs_nothing_where_sites_are_not_created() -> None:
    world = World(address_new_sites_per_h=1, sites=SitesSection(create_unknown=False))

    assert [(await world.send({"site": f"{n}.example", "name": "x"})).status for n in range(3)] == [404] * 3


def test_the_addresses_of_one_ipv6_network_count_as_one() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("::ffff:192.0.2.1") == network_of("::ffff:192.0.2.1%1") == "192.0.2.1"
    assert network_of("no:address") == "no:address"
    assert network_of("2001:db8::1\x00") == "2001:db8::1\x00"
