"""Who may ask, and what: the rights are those of the endpoints, and changing anything needs a scope of its own."""

from __future__ import annotations

import pytest

from analytics_server.mcp.tools import CHANGING_TOOLS
from tests.mcp.assistant import SITE, call, made_token, post, request
from tests.server import Client, RunningServer

QUESTIONS = (
    call("query", site_id=SITE, metrics=["visitors"], date_range="7d"),
    call("trends", site_id=SITE),
    call("funnel", site_id=SITE, date_range="7d", steps=[{"name": "a"}, {"name": "b"}]),
    call("cohorts", site_id=SITE),
    call("paths", site_id=SITE),
    call("experiment_results", site_id=SITE, experiment="cta", goal="signup"),
    call("live", site_id=SITE),
    call("sql", site_id=SITE, query="SELECT 1"),
    call("describe", site_id=SITE),
)


@pytest.mark.parametrize("message", QUESTIONS, ids=lambda message: message["params"]["name"])
async def test_a_token_of_another_site_is_refused(client: Client, message: dict[str, object]) -> None:
    token = await made_token(client, "viewer", sites=("foreign.example",))

    reply = await post(client, message, token=token)

    result = reply.json["result"]
    assert (reply.status, result["isError"]) == (200, True)
    assert f"forbidden: This token does not cover the site '{SITE}'." in result["content"][0]["text"]
    assert "structuredContent" not in result


async def test_a_token_with_a_threshold_is_told_no_rows_of_few_and_nothing_else(
    client: Client,
) -> None:
    made = await client.call("POST", "/api/v1/tokens", {"role": "viewer", "sites": [SITE], "threshold": 2})
    token = made.json["token"]
    listed = await post(client, request("tools/list"), token=token)
    names = {tool["name"] for tool in listed.json["result"]["tools"]}

    assert names == {"list_sites", "query", "trends"}
    unknown = await post(client, call("no_such_tool"), token=token)
    assert unknown.json["error"]["message"].endswith("There are: list_sites, query, trends.")
    resources = await post(client, request("resources/list"), token=token)
    assert [each["uri"] for each in resources.json["result"]["resources"]] == ["analytics://metrics"]
    for uri, is_told in (("analytics://metrics", True), ("analytics://schema", False)):
        told = await post(client, request("resources/read", {"uri": uri}), token=token)
        assert ("result" in told.json) == is_told, uri
    asked = {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d", "dimensions": ["event:page"]}
    reply = await post(client, call("query", **asked), token=token)
    answer = reply.json["result"]["structuredContent"]["answer"]
    assert [row["dimensions"] for row in answer["results"]] == [[None]]
    assert answer["results"][0]["below_threshold"]
    assert answer["meta"]["threshold"] == 2
    for message in QUESTIONS:
        reply = await post(client, message, token=token)
        result = reply.json["result"]
        assert result.get("isError", False) == (message not in QUESTIONS[:2]), message
        if result.get("isError"):
            assert "forbidden: This token" in result["content"][0]["text"]
    sites = (await post(client, call("list_sites"), token=token)).json["result"]["structuredContent"]["answer"]["sites"]
    assert [site["site_id"] for site in sites] == [SITE]


async def test_a_token_sees_its_own_sites_only(client: Client) -> None:
    token = await made_token(client, "viewer", sites=("foreign.example",))

    reply = await post(client, call("list_sites"), token=token)

    sites = reply.json["result"]["structuredContent"]["answer"]["sites"]
    assert [site["site_id"] for site in sites] == ["foreign.example"]


@pytest.mark.parametrize("header", ["", "Bearer wrong", "Basic abc"])
async def test_nobody_asks_without_a_token(client: Client, header: str) -> None:
    reply = await post(client, request("initialize"), {"Authorization": header} if header else None)

    assert (reply.status, reply.code) == (401, "unauthorized")
    assert reply.headers["WWW-Authenticate"] == "Bearer"


async def test_a_token_that_only_collects_is_refused(client: Client) -> None:
    reply = await post(client, request("tools/list"), token=await made_token(client, "collect"))

    assert (reply.status, reply.code) == (403, "forbidden")


async def test_the_link_of_a_public_site_asks_nothing(client: Client, server: RunningServer) -> None:
    assert (await client.call("PUT", "/api/v1/sites/foreign.example", {"public": True})).status == 200
    opened = await client.call("POST", "/api/v1/share/open", {"secret": "foreign.example"}, token="")
    assert opened.status == 200, opened.body

    reply = await post(client, request("tools/list"), token=opened.json["token"])

    assert (reply.status, reply.code) == (403, "forbidden")
    assert "share link" in reply.json["error"]["message"]


@pytest.mark.parametrize("scopes", [("viewer",), ("editor",), ("admin",)])
async def test_no_role_alone_may_change_anything(client: Client, scopes: tuple[str, ...]) -> None:
    token = await made_token(client, *scopes)
    listed = await post(client, request("tools/list"), token=token)
    names = {tool["name"] for tool in listed.json["result"]["tools"]}

    assert not names & {tool.name for tool in CHANGING_TOOLS}
    for tool in CHANGING_TOOLS:
        reply = await post(client, call(tool.name, site_id=SITE), token=token)
        assert (reply.status, reply.json["error"]["code"]) == (200, -32602)
        assert f"There is no tool '{tool.name}' for you." in reply.json["error"]["message"]


async def test_provisioning_ends_at_the_sites_of_the_token(client: Client) -> None:
    token = await made_token(client, "viewer", "provision", sites=("foreign.example",))

    site = await post(client, call("create_site", site_id="more.example"), token=token)
    goal = await post(client, call("create_goal", site_id=SITE, event="signup"), token=token)
    own = await post(client, call("create_goal", site_id="foreign.example", event="signup"), token=token)

    for refused in (site, goal):
        assert refused.json["result"]["isError"]
        assert "forbidden: This token" in refused.json["result"]["content"][0]["text"]
    assert not own.json["result"]["isError"], own.json


async def test_an_editor_cannot_pass_the_scope_on(client: Client) -> None:
    token = await made_token(client, "viewer", "manage_tokens")

    refused = await client.call("POST", "/api/v1/tokens", {"scopes": ["viewer", "provision"]}, token=token)

    assert (refused.status, refused.code) == (403, "forbidden")
