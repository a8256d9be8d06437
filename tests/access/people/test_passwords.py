"""Which passwords are taken, and that hashing keeps its bounds."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher

from analytics_server.access.people import passwords
from analytics_server.access.people.passwords import Passwords, check_password
from analytics_server.errors import RequestError, Unavailable

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.parametrize(
    "password",
    ["seven green umbrellas", "Tr0ub4dor&3-horse", "пароль из семи слов", "x7#kP2!qLm9z", "ａbcdef 今日は良い天気"],
)
def test_a_password_that_is_long_and_rare_is_taken(password: str) -> None:
    check_password(password, "anna@example.org")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "elevenchars",
        "x" * 257,
        "password1234",
        "Passw0rd2026!",
        "123456789012",
        "abcdefghijklm",
        "aaaaaaaaaaaaa",
        "abcabcabcabcabc",
        "qwertyuiop123",
        "correct horse battery staple",
        "annabella1234",
        "987654321098",
    ],
)
def test_one_that_is_short_or_easily_guessed_is_not(password: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_password(password, "annabella@example.org")
    assert refused.value.code == "weak_password"


async def test_only_the_right_password_is_right_however_its_letters_are_composed() -> None:
    hasher = Passwords(QUICK)
    stored = await hasher.hash("seven grün umbrellas")

    assert stored.startswith("$argon2id$")
    assert await hasher.is_right("seven gru\u0308n umbrellas", stored)
    assert not await hasher.is_right("seven grun umbrellas", stored)
    assert not await hasher.is_right("nobody's password", "")
    assert not await hasher.is_right("x", "no hash")


async def test_more_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    hasher = Passwords(QUICK)
    made = await asyncio.gather(*(hasher.hash("x") for _ in range(5)), return_exceptions=True)

    assert [isinstance(one, Unavailable) for one in made] == [False] * 3 + [True] * 2
    assert await hasher.hash("x")
