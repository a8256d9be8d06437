"""A sign-in through the provider that is under way while its person changes: what ends sessions ends this one, too.

Only the provider's answer is held back; accounts, sessions and the route are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from aiohttp.test_utils import make_mocked_request
from argon2 import PasswordHasher

from analytics_server.access.oidc.people import OidcPeople
from analytics_server.access.oidc.routes import OidcRoutes
from analytics_server.access.oidc.sign_in import OidcIdentity, OidcSignIn, Pending
from analytics_server.access.people.accounts import Account, Accounts, Rights
from analytics_server.access.people.attempts import AttemptCounter
from analytics_server.access.people.passwords import Passwords
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.people.sign_in import SignIn
from analytics_server.config import AccessSection, ClickhouseSection, Config
from analytics_server.errors import Unauthorized
from analytics_server.http.security.session_cookie import SessionCookies
from analytics_server.store import make_store, migrate
from tests.access.oidc.test_people import NONE, identity
from tests.access.people.test_sessions import PASSWORD


@dataclass
class Held:
    """A provider whose answer comes when it may."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def finish(self, parameters: Mapping[str, str], pending: Pending | None) -> OidcIdentity:
        self.asked.set()
        await self.may_answer.wait()
        return identity()


@dataclass
class Place:
    people: Accounts
    sessions: PersonSessions
    sign_in: SignIn
    routes: OidcRoutes
    provider: Held
    person: Account

    async def come_back(self) -> str:
        """The secret of the session that the browser has then, "" for none."""
        response = await self.routes.finish(make_mocked_request("GET", "/api/v1/session/oidc/callback?code=x"))
        return next((cookie.value for name, cookie in response.cookies.items() if name.endswith("_session")), "")


@pytest.fixture
async def place(embedded_path: Path) -> AsyncIterator[Place]:
    section = ClickhouseSection(url=f"chdb://{embedded_path}", database="oidc_under_way", threads=1)
    store = make_store(Config(clickhouse=section))
    await store.open()
    await migrate(store)
    accounts, settings, provider = Accounts(store, refresh_s=0.0), AccessSection(), Held()
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    sessions = PersonSessions(store, accounts, settings, refresh_s=0.0)
    hash_ = await passwords.hash(PASSWORD)
    person = await accounts.add("anna@example.org", name="", rights=Rights(owner=True), password_hash=hash_)
    routes = OidcRoutes(
        cast(OidcSignIn, provider),
        OidcPeople(accounts, NONE),
        sessions,
        SessionCookies(),
        AttemptCounter(100, 60.0),
        base="",
        client_of=lambda _: "192.0.2.1",
        recorder=None,
    )
    sign_in = SignIn(accounts, sessions, settings, passwords=passwords)
    yield Place(accounts, sessions, sign_in, routes, provider, person)
    await store.command("DROP DATABASE oidc_under_way")
    await store.close()


async def untouched(place: Place) -> None:
    """Nothing happens."""


async def signed_out_everywhere(place: Place) -> None:
    await place.sessions.end_all(place.person.id)


async def another_password(place: Place) -> None:
    await place.sign_in.change_password(place.person, PASSWORD, "eight yellow bicycles", "192.0.2.1")


async def deleted(place: Place) -> None:
    await place.people.add("owner@example.org", name="", rights=Rights(owner=True), password_hash="x")
    await place.people.remove(place.person.id)


@pytest.mark.parametrize("change", [untouched, signed_out_everywhere, another_password, deleted])
async def test_what_ends_the_persons_sessions_ends_the_one_under_way(
    place: Place, change: Callable[[Place], Awaitable[None]]
) -> None:
    coming = asyncio.create_task(place.come_back())
    await place.provider.asked.wait()
    await change(place)
    place.provider.may_answer.set()
    secret = await coming
    if change is untouched:
        assert (await place.sessions.person_of(secret)).id == place.person.id
        return
    with pytest.raises(Unauthorized):
        await place.sessions.person_of(secret)
    if change is not deleted:  # the next one is good
        assert (await place.sessions.person_of(await place.come_back())).id == place.person.id
