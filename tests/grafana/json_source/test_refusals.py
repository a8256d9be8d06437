"""What is refused and how that is said, limits, rights, and entries in the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.grafana.bodies import MOST_TARGETS
from analytics_server.grafana.reports import MAX_ROWS
from analytics_server.http.audit import hash_of
from analytics_server.query.trends import MAX_VALUES
from tests.e2e.conftest import running
from tests.grafana.json_source.asking import FROM, OTHER, PATH, RANGE, SITE, TO, ask, panel, target
from tests.server import Client, Reply, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [
        ({"target": "visitor"}, "unknown_metric", "visitors"),
        ({"target": ""}, "bad_request", "names no metric"),
        ({"target": None}, "bad_request", "names no metric"),
        ({"payload": {"site": SITE, "dimenson": "event:page"}}, "unknown_key", "dimension"),
        ({"payload": {"site": SITE, "dimension": "visit:sauce"}}, "unknown_dimension", "visit:source"),
        ({"payload": {"site": SITE, "dimension": "time:day"}}, "bad_request", "time"),
        ({"payload": {"site": SITE, "dimension": "time:day", "format": "table"}}, "bad_request", "time"),
        ({"payload": {"site": SITE, "interval": "year"}}, "bad_request", "year"),
        ({"payload": {"site": SITE, "format": "frames"}}, "bad_request", "frame"),
        ({"payload": {"site": SITE, "range": "7x"}}, "bad_date_range", "7x"),
        ({"payload": {"site": SITE, "filters": "["}}, "bad_filter", "JSON"),
        ({"payload": {"site": SITE, "filters": 7}}, "bad_filter", "list"),
        ({"payload": {"site": SITE, "filters": [["iz", "event:page", ["/"]]]}}, "unknown_operator", "iz"),
        ({"payload": {"site": SITE, "limit": {}}}, "bad_request", "limit"),
        ({"payload": {"site": "(a.example|b.example)"}}, "bad_request", "several"),
        ({"payload": {}}, "bad_request", "2 sites"),
        ({"payload": "{"}, "bad_request", "JSON"),
        ({"payload": [1]}, "bad_request", "object"),
        ({"payload": {"site": "nowhere.example"}}, "unknown_site", "nowhere.example"),
        ({"target": "funnel"}, "bad_request", "funnel"),
        ({"target": "funnel", "payload": {"site": SITE, "funnel": "Nothing"}}, "unknown_funnel", "Nothing"),
        (
            {
                "target": "funnel",
                "payload": {"site": SITE, "funnel": "Buying", "filters": [["is", "event:page", ["/"]]]},
            },
            "bad_funnel",
            "filters",
        ),
        (
            {"target": "funnel", "payload": {"site": SITE, "funnel": "Buying", "format": "timeseries"}},
            "bad_request",
            "frame",
        ),
        ({"target": "annotations", "payload": {"site": SITE, "format": "timeseries"}}, "bad_request", "frame"),
    ],
)
async def test_bad_queries_say_what_is_wrong(client: Client, asked: dict[str, object], code: str, said: str) -> None:
    reply = await client.call("POST", f"{PATH}/query", panel({**target("visitors"), **asked}))

    assert reply.json["error"]["code"] == code, reply.body
    assert said in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "code", "said"),
    [
        ("query", {"range": RANGE, "targets": []}, "bad_request", "targets"),
        ("query", {"targets": [target("visitors")]}, "bad_request", "range"),
        ("query", panel(target("visitors"), range={"from": "x", "to": TO}), "bad_date_range", "x"),
        ("query", panel(target("visitors"), range={"from": TO, "to": FROM}), "bad_date_range", "empty"),
        ("query", panel(target("visitors"), maxDataPoints=0), "bad_request", "maxDataPoints"),
        ("query", panel(target("visitors"), intervalMs="1d"), "bad_request", "intervalMs"),
        ("query", panel(target("visitors"), filters=[{"key": "page", "operator": "~"}]), "unknown_operator", "=~"),
        ("query", panel(target("visitors"), filters=[{"key": "p", "value": ""}]), "unknown_dimension", "'p'"),
        ("variable", {}, "bad_request", "payload"),
        ("variable", {"payload": {}}, "bad_request", "target"),
        ("variable", {"payload": {"target": "nothing", "site": SITE}}, "unknown_dimension", "nothing"),
        ("variable", {"payload": {"target": "funnels"}}, "bad_request", "2 sites"),
        ("tag-values", {"key": "sauce"}, "unknown_dimension", "sauce"),
        ("tag-values", {}, "bad_request", "key"),
        ("search", {"target": "{"}, "bad_request", "JSON"),
        ("metric-payload-options", {"name": "colour"}, "unknown_key", "colour"),
        ("annotations", {"annotation": {"query": "nowhere.example"}, "range": RANGE}, "unknown_site", "nowhere"),
        ("annotations", {"annotation": {"query": SITE}}, "bad_request", "range"),
    ],
)
async def test_bad_bodies_say_what_is_wrong(client: Client, path: str, body: object, code: str, said: str) -> None:
    reply = await client.call("POST", f"{PATH}/{path}", body)

    assert reply.json["error"]["code"] == code, reply.body
    assert said in reply.json["error"]["message"]


async def test_an_error_names_the_query_of_a_panel_with_several(client: Client) -> None:
    reply = await client.call("POST", f"{PATH}/query", panel(target("visitors"), target("visitor", "B")))

    assert reply.code == "unknown_metric"
    assert reply.json["error"]["message"].startswith("Query B: ")


@pytest.mark.parametrize(("queries", "status"), [(25, 200), (26, 400)])
async def test_so_many_rows_a_panel_may_have(tmp_path: Path, queries: int, status: int) -> None:
    """Five times `query_rows`: here a query has four rows, and there may be 100."""
    with running(tmp_path, {"limits_query_rows": "20"}) as server:
        async with Client(server) as narrow:
            assert (await narrow.send({"site": SITE, "name": "x"})).status == 202
            await narrow.flushed()
            asked = [target("visitors", f"A{number}", interval="day") for number in range(queries)]
            reply = await narrow.call("POST", f"{PATH}/query", panel(*asked))

    assert reply.status == status, reply.body
    if status == 400:
        assert (reply.code, "query_rows" in reply.json["error"]["message"]) == ("too_many_buckets", True)
    else:
        assert {len(one["fields"][0]["values"]) for one in reply.json} == {4}


async def test_a_body_that_is_no_json_is_refused(client: Client) -> None:
    for path in ("query", "variable", "tag-values", "search", "annotations", "metric-payload-options"):
        for body in (b"", b"{", b"[]", b"\xff"):
            reply = await client.request("POST", f"{PATH}/{path}", body, {"Authorization": "Bearer ast_wrong"})
            assert reply.status == 401
            reply = await posted(client, path, body)
            assert (reply.status, reply.code) in ((400, "bad_json"), (400, "bad_request"), (400, "bad_body")), (
                reply.body
            )


async def posted(client: Client, path: str, body: bytes) -> Reply:
    """The bytes as they are, with the admin's token."""
    return await client.send(body, path=f"{PATH}/{path}", trusted=True)


@pytest.mark.parametrize(("count", "status"), [(MOST_TARGETS, 200), (MOST_TARGETS + 1, 400)])
async def test_so_many_queries_a_panel_may_have(client: Client, count: int, status: int) -> None:
    asked = [target("annotations", f"A{number}") for number in range(count)]

    assert (await client.call("POST", f"{PATH}/query", panel(*asked))).status == status


@pytest.mark.parametrize(
    ("more", "most"), [({"dimension": "event:page"}, MAX_VALUES), ({"dimension": "page", "format": "table"}, MAX_ROWS)]
)
async def test_limits_of_values(client: Client, more: dict[str, Any], most: int) -> None:
    for limit, status in ((most, 200), (most + 1, 400), (0, 400)):
        reply = await client.call("POST", f"{PATH}/query", panel(target("events", **more, limit=limit)))
        assert reply.status == status, reply.body
        assert status == 200 or limit == 0 or str(most) in reply.json["error"]["message"]


async def test_other_sites_tokens_see_nothing(client: Client, own_token: str) -> None:
    asked: list[tuple[str, object]] = [
        ("query", panel(target("visitors", site=OTHER))),
        ("query", panel(target("visitors"), target("visitors", "B", site=OTHER))),
        ("query", panel(target("annotations", site=OTHER))),
        ("variable", {"payload": {"target": "event:page", "site": OTHER}}),
        ("variable", {"payload": {"target": "goals", "site": OTHER}}),
        ("tag-values", {"key": "event:page", "site": OTHER}),
        ("search", {"target": "event:page", "site": OTHER}),
        ("annotations", {"annotation": {"query": OTHER}, "range": RANGE}),
        ("metric-payload-options", {"name": "funnel", "payload": {"site": OTHER}}),
    ]
    for path, body in asked:
        reply = await client.call("POST", f"{PATH}/{path}", body, token=own_token)
        assert (reply.status, reply.code) == (403, "forbidden"), (path, reply.body)
        assert (await client.call("POST", f"{PATH}/{path}", body, token="wrong")).status == 401
    found = await ask(client, "metric-payload-options", {"name": "site"}, token=own_token)
    assert [one["value"] for one in found] == [SITE]


async def test_annotations_need_the_right_to_what_is_saved(client: Client) -> None:
    wanted = {"scopes": ["query_site", "list_sites"], "sites": [SITE], "name": "numbers"}
    token = (await client.call("POST", "/api/v1/tokens", wanted)).json["token"]

    assert await ask(client, "query", panel(target("visitors")), token=token)
    for path, body in (
        ("query", panel(target("annotations"))),
        ("annotations", {"annotation": {"query": SITE}, "range": RANGE}),
        ("variable", {"payload": {"target": "goals", "site": SITE}}),
    ):
        assert (await client.call("POST", f"{PATH}/{path}", body, token=token)).status == 403, path


async def test_each_sites_audit_log_has_the_question_and_its_own_rows(client: Client) -> None:
    both = panel(target("visitors"), target("visitors", "B", site=OTHER))
    values = {"payload": {"target": "event:page", "site": OTHER}, "range": RANGE, "asked": "for the audit log"}
    await ask(client, "query", both)
    await ask(client, "variable", values)

    for site, body, expected in (
        (SITE, both, ("grafana_query", "ok", 3)),
        (OTHER, both, ("grafana_query", "ok", 3)),
        (OTHER, values, ("grafana_variable", "ok", 1)),
    ):
        hashed = hash_of(msgspec.json.encode(body))

        async def entry(site: str = site, hashed: str = hashed) -> dict[str, Any] | None:
            found = (await client.call("GET", f"/api/v1/privacy/audit?site_id={site}&limit=100")).json["entries"]
            return next((one for one in found if one["query_hash"] == hashed), None)

        found = await wait_for(entry)
        assert found is not None
        assert (found["operation"], found["outcome"], found["rows"]) == expected
