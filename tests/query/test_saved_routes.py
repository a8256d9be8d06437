"""Goals, segments, annotations and saved queries over HTTP: their lives, what is refused, and who may what."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.access.gate import Gate, Role
from analytics_server.access.saved import Saved
from analytics_server.config import ClickhouseSection, Config, LimitsSection, SqlSection
from analytics_server.model import Site
from analytics_server.query.request import QueryRequest, decode_request
from analytics_server.query.saved_routes import saved_routes
from analytics_server.query.saving import Askers
from analytics_server.query.service import QueryService
from analytics_server.query.sql.service import SqlService
from analytics_server.serving import HttpMetrics, wrap
from analytics_server.store import Store, make_store, migrate
from tests.query.questions import body

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SITE, TOKYO = "a.example", "tokyo.example"
SITES = (Site(site_id=SITE, timezone="Europe/Berlin"), Site(site_id=TOKYO, timezone="Asia/Tokyo"))
QUESTION = {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d"}
LIVES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "goals": (
        {"name": "Signed up", "event": "signup", "currency": "EUR", "about": "The form."},
        {"page": "/welcome*"},
        {"event": "", "page": "/welcome*", "filters": []},
    ),
    "segments": (
        {"name": "Phones", "filters": [["is", "visit:device", ["Mobile"]]]},
        {"filters": [["or", [["is", "visit:device", ["TV"]], ["has_done", ["is", "event:name", ["signup"]]]]]]},
        {},
    ),
    "annotations": (
        {"name": "Prices", "text": "New prices.", "date": "2026-11-01"},
        {"date_range": ["2026-11-01", "2026-11-03"]},
        {"start": "2026-11-01T00:00:00+01:00", "end": "2026-11-04T00:00:00+01:00"},
    ),
    "queries": (
        {"name": "Week", "request": QUESTION},
        {"request": {**QUESTION, "date_range": "30d"}},
        {},
    ),
}
"""What is made, what is changed, and what else is to be seen then."""
KINDS = list(LIVES)


def wanted(kind: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a thing of the kind, with changes; None leaves a key out."""
    every = {"site_id": SITE, **LIVES[kind][0], **changes}
    return {key: value for key, value in every.items() if value is not None}


@dataclass(slots=True)
class Directory:
    """Sites by their ids, those of every test so far."""

    sites: dict[str, Site] = field(default_factory=dict)

    def get(self, site_id: str) -> Site | None:
        return self.sites.get(site_id)


@dataclass(frozen=True, slots=True)
class Api:
    """One server's routes, and tokens of it. Every test has sites of its own, which it calls by the same names."""

    client: TestClient[web.Request, web.Application]
    tokens: dict[str, str]
    service: QueryService
    gate: Gate
    own: str = ""

    async def __call__(
        self, method: str, path: str, value: object = None, *, token: str = "admin", data: bytes | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        sent = self.renamed(msgspec.json.encode(value)) if value is not None else data
        path = self.renamed(f"/api/v1/{path}".encode()).decode()
        async with self.client.request(method, path, data=sent, headers=headers) as response:
            answer = (await response.read()).replace(self.own.encode(), b"")
            return response.status, msgspec.json.decode(answer) if answer else None

    def renamed(self, text: bytes) -> bytes:
        """The same with this test's sites."""
        return re.sub(rb"(?i)(a|tokyo)\.example", rb"\g<0>" + self.own.encode(), text)

    async def make(self, kind: str, **changes: Any) -> dict[str, Any]:
        status, made = await self("POST", kind, wanted(kind, changes))
        assert status == 201, made
        return dict(made)

    async def refusal(self, kind: str, **changes: Any) -> str:
        """The code of a refused POST."""
        status, answer = await self("POST", kind, wanted(kind, changes))
        assert status == 400, answer
        return str(answer["error"]["code"])


async def serve(store: Store, directory: Directory) -> Api:
    saved, gate = Saved(store), Gate(store)
    service = QueryService(store, directory, lambda: NOW, LimitsSection(), saved)
    app = web.Application()
    app.add_routes(
        wrap(
            saved_routes(Askers(service, SqlService(service.desk, SqlSection())), saved, gate),
            HttpMetrics(CollectorRegistry()),
        )
    )
    client = TestClient(TestServer(app))
    await client.start_server()
    tokens = {
        "admin": await gate.create(Role.ADMIN),
        "elsewhere": await gate.create(Role.ADMIN, sites=("elsewhere.example",)),
        "read": await gate.create(Role.READ),
        "collect": await gate.create(Role.COLLECT),
    }
    return Api(client, tokens, service, gate)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(clickhouse_url: str) -> AsyncIterator[tuple[Directory, Gate, Api, Api]]:
    """Two servers on one ClickHouse."""
    url, _, database = clickhouse_url.rpartition("/")
    store = make_store(Config(clickhouse=ClickhouseSection(url=url, database=database, threads=2)))
    await store.open()
    await migrate(store)
    directory = Directory()
    both = await serve(store, directory), await serve(store, directory)
    yield directory, both[0].gate, *both
    for served in both:
        await served.client.close()
    await store.close()


@pytest_asyncio.fixture(loop_scope="module")
async def both(servers: tuple[Directory, Gate, Api, Api]) -> tuple[Api, Api]:
    directory, gate, *apis = servers
    own = f".t{len(directory.sites)}t"
    sites = {f"{site.site_id}{own}": msgspec.structs.replace(site, site_id=site.site_id + own) for site in SITES}
    directory.sites |= sites
    site_token = await gate.create(Role.ADMIN, sites=(SITE + own,))
    for api in apis:
        await api.gate.load()
    one, other = (replace(api, own=own, tokens=api.tokens | {"site": site_token}) for api in apis)
    return one, other


@pytest.fixture
def api(both: tuple[Api, Api]) -> Api:
    return both[0]


@pytest.fixture
def other(both: tuple[Api, Api]) -> Api:
    """Another server on the same ClickHouse."""
    return both[1]


# ---- lives -------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thing_s_life(api: Api, kind: str) -> None:
    first, change, seen = LIVES[kind]
    made = await api.make(kind)
    id_ = made["id"]
    assert {key: made[key] for key in first} == first
    assert made["site_id"] == SITE
    assert await api("GET", f"{kind}/{id_}") == (200, made)
    assert await api("GET", f"{kind}?site_id={SITE.upper()}") == (200, {kind: [made]})
    assert await api("GET", f"{kind}?site_id={TOKYO}") == (200, {kind: []})

    status, renamed = await api("PUT", f"{kind}/{id_}", {"name": "Renamed"})
    assert (status, renamed) == (200, {**made, "name": "Renamed", "updated_at_ms": renamed["updated_at_ms"]})
    status, changed = await api("PUT", f"{kind}/{id_}", {"site_id": SITE, **change})
    assert status == 200
    assert {key: changed[key] for key in {**change, **seen}} == {**change, **seen}
    assert (changed["name"], changed["id"], changed["created_at_ms"]) == ("Renamed", id_, made["created_at_ms"])

    assert await api("DELETE", f"{kind}/{id_}") == (204, None)
    for method, value in (("GET", None), ("PUT", {}), ("DELETE", None)):
        status, answer = await api(method, f"{kind}/{id_}", value)
        assert status == 404
        assert answer["error"]["code"].startswith("unknown_")
    assert await api("GET", f"{kind}?site_id={SITE}") == (200, {kind: []})


@pytest.mark.parametrize("kind", KINDS)
async def test_another_server_knows_what_was_made_and_changes_it(api: Api, other: Api, kind: str) -> None:
    made = await api.make(kind)

    assert await other("GET", f"{kind}/{made['id']}") == (200, made)
    status, renamed = await other("PUT", f"{kind}/{made['id']}", {"name": "Renamed"})
    assert (status, renamed["name"]) == (200, "Renamed")
    assert await other("DELETE", f"{kind}/{made['id']}") == (204, None)
    status, answer = await api("PUT", f"{kind}/{made['id']}", {"name": "Back"})
    assert status == 404, answer


@pytest.mark.parametrize("kind", ["goals", "segments", "queries"])
async def test_a_name_is_given_once(api: Api, other: Api, kind: str) -> None:
    made = await api.make(kind)
    second = await api.make(kind, name="Second")
    for call in (
        api("POST", kind, wanted(kind, {})),
        other("POST", kind, wanted(kind, {})),
        api("PUT", f"{kind}/{second['id']}", {"name": made["name"]}),
    ):
        status, answer = await call
        assert (status, answer["error"]["code"]) == (409, "name_taken")
    await api.make(kind, site_id=TOKYO, **({"request": {**QUESTION, "site_id": TOKYO}} if kind == "queries" else {}))


async def test_annotations_may_have_one_name_and_come_by_time(api: Api) -> None:
    for date in ("2026-11-02", "2026-11-01T23:30", "2026-11-01", "2026-10-31T23:00:00Z"):
        await api.make("annotations", date=date)

    listed = (await api("GET", f"annotations?site_id={SITE}"))[1]["annotations"]
    assert [one["start"] for one in listed] == [
        "2026-11-01T00:00:00+01:00",
        "2026-11-01T00:00:00+01:00",
        "2026-11-01T23:30:00+01:00",
        "2026-11-02T00:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("site", "when", "start", "end"),
    [
        (SITE, {"date": "2026-10-25"}, "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        (TOKYO, {"date": "2026-10-25"}, "2026-10-25T00:00:00+09:00", "2026-10-26T00:00:00+09:00"),
        (SITE, {"date": "2026-03-29T12:00"}, "2026-03-29T12:00:00+02:00", "2026-03-29T12:00:00+02:00"),
        (SITE, {"date": "2026-01-01T00:00:00Z"}, "2026-01-01T01:00:00+01:00", "2026-01-01T01:00:00+01:00"),
        (SITE, {"date_range": ["2026-11-01", "2026-11-01"]}, "2026-11-01T00:00:00+01:00", "2026-11-02T00:00:00+01:00"),
        (TOKYO, {"date_range": ["2026-11-01T10:00", "2026-11-01"]}, "2026-11-01T10:00:00+09:00",
         "2026-11-02T00:00:00+09:00"),
    ],
)  # fmt: skip
async def test_an_annotation_lies_in_the_site_s_time(
    api: Api, site: str, when: dict[str, object], start: str, end: str
) -> None:
    status, made = await api("POST", "annotations", {"site_id": site, "text": "x", **when})

    assert (status, made["start"], made["end"]) == (201, start, end)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"event": "signup"}, "signup"),
        ({"page": "/welcome"}, "/welcome"),
        ({"event": "signup", "page": "/welcome"}, "signup"),
        ({"event": "signup", "name": "Joined"}, "Joined"),
    ],
)
async def test_a_goal_without_a_name_gets_that_of_its_event_or_page(api: Api, given: dict[str, str], name: str) -> None:
    assert (await api("POST", "goals", {"site_id": SITE, **given}))[1]["name"] == name


async def test_an_annotation_without_a_name_gets_the_beginning_of_its_text(api: Api) -> None:
    text = "New\n  prices " + "x" * 200
    _, made = await api("POST", "annotations", {"site_id": SITE, "text": f" {text} ", "date": "2026-11-01"})

    assert (made["text"], made["name"]) == (text, ("New prices " + "x" * 200)[:120])


async def test_a_change_of_one_part_keeps_what_has_nothing_to_do_with_it(api: Api) -> None:
    goal = await api.make("goals", filters=[["is", "event:props:plan", ["pro"]]])

    _, noted = await api("PUT", f"goals/{goal['id']}", {"about": ""})
    assert (noted["event"], noted["filters"], noted["about"]) == ("signup", goal["filters"], "")
    _, moved = await api("PUT", f"goals/{goal['id']}", {"page": "/x"})
    assert (moved["event"], moved["page"], moved["filters"], moved["currency"]) == ("", "/x", [], "EUR")


async def test_a_goal_is_known_to_questions_until_it_is_deleted(api: Api) -> None:
    goal = await api.make("goals")
    asked = decode_request(body(site_id=SITE + api.own, filters=[["is", "event:goal", ["Signed up"]]]), QueryRequest)
    assert (await api.service.run(asked)).results

    await api("DELETE", f"goals/{goal['id']}")
    with pytest.raises(Exception, match="There is no goal") as refused:
        await api.service.run(asked)
    assert getattr(refused.value, "code", "") == "unknown_goal"


# ---- what is refused ---------------------------------------------------


def nested(depth: int) -> list[object]:
    found: list[object] = ["is", "event:page", ["/"]]
    for _ in range(depth - 1):
        found = ["not", found]
    return found


PAGE = ["is", "event:page", ["/"]]


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        *((kind, {"name": name}, "bad_name") for kind in KINDS for name in (" x", "a\x00b", "a\nb")),
        *((kind, {"name": name}, "bad_request") for kind in KINDS for name in ("", "x" * 121, 7)),
        *((kind, {"colour": "red"}, "unknown_key") for kind in KINDS),
        *((kind, {"site_id": None}, "bad_request") for kind in KINDS),
        *((kind, {"filters": filters}, code) for kind in ("goals", "segments") for filters, code in (
            ([["is", "event:pages", ["/"]]], "unknown_dimension"),
            ([["equals", "event:page", ["/"]]], "unknown_operator"),
            ([["is", "event:page", []]], "bad_filter"),
            ([["is", "event:page", [1]]], "bad_filter"),
            ([["matches", "event:page", ["("]]], "bad_pattern"),
            ([["matches", "event:page", ["x" * 501]]], "bad_filter"),
            ([["is", "event:page", ["x" * 2_049]]], "bad_filter"),
            ([["is", "event:goal", ["x"]]], None),
            ([["segment", "Phones"]], None),
            ([nested(9)], "bad_filter"),
            ([PAGE] * 65, "bad_filter"),
            ("x", "bad_request"),
        )),
        ("goals", {"event": "", "page": ""}, "bad_goal"),
        ("goals", {"event": "", "name": None, "filters": [PAGE]}, "bad_name"),
        ("goals", {"event": "x" * 121}, "bad_request"),
        ("goals", {"page": "x" * 2_049}, "bad_request"),
        ("goals", {"name": None, "event": "", "page": "/" + "x" * 120}, "bad_name"),
        ("goals", {"currency": "euro"}, "bad_request"),
        ("goals", {"about": "x" * 1_001}, "bad_request"),
        ("segments", {"filters": []}, "bad_filter"),
        ("segments", {"name": None}, "bad_request"),
        ("annotations", {"date": None}, "bad_date_range"),
        ("annotations", {"date_range": ["2026-11-01", "2026-11-02"]}, "bad_date_range"),
        ("annotations", {"date": None, "date_range": ["2026-11-02", "2026-11-01"]}, "bad_date_range"),
        ("annotations", {"date": None, "date_range": ["2026-11-02"]}, "bad_request"),
        *(("annotations", {"date": date}, "bad_date_range") for date in (
            "yesterday", "2026-02-30", "1999-12-31", "2100-01-01", "9999-12-31", "2026-11-01T25:00", "7d", "\x00",
            "0001-01-01T00:00+23:59")),
        ("annotations", {"date": "x" * 65}, "bad_request"),
        ("annotations", {"text": " "}, "bad_request"),
        ("annotations", {"text": "a\x00b"}, "bad_request"),
        ("annotations", {"text": "x" * 1_001}, "bad_request"),
        ("queries", {"request": None}, "bad_request"),
        ("queries", {"sql": "SELECT 1"}, "bad_request"),
        ("queries", {"params": {}}, "bad_request"),
        ("queries", {"request": None, "sql": "SELECT 1", "params": {"x": 1}}, "bad_parameter"),
        ("queries", {"request": None, "sql": "SELECT {x:String}"}, "bad_parameter"),
        ("queries", {"request": None, "sql": "DROP TABLE saved"}, "sql_not_allowed"),
        ("queries", {"request": None, "sql": "SELECT * FROM tokens"}, None),
        ("queries", {"request": None, "sql": ""}, "bad_sql"),
        ("queries", {"request": {**QUESTION, "site_id": TOKYO}}, "bad_request"),
        ("queries", {"request": {}}, "bad_request"),
        ("queries", {"request": {**QUESTION, "metrics": ["x"]}}, "unknown_metric"),
        ("queries", {"request": {**QUESTION, "colour": 1}}, "unknown_key"),
        ("queries", {"request": {**QUESTION, "date_range": "3 days"}}, "bad_date_range"),
        ("queries", {"request": {**QUESTION, "filters": [["goal", "x"]]}}, "unknown_goal"),
        ("queries", {"request": {**QUESTION, "metrics": ["bounce_rate"], "dimensions": ["event:name"]}},
         "unsupported_combination"),
    ],
)  # fmt: skip
async def test_what_can_not_be_relied_on_is_not_saved(
    api: Api, kind: str, changes: dict[str, object], code: str | None
) -> None:
    found = await api.refusal(kind, **changes)

    assert found == (code or found)
    assert await api("GET", f"{kind}?site_id={SITE}") == (200, {kind: []})


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, {"name": "x" * 120}) for kind in KINDS),
        ("goals", {"event": "x" * 120, "page": "x" * 2_048, "about": "x" * 1_000}),
        ("goals", {"filters": [PAGE] * 64}),
        ("segments", {"filters": [nested(8)]}),
        ("segments", {"filters": [["is", "event:page", ["x" * 2_048]]]}),
        ("segments", {"filters": [["matches", "event:page", ["x" * 500]]]}),
        ("segments", {"filters": [["is", "event:page", ["\x00", "'; DROP TABLE saved; --", "👍"]]]}),
        ("queries", {"request": None, "sql": "SELECT {x:String} FROM events", "params": {"x": "y"}}),
        ("annotations", {"text": "x" * 1_000}),
        ("annotations", {"date": "2000-01-02"}),
        ("annotations", {"date": "2099-12-30"}),
    ],
)
async def test_what_lies_just_within_the_bounds_is_saved(api: Api, kind: str, changes: dict[str, object]) -> None:
    made = await api.make(kind, **changes)

    assert {key: made.get(key) for key in changes} == changes
    assert await api("GET", f"{kind}/{made['id']}") == (200, made)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"[]", 400, "bad_request"),
        (b'{"name": "\\ud800"}', 400, "bad_json"),
        (b'{"filters": ' + b"[" * 100_000, 400, None),
        (b'{"filters": [1e999]}', 400, None),
        (b" " * 262_145, 413, "too_large"),
    ],
)
async def test_a_body_that_can_not_be_read_is_refused(
    api: Api, kind: str, data: bytes, status: int, code: str | None
) -> None:
    made = await api.make(kind)
    for method, path in (("POST", kind), ("PUT", f"{kind}/{made['id']}")):
        found, answer = await api(method, path, data=data)
        assert (found, answer["error"]["code"]) == (status, code or answer["error"]["code"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "bad_request"),
        ("?site_id=", 400, "bad_request"),
        ("?site_id=a.example&site_id=tokyo.example", 400, "bad_request"),
        ("?site=a.example", 400, "unknown_key"),
        ("?site_id=nowhere.example", 404, "unknown_site"),
    ],
)
async def test_a_list_is_one_site_s(api: Api, kind: str, query: str, status: int, code: str) -> None:
    found, answer = await api("GET", kind + query)

    assert (found, answer["error"]["code"]) == (status, code)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thing_stays_with_its_site(api: Api, kind: str) -> None:
    made = await api.make(kind)

    status, answer = await api("PUT", f"{kind}/{made['id']}", {"site_id": TOKYO})
    assert (status, answer["error"]["code"]) == (400, "bad_request")


# ---- who may what ------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("token", "reads", "writes"),
    [
        ("", 401, 401),
        ("read", 200, 403),
        ("collect", 403, 403),
        ("site", 200, 200),
        ("elsewhere", 403, 403),
    ],
)
async def test_what_each_token_may(api: Api, kind: str, token: str, reads: int, writes: int) -> None:
    made = await api.make(kind)
    one = f"{kind}/{made['id']}"
    hidden = 404 if token == "elsewhere" else None

    found = {
        "list": (await api("GET", f"{kind}?site_id={SITE}", token=token))[0],
        "one": (await api("GET", one, token=token))[0],
        "create": (await api("POST", kind, wanted(kind, {"name": "Another"}), token=token))[0],
        "change": (await api("PUT", one, {"name": "New"}, token=token))[0],
        "delete": (await api("DELETE", one, token=token))[0],
    }

    assert found == {
        "list": reads,
        "one": hidden or reads,
        "create": 201 if writes == 200 else writes,
        "change": hidden or writes,
        "delete": hidden or (204 if writes == 200 else writes),
    }
