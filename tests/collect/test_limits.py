"""Rate limits: the rate holds over time, a burst is allowed, memory is bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.limits import BURST_S, RateLimiter
from tests.collect.identity.test_session import Clock


@given(steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30)), max_size=100), rate=st.integers(1, 20))
def test_over_time_no_more_than_the_rate_and_one_burst_and_one_request_gets_through(
    steps: list[tuple[float, int]], rate: int
) -> None:
    clock = Clock()
    limiter = RateLimiter(rate, 10, clock)
    started = clock.now
    allowed = 0
    for pause, events in steps:
        clock.now += pause
        if limiter.allow("a", events):
            allowed += events
        assert allowed <= rate * (BURST_S + clock.now - started) + 30 + 1e-6


def test_a_steady_sender_at_the_rate_is_never_refused() -> None:
    clock = Clock()
    limiter = RateLimiter(10, 10, clock)
    for _ in range(1_000):
        assert limiter.allow("a")
        clock.now += 0.1


def test_one_key_does_not_pay_for_another() -> None:
    limiter = RateLimiter(1, 10, Clock())
    while limiter.allow("noisy"):
        pass

    assert limiter.allow("quiet")


def test_a_refused_sender_may_send_again_after_its_debt_is_paid() -> None:
    clock = Clock()
    limiter = RateLimiter(10, 10, clock)
    assert limiter.allow("a", 50)
    assert limiter.wait_s("a") == 4
    clock.now += 2.9
    assert limiter.wait_s("a") == 1
    assert not limiter.allow("a")
    clock.now += 0.2
    assert limiter.allow("a")


def test_a_rate_of_nothing_switches_it_off() -> None:
    limiter = RateLimiter(0, 10, Clock())

    assert all(limiter.allow("a", 1_000_000) for _ in range(100))
    assert len(limiter) == 0


def test_a_million_forged_addresses_are_forgotten_again() -> None:
    limiter = RateLimiter(1, 1_000, Clock())
    for number in range(1_000_000):
        limiter.allow(str(number))

    assert len(limiter) <= 1_000
