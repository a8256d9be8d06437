"""What an answer tells of the reading tells nothing of the neighbours in the table."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.analyses.cohorts.request import CohortsRequest
from analytics_server.analyses.cohorts.run import run_cohorts
from analytics_server.analyses.experiments.results import ResultsRequest, run_results
from analytics_server.analyses.funnels.definition import FunnelRequest
from analytics_server.analyses.funnels.materialized.definitions import SavedFunnels
from analytics_server.analyses.funnels.materialized.maintenance import FunnelMaintenance
from analytics_server.analyses.funnels.service import FunnelService
from analytics_server.analyses.paths.request import PathsRequest
from analytics_server.analyses.paths.run import run_paths
from analytics_server.analyses.sessions.request import SessionsRequest, TimelineQuestion
from analytics_server.analyses.sessions.run import run_sessions, run_timeline
from analytics_server.config import LimitsSection, SqlSection
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.query.engine import QueryService
from analytics_server.query.language.request import QueryRequest
from analytics_server.query.read_counts import BYTE_STEP, EVENT_BYTES, ROW_STEP, told_bytes, told_rows
from analytics_server.query.trends import parse_trends, run_trends
from analytics_server.saved.store import Saved
from analytics_server.sql.service import SqlRequest, SqlService
from analytics_server.store import Store
from tests.query.conftest import Directory
from tests.query.plan.test_coverage import NOW, fresh
from tests.query.world import Event, make_world, micros

T = TypeVar("T")
MINE = "m.example"
ASKED: dict[str, object] = {"site_id": MINE, "date_range": "year"}


def request(kind: type[T], **more: object) -> T:
    return msgspec.convert(ASKED | more, kind)


async def insert(store: Store, events: list[Event]) -> None:
    columns = [list(column) for column in zip(*(event.row(random.Random(1)) for event in events), strict=True)]
    await store.insert("events", [*COLUMN_NAMES, "batch_id"], [*columns, [0] * len(events)])


async def told(service: QueryService, sql: SqlService, funnels: FunnelService) -> list[tuple[int, int]]:
    """Rows and bytes of every kind of answer about the site."""
    context = service.context
    answers: list[Any] = [
        await service.run(request(QueryRequest, metrics=["visitors"], dimensions=["event:page"])),
        await service.run(request(QueryRequest, metrics=["bounce_rate"], filters=[["contains", "event:title", ["a"]]])),
        await run_trends(service, parse_trends({"site_id": MINE, "metrics": "visitors", "date_range": "year"})),
        await run_sessions(context, request(SessionsRequest)),
        await run_timeline(context, TimelineQuestion(site_id=MINE, session_id="s", opened_at=None, limit=10, offset=0)),
        await run_paths(context, request(PathsRequest)),
        await run_cohorts(context, request(CohortsRequest)),
        await funnels.run(request(FunnelRequest, steps=[{"event": "pageview"}, {"event": "click"}])),
        await run_results(
            context, context.site(MINE), "cta", None, ResultsRequest(goal="click", date_range="year", control="b")
        ),
    ]
    found = [(answer.meta.rows_read, answer.meta.bytes_read) for answer in answers]
    for query in ("SELECT title FROM events", "SELECT count() FROM sessions", "SELECT 1"):
        pieces = [piece async for piece in sql.run(SqlRequest(site_id=MINE, query=query), "json")]
        meta = msgspec.json.decode(b"".join(pieces))["meta"]
        found.append((meta["rows_read"], meta["bytes_read"]))
    return found


async def test_neighbours_in_the_same_granule_change_nothing(store: Store) -> None:
    own = await fresh(store)
    saved = Saved(own)
    service = QueryService(own, Directory({MINE: Site(site_id=MINE)}), lambda: NOW, LimitsSection(), saved)
    kept = SavedFunnels(saved)
    maintenance = FunnelMaintenance(own, kept, Directory(), lambda: NOW)
    funnels = FunnelService(service.context, kept, maintenance)
    sql = SqlService(service.context, SqlSection())
    first = replace(
        make_world(seed=3, sessions=1)[0],
        site_id=MINE,
        name="exposure",
        session_id="s",
        at=micros(NOW) - 10**9,
        opened_at=micros(NOW) - 10**9,
        experiment="cta",
        variant="b",
    )
    await insert(own, [first])
    before = await told(service, sql, funnels)
    assert all(rows > 0 and size > 0 for rows, size in before)

    for site_id, title in (("l.example", "x"), ("n.example", "y" * 500)):
        for number in range(40):
            await insert(own, [replace(first, site_id=site_id, session_id=f"{number}", title=title)] * 25)
    for table in ("events", "sessions", "traffic"):
        await own.command(f"OPTIMIZE TABLE {table} FINAL")

    assert await told(service, sql, funnels) == before
    await own.close()


@given(read=st.integers(0, 10**12), more=st.integers(0, 8_192), own=st.integers(0, ROW_STEP))
def test_a_small_site_s_number_is_its_own(read: int, more: int, own: int) -> None:
    assert told_rows(read, own) == told_rows(read + more, own) == own


@pytest.mark.parametrize(
    ("read", "own", "told"),
    [
        (0, ROW_STEP + 1, ROW_STEP),
        (1, ROW_STEP + 1, ROW_STEP),
        (ROW_STEP + 1, ROW_STEP + 1, ROW_STEP + 1),
        (ROW_STEP + 1, 10**9, 2 * ROW_STEP),
        (ROW_STEP, 10**9, ROW_STEP),
    ],
)
def test_a_large_site_s_number_is_rounded_up(read: int, own: int, told: int) -> None:
    assert told_rows(read, own) == told


def test_bytes_are_those_of_its_own_events_or_whole_steps() -> None:
    few = BYTE_STEP // EVENT_BYTES
    assert told_bytes(10**12, few) == few * EVENT_BYTES
    assert told_bytes(1, few + 1) == BYTE_STEP
    assert told_bytes(10**12, few + 1) == (few + 1) * EVENT_BYTES
