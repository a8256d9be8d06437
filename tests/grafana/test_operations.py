"""The dashboard of operations and the alert rules: each expression is PromQL, on metrics and labels that are served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import pytest_asyncio
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

from tests.grafana.traffic import send_traffic
from tests.server import Client, RunningServer, wait_for

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards/server-operations.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((GRAFANA / "prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"job", "instance", "le"}
BUILT_IN = {"up"}
"""What Prometheus knows without the server."""


def expressions() -> Iterator[tuple[str, str, str]]:
    """Where it stands, the expression as Grafana sends it, and the legend."""
    for panel in PANELS:
        for target in panel["targets"]:
            sent = target["expr"].replace("$__rate_interval", "2m").replace("$job", ".*").replace("$instance", ".*")
            yield panel["title"], sent, target["legendFormat"]
    for rule in RULES:
        yield rule["alert"], rule["expr"], ""


def parts_of(expression: Any) -> Iterator[Any]:
    """The expression and all within it."""
    yield expression
    for name in ("args", "expr", "lhs", "rhs", "vector_selector"):
        inner = getattr(expression, name, None)
        for part in inner if isinstance(inner, list) else [] if inner is None else [inner]:
            yield from parts_of(part)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of each series that a server with some traffic shows."""
    with RunningServer(tmp_path_factory.mktemp("operations"), {"ingest_flush_interval_ms": "100"}) as server:
        async with Client(server) as client:
            await send_traffic(client)
            text = ""

            async def has_worked() -> bool:
                nonlocal text
                text = (await client.get("/metrics")).body.decode()
                return "daily_work_total{" in text

            await wait_for(has_worked, what="the first daily work")
        assert server.terminate() == 0
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        # A family without a series yet has its labels all the same, but does not show them.
        labels.setdefault(family.name if family.type != "counter" else f"{family.name}_total", set())
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("place", "text", "legend"), list(expressions()))
async def test_each_expression_asks_for_what_is_served(
    served: dict[str, set[str]], place: str, text: str, legend: str
) -> None:
    expression = promql_parser.parse(text)
    parts = list(parts_of(expression))
    selectors = [part for part in parts if isinstance(part, promql_parser.VectorSelector)]
    assert selectors, place
    known = set(OF_PROMETHEUS)
    for selector in selectors:
        if selector.name in BUILT_IN:
            continue
        assert selector.name in served, f"{place}: no metric {selector.name}"
        known |= served[selector.name]
        compared = {matcher.name for matcher in selector.matchers.matchers}
        assert compared <= served[selector.name] | OF_PROMETHEUS, place
    grouped = {
        label
        for part in parts
        if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None
        for label in part.modifier.labels
    }
    assert grouped <= known, place
    assert set(re.findall(r"{{(\w+)}}", legend)) <= (grouped or known), place


def test_panels_have_places_of_their_own_and_ask_the_chosen_prometheus() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["datasource"] == chosen for panel in PANELS for target in panel["targets"])
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$(?!__)(\w+)", " ".join(target["expr"] for p in PANELS for target in p["targets"])))
    assert used <= names


def test_rules_are_of_the_job_that_is_scraped_and_say_what_to_do() -> None:
    scrape = yaml.safe_load((GRAFANA / "prometheus/scrape.yaml").read_text(encoding="utf-8"))
    (job,) = [config["job_name"] for config in scrape["scrape_configs"]]
    assert scrape["rule_files"] == ["alerts.yaml"]
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        selectors = [
            p for p in parts_of(promql_parser.parse(rule["expr"])) if isinstance(p, promql_parser.VectorSelector)
        ]
        for selector in selectors:
            assert ("job", job) in {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["action"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_provisioning_files_are_what_grafana_reads() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning/dashboards/analytics-server.yaml").read_text(encoding="utf-8"))
    assert provider["apiVersion"] == 1
    assert {one["type"] for one in provider["providers"]} == {"file"}
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    assert {one["type"] for one in sources["datasources"]} == {"prometheus"}
