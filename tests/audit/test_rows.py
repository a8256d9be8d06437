"""How many rows an answer had stands in its entry, also of answers that are streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.audit.test_sites import seen
from tests.e2e.conftest import running
from tests.server import Client, RunningServer, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITE, OTHER = "own.example", "other.example"
USER = "u-rows"
EVENTS = {SITE: 3, OTHER: 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("audit-rows")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        events = [
            {"site": site, "name": "signup", "url": f"https://{site}/{number}", "user_id": USER}
            for site, count in EVENTS.items()
            for number in range(count)
        ]
        for site in EVENTS:
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
        assert (await client.send(events)).json["accepted"] == len(events)

        async def stored() -> bool:
            asked = {"site_id": SITE, "query": "SELECT count() FROM events"}
            return bool((await client.call("POST", "/api/v1/sql", asked)).json["rows"] == [[3]])

        await wait_for(stored)
        yield client


async def newest(client: Client, operation: str) -> dict[str, Any]:
    return (await seen(client, operation))[0]


@pytest.mark.parametrize(
    ("format_", "rows"), [("json", 4), ("csv", 4), ("csv&csv=raw", 4), ("ndjson", 4), ("parquet", None)]
)
async def test_of_sql(client: Client, format_: str, rows: int | None) -> None:
    query = "SELECT concat('\"a', char(10), toString(number)) AS t FROM (SELECT arrayJoin(range(4)) AS number)"
    reply = await client.call("POST", f"/api/v1/sql?format={format_}", {"site_id": SITE, "query": query})
    assert reply.status == 200, reply.body

    entry = await newest(client, "sql")

    assert (entry["outcome"], entry["site_id"], entry["rows"]) == ("ok", SITE, rows)


async def test_of_sql_that_is_cut_off_and_that_is_refused(client: Client) -> None:
    asked = {"site_id": SITE, "query": "SELECT arrayJoin(range(300000)) AS n"}
    sent = (await client.call("POST", "/api/v1/sql", asked)).json
    assert sent["meta"]["truncated"]
    assert (await newest(client, "sql"))["rows"] == len(sent["rows"])

    assert (await client.call("POST", "/api/v1/sql", {**asked, "query": "SELECT no_such FROM events"})).status == 400
    assert (await newest(client, "sql"))["rows"] is None


@pytest.mark.parametrize(("format_", "rows"), [("csv", 3), ("csv&csv=raw", 3), ("ndjson", 3), ("parquet", None)])
async def test_of_files_of_events(client: Client, format_: str, rows: int | None) -> None:
    reply = await client.call("GET", f"/api/v1/export/events?site_id={SITE}&date_range=day&format={format_}")
    assert reply.status == 200

    assert (await newest(client, "export_events"))["rows"] == rows


@pytest.mark.parametrize("format_", ["ndjson", "zip"])
async def test_of_a_persons_export(client: Client, format_: str) -> None:
    both = (await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [OTHER, "none.example"]})).json
    admin = (await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [SITE]})).json["token"]
    body = {"user_id": USER, "format": format_}
    lines = {}
    for who, token in (("both", both["token"]), ("all", None)):
        reply = await client.call("POST", "/api/v1/privacy/export", {"user_id": USER}, token=token)
        lines[who] = len(reply.body.splitlines())
    assert lines["all"] > lines["both"] > 0

    assert (await client.call("POST", "/api/v1/privacy/export", body, token=both["token"])).status == 200
    told = [(entry["site_id"], entry["rows"]) for entry in (await seen(client, "export_person"))[:2]]
    assert sorted(told) == [("none.example", 0), (OTHER, lines["both"])]

    assert (await client.call("POST", "/api/v1/privacy/export", body)).status == 200
    entries = (await seen(client, "export_person"))[:2]
    assert {entry["site_id"]: entry["rows"] for entry in entries} == {
        SITE: lines["all"] - lines["both"],
        OTHER: lines["both"],
    }
    assert (await seen(client, "export_person", token=admin))[0]["rows"] == lines["all"] - lines["both"]

    assert (await client.call("POST", "/api/v1/privacy/export", {**body, "user_id": "u-nobody"})).status == 200
    nothing = await newest(client, "export_person")
    assert (nothing["site_id"], nothing["rows"]) == ("", 0)
