"""*Save & test*, what the editor lists, variables, and keys and values of ad-hoc filters."""

from __future__ import annotations

import json

import pytest

from analytics_server.grafana.choices import DIMENSION_NAMES, METRIC_NAMES
from analytics_server.grafana.reports import REPORTS
from tests.grafana.json_source.asking import EVENTS, OTHER, PATH, RANGE, SITE, ask, panel
from tests.server import Client

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize("address", [PATH, f"{PATH}/"])
async def test_save_and_test_needs_a_token_and_gets_200(client: Client, address: str) -> None:
    assert (await client.call("GET", address)).json == {"status": "ok"}
    assert (await client.get(address)).status == 401
    assert (await client.call("GET", address, token="wrong")).status == 401


@pytest.mark.parametrize("body", [None, {}, {"metric": "visitors", "payload": {"site": SITE}}])
async def test_metrics_are_all_metrics_and_reports_with_their_payload(client: Client, body: object) -> None:
    found = await ask(client, "metrics", body)

    assert [one["value"] for one in found] == [*METRIC_NAMES, *REPORTS]
    keys = {one["value"]: {key["name"]: key for key in one["payloads"]} for one in found}
    assert set(keys["visitors"]) == {"site", "dimension", "interval", "format", "range", "filters", "limit"}
    assert set(keys["funnel"]) == {"site", "funnel", "dimension", "format", "range", "limit"}
    assert keys["visitors"]["filters"]["type"] == "textarea"
    assert [one["value"] for one in keys["visitors"]["dimension"]["options"]] == list(DIMENSION_NAMES)
    assert "options" not in keys["visitors"]["site"], "asked for when the list is opened"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("site", [OTHER, SITE]),
        ("funnel", ["Buying"]),
        ("interval", ["minute", "hour", "day", "week", "month"]),
        ("format", ["frame", "timeseries", "table"]),
        ("limit", []),
    ],
)
async def test_each_key_of_a_payload_has_its_options(client: Client, name: str, expected: list[str]) -> None:
    body = {"metric": "visitors", "payload": {"site": SITE}, "name": name}

    assert await ask(client, "metric-payload-options", body) == [{"label": one, "value": one} for one in expected]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"target": "sites"}, [OTHER, SITE]),
        ("sites", [OTHER, SITE]),
        ({"target": "metrics"}, list(METRIC_NAMES)),
        ({"target": "dimensions"}, list(DIMENSION_NAMES)),
        ({"target": "goals", "site": SITE}, ["Purchase"]),
        ({"target": "segments", "site": SITE}, ["Firefox only"]),
        ({"target": "funnels", "site": SITE}, ["Buying"]),
        (
            {"target": "visit:browser", "site": SITE, "range": "all", "filters": [["is", "event:page", ["/a"]]]},
            ["Firefox"],
        ),
        ({"target": "props:plan", "site": SITE, "range": "all"}, ["pro"]),
        ('{"target": "event:name", "site": "shop.example", "range": "all"}', ["pageview", "purchase"]),
        ({"target": "event:page", "site": SITE, "range": "7d"}, []),
    ],
)
async def test_variables(client: Client, payload: object, expected: list[str]) -> None:
    found = await ask(client, "variable", {"payload": payload, "range": RANGE})
    searched = await ask(client, "search", {"target": payload if isinstance(payload, str) else json.dumps(payload)})

    assert found == [{"__text": value, "__value": value} for value in expected]
    assert searched == [{"text": value, "value": value} for value in expected]


async def test_a_variable_without_a_range_of_its_own_follows_the_dashboards(client: Client) -> None:
    payload = {"target": "event:page", "site": SITE, "limit": 2}

    found = await ask(client, "variable", {"payload": payload, "range": RANGE})

    assert [one["__value"] for one in found] == ["/", "/buy"]


async def test_an_empty_search_names_what_panels_may_ask_for(client: Client) -> None:
    found = await ask(client, "search", {"type": "timeseries", "target": ""})

    assert [one["value"] for one in found] == [*METRIC_NAMES, *REPORTS]


@pytest.mark.parametrize("body", [None, {}, {"filters": []}])
async def test_tag_keys_are_dimensions(client: Client, body: object) -> None:
    assert await ask(client, "tag-keys", body) == [{"type": "string", "text": name} for name in DIMENSION_NAMES]


async def test_tag_values_are_those_of_the_tokens_site(client: Client, own_token: str) -> None:
    asked = {"key": "event:page", "timeRange": RANGE}
    assert await ask(client, "tag-values", asked, token=own_token) == [{"text": page} for page in ("/", "/buy", "/a")]
    assert await ask(client, "tag-values", {**asked, "site": SITE}) == [{"text": page} for page in ("/", "/buy", "/a")]
    assert await ask(client, "tag-values", asked) == [], "the token covers two sites, and none is named"


async def test_a_token_of_one_site_need_not_name_it(client: Client, own_token: str) -> None:
    (frame,) = await ask(client, "query", panel({"refId": "A", "target": "events", "payload": ""}), token=own_token)
    assert sum(frame["fields"][1]["values"]) == len(EVENTS)
    assert await ask(client, "variable", {"payload": {"target": "sites"}}, token=own_token) == [
        {"__text": SITE, "__value": SITE}
    ]
    body = {"annotation": {"query": ""}, "range": RANGE}
    assert len(await ask(client, "annotations", body, token=own_token)) == 2
