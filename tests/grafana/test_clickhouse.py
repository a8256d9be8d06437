"""The dashboards for Grafana's ClickHouse data source, each query sent as the plugin sends it.

Macros and variables are expanded, the query goes to `/clickhouse/` of a server that `demo` has filled, and rows of the
types come back that the panel needs.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio
import yaml  # type: ignore[import-untyped]

from tests.grafana.demo import filled_by_demo
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
BOARDS = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*-clickhouse.json"))
}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]
VARIABLES = [
    (name, one) for name, board in BOARDS.items() for one in board["templating"]["list"] if one["type"] == "query"
]
(SOURCE,) = yaml.safe_load((GRAFANA / "clickhouse/datasources/clickhouse.yaml").read_text(encoding="utf-8"))[
    "datasources"
]
PLUGIN = "grafana-clickhouse-datasource"
SITE = "demo.example"
DAYS, INTERVAL_S = 30, 3600
NUMBER = re.compile(r"U?Int\d+|Float\d+")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    options = ("--site", SITE, "--days", "20", "--sessions", "300")
    with filled_by_demo(tmp_path_factory.mktemp("grafana"), *options) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        now = round(time.time() * 1000)
        page = {"site": SITE, "name": "pageview", "user_id": "ann"}
        away = {"site": "other.example", "name": "pageview", "url": "https://other.example/secret", "timestamp": now}
        funnel = [
            {**page, "url": f"https://{SITE}/", "timestamp": now - 60_000},
            {**page, "url": f"https://{SITE}/pricing", "timestamp": now - 50_000},
            {
                **page,
                "url": f"https://{SITE}/pricing",
                "name": "signup",
                "timestamp": now - 40_000,
                "props": {"a": "b"},
            },
        ]
        assert (await client.send({"events": [*funnel, away]}, trusted=True)).status == 202
        await client.flushed()
        yield client


async def ask(client: Client, server: RunningServer, sql: str) -> tuple[list[str], list[str], list[list[Any]]]:
    """Names, types and rows, asked with the data source's own settings."""
    settings = SOURCE["jsonData"]
    basic = base64.b64encode(f"{settings['username']}:{server.token}".encode()).decode()
    reply = await client.request(
        "POST",
        f"/{settings['path']}?database={settings['defaultDatabase']}&default_format=JSONCompact&query={quote(sql)}",
        headers={"Authorization": f"Basic {basic}"},
    )
    assert reply.status == 200, (sql, reply.body)
    found = reply.json
    return [one["name"] for one in found["meta"]], [one["type"] for one in found["meta"]], found["data"]


def expanded(board: dict[str, Any], sql: str, *, chosen: dict[str, list[str]]) -> str:
    """The text with macros and variables filled in, as the plugin does it before it sends it."""
    end = round(time.time())
    start = end - DAYS * 86_400
    values = {"site": [SITE], **chosen}
    for variable in board["templating"]["list"]:
        if variable["type"] == "textbox":
            values[variable["name"]] = [variable["current"]["value"]]

    def listed(found: re.Match[str]) -> str:
        return ",".join(f"'{value}'" for value in values[found[1]])

    sql = re.sub(r"\$\{(\w+):singlequote\}", listed, sql)
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({start}) AND \1 <= toDateTime({end})", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {INTERVAL_S} second)", sql)
    return re.sub(r"\$(\w+)", lambda found: values[found[1]][0], sql)


async def chosen_of(client: Client, server: RunningServer, board: dict[str, Any]) -> dict[str, list[str]]:
    """All values of each variable that takes several."""
    chosen: dict[str, list[str]] = {}
    for variable in board["templating"]["list"]:
        if variable["type"] == "query" and variable["multi"]:
            _, _, rows = await ask(client, server, expanded(board, variable["query"], chosen={}))
            chosen[variable["name"]] = [value for (value,) in rows]
    return chosen


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda one: one if isinstance(one, str) else one["title"])
async def test_each_panel_gets_rows_of_the_types_it_needs(
    client: Client, server: RunningServer, name: str, panel: dict[str, Any]
) -> None:
    board = BOARDS[name]
    chosen = await chosen_of(client, server, board)
    (target,) = panel["targets"]
    names, types, rows = await ask(client, server, expanded(board, target["rawSql"], chosen=chosen))
    assert rows, target["rawSql"]
    assert "secret" not in str(rows)
    assert len({*names}) == len(names)
    numbers = [
        place for place, kind in enumerate(types) if NUMBER.fullmatch(kind.removeprefix("Nullable(").rstrip(")"))
    ]
    if target["queryType"] == "timeseries":
        assert names[0] == "time"
        assert types[0].startswith("DateTime")
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    if panel["type"] != "table":
        assert numbers
    if panel["type"] == "bargauge":
        assert [int(cell) for cell in rows[0]] == sorted((int(cell) for cell in rows[0]), reverse=True)
        assert int(rows[0][-1]) >= 1


@pytest.mark.parametrize(("name", "variable"), VARIABLES, ids=lambda one: one if isinstance(one, str) else one["name"])
async def test_each_variable_has_values(
    client: Client, server: RunningServer, name: str, variable: dict[str, Any]
) -> None:
    names, _, rows = await ask(client, server, expanded(BOARDS[name], variable["query"], chosen={}))
    assert len(names) == 1
    assert rows


async def test_the_overview_says_what_the_query_api_says(client: Client, server: RunningServer) -> None:
    board = BOARDS["web-analytics-clickhouse"]
    chosen = await chosen_of(client, server, board)
    asked = {"site_id": SITE, "metrics": ["visitors", "pageviews", "sessions"], "date_range": "40d"}
    (row,) = (await client.call("POST", "/api/v1/query", asked)).json["results"]
    panels = {panel["title"]: panel["targets"][0]["rawSql"] for panel in board["panels"]}
    for title, expected in zip(("Visitors", "Page views", "Sessions"), row["metrics"], strict=True):
        _, _, rows = await ask(client, server, expanded(board, panels[title], chosen=chosen))
        assert int(rows[0][0]) == expected, title


async def test_files_are_what_grafana_reads() -> None:
    assert len(BOARDS) == 3
    assert (SOURCE["type"], SOURCE["jsonData"]["protocol"]) == (PLUGIN, "http")
    assert SOURCE["secureJsonData"]["password"].startswith("$")
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = panel["gridPos"]
            squares = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not squares & taken, panel["title"]
            assert max(x for x, _ in squares) < 24
            taken |= squares
            for target in panel["targets"]:
                assert target["datasource"] == {"type": PLUGIN, "uid": "${datasource}"}
        text = json.dumps(board)
        used = set(re.findall(r"\$\{?(?!__)([a-z]+)", text))
        assert used == {variable["name"] for variable in board["templating"]["list"]}
