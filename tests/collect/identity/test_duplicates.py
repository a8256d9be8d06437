"""Repeated ids: found within the window, bounded, taken back when writing failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.identity.duplicates import Duplicates
from tests.collect.identity.test_session import Clock


def ids(count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(count)]


def duplicates(capacity: int = 1_000, window_s: int = 3_600, clock: Clock | None = None) -> Duplicates:
    return Duplicates(window_s=window_s, capacity=capacity, clock=clock or Clock())


def test_an_id_is_new_once_for_each_site() -> None:
    seen = duplicates().seen
    (event_id,) = ids(1)

    assert [seen(("a", event_id)), seen(("a", event_id)), seen(("b", event_id)), seen(("b", event_id))] == [
        False,
        True,
        False,
        True,
    ]


def test_an_id_is_known_for_the_window_at_least() -> None:
    clock = Clock()
    known = duplicates(clock=clock)
    known.seen(("a", ids(1)[0]))
    for _ in range(3):
        clock.now += 1_190
        assert known.seen(("a", ids(1)[0]))


def test_an_id_is_forgotten_after_two_windows() -> None:
    clock = Clock()
    known = duplicates(clock=clock)
    first, *others = ids(4)
    known.seen(("a", first))
    for other in others[:2]:
        clock.now += 3_601
        known.seen(("a", other))

    assert not known.seen(("a", first))


@given(numbers=st.lists(st.integers(0, 100), max_size=300), capacity=st.integers(1, 50))
def test_memory_is_bounded_and_the_newest_are_known(numbers: list[int], capacity: int) -> None:
    known = duplicates(capacity=capacity)
    for number in numbers:
        event_id = number.to_bytes(16, "big")
        known.seen(("a", event_id))
        assert known.seen(("a", event_id))
        assert len(known) <= max(2, capacity)


def test_what_could_not_be_written_may_come_again() -> None:
    known = duplicates()
    one, two = ids(2)
    known.seen(("a", one))
    known.seen(("a", two))
    known.forget([("a", one), ("a", b"never seen".ljust(16))])

    assert [known.seen(("a", one)), known.seen(("a", two))] == [False, True]


def test_a_window_of_nothing_switches_it_off() -> None:
    known = duplicates(window_s=0)

    assert [known.seen(("a", ids(1)[0])) for _ in range(3)] == [False] * 3
    assert len(known) == 0
