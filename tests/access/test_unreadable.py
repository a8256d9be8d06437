"""One stored document that can't be read costs its neighbours nothing: it is left out, named once and counted."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from analytics_server.access.gate import Gate
from analytics_server.access.principals import Role
from analytics_server.access.sites.site_settings import SiteSettings
from analytics_server.access.sites.sites import Sites
from analytics_server.access.tokens import Token, token_hash
from analytics_server.config import SitesSection
from analytics_server.model import Site
from analytics_server.profiles.tables import STANDARD, UNKNOWN, profile_of
from analytics_server.store import Store
from analytics_server.store.protocol import Parameters, ResultSet
from analytics_server.store.unreadable import UnreadableDocuments

DAMAGED = ["", "{", "null", "[]", "\udc00", '{"site_id": 1, "role": "owner", "name": 7}', "[" * 100_000]
HELD = Token(token_id="0" * 12, role=Role.READ, name="good")


class Table:
    def __init__(self, rows: list[tuple[object, ...]]) -> None:
        self.rows = rows
        self.written: list[Sequence[Sequence[Any]]] = []

    async def query(self, sql: str, parameters: Parameters | None = None) -> ResultSet:
        if "FROM people" in sql:  # when the newest share link was made
            return ResultSet(columns=(), rows=[(0,)])
        return ResultSet(columns=(), rows=[] if "system.time_zones" in sql else self.rows)

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        self.written.append(data)

    async def catch_up(self, tables: Sequence[str]) -> None:
        """One replica has nothing to catch up with."""


class Watch:
    """The metric and the warnings."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.documents = UnreadableDocuments()
        self._registry = CollectorRegistry()
        self._caplog = caplog
        self.documents.register(self._registry)
        caplog.set_level(logging.WARNING)

    def count(self, kind: str) -> float | None:
        return self._registry.get_sample_value("unreadable_documents", {"kind": kind})

    @property
    def named(self) -> list[tuple[str, str]]:
        return [(record.__dict__["kind"], record.__dict__["id"]) for record in self._caplog.records]


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    return Watch(caplog)


def encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


@pytest.mark.parametrize("document", DAMAGED)
async def test_a_site(watch: Watch, document: str) -> None:
    good = Site(site_id="good.example", timezone="Asia/Tokyo")
    table = Table(
        [("bad.example", document, 0, 1), ("good.example", encoded(good), 0, 1), ("gone.example", document, 1, 1)]
    )
    sites = Sites(cast(Store, table), SitesSection(), unreadable=watch.documents)
    for _ in range(2):
        await sites.load()
    assert sites.get("good.example") == good
    taken = sites.get_or_create("bad.example")
    assert taken == Site(site_id="bad.example", profile=UNKNOWN)  # its events are taken, as strictly as can be
    assert sites.get_or_create("gone.example") is None
    assert watch.named == [("site", "bad.example")]
    assert watch.count("site") == 1
    await sites._write_new()
    assert table.written == []  # nothing is written over what a newer version may have stored
    table.rows[0] = ("bad.example", encoded(Site(site_id="bad.example", timezone="Asia/Tokyo")), 0, 1)
    await sites.load()
    assert watch.count("site") == 0


async def test_a_site_that_was_read_before_keeps_what_is_known_of_it(watch: Watch) -> None:
    site = Site(site_id="a.example", allowed_hosts=("a.example",))
    table = Table([("a.example", encoded(site), 0, 1)])
    sites = Sites(cast(Store, table), SitesSection(), unreadable=watch.documents)
    await sites.load()
    table.rows = [("a.example", "{", 0, 1)]
    await sites.load()
    assert sites.get("a.example") == site


@pytest.mark.parametrize("read", [Sites._write_new, Sites.load])
async def test_a_site_made_by_a_first_event_has_the_strictest_profile_once_a_stored_one_proves_unreadable(
    watch: Watch, read: Callable[[Sites], Awaitable[None]]
) -> None:
    table = Table([("a.example", "{", 0, 1)])
    sites = Sites(cast(Store, table), SitesSection(), unreadable=watch.documents)
    made = sites.get_or_create("a.example")
    assert made is not None
    assert made.profile == STANDARD
    for _ in range(2):
        await read(sites)
        site = sites.get_or_create("a.example")
        assert site is not None
        assert not profile_of(site.profile).by_user
    assert table.written == []


async def test_a_deleted_site_that_can_not_be_read_comes_back_with_the_strictest_profile(watch: Watch) -> None:
    table = Table([("a.example", "{", 1, 1), ("b.example", "{", 1, 1)])
    sites = Sites(cast(Store, table), SitesSection(), unreadable=watch.documents)
    await sites.load()
    assert (await sites.create("a.example")).profile == UNKNOWN
    named = await sites.create("b.example", change=SiteSettings(profile="uk-statistics").applied_to)
    assert named.profile == "uk-statistics"


@pytest.mark.parametrize("document", DAMAGED)
async def test_a_token(watch: Watch, document: str) -> None:
    bad, good = token_hash("bad"), token_hash("good")
    table = Table([(bad, document, 0, 1), (good, encoded(HELD), 0, 1)])
    gate = Gate(cast(Store, table), unreadable=watch.documents)
    for _ in range(2):
        await gate.load()
    assert gate.known("Bearer good") == HELD.principal()
    assert gate.known("Bearer bad") is None
    assert watch.named == [("token", bad[:12])]
    assert watch.count("token") == 1
    assert await gate.revoke(bad[:12])
    assert watch.count("token") == 0
    assert table.written[-1][0] == [bad]
