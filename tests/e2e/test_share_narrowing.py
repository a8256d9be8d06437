"""No parameter of any route widens a share link: what a link leaves out changes nothing that it is answered.

Three sites hold the same events of what the links show. The second has others besides, in sessions of their own; in the
third they lie in the same sessions. Whatever a link asks, the first two answer alike, and the third tells no page's
name that lies outside, and no number but those of whole sessions.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from analytics_server.analyses.cohorts.request import CohortsRequest
from analytics_server.analyses.funnels.definition import FunnelRequest
from analytics_server.analyses.paths.request import PathsRequest
from analytics_server.http.authorization import Action
from analytics_server.http.declaration import plain_path
from analytics_server.http.endpoint import Endpoint, for_tokens, not_narrowed
from analytics_server.query.dimensions import DIMENSIONS
from analytics_server.query.language.conditions import OPERATORS
from analytics_server.query.language.request import Include, QueryRequest
from analytics_server.query.metrics import METRICS
from analytics_server.query.trends import PARAMETERS
from tests.e2e.conftest import running
from tests.server import Client, Reply, RunningServer
from tests.whole import complete_server

ALONE, BESIDE, MIXED = SITES = ("alone.example", "beside.example", "mixed.example")
ENDPOINTS = complete_server().endpoints()
ASKED = [one for one in ENDPOINTS if one.narrow not in (None, not_narrowed, for_tokens)]
OUTSIDE = "/outside"
OF_WHOLE_SESSIONS = {
    "bounce_rate",
    "session_duration",
    "visit_duration",
    "views_per_session",
    "views_per_visit",
    "exit_rate",
}
SEEN = ["contains", "event:page", [OUTSIDE]]
LOOKING_PAST: list[Any] = [
    ["has_done", SEEN],
    ["has_not_done", SEEN],
    ["or", [["has_done", SEEN]]],
    ["sequence", [SEEN, SEEN]],
    ["goal", "Buyer"],
    ["is", "goal", ["Buyer"]],
    ["is", "event:goal", ["Buyer"]],
    ["is", "segment", ["Outside"]],
    ["contains", "visit:exit_page", [OUTSIDE]],
    ["contains_not", "visit:exit_page", [OUTSIDE]],
]
PARTS = ("results", "rows", "breakdown", "nodes", "steps")
"""Of answers, besides what they repeat of the question."""
BODIES = 24

BY_PAGE: dict[str, Any] = {"filters": [["contains", "event:page", ["/blog"]]]}
BY_SEGMENT: dict[str, Any] = {"segment": "Blog"}
BY_SOURCE: dict[str, Any] = {"filters": [["is", "visit:utm_source", ["news"]]]}
LINKS = {"segment": BY_SEGMENT, "source": BY_SOURCE}


def events(site: str) -> list[dict[str, Any]]:
    """Sessions on the blog, and those outside of it."""

    def view(path: str, session: int, **more: Any) -> dict[str, Any]:
        url = f"https://{site}{path}?utm_source={'news' if '/blog' in path else 'ads'}"
        return {"site": site, "name": "pageview", "url": url, "session_id": f"{site}{session}", **more}

    found = []
    for session in range(6):
        user = {"user_id": f"u{session % 4}"}
        found += [view(f"/blog/{page}", session, **user) for page in "ab"[: 1 + session % 2]]
        found.append(view("/blog/a", session, **user) | {"name": "signup", "props": {"plan": "pro"}})
        if site == MIXED:
            found += [view(f"{OUTSIDE}/{session}", session, **user), view(f"{OUTSIDE}/buy", session) | {"name": "buy"}]
    if site == BESIDE:
        for session in range(10, 14):
            found += [view(f"{OUTSIDE}/{session}", session, user_id=f"u{session % 4}"), view(OUTSIDE, session)]
            found.append(view(OUTSIDE, session, user_id="u9") | {"name": "signup", "props": {"plan": "free"}})
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("narrowing")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        for site in SITES:
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
            goal = {"site_id": site, "name": "Buyer", "filters": [["has_done", ["is", "event:name", ["buy"]]]]}
            assert (await client.call("POST", "/api/v1/goals", goal)).status == 201
            for name, where in (("Blog", "contains"), ("Outside", "contains_not")):
                segment = {"site_id": site, "name": name, "filters": [[where, "event:page", ["/blog"]]]}
                assert (await client.call("POST", "/api/v1/segments", segment)).status == 201
            funnel = {"site_id": site, "name": "All", "steps": [{"name": "pageview"}, {"name": "signup"}]}
            assert (await client.call("POST", "/api/v1/funnels/saved", funnel)).status == 201
            sent = await client.send(events(site))
            assert sent.json["accepted"] == len(events(site))
        await client.flushed()
        yield client


async def opened(client: Client, site: str, **wanted: Any) -> str:
    """The token of a new link."""
    made = await client.call("POST", "/api/v1/share-links", {"site_id": site, **wanted})
    assert made.status == 201, made.body
    secret = made.json["link"].rpartition("/")[2]
    answer = await client.request(
        "POST", "/api/v1/share/open", msgspec.json.encode({"secret": secret}), {"Authorization": ""}
    )
    assert answer.status == 200, answer.body
    return str(answer.json["token"])


# ---- questions that try everything --------------------------------------


class RandomRequests:
    """Random values for each field of each question, the forbidden ones too."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.metrics = [name for metric in METRICS for name in (metric.name, *metric.aliases)]
        self.dimensions = [*(one.name for one in DIMENSIONS if not one.family), "event:props:plan", "experiment:x"]

    def one(self, *choices: Any) -> Any:
        return self._random.choice(choices)

    def some(self, choices: list[str], most: int) -> list[str]:
        return self._random.sample(choices, self._random.randint(1, most))

    def filter(self, depth: int = 0) -> Any:
        plain: list[Any] = [
            self.one(*OPERATORS),
            self.one(*self.dimensions, "goal", "event:goal", "segment"),
            [self.one("/blog/a", "/out*", "Buyer", "Outside", "signup", "pro", "news", "")],
        ]
        if not depth and self.one(True, False, False):
            return self.one(*LOOKING_PAST)
        if depth > 2 or self._random.random() < 0.5:
            return self.one(
                plain, ["is", "event:page", [self.one("/blog/a", "/blog/b")]], ["is", "event:name", ["signup"]]
            )
        inner = self.filter(depth + 1)
        return self.one(
            ["not", inner],
            ["or", [inner, ["contains", "event:page", ["/"]]]],
            ["and", [inner]],
            ["has_done", inner],
            ["has_not_done", inner],
            ["sequence", [inner, inner]],
            ["goal", "Buyer"],
            ["segment", "Outside"],
        )

    def filters(self) -> list[Any]:
        return [self.filter() for _ in range(self.one(0, 0, 1, 1, 2))]

    def event(self) -> dict[str, Any]:
        more: dict[str, Any] = self.one({}, {}, {}, {"goal": "Buyer"}, {"event": "signup"})
        found: dict[str, Any] = {"name": self.one("pageview", "signup", "step"), "filters": self.filters()}
        return found | more

    def query(self) -> dict[str, Any]:
        metrics = self.some(self.metrics, 2)
        if self.one(True, True, False):
            metrics = self.some(["visitors", "pageviews", "events", "bounce_rate", "sessions"], 2)
        dimensions = self.some(self.dimensions, 2) if self.one(True, False) else []
        parts = {
            "metrics": metrics,
            "date_range": self.one("day", "7d", "all"),
            "dimensions": dimensions,
            "filters": self.filters(),
            "order_by": self.one([], [[self.one(*metrics), "asc"]], [[self.one(*self.metrics), "desc"]]),
            "include": self.include(),
            "pagination": {"limit": self.one(1, 100), "offset": self.one(0, 0, 1)},
            "exact": self.one(True, False),
        }
        assert {*parts, "site_id"} == set(QueryRequest.__struct_fields__), "each field is tried"
        return parts

    def include(self) -> dict[str, Any]:
        parts = {
            "total_rows": self.one(True, False),
            "time_labels": False,
            "comparison": self.one(None, "previous_period"),
            "match_day_of_week": False,
        }
        assert set(parts) == set(Include.__struct_fields__)
        return parts

    def trends(self) -> dict[str, Any]:
        parts = {
            "metrics": ",".join(self.some(["visitors", "pageviews", "bounce_rate", *self.metrics[-5:]], 2)),
            "interval": self.one("", "hour", "day"),
            "from": "",
            "to": "",
            "date_range": self.one("day", "7d"),
            "breakdown": self.one("", "event:page", *self.dimensions),
            "filters": msgspec.json.encode(self.filters()).decode(),
            "limit": self.one("", "1"),
        }
        assert {*parts, "site_id"} == set(PARAMETERS)
        return parts

    def cohorts(self) -> dict[str, Any]:
        parts = {
            "date_range": self.one("7d", "30d"),
            "period": self.one("day", "week"),
            "by": self.one("user", "session", "visitor"),
            "first": self.one(None, self.event()),
            "returning": self.one(None, self.event()),
            "filters": self.filters(),
            "breakdown": self.one(None, "event:page", *self.dimensions),
            "limit": 5,
            "periods": 3,
        }
        assert {*parts, "site_id"} == set(CohortsRequest.__struct_fields__)
        return parts

    def paths(self) -> dict[str, Any]:
        parts = {
            "date_range": "7d",
            "start": self.one(None, "/blog/a", f"{OUTSIDE}/buy", "signup"),
            "end": self.one(None, None, None, "/blog/a"),
            "steps": 4,
            "limit": 20,
            "filters": self.filters(),
            "by": self.one("pageview", "event"),
        }
        assert {*parts, "site_id"} == set(PathsRequest.__struct_fields__)
        return {name: value for name, value in parts.items() if value is not None}

    def funnel(self) -> dict[str, Any]:
        parts = {
            "date_range": "7d",
            "funnel": "All",
            "steps": [self.event(), self.event()],
            "window": self.one("1h", "1d"),
            "order": self.one("ordered", "strict", "any"),
            "by": self.one("session", "visitor", "user"),
            "exclude": [self.event()] if self.one(True, False, False) else [],
            "filters": self.filters(),
            "breakdown": self.one(None, None, "event:page", *self.dimensions),
            "limit": 10,
        }
        assert {*parts, "site_id"} == set(FunnelRequest.__struct_fields__)
        saved = self.one(False, False, False, True)
        left = ("steps", "window", "order", "by", "exclude", "filters") if saved else ("funnel",)
        return {name: value for name, value in parts.items() if name not in left}


async def ask(client: Client, endpoint: Endpoint, site: str, asked: dict[str, Any], token: str) -> Reply:
    if endpoint.method == "GET":
        query = "&".join(f"{name}={_quoted(str(value))}" for name, value in {"site_id": site, **asked}.items())
        return await client.call("GET", f"{endpoint.path}?{query}", token=token)
    return await client.call(endpoint.method, endpoint.path, {"site_id": site, **asked}, token=token)


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def told(reply: Reply, site: str) -> Any:
    """What an answer tells, whichever the site."""
    answer = msgspec.json.decode(reply.body.replace(site.encode(), b"SITE"))
    answer.get("meta", {}).pop("elapsed_ms", None)
    return reply.status, answer


def test_each_question_that_a_link_may_ask_is_tried() -> None:
    assert {one.name for one in ASKED} == {"query", "trends", "cohorts", "paths", "funnel"}


in_one_loop = pytest.mark.asyncio(loop_scope="module")


@in_one_loop
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("endpoint", ASKED, ids=lambda one: one.name)
async def test_what_lies_outside_a_link_changes_no_answer(client: Client, endpoint: Endpoint, link: str) -> None:
    tokens = [await opened(client, site, **LINKS[link]) for site in SITES]
    requests = RandomRequests(seed=len(endpoint.name) + len(link))
    statuses = []
    for _ in range(BODIES):
        asked = getattr(requests, endpoint.name)()
        alone, beside = [
            await ask(client, endpoint, site, asked, token) for site, token in zip(SITES[:2], tokens[:2], strict=True)
        ]
        mixed = await ask(client, endpoint, MIXED, asked, tokens[2])
        assert told(alone, ALONE) == told(beside, BESIDE), asked
        if link == "segment" and not OF_WHOLE_SESSIONS & set(re.findall(r"\w+", str(asked.get("metrics")))):
            assert told(alone, ALONE) == told(mixed, MIXED), asked
        assert link == "source" or OUTSIDE not in str([mixed.json.get(part) for part in PARTS]), asked
        statuses.append(alone.status)
        if alone.status == 200:
            assert (alone.json["meta"]["rows_read"], alone.json["meta"]["bytes_read"]) == (0, 0)

    for where in LOOKING_PAST if endpoint.name != "trends" else ():
        reply = await ask(client, endpoint, MIXED, {**_plain(endpoint), "filters": [where]}, tokens[2])
        assert reply.status == (200 if link == "source" and "visit:exit_page" in where else 403), where
    assert set(statuses) <= {200, 400, 403}
    if not (endpoint.name == "paths" and link != "source"):
        assert {200, 403} <= set(statuses)


async def with_threshold(client: Client, *sites: str, threshold: int = 2) -> str:
    """A new token with a threshold."""
    wanted = {"role": "viewer", "sites": sites, "threshold": threshold}
    made = await client.call("POST", "/api/v1/tokens", wanted)
    assert (made.status, made.json["threshold"]) == (201, threshold)
    return str(made.json["token"])


@in_one_loop
@pytest.mark.parametrize("threshold", [2, 1_000])
@pytest.mark.parametrize("endpoint", ASKED, ids=lambda one: one.name)
async def test_a_token_with_a_threshold_is_answered_what_such_a_link_is(
    client: Client, endpoint: Endpoint, threshold: int
) -> None:
    link = await opened(client, BESIDE, threshold=threshold)
    token = await with_threshold(client, BESIDE, ALONE, threshold=threshold)
    requests = RandomRequests(seed=len(endpoint.name) + 31)
    statuses = set()
    for _ in range(BODIES):
        asked = getattr(requests, endpoint.name)()
        by_link, by_token = [await ask(client, endpoint, BESIDE, asked, each) for each in (link, token)]
        told_link = msgspec.json.encode(told(by_link, BESIDE)).replace(b"This link", b"This token")
        assert told_link == msgspec.json.encode(told(by_token, BESIDE)), asked
        statuses.add(by_token.status)
    assert (await ask(client, endpoint, MIXED, _plain(endpoint), token)).status == 403
    assert statuses <= {200, 400, 403}
    assert (200 in statuses) == (endpoint.name in ("query", "trends"))


@in_one_loop
@pytest.mark.parametrize("kind", ["link", "token"])
async def test_every_other_route_is_closed_to_a_link_or_a_token_with_a_threshold(client: Client, kind: str) -> None:
    token = await (opened(client, ALONE, **BY_PAGE) if kind == "link" else with_threshold(client, ALONE))
    open_to_links = {one.name for one in (*ASKED, *(one for one in ENDPOINTS if one.narrow is not_narrowed))}
    tried = set()
    for endpoint in ENDPOINTS:
        if not isinstance(endpoint.action, Action) or endpoint.handle is None or endpoint.name in open_to_links:
            continue
        if endpoint.narrow is for_tokens and kind == "token":
            continue
        for site in (ALONE, BESIDE):
            path = plain_path(endpoint.path)
            for parameter in endpoint.parameters:
                path = path.replace(f"{{{parameter.name}}}", site if parameter.name == "site_id" else "0123456789ab")
            body = None
            if endpoint.body is not None:
                body = msgspec.json.encode(next(iter(endpoint.body.examples.values()))).replace(
                    b'"example.com"', f'"{site}"'.encode()
                )
            query = f"?site_id={site}" if endpoint.body is None and "{site_id}" not in endpoint.path else ""
            if endpoint.otherwise is not None:  # without it, another one answers
                query += "&query=SELECT+1"
            answer = await client.request(endpoint.method, path + query, body, {"Authorization": f"Bearer {token}"})
            assert answer.status in (400, 403, 404), (endpoint.name, answer.status, answer.body[:200])
            assert b"/blog" not in answer.body
        tried.add(endpoint.name)

    assert len(tried) > 50
    assert open_to_links - {one.name for one in ASKED} == {"get_site", "list_sites", "who_am_i"}
    for site, wanted in itertools.product((BESIDE, MIXED), ASKED):
        asked = getattr(RandomRequests(seed=1), wanted.name)()
        assert (await ask(client, wanted, site, asked, token)).status in (400, 403)


@in_one_loop
async def test_a_link_whose_segment_is_gone_says_so_and_shows_nothing(client: Client) -> None:
    segment = {"site_id": ALONE, "name": "Soon gone", "filters": [["is", "event:page", ["/blog/a"]]]}
    made = (await client.call("POST", "/api/v1/segments", segment)).json
    link = await client.call("POST", "/api/v1/share-links", {"site_id": ALONE, "segment": "Soon gone"})
    secret = msgspec.json.encode({"secret": link.json["link"].rpartition("/")[2]})
    token = (await client.request("POST", "/api/v1/share/open", secret, {"Authorization": ""})).json["token"]
    question = {"metrics": ["pageviews"], "date_range": "day", "dimensions": ["event:page"]}
    (query,) = [one for one in ASKED if one.name == "query"]
    before = await ask(client, query, ALONE, question, token)
    assert [row["dimensions"] for row in before.json["results"]] == [["/blog/a"]]

    # Another segment of that name, or one whose name is the id of the one that is gone, does not take its place.
    assert (await client.call("DELETE", f"/api/v1/segments/{made['id']}")).status == 204
    for name in ("Soon gone", made["id"]):
        assert (await client.call("POST", "/api/v1/segments", {**segment, "name": name})).status == 201

    for endpoint in ASKED:
        reply = await ask(client, endpoint, ALONE, question if endpoint is query else _plain(endpoint), token)
        assert (reply.status, reply.code) == (403, "segment_gone"), endpoint.name
    again = await client.request("POST", "/api/v1/share/open", secret, {"Authorization": ""})
    assert (again.status, again.code) == (403, "segment_gone")
    listed = (await client.call("GET", f"/api/v1/share-links?site_id={ALONE}")).json["share_links"]
    assert [(one["segment"], one["segment_name"]) for one in listed if one["link_id"] == link.json["link_id"]] == [
        (made["id"], None)
    ]
    unknown = await client.call("POST", "/api/v1/share-links", {"site_id": ALONE, "segment": "Nothing"})
    assert (unknown.status, unknown.code) == (400, "unknown_segment")


def _plain(endpoint: Endpoint) -> dict[str, Any]:
    steps = {"steps": [{"name": "pageview"}, {"name": "signup"}]} if endpoint.name == "funnel" else {}
    return {"date_range": "7d", **steps, **({"metrics": ["visitors"]} if endpoint.name == "query" else {})}


@in_one_loop
async def test_a_threshold_holds_for_everything_that_a_link_is_answered(client: Client) -> None:
    token = await opened(client, MIXED, threshold=2)  # one visitor, as all events come from one address
    (query, trends) = [one for one in ASKED if one.name in ("query", "trends")]
    asked = {"metrics": ["pageviews"], "date_range": "day", "include": {"comparison": "previous_period"}}
    total = await ask(client, query, MIXED, asked, token)
    rows = await ask(client, query, MIXED, {**asked, "dimensions": ["event:page"]}, token)
    chart = await ask(client, trends, MIXED, {"date_range": "day", "metrics": "pageviews"}, token)

    hidden = {"metrics": [None], "change": [None], "below_threshold": True}
    (only,) = total.json["results"]
    assert only == {
        "dimensions": [],
        "metrics": [None],
        "below_threshold": True,
        "comparison": hidden | {"dimensions": []},
    }
    (rest,) = rows.json["results"]
    assert (rest["dimensions"], rest["metrics"], rest["below_threshold"]) == ([None], [None], True)
    assert {row["pageviews"] for row in chart.json["rows"]} == {None}
    assert (chart.json["rest"], chart.json["meta"]["threshold"]) == ({"pageviews": None}, 2)
    for endpoint in ASKED:
        if endpoint not in (query, trends):
            assert (await ask(client, endpoint, MIXED, _plain(endpoint), token)).status == 403
    for metric in ("total_revenue", "conversion_rate", "percentage"):
        assert (await ask(client, query, MIXED, {**asked, "metrics": [metric]}, token)).status == 403
    for threshold, status in ((1, 400), (2, 201), (1_000, 201), (1_001, 400)):
        made = await client.call("POST", "/api/v1/share-links", {"site_id": ALONE, "threshold": threshold})
        assert made.status == status, made.body


@in_one_loop
async def test_a_threshold_for_all_sites_sees_neither_drops_nor_other_names(client: Client) -> None:
    token = await with_threshold(client, threshold=1_000)
    gone = "gone.example"
    assert (await client.call("POST", "/api/v1/sites", {"site_id": gone})).status == 201
    assert (await client.call("DELETE", f"/api/v1/sites/{gone}")).status == 204
    await client.send([{"site": gone, "name": "pageview", "url": f"https://{gone}/"}])
    seen = (await client.call("GET", "/api/v1/sites")).json
    assert gone in {drop["site_id"] for drop in seen["drops"]}

    listed = await client.call("GET", "/api/v1/sites", token=token)

    shown = {"site_id", "timezone", "stored_timezone", "currency", "profile"}
    assert all(one.narrow is not None for one in ENDPOINTS if one.keeps_threshold)
    assert (listed.json["drops"], listed.json["removing"]) == ([], [])
    assert {site["site_id"] for site in listed.json["sites"]} == set(SITES)
    default = (await client.call("GET", f"/api/v1/sites/{ALONE}", token=token)).json
    for site in (*listed.json["sites"], default):
        assert {name for name in site if site[name] != default[name]} <= shown
    # Nothing else that it may ask names them; and what is declared to keep to a threshold answers it, nothing else.
    for endpoint in (one for one in ENDPOINTS if one.narrow not in (None, for_tokens) and one.name != "list_sites"):
        path = endpoint.path.replace("{site_id}", ALONE)
        if endpoint in ASKED:
            reply = await ask(client, endpoint, ALONE, _plain(endpoint), token)
        else:
            reply = await client.call(endpoint.method, path, token=token)
        assert reply.status == (200 if endpoint.keeps_threshold else 403), endpoint.name
        assert gone not in str(reply.json), endpoint.name
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_sites", "arguments": {}}}
    tool = await client.request("POST", "/mcp", msgspec.json.encode(message), {"Authorization": f"Bearer {token}"})
    answer = tool.json["result"]["structuredContent"]["answer"]
    assert (answer["drops"], answer["removing"]) == ([], [])
    assert {site["site_id"] for site in answer["sites"]} == set(SITES)
    assert gone.encode() not in tool.body
