"""Operations by a real Prometheus: what the project ships is loaded, each panel has numbers, and alerts fire."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
import pytest_asyncio

from tests.clickhouse import ClickHouseFront
from tests.grafana.prometheus import SHIPPED, SOON, RunningPrometheus, program, promtool, running_prometheus
from tests.grafana.test_operations import DASHBOARD, PANELS, RULES
from tests.grafana.traffic import SITE, send_traffic
from tests.server import Client, RunningServer, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHIPPED_GROUP = "analytics-server"
STEP_S = 1
RATE_INTERVAL = "4s"
"""`$__rate_interval`: the larger of a step and a scrape's interval together, and four of the latter."""
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]
ALWAYS_ZERO = {"Dead letters": 0, "Lost data parts": 0, "Faults of the log": 0}
"""These have series all the time, and no other number on a server that is well."""
MOVING: dict[str, set[str]] = {
    "Events by outcome": {"accepted", "rejected"},
    "Bots, by kind": {"crawler"},
    "Inserts by outcome": {"ok"},
    "Requests by status": {"200", "202"},
    "Dropped, by reason": {"bot"},
    "Warnings of beacons, by code": {"made_text", "left_out"},
}
"""Series that the test's traffic has to have moved: what the legend's label says."""
ROUNDS = 2
DATABASE = "watched"


def expanded(text: str, chosen: dict[str, list[str]]) -> str:
    """As Grafana expands it; a variable without a choice stands at *All*, whose value its definition gives."""
    text = text.replace("$__rate_interval", RATE_INTERVAL)
    for variable in DASHBOARD["templating"]["list"]:
        name = variable["name"]
        if name in chosen:
            escaped = [re.sub(r"[\\^$*{}\[\].?+()|]", r"\\\\\g<0>", value) for value in chosen[name]]
            text = text.replace(f"${name}", escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})")
        else:
            text = text.replace(f"${name}", variable.get("allValue", ""))
    assert "$" not in text
    return text


@dataclass(frozen=True, slots=True)
class Watched:
    """A server, its Prometheus, and the time of a scrape that is complete, behind which panels do not look."""

    server: RunningServer
    prometheus: RunningPrometheus
    until: float

    @property
    def instance(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory, module_front: ClickHouseFront) -> AsyncIterator[Watched]:
    """A server with traffic on a ClickHouse of its own, and a Prometheus that has seen what it led to."""
    program("prometheus")  # or skipped before anything else is started
    directory = tmp_path_factory.mktemp("watched")
    settings = {
        "ingest_flush_interval_ms": "100",
        "clickhouse_url": module_front.start(),
        "clickhouse_database": DATABASE,
    }
    with RunningServer(directory, settings) as server:
        async with running_prometheus(directory / "prometheus", f"127.0.0.1:{server.port}") as prometheus:
            await watch(prometheus, server)
            yield Watched(server, prometheus, await prometheus.value("timestamp(up)"))


async def watch(prometheus: RunningPrometheus, server: RunningServer) -> None:
    """Rounds of traffic, each seen in ClickHouse and by a scrape before the next: so there are rates."""

    async def has_begun() -> bool:
        return await prometheus.value("count(daily_work_total)") > 0

    await wait_for(has_begun, what="the first daily work")
    async with Client(server) as client:
        for round_ in range(1, ROUNDS + 1):
            await send_traffic(client)
            await client.flushed()

            async def is_seen(rounds: int = round_) -> bool:
                rejected = await prometheus.value('ingest_events_total{outcome="rejected"}')
                inserted = await prometheus.value('flush_attempts_total{outcome="ok"}')
                return rejected == rounds and inserted >= rounds

            await wait_for(is_seen, what="a scrape")


async def test_promtool_takes_what_is_shipped(tmp_path: Path) -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(SHIPPED / "alerts.yaml"))
    # With both files in one folder the part is a whole configuration.
    promtool("check", "config", str(SHIPPED / "scrape.yaml"))


@pytest.mark.parametrize(("panel", "target"), TARGETS, ids=lambda one: one.get("title", one.get("legendFormat")))
async def test_each_panel_gets_numbers(watched: Watched, panel: dict[str, Any], target: dict[str, Any]) -> None:
    one = {"job": ["analytics-server"], "instance": [watched.instance]}
    start, end = f"{watched.until - 60:.3f}", f"{watched.until:.3f}"
    found: dict[str, list[dict[str, Any]]] = {}
    for name, chosen in {"all": {}, "one": one, "another": {**one, "instance": ["127.0.0.1:1", "a.b:2"]}}.items():
        query = expanded(target["expr"], chosen)
        asked = {"query": query, "start": start, "end": end, "step": str(STEP_S)}
        answer = await watched.prometheus.ask("query_range", asked)
        assert answer["resultType"] == "matrix"
        found[name] = answer["result"]
    assert found["another"] == []
    assert found["one"] == found["all"]
    if target["instant"]:
        answer = await watched.prometheus.ask("query", {"query": expanded(target["expr"], one), "time": end})
        assert answer["resultType"] == "vector"
        assert len(answer["result"]) == 1  # a stat shows one number
    legend = re.findall(r"{{(\w+)}}", target["legendFormat"])
    numbers: dict[str, list[float]] = {}
    for series in found["one"]:
        assert set(legend) <= series["metric"].keys()
        shown = " ".join(series["metric"][label] for label in legend)
        assert shown not in numbers, "two lines of one name"
        numbers[shown] = [value for _, text in series["values"] if math.isfinite(value := float(text))]
    flat = [value for values in numbers.values() for value in values]
    assert flat, (panel["title"], found["one"])
    if panel["title"] in ALWAYS_ZERO:
        assert set(flat) == {ALWAYS_ZERO[panel["title"]]}
    if legend:
        assert {name for name, values in numbers.items() if any(values)} >= MOVING.get(panel["title"], set()), numbers


async def test_variables_list_the_job_and_the_server(watched: Watched) -> None:
    listed = {
        variable["name"]: await watched.prometheus.label_values(expanded(variable["query"]["query"], {}))
        for variable in DASHBOARD["templating"]["list"]
        if variable["type"] == "query"
    }
    assert listed == {"job": ["analytics-server"], "instance": [watched.instance]}


async def test_alerts_fire_when_it_is_time(watched: Watched, module_front: ClickHouseFront) -> None:
    """None where all is well; then for rows that ClickHouse refuses, a ClickHouse that is away, a server that is away.

    The panels' tests may come before or after: they look at the time before.
    """
    server, prometheus = watched.server, watched.prometheus
    poison = {"site": SITE, "name": "pageview", "url": f"https://{SITE}/poison"}
    # A fourth of the events is rejected, by intent of the traffic; the disk is that of the machine.
    raised = {(SOON, "AnalyticsEventsRejected"), (SOON, "AnalyticsDiskNearlyFull")}
    await all_rules_are_evaluated(prometheus)
    (target,) = (await prometheus.ask("targets"))["activeTargets"]
    assert (target["health"], target["scrapeUrl"].rpartition("/")[2]) == ("up", "metrics")
    assert await prometheus.firing() <= raised

    async def fires(*rules: tuple[str, str]) -> None:
        """They fire, which did not before, and no others do."""
        assert not {*rules} & await prometheus.firing()

        async def do() -> bool:
            return {*rules} <= await prometheus.firing()

        await wait_for(do, what=str(rules))
        raised.update(rules)
        assert await prometheus.firing() <= raised

    alter(module_front, "ALTER TABLE events ADD CONSTRAINT no_poison CHECK path != '/poison'")
    async with Client(server) as client:
        assert (await client.send({"events": [poison]}, trusted=True)).status == 202
        await fires((SHIPPED_GROUP, "AnalyticsDeadLetters"), (SHIPPED_GROUP, "AnalyticsFlushesFail"))
        await asyncio.to_thread(module_front.terminate)
        await fires((SOON, "AnalyticsClickHouseAway"))
    server.kill()
    await fires((SOON, "AnalyticsServerDown"))
    states = {rule["name"]: rule["state"] for rule in await prometheus.rules() if rule["group"] == SHIPPED_GROUP}
    assert states["AnalyticsServerDown"] == "pending"  # as shipped, it has two minutes


async def all_rules_are_evaluated(prometheus: RunningPrometheus) -> None:
    """All that is shipped is loaded, and each rule can be evaluated."""

    async def are_evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in await prometheus.rules())

    await wait_for(are_evaluated, what="the first evaluation")
    rules = await prometheus.rules()
    assert [rule["name"] for rule in rules if rule["group"] == SHIPPED_GROUP] == [rule["alert"] for rule in RULES]
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}


def alter(front: ClickHouseFront, statement: str) -> None:
    client: Any = clickhouse_connect.get_client(dsn=front.url, database=DATABASE)
    client.command(statement)
    client.close()
