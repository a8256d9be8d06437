"""Tokens and sites that other processes change, read again while this one runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.access.sites.sites import Sites
from analytics_server.access.tokens import Token, token_hash
from analytics_server.config import SitesSection
from analytics_server.model import Site
from analytics_server.store.protocol import Parameters, ResultSet, Settings, Store

TOKEN = "ast_one"
STORED = Token(token_id="one", role=Role.COLLECT)
PRINCIPAL = STORED.principal()


class FakeStore:
    """Answers every question with `rows`; `meanwhile` happens between question and answer. There are no share links."""

    def __init__(self, *rows: tuple[object, ...]) -> None:
        self.rows = list(rows)
        self.written: list[object] = []
        self.meanwhile: Callable[[], object] | None = None
        self.asked = 0
        self.looked = 0
        self.zones: list[str] = []
        self.capabilities = SimpleNamespace(owns_files=False, keeps_query_log=False)

    async def query(
        self, sql: str, parameters: Parameters | None = None, *, settings: Settings | None = None
    ) -> ResultSet:
        if "system.time_zones" in sql:
            return ResultSet(columns=(), rows=[(zone,) for zone in self.zones])
        if "FROM people" in sql:
            return ResultSet(columns=(), rows=[(0,)])
        if sql.startswith("SELECT count()"):
            self.looked += 1
            return ResultSet(
                columns=(), rows=[(len(self.rows), max((int(str(row[-1])) for row in self.rows), default=0))]
            )
        self.asked += 1
        answer = ResultSet(columns=(), rows=list(self.rows))
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            happened = happening()
            if asyncio.iscoroutine(happened):
                await happened
        return answer

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[object]]) -> None:
        self.written += data[0]

    async def catch_up(self, tables: Sequence[str]) -> None:
        """One replica has nothing to catch up with."""


def token_row() -> tuple[object, ...]:
    return token_hash(TOKEN), msgspec.json.encode(STORED).decode(), 0, 1


def site_row(site: Site, *, deleted: int = 0) -> tuple[object, ...]:
    return site.site_id, msgspec.json.encode(site).decode(), deleted, 1


async def test_a_token_that_was_revoked_elsewhere_ends_for_callers_who_do_not_wait() -> None:
    store = FakeStore(token_row())
    gate = Gate(cast(Store, store), refresh_s=0.0)
    await gate.load()
    store.rows.clear()
    assert gate.known(f"Bearer {TOKEN}") == PRINCIPAL
    gate.keep_fresh()
    refreshing = gate._documents._task
    assert refreshing is not None
    await refreshing
    assert gate.known(f"Bearer {TOKEN}") is None


async def test_asks_for_tokens_once_in_a_while_however_many_wrong_ones_come() -> None:
    store = FakeStore(token_row())
    gate = Gate(cast(Store, store))
    await gate.load()
    for number in range(100):
        with pytest.raises(Exception, match="not known"):
            await gate.authenticate(f"Bearer wrong-{number}")
        gate.keep_fresh()
    assert store.asked == 1


async def test_a_token_made_during_a_refresh_stays_known() -> None:
    store = FakeStore()
    gate = Gate(cast(Store, store))
    made: list[str] = []

    async def make() -> None:
        made.append(await gate.create(Role.READ))

    store.meanwhile = make
    await gate.load()
    assert gate.known(f"Bearer {made[0]}") is not None


async def test_a_token_revoked_during_a_refresh_stays_revoked() -> None:
    store = FakeStore(token_row())
    gate = Gate(cast(Store, store))
    await gate.load()
    store.meanwhile = lambda: gate.revoke("one")
    await gate.load()
    assert gate.known(f"Bearer {TOKEN}") is None


async def test_a_site_changed_during_a_refresh_stays_changed() -> None:
    store = FakeStore(site_row(Site(site_id="a.example")))
    sites = Sites(cast(Store, store), SitesSection())
    store.meanwhile = lambda: sites.put(Site(site_id="a.example", timezone="Europe/Stockholm"))
    await sites.load()
    site = sites.get("a.example")
    assert site is not None
    assert site.timezone == "Europe/Stockholm"


async def test_a_first_event_does_not_replace_a_site_that_another_server_has_made() -> None:
    theirs = Site(site_id="a.example", timezone="Europe/Stockholm")
    store = FakeStore(site_row(theirs))
    sites = Sites(cast(Store, store), SitesSection())
    sites.get_or_create("a.example")
    sites.get_or_create("b.example")
    await sites.close()
    assert store.written == ["b.example"]
    assert sites.get("a.example") == theirs


async def test_a_site_written_during_a_refresh_stays_known() -> None:
    store = FakeStore()
    sites = Sites(cast(Store, store), SitesSection())
    sites.get_or_create("a.example")
    store.meanwhile = sites.close
    await sites.load()
    assert store.written == ["a.example"]
    assert sites.get("a.example") is not None


@pytest.mark.parametrize("ticks", range(6))
async def test_a_stop_in_the_moment_of_a_wake_up_ends(ticks: int) -> None:
    sites = Sites(cast(Store, FakeStore()), SitesSection())
    sites.start()
    await asyncio.sleep(0.01)
    sites.get_or_create("a.example")
    for _ in range(ticks):
        await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        await sites.close()
