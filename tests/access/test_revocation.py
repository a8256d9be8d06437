"""What is revoked on one server ends on every other at the first request after `REFRESH_S`, half a second.

Two servers share tables; the clock by which what is in memory grows old is moved by hand.
"""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from analytics_server.access.authentication import Authentication
from analytics_server.access.gate import PATIENCE_S, REFRESH_S, Gate
from analytics_server.access.links.share_links import ShareLinks
from analytics_server.access.people.accounts import Account, Accounts, Rights
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.principals import Role
from analytics_server.access.service import AccessService
from analytics_server.config import AccessSection, Config
from analytics_server.errors import StoreRetryable, Unauthorized
from analytics_server.http.security.session_cookie import SCHEME
from analytics_server.store import Store
from tests.access.memory_store import MemoryTables

LONGEST_S = 1.0
SITE = "a.example"


class Server:
    """Authentication as a server on a shared ClickHouse has it."""

    def __init__(self, tables: MemoryTables) -> None:
        store = cast(Store, tables)
        self.service = AccessService(Config(), store, CollectorRegistry(), admin_token="")
        self.gate, self.people = self.service.gate, self.service.people.people
        self.sessions, self.links = self.service.people.sessions, self.service.people.links
        self.authentication = Authentication(self.gate, self.sessions, self.links)

    async def takes(self, authorization: str) -> bool:
        try:
            await self.authentication.authenticate(authorization)
        except Unauthorized:
            return False
        return True

    async def person(self) -> Account:
        rights = Rights(roles={SITE: Role.ADMIN})
        return await self.people.add("anna@example.org", name="", rights=rights, password_hash="hash")


class SharedTables(MemoryTables):
    """Of a ClickHouse server."""

    capabilities = SimpleNamespace(owns_files=False)


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`now` is how old what is in memory becomes."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr("analytics_server.store.documents.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def token(server: Server) -> tuple[str, Any]:
    secret = await server.gate.create(Role.READ)
    (held,) = server.gate.tokens()
    return f"Bearer {secret}", lambda: server.gate.revoke(held.token_id)


async def signed_out(server: Server) -> tuple[str, Any]:
    secret, _ = await server.sessions.begin(await server.person(), int(time.time() * 1000))
    return f"{SCHEME} {secret}", lambda: server.sessions.end(secret)


async def signed_out_everywhere(server: Server) -> tuple[str, Any]:
    person = await server.person()
    secret, _ = await server.sessions.begin(person, int(time.time() * 1000))
    return f"{SCHEME} {secret}", lambda: server.sessions.end_all(person.id)


async def removed(server: Server) -> tuple[str, Any]:
    person = await server.person()
    secret, _ = await server.sessions.begin(person, int(time.time() * 1000))
    return f"{SCHEME} {secret}", lambda: server.people.remove(person.id)


async def link(server: Server) -> tuple[str, Any]:
    made, secret = await server.links.create(SITE)
    return f"Bearer {server.links.token_of(made, secret)}", lambda: server.links.delete(made.id)


@pytest.mark.parametrize("make", [token, signed_out, signed_out_everywhere, removed, link])
async def test_what_is_revoked_on_one_server_ends_on_the_other(make: Any, age: SimpleNamespace) -> None:
    tables = SharedTables()
    one, other = Server(tables), Server(tables)
    authorization, revoke = await make(one)
    age.now += REFRESH_S
    assert await other.takes(authorization)

    await revoke()
    assert not await one.takes(authorization)
    age.now += REFRESH_S
    assert not await other.takes(authorization)


async def test_an_idle_server_waits_before_it_takes_events_with_a_token(age: SimpleNamespace) -> None:
    """Beacons go by memory, and read it again beside; but not by what was read long before."""
    tables = SharedTables()
    one, other = Server(tables), Server(tables)
    authorization, revoke = await token(one)
    await other.gate.load()
    await revoke()

    age.now += 2 * REFRESH_S - 0.01
    assert other.gate.keep_fresh()
    age.now += 0.01
    assert not other.gate.keep_fresh()
    await other.gate.freshen()
    assert other.gate.keep_fresh()
    assert other.gate.known(authorization) is None


async def test_nobody_waits_for_a_clickhouse_that_does_not_answer(age: SimpleNamespace) -> None:
    tables = SharedTables()
    server = Server(tables)
    authorization, _ = await token(server)
    hanging = asyncio.Event()

    async def query(*_: object, **__: object) -> None:
        await hanging.wait()
        raise StoreRetryable("away")

    tables.query = query  # type: ignore[method-assign,assignment]
    age.now += 10.0
    assert not server.gate.keep_fresh()
    await server.gate.freshen()
    age.now += PATIENCE_S
    await server.gate.freshen()  # at once: the same reading is under way
    assert (await server.gate.authenticate(authorization)).may_collect is False
    hanging.set()


def test_what_is_in_memory_is_read_again_well_within_a_second() -> None:
    """The rest of the second is for ClickHouse's answer."""
    server, store = Server(SharedTables()), cast(Store, SharedTables())
    parts = (server.gate, server.people, server.sessions, server.links)
    alone = (
        Gate(store),
        Accounts(store),
        PersonSessions(store, server.people, AccessSection()),
        ShareLinks(store),
    )
    assert {part._refresh_s for part in (*parts, *alone)} == {REFRESH_S}
    assert REFRESH_S <= LONGEST_S / 2
