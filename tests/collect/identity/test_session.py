"""Open sessions: bounded, forgotten in time, and the same after a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.identity.session import (
    MAX_PER_VISITOR,
    Session,
    Sessions,
    foreign_id,
    is_own,
    new_session_id,
)

T0 = 1_700_000_000_000
MINUTE_MS = 60_000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def sessions(capacity: int = 1_000, clock: Clock | None = None) -> Sessions:
    return Sessions(timeout_s=1_800, client_timeout_s=86_400, capacity=capacity, clock=clock or Clock())


def test_the_gap_counts_from_the_last_event_to_either_side() -> None:
    open_ones = sessions()
    made = open_ones.open_visitor("a", 1, T0, ())
    made.place(T0 + 20 * MINUTE_MS)

    assert open_ones.of_visitor("a", 1, T0 + 50 * MINUTE_MS) is made
    assert open_ones.of_visitor("a", 1, T0 + 50 * MINUTE_MS + 1) is None
    assert open_ones.of_visitor("a", 1, T0 - 30 * MINUTE_MS) is made
    assert open_ones.of_visitor("a", 1, T0 - 30 * MINUTE_MS - 1) is None
    assert open_ones.of_visitor("a", 2, T0) is None
    assert open_ones.of_visitor("b", 1, T0) is None


@given(times=st.lists(st.integers(0, 5), min_size=1, max_size=200))
def test_times_within_a_session_keep_their_millisecond_and_their_order(times: list[int]) -> None:
    session = Session("s", T0 * 1000, (), 0.0)
    placed: dict[int, list[int]] = {}
    for at in times:
        placed.setdefault(at, []).append(session.place(T0 + at))

    for at, found in placed.items():
        assert all(ts_us // 1000 == T0 + at for ts_us in found)
    in_order = sorted(times)
    session = Session("s", T0 * 1000, (), 0.0)
    stamps = [session.place(T0 + at) for at in in_order]
    assert stamps == sorted(set(stamps))


def test_a_thousand_events_of_one_millisecond_are_told_apart() -> None:
    session = Session("s", T0 * 1000, (), 0.0)
    stamps = [session.place(T0) for _ in range(999)]

    assert stamps == list(range(T0 * 1000 + 1, T0 * 1000 + 1_000))
    assert session.place(T0) // 1000 == T0


@given(events=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=200), capacity=st.integers(1, 20))
def test_memory_is_bounded(events: list[tuple[bool, int]], capacity: int) -> None:
    open_ones = sessions(capacity)
    for by_client, who in events:
        if by_client:
            open_ones.open_client("a", str(who), T0, ())
        else:
            open_ones.open_visitor("a", who, T0, ())
        assert len(open_ones) <= capacity


def test_the_least_recently_used_session_goes_first() -> None:
    open_ones = sessions(capacity=2)
    for name in ("one", "two"):
        open_ones.open_client("a", name, T0, ())
    open_ones.of_client("a", "one")
    open_ones.open_client("a", "three", T0, ())

    assert open_ones.of_client("a", "two") is None
    assert open_ones.of_client("a", "one") is not None


def test_the_last_used_session_is_not_found_once_it_made_room_or_ended() -> None:
    clock = Clock()
    made_room = sessions(capacity=1)
    made_room.open_visitor("a", 1, T0, ())
    made_room.open_client("a", "tab", T0, ())
    ended = sessions(clock=clock)
    ended.open_visitor("a", 1, T0, ())
    clock.now += 86_401
    ended.expire()

    assert made_room.of_visitor("a", 1, T0) is None
    assert ended.of_visitor("a", 1, T0) is None


def test_a_visitors_later_session_goes_before_the_one_used_last() -> None:
    open_ones = sessions()
    first = open_ones.open_visitor("a", 1, T0, ())
    second = open_ones.open_visitor("a", 1, T0 + 40 * MINUTE_MS, ())

    assert open_ones.of_visitor("a", 1, T0) is first
    assert open_ones.of_visitor("a", 1, T0 + 20 * MINUTE_MS) is second


def test_a_session_used_again_and_again_is_kept() -> None:
    clock = Clock()
    open_ones = sessions(clock=clock)
    made = open_ones.open_visitor("a", 1, T0, ())
    clock.now += 80_000
    open_ones.of_visitor("a", 1, T0)
    clock.now += 80_000

    assert open_ones.expire() == 0
    assert open_ones.of_visitor("a", 1, T0) is made


def test_one_visitor_can_not_hold_many_sessions() -> None:
    open_ones = sessions()
    made = [open_ones.open_visitor("a", 1, T0 + number * 3_600_000, ()) for number in range(10)]

    kept = [session for session in made if open_ones.of_visitor("a", 1, session.start_us // 1000) is session]
    assert kept == made[-MAX_PER_VISITOR:]


def test_sessions_that_can_not_go_on_are_forgotten() -> None:
    clock = Clock()
    open_ones = sessions(clock=clock)
    open_ones.open_client("a", "tab", T0, ())
    open_ones.open_visitor("a", 1, T0, ())
    clock.now += 86_400
    assert open_ones.expire() == 0
    assert open_ones.of_client("a", "tab") is not None
    clock.now += 1
    assert open_ones.expire() == 1  # a server's own takes passive events for a day
    clock.now += 86_401
    assert open_ones.expire() == 1
    assert len(open_ones) == 0


def test_without_a_visitor_nothing_is_remembered() -> None:
    open_ones = sessions()
    open_ones.open_visitor("a", 0, T0, ())

    assert len(open_ones) == 0


def test_a_restored_session_goes_on_where_it_was() -> None:
    open_ones = sessions()
    times = (T0 * 1000, (T0 - 5) * 1000, (T0 + 5) * 1000)
    open_ones.restore("a", new_session_id(), [7, 8], times, ("x",))
    open_ones.restore("a", "tab", [9], times, ("y",))

    by_seven, by_eight = open_ones.of_visitor("a", 7, T0), open_ones.of_visitor("a", 8, T0)
    assert by_seven is not None
    assert by_seven is by_eight
    assert (by_seven.start_us, by_seven.first_us, by_seven.last_us) == times
    assert by_seven.attributes == ("x",)
    tab = open_ones.of_client("a", "tab")
    assert tab is not None
    assert tab.attributes == ("y",)
    assert open_ones.of_visitor("a", 9, T0) is None


def test_session_ids_made_here_are_marked_and_differ() -> None:
    made = {new_session_id() for _ in range(1_000)}

    assert len(made) == 1_000
    assert all(len(text) == 17 and text[0] == "s" and int(text[1:], 16) >= 0 for text in made)


@given(digits=st.text("0123456789abcdefghxyzS-", min_size=15, max_size=17))
def test_no_id_of_a_client_is_taken_for_the_server_s_own(digits: str) -> None:
    assert is_own(new_session_id())
    assert not is_own(foreign_id(f"s{digits}"))
    assert foreign_id("session-123456789") == "session-123456789"
    assert foreign_id("s0123456789abcdef") == "cs0123456789abcdef"
