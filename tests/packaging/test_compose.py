"""compose.yaml and what it mounts: ClickHouse writes no tables about itself, and everything has a bound."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml  # type: ignore[import-untyped]

from analytics_server.store.settings import SERVER_INSERT_SETTINGS

ROOT = Path(__file__).resolve().parent.parent.parent
SYSTEM_LOGS = (
    *("aggregated_zookeeper_log", "asynchronous_insert_log", "asynchronous_metric_log", "azure_queue_log"),
    *("background_schedule_pool_log", "backup_log", "blob_storage_log", "crash_log", "delta_lake_metadata_log"),
    *("error_log", "filesystem_cache_log", "filesystem_read_prefetches_log", "iceberg_metadata_log", "latency_log"),
    *("metric_log", "opentelemetry_span_log", "part_log", "predicate_statistics_log", "processors_profile_log"),
    *("query_log", "query_metric_log", "query_thread_log", "query_views_log", "s3queue_log", "session_log"),
    *("text_log", "trace_log", "transactions_info_log", "transposed_metric_log", "zookeeper_connection_log"),
    "zookeeper_log",
)
"""Those of ClickHouse 25 and 26, by the names in its program."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = document["services"]
    return found


def mounted(services: dict[str, Any], folder: str) -> ElementTree.Element:
    """The file of the repository that lies in a folder of ClickHouse's configuration, read-only."""
    [found] = [volume.split(":") for volume in services["clickhouse"]["volumes"] if f"/{folder}/" in volume]
    source, target, mode = found
    assert (mode, Path(target).suffix) == ("ro", ".xml")
    assert Path(target).parent == Path("/etc/clickhouse-server") / folder
    root = ElementTree.parse(ROOT / source).getroot()
    assert root.tag == "clickhouse"
    return root


@pytest.mark.parametrize("table", SYSTEM_LOGS)
def test_every_table_of_clickhouse_about_itself_is_off_or_expires(services: dict[str, Any], table: str) -> None:
    log = mounted(services, "config.d").find(table)
    assert log is not None
    assert log.get("remove") == "1" or log.find("ttl") is not None


def test_memory_and_logs_of_clickhouse_are_bounded(services: dict[str, Any]) -> None:
    config = mounted(services, "config.d")
    limit = int(config.findtext("max_server_memory_usage", "0"))
    assert 0 < limit < int(services["clickhouse"]["mem_limit"].removesuffix("g")) << 30
    assert 0 < float(config.findtext("max_server_memory_usage_to_ram_ratio", "0")) < 1
    assert config.findtext("logger/level") == "warning"
    assert config.findtext("logger/size") == "10M"
    profile = mounted(services, "users.d").find("profiles/default")
    assert profile is not None
    assert 0 < int(profile.findtext("max_memory_usage", "0")) < limit
    assert {name: profile.findtext(name) for name in SERVER_INSERT_SETTINGS} == SERVER_INSERT_SETTINGS


def test_what_the_containers_print_is_bounded(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def test_health_checks_use_no_proxy(services: dict[str, Any]) -> None:
    command = ["analytics-server", "healthcheck", "--timeout", "2"]
    assert services["analytics"]["healthcheck"]["test"] == ["CMD", *command]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [check] = re.findall(r"HEALTHCHECK .*\\\n\s*CMD (\[.*\])", dockerfile)
    assert yaml.safe_load(check) == command
    kind, line = services["clickhouse"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert line.startswith("http_proxy= HTTP_PROXY= wget ")
