"""A site's settings over HTTP, and what they do to its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import running
from tests.server import Client

MOST_RULES, RULE_CHARS = 100, 512


async def put(client: Client, site: str, **change: object) -> Any:
    return await client.call("PUT", f"/api/v1/sites/{site}", change)


async def test_rules_drop_events_and_the_drops_show_which(client: Client, site: str) -> None:
    rules = {"excluded_paths": ["/admin/**"], "excluded_props": ["plan=internal"], "excluded_hosts": [f"*.{site}"]}
    made = await client.call("POST", "/api/v1/sites", {"site_id": site, "currency": "eur", **rules})
    assert (made.status, made.json["currency"], made.json["excluded_paths"]) == (201, "EUR", ["/admin/**"])
    view = {"site": site, "name": "pageview", "url": f"https://{site}/admin/users"}

    sent = [
        view,
        view,
        {**view, "url": f"https://test.{site}/"},
        {**view, "url": f"https://{site}/", "props": {"plan": "internal"}},
        {**view, "url": f"https://{site}/"},
    ]
    answer = await client.send(sent)
    drops = (await client.call("GET", f"/api/v1/drops?site_id={site}&date_range=day")).json["drops"]

    assert answer.json["accepted"] == 1
    assert answer.json["dropped"] == {"excluded": 4}
    (excluded,) = drops
    assert (excluded["reason"], excluded["events"]) == ("excluded", 4)
    assert [(example["value"], example["events"]) for example in excluded["examples"]] == [
        ("path /admin/**", 2),
        (f"host *.{site}", 1),
        ("prop plan=internal", 1),
    ]
    await put(client, site, excluded_paths=[], excluded_hosts=[], excluded_props=[])
    assert (await client.send(sent)).json["accepted"] == len(sent)


async def test_as_many_rules_as_are_allowed_are_taken_and_one_more_is_refused(client: Client, site: str) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    most = [f"/{number}" for number in range(MOST_RULES)]

    assert (await put(client, site, excluded_paths=most)).json["excluded_paths"] == most
    more = await put(client, site, excluded_paths=[*most, "/more"])
    long = await put(client, site, excluded_paths=["/" + "x" * RULE_CHARS])

    assert (more.status, more.code) == (long.status, long.code) == (400, "bad_exclusion")
    assert (await client.call("GET", f"/api/v1/sites/{site}")).json["excluded_paths"] == most


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"excluded_paths": ["admin"]}, "bad_exclusion"),
        ({"excluded_countries": ["Atlantis"]}, "bad_exclusion"),
        ({"currency": "euro"}, "bad_currency"),
        ({"events_per_s": -1}, "bad_body"),
        ({"excluded_path": ["/admin"]}, "bad_body"),
    ],
)
async def test_a_bad_setting_is_refused_and_nothing_changes(
    client: Client, site: str, change: dict[str, object], code: str
) -> None:
    before = (await client.call("POST", "/api/v1/sites", {"site_id": site})).json

    refused = await put(client, site, **change)

    assert (refused.status, refused.code) == (400, code)
    assert (await client.call("GET", f"/api/v1/sites/{site}")).json == before


async def test_own_traffic_is_dropped_and_no_answer_or_log_shows_the_address(tmp_path: Path) -> None:
    settings = {"collect_exclude_addresses": "203.0.113.0/24,127.0.0.0/8,other.example=::/0"}
    with running(tmp_path, settings) as server:
        async with Client(server) as client:
            answer = await client.send({"site": "a.example", "name": "pageview", "url": "https://a.example/"})
            drops = await client.call("GET", "/api/v1/drops?site_id=a.example&date_range=day")

            assert answer.json["dropped"] == {"excluded": 1}
            assert drops.json["drops"][0]["examples"] == [
                {"value": "address range of [collect] exclude_addresses", "events": 1}
            ]
            assert b"127.0.0" not in drops.body + answer.body
