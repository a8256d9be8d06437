"""The first start's admin token: made only where no rights can have been given yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from analytics_server.access.people.accounts import Rights
from analytics_server.access.principals import Role
from analytics_server.access.service import AccessService
from analytics_server.config import Config
from analytics_server.store import Store


class Damage:
    """Every table is read; of some, rows are missing."""

    def __init__(self, *lost: str) -> None:
        self._lost = lost

    async def reading(self, table: str, work: Callable[[], Awaitable[object]]) -> None:
        await work()

    def has_lost(self, table: str) -> bool:
        return table in self._lost


@pytest.fixture
async def empty(migrated: Store) -> Store:
    await migrated.command("TRUNCATE TABLE tokens")
    return migrated


def service(store: Store) -> AccessService:
    return AccessService(Config(), store, CollectorRegistry(), admin_token="")


async def token_of_a_start(store: Store, *lost: str) -> str:
    started = service(store)
    await started.load(Damage(*lost))
    return started.new_admin_token


@pytest.mark.parametrize("lost", ["tokens", "people"])
async def test_lost_rows_make_no_admin(empty: Store, lost: str) -> None:
    assert await token_of_a_start(empty, lost) == ""


async def test_an_admin_token_is_made_once(empty: Store) -> None:
    assert await token_of_a_start(empty)
    assert await token_of_a_start(empty) == ""


async def test_where_a_person_is_an_owner_a_start_makes_no_admin_token(empty: Store) -> None:
    people = service(empty).people.people
    person = await people.add("anna@example.org", name="", rights=Rights(roles={"a": Role.ADMIN}), password_hash="x")
    token = await token_of_a_start(empty)
    assert token
    await empty.command("TRUNCATE TABLE tokens")
    await people.remove(person.id)
    await people.add("anna@example.org", name="", rights=Rights(owner=True), password_hash="x")
    assert await token_of_a_start(empty) == ""
