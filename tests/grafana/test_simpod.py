"""The dashboard and the provisioning for the simpod data source.

Each query is sent as the plugin sends it, to a server that `demo` has filled, and answers rows. What the protocol says
in full is tested in `json_source/`.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml  # type: ignore[import-untyped]

from tests.grafana.demo import filled_by_demo
from tests.grafana.frames import data_frames
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/web-analytics-json.json").read_text(encoding="utf-8"))
(SOURCE,) = yaml.safe_load((GRAFANA / "simpod/datasources/json.yaml").read_text(encoding="utf-8"))["datasources"]
PANELS = DASHBOARD["panels"]
VARIABLES = {one["name"]: one for one in DASHBOARD["templating"]["list"]}
PLUGIN = "simpod-json-datasource"
SITE, FUNNEL = "shop.example", "To the shop"
STEPS = [{"name": "pageview", "filters": [["is", "event:page", ["/"]]]}, {"name": "pageview"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    options = ("--site", SITE, "--days", "20", "--sessions", "200", "--timezone", "Europe/Stockholm")
    with filled_by_demo(tmp_path_factory.mktemp("simpod"), *options) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        saved = {"site_id": SITE, "name": FUNNEL, "steps": STEPS}
        assert (await client.call("POST", "/api/v1/funnels/saved", saved)).status == 201
        day = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}"
        made = await client.call("POST", "/api/v1/annotations", {"site_id": SITE, "date": day, "text": "New prices."})
        assert made.status == 201
        await client.send({"site": SITE, "name": "pageview", "url": f"https://{SITE}/"})
        await client.flushed()
        yield client


def as_sent(target: dict[str, Any]) -> dict[str, Any]:
    """A query with its payload as the plugin makes it of the text in the editor."""
    text = target["payload"].replace("$site", SITE).replace("$funnel", FUNNEL)
    return {**target, "payload": json.loads(text)}


async def answers(client: Client, targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    now = time.time()
    edges = [f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.000Z}" for at in (now - 30 * 86_400, now)]
    body = {
        "range": {"from": edges[0], "to": edges[1], "raw": {"from": "now-30d", "to": "now"}},
        "intervalMs": 7_200_000,
        "maxDataPoints": 400,
        "filters": VARIABLES["filters"]["filters"],
        "targets": [as_sent(target) for target in targets],
    }
    address = SOURCE["url"].removeprefix("http://127.0.0.1:8000")
    reply = await client.call("POST", f"{address}/query", body)
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json
    return found


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
async def test_each_panel_gets_rows(client: Client, panel: dict[str, Any]) -> None:
    (answer,) = await answers(client, panel["targets"])
    assert answer["refId"] == panel["targets"][0]["refId"]
    if panel["type"] == "timeseries":
        times, *numbers = [field["values"] for field in answer["fields"]]
        assert times == sorted(times)
        assert len(times) > 20
        assert numbers
        assert all(any(values) for values in numbers)
    elif "fields" in answer:
        assert all(any(field["values"]) for field in answer["fields"])
    else:
        assert answer["rows"]
        assert all(cell is not None for cell in answer["rows"][0])


async def test_grafana_reads_each_panels_answer(client: Client) -> None:
    found = [answer for panel in PANELS for answer in await answers(client, panel["targets"])]
    for panel, frame in zip(PANELS, data_frames(found), strict=True):
        types = [field.type for field in frame.fields]
        if panel["type"] == "timeseries":
            assert types == ["time", *["number"] * (len(types) - 1)]
            assert len({field.shown for field in frame.fields}) == len(types), "each line has a name of its own"
        else:
            assert "number" in types
        assert all(field.written for field in frame.fields if field.type == "number")


async def test_annotations_are_found(client: Client) -> None:
    (asked,) = DASHBOARD["annotations"]["list"]
    (frame,) = await answers(client, [asked["target"]])
    assert {field["name"]: field["values"] for field in frame["fields"]}["text"] == ["New prices."]


async def test_the_variable_lists_the_sites(client: Client) -> None:
    query = VARIABLES["site"]["query"]
    assert query["format"] == "string"
    found = (await client.call("POST", "/api/grafana/variable", {"payload": {"target": query["query"]}})).json
    assert SITE in [one["__value"] for one in found]


async def test_the_variable_lists_the_sites_saved_funnels(client: Client) -> None:
    query = VARIABLES["funnel"]["query"]
    assert query["format"] == "json"
    payload = json.loads(query["query"].replace("$site", SITE))
    found = (await client.call("POST", "/api/grafana/variable", {"payload": payload})).json
    assert [one["__value"] for one in found] == [FUNNEL]


async def test_files_are_what_grafana_reads() -> None:
    assert (SOURCE["type"], SOURCE["access"]) == (PLUGIN, "proxy")
    assert SOURCE["jsonData"]["httpHeaderName1"] == "Authorization"
    assert SOURCE["secureJsonData"]["httpHeaderValue1"] == "Bearer $ANALYTICS_TOKEN"
    assert VARIABLES["datasource"]["query"] == PLUGIN
    others = {json.loads(path.read_text(encoding="utf-8"))["uid"] for path in (GRAFANA / "dashboards").glob("*.json")}
    assert len(others) == len(list((GRAFANA / "dashboards").glob("*.json"))), "each dashboard has an id of its own"
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        across, down = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        squares = {(x, y) for x in across for y in down}
        assert not squares & taken
        assert across.stop <= 24
        taken |= squares
        for target in panel["targets"]:
            assert target["datasource"] == {"type": PLUGIN, "uid": "${datasource}"}
