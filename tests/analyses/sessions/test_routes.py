"""Over HTTP: the token, the body, the right to the site, every bound from both sides, and input that means harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from yarl import URL

from analytics_server.analyses.cohorts.request import MAX_CELLS, MAX_COHORTS, MAX_PERIODS, MAX_VALUES
from analytics_server.analyses.paths.request import MAX_NODES, MAX_STEPS, TEXT_CHARS
from analytics_server.analyses.routes import endpoints
from analytics_server.analyses.sessions.request import MAX_OFFSET, SESSION_ID_CHARS, USER_ID_CHARS
from analytics_server.config import LimitsSection
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.serving import wrap
from analytics_server.model import Site
from analytics_server.query.context import QueryContext
from analytics_server.store import Store
from tests.analyses.sessions.people import NOW, Event, insert_people
from tests.http.authorizer import routes_for_a_reader

SITE, FOREIGN = "odd.example", "foreign.example"
TOKEN = {"Authorization": "Bearer good"}
IDS = ("a/b", "a b+c", "100%", "..", ".", "?x=1&y#z", "é\u2028日本", "x" * SESSION_ID_CHARS, "'\"\\")
OPENED = 1_760_000_000_000_001


class Client:
    """Calls the three analyses."""

    def __init__(self, client: TestClient[web.Request, web.Application]) -> None:
        self._client = client

    async def post(self, path: str, *, data: bytes | None = None, token: bool = True, **body: Any) -> tuple[int, Any]:
        json = None if data is not None else {"site_id": SITE, **body}
        headers = TOKEN if token else {}
        async with self._client.post(f"/api/v1/{path}", json=json, data=data, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, address: str, *, token: bool = True) -> tuple[int, Any]:
        headers = TOKEN if token else {}
        async with self._client.get(URL(address, encoded=True), headers=headers) as response:
            return response.status, await response.json()


class Directory:
    """Two sites."""

    def get(self, site_id: str) -> Site | None:
        return Site(site_id=site_id) if site_id in (SITE, FOREIGN) else None


@pytest.fixture(scope="module")
def filled(store: Store) -> Store:
    """A session for each odd id."""
    events = [
        Event(
            site_id=SITE,
            at=OPENED + place,
            name="pageview",
            path="/odd",
            plan="",
            session_id=session_id,
            opened_at=OPENED + place,
            visitor_id=2**64 - 1 - place,
            user_id="odd",
            source="",
            number=2**100 + place,
        )
        for place, session_id in enumerate(IDS)
    ]
    asyncio.run(insert_people(store, events, 1))
    return store


@pytest_asyncio.fixture
async def client(filled: Store) -> AsyncIterator[Client]:
    context = QueryContext(filled, Directory(), lambda: NOW, LimitsSection())
    app = web.Application()
    app.router.add_routes(
        wrap(routes_for_a_reader(endpoints(context), SITE, "elsewhere.example"), HttpMetrics(CollectorRegistry()))
    )
    async with TestClient(TestServer(app)) as made:
        yield Client(made)


def code(answer: Any) -> str:
    return str(answer["error"]["code"])


PATHS = ("cohorts", "paths", "sessions")


@pytest.mark.parametrize("path", PATHS)
async def test_the_smallest_question_is_answered(client: Client, path: str) -> None:
    status, answer = await client.post(path)
    assert status == 200
    assert answer["meta"]["time_zone"] == "UTC"
    assert answer["query"]["site_id"] == SITE


@pytest.mark.parametrize("path", PATHS)
async def test_the_token_comes_first_then_the_body_then_the_site(client: Client, path: str) -> None:
    assert (await client.post(path, data=b"{", token=False))[0] == 401
    assert (await client.post(path, data=b" " * (LimitsSection().query_bytes + 1)))[0] == 413
    status, answer = await client.post(path, data=b"{")
    assert (status, code(answer)) == (400, "bad_json")
    assert (await client.post(path, site_id=f" {FOREIGN.upper()} "))[0] == 403
    status, answer = await client.post(path, site_id="elsewhere.example")
    assert (status, code(answer)) == (404, "unknown_site")


async def test_a_timeline_asks_for_the_token_and_the_site(client: Client) -> None:
    assert (await client.get(f"/api/v1/sessions/x?site_id={SITE}", token=False))[0] == 401
    assert (await client.get(f"/api/v1/sessions/x?site_id={FOREIGN}"))[0] == 403
    status, answer = await client.get("/api/v1/sessions/x?site_id=elsewhere.example")
    assert (status, code(answer)) == (404, "unknown_site")
    status, answer = await client.get(f"/api/v1/sessions/nobody's?site_id={SITE}")
    assert (status, code(answer)) == (404, "unknown_session")


@pytest.mark.parametrize(
    ("path", "within", "beyond", "wanted"),
    [
        ("cohorts", {"limit": MAX_VALUES}, {"limit": MAX_VALUES + 1}, "bad_request"),
        ("cohorts", {"limit": 1}, {"limit": 0}, "bad_request"),
        ("cohorts", {"periods": MAX_PERIODS}, {"periods": MAX_PERIODS + 1}, "bad_request"),
        ("cohorts", {"periods": 1}, {"periods": 0}, "bad_request"),
        ("paths", {"steps": 2}, {"steps": 1}, "bad_request"),
        ("paths", {"steps": MAX_STEPS}, {"steps": MAX_STEPS + 1}, "bad_request"),
        ("paths", {"limit": 1}, {"limit": 0}, "bad_request"),
        ("paths", {"limit": MAX_NODES}, {"limit": MAX_NODES + 1}, "bad_request"),
        ("paths", {"start": "x" * TEXT_CHARS}, {"start": "x" * (TEXT_CHARS + 1)}, "bad_request"),
        ("paths", {"end": "x" * TEXT_CHARS}, {"end": "x" * (TEXT_CHARS + 1)}, "bad_request"),
        ("paths", {"end": "/"}, {"end": "/", "start": "/"}, "bad_request"),
        ("sessions", {"user_id": "x" * USER_ID_CHARS}, {"user_id": "x" * (USER_ID_CHARS + 1)}, "bad_request"),
        ("sessions", {"user_id": "x"}, {"user_id": ""}, "bad_request"),
        ("sessions", {"pagination": {"limit": 10_000}}, {"pagination": {"limit": 10_001}}, "bad_pagination"),
        ("sessions", {"pagination": {"limit": 1}}, {"pagination": {"limit": 0}}, "bad_request"),
        ("sessions", {"pagination": {"offset": 2**31}}, {"pagination": {"offset": 2**31 + 1}}, "bad_request"),
        ("sessions", {"order_by": [["events", "asc"]] * 5}, {"order_by": [["events", "asc"]] * 6}, "bad_request"),
        ("sessions", {"order_by": [["events", "asc"]]}, {"order_by": [["visitor_id", "asc"]]}, "bad_order"),
    ],
)
async def test_bounds_hold_exactly(client: Client, path: str, within: Any, beyond: Any, wanted: str) -> None:
    status, answer = await client.post(path, **within)
    assert status == 200, answer
    status, answer = await client.post(path, **beyond)
    assert (status, code(answer)) == (400, wanted)


async def test_a_matrix_has_so_many_cohorts_and_numbers_at_most(client: Client) -> None:
    days: dict[str, Any] = {"period": "day", "periods": 1}
    # 400 days up to the 4th of January 2026.
    status, answer = await client.post("cohorts", date_range=["2024-12-01", "2026-01-04"], **days)
    assert (status, len(answer["cohorts"])) == (200, MAX_COHORTS)
    status, answer = await client.post("cohorts", date_range=["2024-11-30", "2026-01-04"], **days)
    assert (status, code(answer)) == (400, "too_many_cohorts")
    wide: dict[str, Any] = {
        "date_range": ["2024-12-01", "2026-01-04"],
        "period": "day",
        "breakdown": "visit:source",
        "limit": 50,
    }
    status, answer = await client.post("cohorts", periods=MAX_CELLS // 50 // MAX_COHORTS, **wide)
    assert status == 200
    status, answer = await client.post("cohorts", periods=MAX_CELLS // 50 // MAX_COHORTS + 1, **wide)
    assert (status, code(answer)) == (400, "too_many_cells")


async def test_cohorts_that_have_not_begun_are_left_out(client: Client) -> None:
    _, answer = await client.post("cohorts", date_range=["2025-12-01", "2026-02-28"], period="month")
    assert [cohort["start"] for cohort in answer["cohorts"]] == ["2025-12-01", "2026-01-01"]
    assert [cohort["complete"] for cohort in answer["cohorts"]] == [[True, False], [False]]
    status, answer = await client.post("cohorts", date_range=["2027-01-01", "2027-02-28"])
    assert (status, answer["cohorts"], answer["curve"]) == (200, [], [])


async def test_cohorts_of_long_ago_have_the_columns_that_can_be_shown(client: Client) -> None:
    _, answer = await client.post("cohorts", date_range=["2015-01-01", "2015-01-02"], period="day")
    assert [len(cohort["returned"]) for cohort in answer["cohorts"]] == [MAX_PERIODS, MAX_PERIODS]
    assert answer["query"]["periods"] == MAX_PERIODS


async def test_an_empty_event_is_any_event(client: Client) -> None:
    _, plain = await client.post("cohorts", date_range="6mo")
    _, empty = await client.post("cohorts", date_range="6mo", first={}, returning={})
    assert plain["cohorts"] == empty["cohorts"]
    assert (empty["query"]["first"], empty["query"]["returning"]) == (None, None)


@pytest.mark.parametrize("asked", [{}, {"first": {"name": "pageview"}, "returning": {"event": "signup"}}])
async def test_the_question_as_it_was_understood_can_be_asked_again(client: Client, asked: dict[str, Any]) -> None:
    _, answer = await client.post("cohorts", date_range="6mo", **asked)
    _, again = await client.post("cohorts", **answer["query"])
    assert again["cohorts"] == answer["cohorts"]
    assert any(cohort["size"] for cohort in answer["cohorts"]) or asked


@pytest.mark.parametrize("by", ["visitor", "session"])
async def test_the_answer_says_whom_it_can_not_follow(client: Client, by: str) -> None:
    _, answer = await client.post("cohorts", by=by)
    assert "nobody can be seen to come back" in answer["meta"]["warnings"][0]
    assert (await client.post("cohorts"))[1]["meta"]["warnings"] == []


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("cohorts", {"breakdown": "time:day"}, "unsupported_dimension"),
        ("cohorts", {"breakdown": "event:goal"}, "unsupported_dimension"),
        ("cohorts", {"breakdown": "event:nothing"}, "unknown_dimension"),
        ("cohorts", {"breakdown": ""}, "unknown_dimension"),
        ("cohorts", {"first": {"name": "x", "nonsense": 1}}, "unknown_key"),
        ("cohorts", {"first": {"goal": "nothing"}}, "unknown_goal"),
        ("cohorts", {"first": {"filters": [["matches", "event:page", ["("]]]}}, "bad_pattern"),
        ("cohorts", {"returning": {"filters": [[["is"]]]}}, "bad_filter"),
        ("cohorts", {"first": {"filters": [["is", ["event:page"], ["/"]]]}}, "bad_filter"),
        ("cohorts", {"period": "year"}, "bad_request"),
        ("cohorts", {"by": "person"}, "bad_request"),
        ("cohorts", {"date_range": "yesterdays"}, "bad_date_range"),
        ("cohorts", {"date_range": ["2025-01-02", "2025-01-01"]}, "bad_date_range"),
        ("cohorts", {"date_range": [10**30, 10**31]}, "bad_date_range"),
        ("paths", {"filters": [["is", "nothing", ["x"]]]}, "unknown_dimension"),
        ("paths", {"filters": [["matches", "event:page", ["("]]]}, "bad_pattern"),
        ("paths", {"steps": 2**70}, "bad_request"),
        ("paths", {"start": ["/"]}, "bad_request"),
        ("paths", {"by": "click"}, "bad_request"),
        ("sessions", {"filters": [["matches", "event:page", ["("]]]}, "bad_pattern"),
        ("sessions", {"order_by": [["events", "up"]]}, "bad_request"),
        ("sessions", {"include": {"comparison": "previous_period"}}, "unknown_key"),
    ],
)
async def test_what_can_not_be_answered_is_refused(client: Client, path: str, body: Any, wanted: str) -> None:
    status, answer = await client.post(path, **body)
    assert (status, code(answer)) == (400, wanted)


HARM = (
    "\x00",
    "a\x00b",
    "\u202e",
    "'; DROP TABLE events --",
    "{site:String}",
    "\\",
    "\\N",
    "\t\n\r",
    "%",
    "\U0010ffff",
)


@pytest.mark.parametrize("text", HARM)
async def test_odd_text_is_only_text(client: Client, text: str) -> None:
    spec = {"filters": [["is", "event:props:plan", [text]]]}
    for path, body in (
        ("cohorts", {"first": {"name": text}, "returning": spec, "breakdown": f"event:props:{text}"}),
        ("cohorts", {"first": {"name": text}}),
        ("paths", {"start": text, "filters": spec["filters"]}),
        ("paths", {"end": text, "by": "event"}),
        ("sessions", {"user_id": text, "filters": spec["filters"]}),
    ):
        status, answer = await client.post(path, **body)
        assert status == 200, (path, answer)
    status, answer = await client.get(f"/api/v1/sessions?site_id={SITE}&session_id={quote(text, safe='')}")
    assert (status, code(answer)) == (404, "unknown_session")


@pytest.mark.parametrize("data", [b'{"site_id": "a\\ud800"}', b"[" * 50_000, b'{"site_id": 1e999}', b"null", b"\xff"])
async def test_bytes_that_are_no_question_are_refused(client: Client, data: bytes) -> None:
    for path in PATHS:
        assert (await client.post(path, data=data))[0] == 400


@pytest.mark.parametrize("session_id", IDS)
async def test_any_id_can_be_asked_for(client: Client, session_id: str) -> None:
    quoted = quote(session_id, safe="")
    addresses = [f"/api/v1/sessions?site_id={SITE}&session_id={quoted}"]
    if session_id.strip("."):
        addresses.append(f"/api/v1/sessions/{quoted}?site_id={SITE}")
    for address in addresses:
        status, answer = await client.get(address)
        assert status == 200, answer
        assert answer["session"]["session_id"] == session_id
        assert answer["session"]["visitor_id"] == str(2**64 - 1 - IDS.index(session_id))
        opened = answer["session"]["opened_at"]
        status, again = await client.get(f"{address}&opened_at={quote(opened, safe='')}")
        assert (status, again["events"]) == (200, answer["events"])


@pytest.mark.parametrize(
    ("parameters", "status", "wanted"),
    [
        ("limit=10000", 200, ""),
        ("limit=10001", 400, "bad_pagination"),
        ("limit=0", 400, "bad_pagination"),
        ("limit=-1", 400, "bad_pagination"),
        ("limit=%C2%B2", 400, "bad_pagination"),
        (f"offset={MAX_OFFSET}", 200, ""),
        (f"offset={MAX_OFFSET + 1}", 400, "bad_pagination"),
        ("offset=" + "9" * 5_000, 400, "bad_pagination"),
        ("limit=1&limit=2", 400, "bad_request"),
        ("nonsense=1", 400, "unknown_key"),
        ("session_id=other", 400, "bad_request"),
        ("opened_at=yesterday", 400, "bad_request"),
        ("opened_at=0001-01-01T00:00:00%2B14:00", 400, "bad_request"),
        ("opened_at=1999-12-30T23:59:59Z", 400, "bad_request"),
        ("opened_at=1999-12-31T00:00:00Z", 404, "unknown_session"),
        ("opened_at=2100-01-01T00:00:00Z", 404, "unknown_session"),
        ("opened_at=2100-01-01T00:00:01Z", 400, "bad_request"),
        ("opened_at=9999-12-31T23:59:59Z", 400, "bad_request"),
        ("opened_at=", 400, "bad_request"),
    ],
)
async def test_parameters_of_a_timeline_hold_exactly(client: Client, parameters: str, status: int, wanted: str) -> None:
    answered, answer = await client.get(f"/api/v1/sessions/{quote(IDS[2])}?site_id={SITE}&{parameters}")
    assert answered == status, answer
    assert not wanted or code(answer) == wanted


async def test_a_timeline_needs_a_site_and_an_id(client: Client) -> None:
    for address in (
        "/api/v1/sessions/x",
        f"/api/v1/sessions?site_id={SITE}",
        f"/api/v1/sessions?site_id={SITE}&session_id=",
        f"/api/v1/sessions?site_id={SITE}&session_id={'x' * (SESSION_ID_CHARS + 1)}",
    ):
        status, answer = await client.get(address)
        assert (status, code(answer)) == (400, "bad_request")
