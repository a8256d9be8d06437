"""Files of events over HTTP: rights, bad addresses, what a profile hides, formulas, and the limits from both sides."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator

import msgspec
import pyarrow.parquet as parquet  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.analyses.event_files.request import EventsRequest
from analytics_server.analyses.event_files.routes import endpoints
from analytics_server.analyses.event_files.run import EventFiles
from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError, StoreTimeout, TooManyRequests, Unavailable
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.serving import wrap
from analytics_server.model import COLUMN_NAMES, Site
from analytics_server.profiles.tables import PROFILES
from analytics_server.query.context import QueryContext
from analytics_server.store import Store
from tests.analyses.sessions.people import NOW, Event, insert_people
from tests.http.authorizer import routes_for_a_reader

SITE, STRICT, FOREIGN = "files.example", "strict-files.example", "foreign-files.example"
CROWDED = "crowded-files.example"
FORMULAS = ("=1+1", "+1", "-1", "@a", "\tx", " =2", "plain")
SITES = {
    SITE: Site(site_id=SITE),
    STRICT: Site(site_id=STRICT, profile="fr-exempt"),
    FOREIGN: Site(site_id=FOREIGN),
    CROWDED: Site(site_id=CROWDED),
}
OPENED = 1_760_000_000_000_001
ADDRESS = "/api/v1/export/events"
TOKEN = {"Authorization": "Bearer good"}
EVERYTHING = EventsRequest(site_id=SITE, date_range=("2025-10-01", "2025-10-31"))


@pytest.fixture(scope="module")
def filled(store: Store) -> Store:
    """On each site a page view for each text."""
    events = [
        Event(
            site_id=site,
            at=OPENED + place,
            name="pageview",
            path="/",
            plan=text,
            session_id=f"s{place}",
            opened_at=OPENED + place,
            visitor_id=2**64 - 1 - place,
            user_id=text,
            source="",
            number=2**101 + place,
        )
        for site in (SITE, STRICT, FOREIGN)
        for place, text in enumerate(FORMULAS)
    ]
    asyncio.run(insert_people(store, events, 1))
    return store


@pytest.fixture
def context(filled: Store) -> QueryContext:
    return QueryContext(filled, SITES, lambda: NOW, LimitsSection())


@pytest_asyncio.fixture
async def client(context: QueryContext) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    routes = routes_for_a_reader(endpoints(context), SITE, STRICT, "elsewhere.example")
    app.router.add_routes(wrap(routes, HttpMetrics(CollectorRegistry())))
    async with TestClient(TestServer(app), headers=TOKEN) as made:
        yield made


Asked = TestClient[web.Request, web.Application]


async def answer_of(client: Asked, **asked: str) -> tuple[int, str]:
    parameters = {"site_id": SITE, "from": "2025-10-01", "to": "2025-10-31"} | asked
    async with client.get(ADDRESS, params={name: text for name, text in parameters.items() if text}) as response:
        return response.status, await response.text()


async def test_rights_come_before_anything_is_looked_up(client: Asked) -> None:
    async with client.get(ADDRESS, params={"site_id": SITE}, headers={"Authorization": "Bearer bad"}) as response:
        assert response.status == 401
    assert (await answer_of(client, site_id=FOREIGN))[0] == 403
    status, text = await answer_of(client, site_id="elsewhere.example")
    assert (status, "unknown_site" in text) == (404, True)


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ({"site_id": ""}, "bad_request", "?site_id="),
        ({"colums": "ts"}, "unknown_key", "columns"),
        ({"columns": "ts,pth"}, "unknown_column", "path"),
        ({"columns": "ts,ts"}, "bad_request", "more than once"),
        ({"columns": "batch_id"}, "unknown_column", "batch_id"),
        ({"format": "xlsx"}, "bad_format", "parquet"),
        ({"csv": "wild"}, "bad_format", "safe, raw"),
        ({"filters": "["}, "bad_filter", "JSON"),
        ({"filters": '[["is", "event:pge", ["/"]]]'}, "unknown_dimension", "event:page"),
        ({"to": ""}, "bad_date_range", "both"),
        ({"date_range": "7d"}, "bad_date_range", "not both"),
    ],
)
async def test_bad_addresses_say_what_is_wrong(client: Asked, asked: dict[str, str], code: str, said: str) -> None:
    status, text = await answer_of(client, **asked)
    error = msgspec.json.decode(text)["error"]
    assert (status, error["code"]) == (400, code)
    assert said in error["message"]


async def test_a_file_says_what_it_is(client: Asked) -> None:
    kinds = {
        "ndjson": "application/x-ndjson",
        "csv": "text/csv; charset=utf-8",
        "parquet": "application/vnd.apache.parquet",
    }
    for format_, kind in kinds.items():
        parameters = {"site_id": SITE, "date_range": "all", "format": format_}
        async with client.get(ADDRESS, params=parameters) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == kind
            assert response.headers["Content-Disposition"] == f'attachment; filename="events.{format_}"'
            assert response.headers["Cache-Control"] == "no-store"


async def test_csv_for_people_runs_nothing_and_raw_csv_keeps_every_text(client: Asked) -> None:
    def users(text: str) -> list[str]:
        return [row["user_id"] for row in csv.DictReader(io.StringIO(text, newline=""))]

    status, safe = await answer_of(client, format="csv")
    assert status == 200
    assert users(safe) == [text if text == "plain" else f"'{text}" for text in FORMULAS]
    assert users((await answer_of(client, format="csv", csv="raw"))[1]) == list(FORMULAS)


async def test_nothing_found_is_an_empty_file(client: Asked) -> None:
    none = {"from": "2024-01-01", "to": "2024-01-02"}
    assert await answer_of(client, **none) == (200, "")
    status, text = await answer_of(client, **none, format="csv", columns="ts,path")
    assert (status, text) == (200, '"ts","path"\n')
    async with client.get(ADDRESS, params={"site_id": SITE, "format": "parquet", **none}) as response:
        assert parquet.read_table(io.BytesIO(await response.read())).num_rows == 0


async def test_columns_that_a_profile_forbids_are_left_out_or_refused(client: Asked) -> None:
    hidden = PROFILES["fr-exempt"].hidden_columns
    assert "user_id" in hidden
    status, text = await answer_of(client, site_id=STRICT)
    rows = [msgspec.json.decode(line) for line in text.splitlines()]
    assert (status, len(rows)) == (200, len(FORMULAS))
    assert set(rows[0]) == set(COLUMN_NAMES) - hidden
    status, text = await answer_of(client, site_id=STRICT, columns="ts,user_id")
    assert (status, "forbidden_by_profile" in text) == (400, True)
    status, text = await answer_of(client, site_id=STRICT, filters='[["is", "visit:source", ["x"]]]')
    assert (status, "forbidden_by_profile" in text) == (400, True)


async def test_one_site_never_has_every_place_and_a_client_that_goes_gives_its_own_back(filled: Store) -> None:
    context = QueryContext(filled, SITES, lambda: NOW, LimitsSection(export_files=3))
    files = EventFiles(context)
    mine = [files.write(EVERYTHING) for _ in range(3)]
    assert [len(await anext(each)) > 0 for each in mine[:2]] == [True, True]
    with pytest.raises(TooManyRequests, match=r"2 files of this site .*export_files"):
        await anext(mine[2])
    theirs = [files.write(everything_of(site)) for site in (STRICT, FOREIGN)]
    assert await anext(theirs[0])
    with pytest.raises(Unavailable, match=r"3 files are being written already"):
        await anext(theirs[1])
    await mine[0].aclose()
    assert await anext(files.write(EVERYTHING))


async def test_one_token_never_has_every_place(filled: Store) -> None:
    files = EventFiles(QueryContext(filled, SITES, lambda: NOW, LimitsSection(export_files=3)))
    mine = [files.write(everything_of(site), token_id="mine") for site in SITES]
    assert [len(await anext(each)) > 0 for each in mine[:2]] == [True, True]
    with pytest.raises(TooManyRequests, match=r"2 files of this token .*export_files"):
        await anext(mine[2])
    assert await anext(files.write(everything_of(FOREIGN), token_id="another"))
    await mine[0].aclose()
    assert await anext(files.write(everything_of(FOREIGN), token_id="mine"))


async def test_a_file_that_takes_too_long_ends_with_an_error(filled: Store) -> None:
    context = QueryContext(filled, SITES, lambda: NOW, LimitsSection(export_timeout_s=0.000_001))
    files = EventFiles(context)
    with pytest.raises(StoreTimeout):
        await anext(files.write(EVERYTHING))
    # Its place is free again.
    with pytest.raises(StoreTimeout):
        await asyncio.gather(*(anext(files.write(EVERYTHING)) for _ in range(1)))


async def test_a_file_that_needs_too_much_memory_says_so(filled: Store) -> None:
    await filled.command(
        "INSERT INTO events (site_id, name, ts, session_start, session_id, path)"
        f" SELECT '{CROWDED}', 'pageview', t, t, toString(number), toString(number) FROM"
        " (SELECT number, toDateTime64('2025-10-03', 6, 'UTC') + INTERVAL number SECOND AS t FROM numbers(50000))"
    )
    by_page = EventsRequest(
        site_id=CROWDED, date_range=EVERYTHING.date_range, filters=(["is", "visit:entry_page", ["7", "49999"]],)
    )
    found = [await file_of(filled, by_page, LimitsSection(export_memory_mb=memory_mb)) for memory_mb in (64, 512)]
    assert [{msgspec.json.decode(line)["path"] for line in one.splitlines()} for one in found] == [{"7", "49999"}] * 2
    with pytest.raises(RequestError, match="export_memory_mb"):
        await file_of(filled, by_page, LimitsSection(export_memory_mb=1))


async def file_of(store: Store, asked: EventsRequest, limits: LimitsSection) -> bytes:
    return b"".join([piece async for piece in EventFiles(QueryContext(store, SITES, lambda: NOW, limits)).write(asked)])


def everything_of(site_id: str) -> EventsRequest:
    """The same of another site."""
    return EventsRequest(site_id=site_id, date_range=EVERYTHING.date_range)
