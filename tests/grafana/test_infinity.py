"""The dashboard and the alert rule for Grafana's Infinity data source.

Each query is sent as Grafana sends it, to a server that `demo` has filled, and answers flat rows of the types that its
columns name. Flat rows say what the reports say.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
import yaml  # type: ignore[import-untyped]

from analytics_server.flat.routes import MAX_ROWS
from tests.grafana.demo import filled_by_demo
from tests.grafana.frames import data_frames
from tests.server import Client, Reply, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/web-analytics-infinity.json").read_text(encoding="utf-8"))
(RULE,) = yaml.safe_load((GRAFANA / "infinity/alerting/analytics-server.yaml").read_text(encoding="utf-8"))["groups"][
    0
]["rules"]
PANELS = DASHBOARD["panels"]
PLUGIN = "yesoreyeram-infinity-datasource"
SITE, FUNNEL, ZONE = "shop.example", "To the shop", "Europe/Stockholm"
DAY_MS = 86_400_000
TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float, type(None)),
    "string": (str,),
    "timestamp_epoch": (int,),
}
READ_TYPES = {"number": "number", "string": "string", "timestamp_epoch": "time"}
STEPS = [{"name": "pageview", "filters": [["is", "event:page", ["/"]]]}, {"name": "pageview"}]
FLAT = "/api/v1/flat"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    options = ("--site", SITE, "--days", "20", "--sessions", "200", "--timezone", ZONE)
    with filled_by_demo(tmp_path_factory.mktemp("infinity"), *options) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        saved = {"site_id": SITE, "name": FUNNEL, "steps": STEPS}
        assert (await client.call("POST", "/api/v1/funnels/saved", saved)).status == 201
        await client.send({"site": SITE, "name": "pageview", "url": f"https://{SITE}/"})
        await client.flushed()
        yield client


def address_of(target: dict[str, Any]) -> str:
    """What Grafana asks for, with the dashboard's variables filled in."""
    now = round(time.time() * 1000)
    chosen = {"site": SITE, "funnel": FUNNEL, "by": "visitor", "__from": str(now - 30 * DAY_MS), "__to": str(now)}
    options = target["url_options"]
    assert options["method"] == "GET"
    filled = {one["key"]: re.sub(r"\$\{(\w+)\}", lambda m: chosen[m[1]], one["value"]) for one in options["params"]}
    path: str = target["url"]
    return f"{path}?{urlencode(filled)}" if filled else path


async def rows_of(client: Client, address: str) -> list[dict[str, Any]]:
    reply = await client.call("GET", address)
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json
    return found


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
async def test_each_panel_gets_rows_of_the_types_it_names(client: Client, panel: dict[str, Any]) -> None:
    (target,) = panel["targets"]
    assert (target["parser"], target["root_selector"]) == ("backend", "")
    check(await rows_of(client, address_of(target)), target["columns"])


async def test_grafana_reads_each_panels_rows(client: Client) -> None:
    """Its library finds the type of each column by itself, as Infinity's parser does that runs in the browser."""
    targets = [target for panel in PANELS for target in panel["targets"]]
    rows = [await rows_of(client, address_of(target)) for target in targets]
    for target, found, frame in zip(targets, rows, data_frames(rows), strict=True):
        assert frame.length == len(found)
        read = {field.name: field.type for field in frame.fields}
        assert {one["selector"]: READ_TYPES[one["type"]] for one in target["columns"]}.items() <= read.items()


def check(rows: list[dict[str, Any]], columns: list[dict[str, str]]) -> None:
    assert rows
    assert len({tuple(row) for row in rows}) == 1, "the same keys in each row"
    for column in columns:
        values = [row[column["selector"]] for row in rows]
        assert all(isinstance(value, TYPES[column["type"]]) for value in values), column
        assert any(values), f"nothing in {column}"
    if "time" in rows[0]:
        times = [row["time"] for row in rows]
        assert times == sorted(times)
        assert abs(times[-1] / 1000 - time.time()) < 100 * 86_400


async def test_the_variable_lists_the_sites(client: Client) -> None:
    (variable,) = (one for one in DASHBOARD["templating"]["list"] if one["name"] == "site")
    query = variable["query"]["infinityQuery"]
    answer = (await client.call("GET", address_of(query))).json
    assert SITE in [row[query["columns"][0]["selector"]] for row in answer[query["root_selector"]]]


async def test_the_alert_rule_asks_what_the_panel_of_now_asks(client: Client) -> None:
    model = RULE["data"][0]["model"]
    for parameter in model["url_options"]["params"]:
        if parameter["key"] == "site_id":
            parameter["value"] = SITE
    rows = await rows_of(client, address_of(model))
    check(rows, model["columns"])
    assert sum(row["pageviews"] for row in rows) >= 1
    assert [one["refId"] for one in RULE["data"]] == ["A", "B", RULE["condition"]]


async def test_files_are_what_grafana_reads() -> None:
    text = (GRAFANA / "infinity/datasources/infinity.yaml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["datasources"]
    assert (source["type"], source["jsonData"]["auth_method"]) == (PLUGIN, "bearerToken")
    assert source["secureJsonData"]["bearerToken"].startswith("$")
    assert RULE["data"][0]["datasourceUid"] == RULE["data"][0]["model"]["datasource"]["uid"] == source["uid"]
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & taken
        assert max(x for x, _ in squares) < 24
        taken |= squares
        for target in panel["targets"]:
            assert target["datasource"] == {"type": PLUGIN, "uid": "${datasource}"}
    used = set(re.findall(r"\$\{(?!__)(\w+)\}", json.dumps(DASHBOARD)))
    assert used == {variable["name"] for variable in DASHBOARD["templating"]["list"]}


async def test_flat_rows_say_what_the_reports_say(client: Client) -> None:
    by_time = f"site_id={SITE}&metrics=visitors,bounce_rate&interval=day&date_range=20d"
    trends = (await client.call("GET", f"/api/v1/trends?{by_time}&breakdown=visit:device")).json
    zone = ZoneInfo(ZONE)
    assert await rows_of(client, f"{FLAT}/trends?{by_time}&breakdown=visit:device") == [
        {
            "time": round(datetime.fromisoformat(row["time"]).replace(tzinfo=zone).timestamp() * 1000),
            "value": row["breakdown"],
            "visitors": row["visitors"],
            "bounce_rate": row["bounce_rate"],
        }
        for row in trends["rows"]
    ]
    filters = [["is_not", "visit:device", ["mobile"]]]
    asked = {"site_id": SITE, "metrics": ["visitors", "events"], "date_range": "20d", "filters": filters}
    same = urlencode(
        {"site_id": SITE, "metrics": "visitors,events", "date_range": "20d", "filters": json.dumps(filters)}
    )
    for path, dimensions in (("totals?", []), ("breakdown?dimension=event:page&limit=3&", ["event:page"])):
        answer = (
            await client.call("POST", "/api/v1/query", {**asked, "dimensions": dimensions, "pagination": {"limit": 3}})
        ).json
        assert await rows_of(client, f"{FLAT}/{path}{same}") == [
            {
                **dict(zip(["value"], row["dimensions"], strict=False)),
                **dict(zip(["visitors", "events"], row["metrics"], strict=True)),
            }
            for row in answer["results"]
        ]
    funnel = {"site_id": SITE, "date_range": "20d", "funnel": FUNNEL}
    answer = (await client.call("POST", "/api/v1/funnels", {**funnel, "breakdown": "visit:device"})).json
    numbered = {
        "": [{"step": n, **step} for n, step in enumerate(answer["steps"], 1)],
        "&breakdown=visit:device": [
            {"value": one["value"], "step": n, **step}
            for one in answer["breakdown"]
            for n, step in enumerate(one["steps"], 1)
        ],
    }
    for more, expected in numbered.items():
        assert await rows_of(client, f"{FLAT}/funnel?{urlencode(funnel)}{more}") == expected
    cohorts = {"site_id": SITE, "date_range": "28d", "period": "week", "by": "visitor"}
    answer = (await client.call("POST", "/api/v1/cohorts", cohorts)).json
    cells = [
        (cohort["start"], cohort["size"], period, returned, complete)
        for cohort in answer["cohorts"]
        for period, (returned, complete) in enumerate(zip(cohort["returned"], cohort["complete"], strict=True))
    ]
    rows = await rows_of(client, f"{FLAT}/cohorts?{urlencode(cohorts)}")
    assert [(r["cohort"], r["size"], r["period"], r["returned"], r["complete"]) for r in rows] == cells
    assert all(r["retention"] == (round(100 * r["returned"] / r["size"], 1) if r["size"] else None) for r in rows)


async def test_a_bucket_begins_when_the_clock_says_so(client: Client) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")  # whose clocks change by half an hour
    site = {"site_id": "howe.example", "timezone": zone.key}
    assert (await client.call("POST", "/api/v1/sites", site)).status == 201
    for day in ("2026-10-03", "2026-10-04", "2026-04-04", "2026-04-05"):
        rows = await rows_of(client, f"{FLAT}/trends?site_id=howe.example&interval=hour&from={day}&to={day}")
        start = datetime.fromisoformat(day).replace(tzinfo=zone)
        begins: dict[object, int] = {}
        for minute in range(26 * 60):
            at = datetime.fromtimestamp(start.timestamp() + 60 * minute, zone)
            if at.date() == start.date():
                begins.setdefault((at.hour, at.utcoffset()), round(at.timestamp() * 1000))
        assert [row["time"] for row in rows] == list(begins.values())


async def test_nothing_there_is_an_empty_array(client: Client) -> None:
    assert (await client.call("POST", "/api/v1/sites", {"site_id": "empty.example"})).status == 201
    assert await rows_of(client, f"{FLAT}/breakdown?site_id=empty.example&dimension=event:page") == []


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        ("trends", "bad_request", "site_id"),
        ("totals", "bad_request", "site_id"),
        ("totals?site_id=SITE&metric=x", "unknown_key", "metrics"),
        ("totals?site_id=SITE&metrics=visitor", "unknown_metric", "visitors"),
        ("totals?site_id=SITE&date_range=7x", "bad_date_range", "7x"),
        ("totals?site_id=SITE&from=2026-01-01", "bad_date_range", "both"),
        ("breakdown?site_id=SITE", "bad_request", "dimension"),
        ("breakdown?site_id=SITE&dimension=time:day", "bad_request", "time"),
        ("breakdown?site_id=SITE&dimension=visit:sauce", "unknown_dimension", "visit:source"),
        ("breakdown?site_id=SITE&dimension=visit:source&limit=0", "bad_request", str(MAX_ROWS)),
        (f"breakdown?site_id=SITE&dimension=visit:source&limit={MAX_ROWS + 1}", "bad_request", str(MAX_ROWS)),
        ("breakdown?site_id=SITE&dimension=visit:source&limit=0000001001", "bad_request", str(MAX_ROWS)),
        ("breakdown?site_id=SITE&dimension=visit:source&filters=[", "bad_filter", "JSON"),
        ("funnel?site_id=SITE", "bad_request", "funnel"),
        ("funnel?site_id=SITE&funnel=nowhere", "unknown_funnel", "nowhere"),
        ("cohorts?site_id=SITE&period=year", "bad_request", "year"),
        ("cohorts?site_id=nowhere.example", "unknown_site", "nowhere.example"),
        ("totals?site_id=SITE&site_id=SITE", "bad_request", "more than once"),
    ],
)
async def test_bad_addresses_say_what_is_wrong(client: Client, address: str, code: str, said: str) -> None:
    reply: Reply = await client.call("GET", f"{FLAT}/{address.replace('SITE', SITE)}")
    assert reply.json["error"]["code"] == code, reply.body
    assert said in reply.json["error"]["message"]


async def test_as_many_values_as_may_be_are_taken(client: Client) -> None:
    assert await rows_of(client, f"{FLAT}/breakdown?site_id={SITE}&dimension=visit:source&limit={MAX_ROWS}")


async def test_other_tokens_see_nothing(client: Client) -> None:
    made = (await client.call("POST", "/api/v1/tokens", {"role": "read", "sites": ["empty.example"], "name": "n"})).json
    token = made["token"]
    for report in ("trends", "totals", "breakdown?dimension=event:page", "funnel?funnel=x", "cohorts"):
        address = f"{FLAT}/{report}{'&' if '?' in report else '?'}site_id={SITE}"
        assert (await client.call("GET", address, token=token)).status == 403
        assert (await client.call("GET", address, token="wrong")).status == 401
