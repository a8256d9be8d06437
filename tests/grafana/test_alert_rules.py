"""Each alert rule on made-up series, by Prometheus' own `promtool`: when it waits, fires and ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.prometheus import SHIPPED, promtool
from tests.grafana.test_operations import RULES

JOB = "analytics-server"


@dataclass(frozen=True, slots=True)
class Case:
    """Series by name and labels, a sample a minute, and what the rule is at some minutes ("" for nothing)."""

    series: dict[str, str]
    states: dict[int, str]


CASES = {
    "AnalyticsServerDown": Case({"up": "1x1 0x10 1x5"}, {1: "", 2: "pending", 3: "pending", 4: "firing", 13: ""}),
    "AnalyticsClickHouseAway": Case(
        {"clickhouse_up": "1x1 0x20 1x5"}, {1: "", 2: "pending", 11: "pending", 12: "firing", 23: ""}
    ),
    "AnalyticsEventsWait": Case(
        {"wal_oldest_age_seconds": "0+60x30 0x5"}, {15: "", 16: "pending", 20: "pending", 21: "firing", 31: ""}
    ),
    "AnalyticsFlushesFail": Case({"flush_attempts_total|outcome=failed": "0x5 1x30"}, {5: "", 6: "firing", 25: ""}),
    "AnalyticsDeadLetters": Case({"dead_letter_events_total": "0x5 3x90"}, {5: "", 6: "firing", 50: "firing", 70: ""}),
    "AnalyticsDiskNearlyFull": Case(
        {"wal_disk_free_bytes": "2e9x3 1e9x10 2e9x5"}, {3: "", 4: "pending", 8: "pending", 9: "firing", 15: ""}
    ),
    "AnalyticsLogFaulty": Case({"wal_errors_total|kind=disk_full": "0x5 1x30"}, {5: "", 6: "firing", 25: ""}),
    "AnalyticsDataDamaged": Case({"clickhouse_lost_parts": "0x3 1x5 0x5"}, {3: "", 4: "firing", 10: ""}),
    "AnalyticsEventsRejected": Case(
        {"ingest_events_total|outcome=accepted": "0+8x60", "ingest_events_total|outcome=rejected": "0+4x60"},
        {0: "", 1: "pending", 15: "pending", 16: "firing"},
    ),
    "AnalyticsAuditEntriesLost": Case(
        {"audit_entries_total|outcome=lost": "0x5 1x90"}, {5: "", 6: "firing", 50: "firing", 70: ""}
    ),
}
WELL = {
    "up": "1x120",
    "clickhouse_up": "1x120",
    "wal_oldest_age_seconds": "600x120",
    "flush_attempts_total|outcome=ok": "0+10x120",
    "flush_attempts_total|outcome=retryable": "0+1x120",
    "flush_attempts_total|outcome=failed": "3x120",
    "dead_letter_events_total": "7x120",
    "wal_disk_free_bytes": "2e9x120",
    "wal_errors_total|kind=torn_tail": "0+1x120",
    "wal_errors_total|kind=disk_full": "2x120",
    "clickhouse_lost_parts": "0x120",
    "ingest_events_total|outcome=accepted": "0+90x120",
    "ingest_events_total|outcome=rejected": "0+10x120",
    "audit_entries_total|outcome=written": "0+5x120",
    "audit_entries_total|outcome=lost": "1x120",
}
"""No reason to alert anyone; what has been wrong once is not wrong permanently."""


def series(values: dict[str, str], job: str) -> list[dict[str, str]]:
    """As promtool wants them."""
    found = []
    for name, samples in values.items():
        metric, _, label = name.partition("|")
        key, _, value = label.partition("=")
        labels = f'job="{job}", instance="a:8000"' + (f', {key}="{value}"' if label else "")
        found.append({"series": f"{metric}{{{labels}}}", "values": samples})
    return found


def check(folder: Path, values: dict[str, str], states: dict[int, dict[str, str]], job: str = JOB) -> None:
    """Let promtool evaluate the shipped rules on the series, a minute at a time."""
    asked = [
        {
            "expr": "count by (alertname, alertstate) (ALERTS)",
            "eval_time": f"{minute}m",
            "exp_samples": [
                {"labels": f'{{alertname="{name}", alertstate="{state}"}}', "value": 1} for name, state in there.items()
            ],
        }
        for minute, there in states.items()
    ]
    file: dict[str, Any] = {
        "rule_files": [str(SHIPPED / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series(values, job), "promql_expr_test": asked}],
    }
    path = folder / "test.yaml"
    path.write_text(json.dumps(file), encoding="utf-8")  # which is YAML too
    promtool("test", "rules", str(path))


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_an_alert_fires_when_its_time_has_come(tmp_path: Path, alert: str) -> None:
    case = CASES[alert]
    assert "firing" in case.states.values()
    check(
        tmp_path,
        case.series,
        {minute: {alert: state} if state else {} for minute, state in sorted(case.states.items())},
    )


def test_a_server_that_is_well_raises_none(tmp_path: Path) -> None:
    check(tmp_path, WELL, {minute: {} for minute in range(0, 120, 5)})


def test_a_server_of_another_job_raises_none(tmp_path: Path) -> None:
    """Prometheus may scrape others that have metrics of the same names."""
    everything = {name: samples for case in CASES.values() for name, samples in case.series.items()}
    check(tmp_path, everything, {minute: {} for case in CASES.values() for minute in case.states}, job="other")
