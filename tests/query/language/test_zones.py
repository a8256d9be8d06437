"""Sites whose stored time zone only Python knows are answered in another, and hold up no other site's totals."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast
from zoneinfo import available_timezones

import msgspec
import pytest

from analytics_server.access.sites.sites import Sites
from analytics_server.analyses.cohorts.request import CohortsRequest
from analytics_server.analyses.cohorts.run import run_cohorts
from analytics_server.analyses.experiments.results import ResultsRequest, run_results
from analytics_server.analyses.funnels.definition import FunnelBody, FunnelRequest
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.analyses.paths.request import PathsRequest
from analytics_server.analyses.paths.run import run_paths
from analytics_server.analyses.sessions.request import SessionsRequest
from analytics_server.analyses.sessions.run import run_sessions
from analytics_server.config import LimitsSection, SitesSection
from analytics_server.errors import RequestError, StoreFatal, StoreTimeout
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.query.day_totals import DayTotals
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import QueryRequest
from analytics_server.query.trends import parse_trends, run_trends
from analytics_server.saved.store import Kind, Saved
from analytics_server.store import Store
from analytics_server.store.protocol import ResultSet
from analytics_server.zones import find_zone
from tests.query.plan.test_coverage import fresh
from tests.query.world import make_world

T = TypeVar("T")

NOW = datetime(2025, 11, 9, 12, 34, 56, tzinfo=UTC)
STORED = {"a.example": "right/UTC", "b.example": "posix/Europe/Berlin", "c.example": "UTC"}


async def test_clickhouse_knows_every_zone_that_is_taken(store: Store) -> None:
    sites = Sites(store, SitesSection())
    await sites.load()
    known = {name for name in available_timezones() if find_zone(name) is not None}
    answer = await store.query("SELECT time_zone FROM system.time_zones")

    for name in known - {str(zone) for (zone,) in answer.rows}:  # newer than the engine: it is asked, too
        with pytest.raises(RequestError, match="This ClickHouse knows no time zone"):
            await sites.create("a.example", name)


async def stored(store: Store) -> Sites:
    """The sites as an earlier version may have stored them."""
    rows = [msgspec.json.encode(Site(site_id=site_id, timezone=zone)).decode() for site_id, zone in STORED.items()]
    columns: list[list[object]] = [list(STORED), list(rows), [0] * len(rows), [NOW] * len(rows)]
    await store.insert("sites", ("site_id", "document", "deleted", "updated_at"), columns)
    sites = Sites(store, SitesSection())
    await sites.load()
    return sites


async def with_events(store: Store) -> None:
    """The same sessions for each of the sites."""
    world = [event for event in make_world(seed=11, sessions=120) if event.site_id == "utc.example"]
    rows = [replace(event, site_id=site_id).row(random.Random(1)) for site_id in STORED for event in world]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [0] * len(rows)])


async def test_every_question_is_answered_and_says_which_zone_stands_in(store: Store) -> None:
    own = await fresh(store)
    await with_events(own)
    sites = await stored(own)
    saved = Saved(own)
    service = QueryService(own, sites, lambda: NOW, LimitsSection(), saved)
    funnels = SavedFunnels(saved)
    maintenance = FunnelMaintenance(own, funnels, sites, lambda: NOW, settle_s=0.0)
    experiment = {"goal": "click", "date_range": "year"}
    for site_id, zone in (("a.example", "UTC"), ("b.example", "Europe/Berlin"), ("c.example", "UTC")):
        asked: dict[str, object] = {"site_id": site_id, "date_range": "year"}

        def request(kind: type[T], asked: dict[str, object] = asked, **more: object) -> T:
            return msgspec.convert(asked | more, kind)

        answers: list[Any] = [
            await service.run(request(QueryRequest, metrics=["events"], dimensions=["time:day"])),
            await run_trends(service, parse_trends({"site_id": site_id, "metrics": "visitors", "date_range": "year"})),
            await run_sessions(service.context, request(SessionsRequest)),
            await run_paths(service.context, request(PathsRequest)),
            await run_cohorts(service.context, request(CohortsRequest)),
            await FunnelService(service.context, funnels, maintenance).run(
                request(FunnelRequest, steps=[{"event": "pageview"}, {"event": "click"}])
            ),
            await run_results(
                service.context, service.context.site(site_id), "cta", None, msgspec.convert(experiment, ResultsRequest)
            ),
        ]
        for answer in answers:
            assert answer.meta.time_zone == zone
            told = [warning for warning in answer.meta.warnings if repr(STORED[site_id]) in warning]
            assert len(told) == (STORED[site_id] != zone)
    await own.close()


class Unlucky:
    """A store that refuses, or breaks down at, whatever names one of the sites."""

    def __init__(self, store: Store, site_id: str, error: Exception) -> None:
        self._store, self._site_id, self._error = store, site_id, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def query(self, sql: str, parameters: Any = None, **options: Any) -> ResultSet:
        if self._site_id in (parameters or {}).values() or self._site_id in sql:
            raise self._error
        return await self._store.query(sql, parameters, **options)


@pytest.mark.parametrize("error", [StoreFatal("refused"), StoreTimeout("slow"), KeyError("a slip")])
async def test_a_site_that_fails_does_not_stop_the_day_totals_of_the_others(store: Store, error: Exception) -> None:
    own = await fresh(store)
    await with_events(own)
    sites = await stored(own)
    unlucky = cast(Store, Unlucky(own, "a.example", error))

    await DayTotals(unlucky, sites, lambda: NOW, settle_s=0.0, rebuild_s=0.0).build_all()

    answer = await own.query("SELECT DISTINCT site_id FROM day_builds ORDER BY site_id")
    assert [str(site_id) for (site_id,) in answer.rows] == ["b.example", "c.example"]
    await own.close()


@pytest.mark.parametrize("error", [StoreFatal("refused"), KeyError("a slip")])
async def test_a_site_that_fails_does_not_stop_the_saved_funnels_of_the_others(store: Store, error: Exception) -> None:
    own = await fresh(store)
    await with_events(own)
    sites, saved = await stored(own), Saved(own)
    funnels = SavedFunnels(saved)
    for site_id in STORED:
        body = msgspec.convert({"steps": [{"event": "pageview"}, {"event": "click"}]}, FunnelBody)
        await saved.put(Kind.FUNNEL, site_id, "One", body)
    unlucky = cast(Store, Unlucky(own, "a.example", error))
    maintenance = FunnelMaintenance(unlucky, funnels, sites, lambda: NOW, settle_s=0.0)

    assert await maintenance.round()

    states = {facts.site_id: maintenance.state(facts).status for facts in funnels.all_facts()}
    assert states.pop("a.example") != "ready"
    assert states == {"b.example": "ready", "c.example": "ready"}
    await own.close()
