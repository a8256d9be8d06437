"""Who has no account is answered after the same work: a hash of the same cost is computed, however it fails."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters

from analytics_server.access.people.accounts import Accounts, Rights
from analytics_server.access.people.passwords import Passwords
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.people.sign_in import SignIn
from analytics_server.config import AccessSection
from analytics_server.errors import Unauthorized
from analytics_server.store import Store
from tests.access.memory_store import MemoryTables

PASSWORD, WRONG = "seven green umbrellas", "eight yellow bicycles"
KNOWN, BY_PROVIDER, UNKNOWN = (f"{name}@example.org" for name in ("anna", "ben", "nobody"))
Computed = tuple[str, Parameters]


class Counting(PasswordHasher):
    """Computes real hashes, and notes each with its cost."""

    def __init__(self) -> None:
        super().__init__(time_cost=2, memory_cost=64, parallelism=1)
        self.computed: list[Computed] = []

    def hash(self, password: str | bytes, **more: Any) -> str:
        made = super().hash(password, **more)
        self.computed.append(("hash", extract_parameters(made)))
        return made

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.computed.append(("verify", extract_parameters(cast(str, hash))))
        return super().verify(hash, password)


class World:
    """One person with a password, and one who signs in through a provider only."""

    def __init__(self) -> None:
        self.hasher = Counting()
        store, settings = cast(Store, MemoryTables()), AccessSection()
        self.people = Accounts(store, refresh_s=0.0)
        sessions = PersonSessions(store, self.people, settings, refresh_s=0.0)
        self.sign_in = SignIn(self.people, sessions, settings, passwords=Passwords(self.hasher))

    async def filled(self) -> World:
        hash_ = await self.sign_in.passwords.hash(PASSWORD)
        for email, kept in ((KNOWN, hash_), (BY_PROVIDER, "")):
            await self.people.add(email, name="", rights=Rights(owner=True), password_hash=kept)
        await self.sign_in.passwords.is_right(WRONG, hash_)  # the dummy hash is made once
        return self

    async def refused(self, email: str) -> tuple[tuple[str, str, int], list[Computed]]:
        """What is answered, and what was computed for it."""
        before = len(self.hasher.computed)
        with pytest.raises(Unauthorized) as refusal:
            await self.sign_in.sign_in(email, WRONG, "", "192.0.2.1")
        told = refusal.value.code, refusal.value.message, refusal.value.status
        return told, self.hasher.computed[before:]


@pytest.mark.parametrize("email", [UNKNOWN, BY_PROVIDER, "", "no address"])
async def test_the_same_is_computed_and_answered_for_an_account_that_is_not_there(email: str) -> None:
    world = await World().filled()

    told, computed = await world.refused(KNOWN)
    assert [what for what, _ in computed] == ["verify"]
    assert (computed[0][1].time_cost, computed[0][1].memory_cost) == (2, 64)
    assert await world.refused(email) == (told, computed)


async def test_the_first_sign_in_of_all_costs_the_same_whoever_it_is() -> None:
    """Whose account is the first one to be asked for can't be told from the making of the dummy hash."""
    costs = []
    for email in (KNOWN, UNKNOWN):
        world = World()
        hash_ = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash(PASSWORD)
        await world.people.add(KNOWN, name="", rights=Rights(owner=True), password_hash=hash_)
        costs.append(await world.refused(email))
    assert costs[0] == costs[1]
    assert [what for what, _ in costs[0][1]] == ["hash", "verify"]
