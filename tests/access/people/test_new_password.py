"""Links and codes work once, on whichever server; and a new password ends old sessions whenever ClickHouse fails."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import msgspec
import pyotp
import pytest

from analytics_server.access.people.accounts import Rights
from analytics_server.access.principals import Role
from analytics_server.errors import AnalyticsError, NotFound, StoreRetryable, Unauthorized
from analytics_server.store import Store, lease
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


@pytest.fixture
def shared(migrated: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that other servers use too."""
    capabilities = msgspec.structs.replace(migrated.capabilities, owns_files=False)
    monkeypatch.setattr(migrated, "capabilities", capabilities)
    monkeypatch.setattr(lease, "LOOK_S", 0.01)
    return migrated


async def test_a_code_works_once_also_on_two_servers_at_once(shared: Store) -> None:
    """Of a recovery code, and of an app's."""
    clock = Clock()
    pair = [Server(shared, clock, turn=partial(_turn, shared)) for _ in range(2)]
    person = await pair[0].add()
    factor = await pair[0].sign_in.begin_second_factor(person)
    codes = [pyotp.TOTP(factor.secret).at(int(clock()) - 30)]
    codes += (await pair[0].sign_in.confirm_second_factor(person, codes.pop()))[:1]
    codes.append(pyotp.TOTP(factor.secret).at(int(clock())))
    for code in codes:
        outcomes = await asyncio.gather(*(server.enter(code=code) for server in pair), return_exceptions=True)
        assert sorted(type(each).__name__ for each in outcomes) == ["Unauthorized", "str"]


class Replica:
    """The store as a replica that has nothing new but what it is made to catch up with."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def query(self, sql: str, *arguments: Any, **options: Any) -> Any:
        if sql not in self._known:
            self._known[sql] = await self._store.query(sql, *arguments, **options)
        return self._known[sql]

    async def catch_up(self, tables: Any, **options: Any) -> None:
        self._known.clear()


async def test_links_and_codes_that_were_used_on_another_replica_are_used_up(migrated: Store) -> None:
    replica: Any = Replica(migrated)
    clock = Clock()
    one, other = Server(migrated, clock), Server(replica, clock)
    person = await one.add()
    factor = await one.sign_in.begin_second_factor(person)
    before = pyotp.TOTP(factor.secret).at(int(clock()) - 30)
    await one.sign_in.confirm_second_factor(person, before)
    await other.people.load()

    code = pyotp.TOTP(factor.secret).at(int(clock()))
    await one.enter(code=code)
    assert await other.refusal(code=code) == "sign_in_failed"
    _, link = await one.people.invite(EMAIL, resets=person.id, life_s=60)
    replica._known = {}
    await other.people.load()
    await one.sign_in.accept(link, NEW, "", "192.0.2.1")
    with pytest.raises(NotFound):
        await other.sign_in.accept(link, PASSWORD, "", "192.0.2.1")


async def test_an_invitation_and_weak_passwords_do_not_tell_who_has_an_account(migrated: Store) -> None:
    """A site's admin may invite any address, and opens the link themselves."""
    server = Server(migrated, Clock())
    await server.add()
    told = []
    for email in (EMAIL, "nobody@example.org"):
        _, link = await server.people.invite(email, rights=Rights(roles={"a.example": Role.VIEWER}), life_s=60)
        answers = []
        for weak in ("short", "password1234", "a" * 12, "ab" * 150):
            with pytest.raises(AnalyticsError) as refused:
                await server.sign_in.accept(link, weak, "", "192.0.2.1")
            answers.append((refused.value.code, refused.value.message))
        told.append(answers)
        await server.sign_in.accept(link, PASSWORD, "", "192.0.2.9")
    assert told[0] == told[1]
    assert [code for code, _ in told[0]] == ["weak_password"] * 3 + ["too_many_attempts"]


async def test_a_link_works_once_also_on_two_servers_at_once(shared: Store) -> None:
    """Both have read that it is there before either deletes it, where no turn keeps them apart."""
    for number in range(5):
        pair = [Server(shared, Clock(), turn=partial(_turn, shared)) for _ in range(2)]
        email = f"anna{number}@example.org"
        person = await pair[0].people.add(email, name="", rights=Rights(owner=True), password_hash="x")
        _, link = await pair[0].people.invite(email, resets=person.id, life_s=60)
        outcomes = await asyncio.gather(
            *(server.sign_in.accept(link, NEW, "", "192.0.2.1") for server in pair), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in outcomes) == ["NotFound", "UsedLink"]


def _turn(store: Store, name: str) -> AbstractAsyncContextManager[None]:
    return lease.SharedTurn(store, name, holder="accept").taken()


def _nothing(person: Any) -> Any:
    return type(person)(id=person.id, email=person.email)
