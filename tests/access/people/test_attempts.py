"""Attempts to sign in: bounded by name, forgotten with the window, in memory that does not grow."""

from __future__ import annotations

import pytest

from analytics_server.access.people.attempts import AttemptCounter, SignInAttempts, TooManyAttempts
from analytics_server.config import AccessSection
from analytics_server.errors import StoreRetryable, Unauthorized


def test_a_name_has_so_many_attempts_in_a_window() -> None:
    now = 0.0
    attempts = AttemptCounter(3, 60.0, clock=lambda: now)
    for _ in range(3):
        attempts.take("anna")
    with pytest.raises(TooManyAttempts) as refused:
        attempts.take("anna")
    assert (refused.value.status, refused.value.code) == (429, "too_many_attempts")
    assert refused.value.retry_after_s is not None
    assert 0 < refused.value.retry_after_s <= 61
    attempts.take("ben")
    now = 60.0
    attempts.take("anna")


def test_what_succeeded_is_not_counted() -> None:
    attempts = AttemptCounter(2, 60.0, clock=lambda: 0.0)
    for _ in range(100):
        attempts.take("anna")
        attempts.forgive("anna")
    attempts.forgive("anna")
    attempts.take("anna")
    attempts.take("anna")
    with pytest.raises(TooManyAttempts):
        attempts.take("anna")


def test_a_flood_of_names_neither_grows_memory_nor_frees_a_blocked_one() -> None:
    attempts = AttemptCounter(2, 60.0, clock=lambda: 0.0)
    attempts.take("anna")
    attempts.take("anna")
    size = len(attempts._counts)
    for number in range(50_000):
        try:
            attempts.take(f"made-up-{number}")
        except TooManyAttempts:
            continue
    assert len(attempts._counts) == size
    with pytest.raises(TooManyAttempts):
        attempts.take("anna")


def test_what_fails_by_the_servers_fault_is_no_attempt_and_all_addresses_together_are_bounded() -> None:
    settings = AccessSection(
        sign_ins_per_account=2, sign_ins_per_account_in_all=3, sign_ins_per_address=100, sign_in_window_s=10**9
    )
    attempts = SignInAttempts(settings)
    for error in (StoreRetryable("away"), Unauthorized("wrong")) * 2:
        attempts.take("link", "one")
        with pytest.raises(type(error)), attempts.excusing("link", "one"):
            raise error
    with pytest.raises(TooManyAttempts):  # after two wrong ones, and two that this server did not answer
        attempts.take("link", "one")
    attempts.take("link", "other")
    with pytest.raises(TooManyAttempts):
        attempts.take("link", "a third")
