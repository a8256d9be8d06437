"""Threads for blocking calls: shared fairly, never all of one tenant's, and not lost to a call without end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait

import pytest

from analytics_server.store.workers import MOST_ABANDONED, Closed, Full, Workers

SOON_S = 20.0


class Place:
    """Workers, and calls that last until they are let go."""

    def __init__(self, threads: int, most_waiting: int = 100) -> None:
        self.ended: list[str] = []
        self._end_noted = threading.Condition()
        self.order: list[str] = []
        self.gates: list[threading.Event] = []
        self.workers = Workers("test", threads, most_waiting=most_waiting, on_exit=self._note_end)

    def _note_end(self) -> None:
        with self._end_noted:
            self.ended.append(threading.current_thread().name)
            self._end_noted.notify_all()

    def wait_for_ends(self, threads: int) -> None:
        """Until exactly so many threads have ended."""
        with self._end_noted:
            assert self._end_noted.wait_for(lambda: len(self.ended) >= threads, SOON_S)
            assert len(self.ended) == threads

    def hold(self, tenant: str) -> Future[None]:
        """A call that has begun and goes on."""
        gate, begun = threading.Event(), threading.Event()
        self.gates.append(gate)

        def work() -> None:
            begun.set()
            gate.wait()

        future = self.workers.submit(work, tenant)
        assert begun.wait(SOON_S)
        return future

    def ask(self, name: str, tenant: str) -> Future[None]:
        return self.workers.submit(lambda: self.order.append(name), tenant)

    def let_go(self) -> None:
        for gate in self.gates:
            gate.set()


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place(3)
    yield made
    made.let_go()
    assert made.workers.close(SOON_S)


def test_answers_and_raises(place: Place) -> None:
    assert place.workers.submit(lambda: 3).result(SOON_S) == 3
    with pytest.raises(ZeroDivisionError):
        place.workers.submit(lambda: 1 // 0).result(SOON_S)


def test_a_tenant_never_has_all_threads(place: Place) -> None:
    held = [place.hold("a"), place.hold("a")]
    mine, theirs = place.ask("mine", "a"), place.ask("theirs", "b")

    theirs.result(SOON_S)
    assert not mine.done()
    place.let_go()
    wait(held)
    mine.result(SOON_S)


def test_the_server_s_own_calls_may_have_all(place: Place) -> None:
    assert len({place.hold("") for _ in range(3)}) == 3


def test_tenants_take_turns() -> None:
    place = Place(1)
    place.hold("a")
    asked = [place.ask(f"a{n}", "a") for n in range(3)] + [place.ask(f"b{n}", "b") for n in range(2)]
    place.let_go()
    wait(asked)

    assert place.order == ["a0", "b0", "a1", "b1", "a2"]
    assert place.workers.close(SOON_S)


def test_a_tenant_has_so_many_waiting_and_no_more() -> None:
    place = Place(1, most_waiting=2)
    place.hold("a")
    place.ask("1", "a")
    place.ask("2", "a")
    with pytest.raises(Full):
        place.ask("3", "a")
    other = place.ask("4", "b")
    place.let_go()
    other.result(SOON_S)
    assert place.workers.close(SOON_S)


def test_another_thread_takes_the_place_of_an_abandoned_call(place: Place) -> None:
    endless = [place.hold(""), place.hold("b"), place.hold("c")]
    mine, theirs = place.ask("more", "b"), place.ask("other", "d")
    for future in endless:
        place.workers.abandon(future)
        place.workers.abandon(future)  # no more than once

    theirs.result(SOON_S)
    mine.result(SOON_S)
    assert len({place.hold("d") for _ in range(2)}) == 2


def test_a_tenant_has_no_more_room_for_what_it_was_abandoned(place: Place) -> None:
    endless = [place.hold("a"), place.hold("a")]
    for future in endless:
        place.workers.abandon(future)
    mine = place.ask("mine", "a")
    place.ask("theirs", "b").result(SOON_S)

    assert not mine.done()
    place.let_go()
    mine.result(SOON_S)
    place.ask("next", "b").result(SOON_S)
    place.wait_for_ends(2)


def test_what_has_not_begun_is_forgotten_when_it_is_abandoned() -> None:
    place = Place(1)
    place.hold("a")
    waiting = place.ask("never", "a")
    place.workers.abandon(waiting)
    place.let_go()
    place.ask("last", "a").result(SOON_S)

    assert place.order == ["last"]
    assert place.workers.close(SOON_S)


def test_so_many_calls_are_replaced_and_no_more() -> None:
    place = Place(1)
    for number in range(MOST_ABANDONED):
        place.workers.abandon(place.hold(f"t{number}"))
    last = place.hold("last")
    place.workers.abandon(last)
    waiting = place.ask("waits", "x")
    assert not waiting.done()
    place.let_go()
    waiting.result(SOON_S)
    assert place.workers.close(SOON_S)


def test_closing_waits_for_so_long_and_tells() -> None:
    place = Place(2)
    place.hold("a")
    waiting = place.ask("never", "a")
    began = time.monotonic()

    assert not place.workers.close(0.05)
    assert time.monotonic() - began < SOON_S
    assert waiting.cancelled()
    with pytest.raises(Closed):
        place.ask("late", "a")
    place.let_go()
    assert place.workers.close(SOON_S)
