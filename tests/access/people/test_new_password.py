"""A new password while ClickHouse fails at any of the writes: where it counts, the old sessions and links are over."""

from __future__ import annotations

from typing import Any

import pytest

from analytics_server.errors import StoreRetryable, Unauthorized
from analytics_server.store import Store
from tests.access.people.test_sessions import EMAIL, PASSWORD, Clock, Server, is_over

NEW = "eight yellow bicycles"
MOST_WRITES = 6


class FailingStore:
    """The store, of which all writes but the first `left` fail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.left = -1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def insert(self, *arguments: Any, **options: Any) -> Any:
        if self.left == 0:
            raise StoreRetryable("ClickHouse is away.")
        self.left -= 1
        return await self._store.insert(*arguments, **options)


async def signs_in(server: Server, password: str) -> bool:
    try:
        await server.enter(password)
    except Unauthorized:
        return False
    return True


@pytest.mark.parametrize("by_link", [True, False])
async def test_where_the_new_password_counts_all_sessions_and_links_are_over(migrated: Store, by_link: bool) -> None:
    clock, outcomes = Clock(), []
    store: Any = FailingStore(migrated)
    for writes in range(MOST_WRITES):
        server = Server(store, clock)
        person = await server.add()
        session = await server.enter()
        links = [(await server.people.invite(EMAIL, resets=person.id, life_s=60))[1] for _ in range(2)]
        store.left = writes
        try:
            if by_link:
                await server.sign_in.accept(links[0], NEW, "", "192.0.2.1")
            else:
                await server.sign_in.change_password(person, PASSWORD, NEW, "192.0.2.1")
            outcome = "done"
        except StoreRetryable:
            outcome = "failed"
        store.left = -1
        after = Server(store, clock)
        await after.people.load()
        await after.sessions.load()
        is_new = await signs_in(after, NEW)
        assert is_new != await signs_in(after, PASSWORD)
        assert is_new == (outcome == "done"), "who is told of a failure has the password of before"
        assert is_new == await is_over(after, session)
        if is_new:
            assert [await after.people.invitation_of(link) for link in links] == [None, None]
        outcomes.append(outcome)
        await after.people.add("owner@example.org", name="", rights=person.rights, password_hash="x")
        await after.people.remove(person.id)
        for each in after.people.all():
            await after.people.change(each.id, _nothing, owner_stays=False)
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0] == "failed"
    assert outcomes[-1] == "done"


def _nothing(person: Any) -> Any:
    return type(person)(id=person.id, email=person.email)
