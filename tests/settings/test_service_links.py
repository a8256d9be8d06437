"""Variables that Kubernetes and links invent are told from settings by their shape; misspellings are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics_server.config import ServerSection, ignored_variables, load_config
from analytics_server.errors import ConfigError
from tests.server import RunningServer

POD = {
    "ANALYTICS_SERVER_PORT": "tcp://10.96.0.12:8000",
    "ANALYTICS_SERVER_SERVICE_HOST": "10.96.0.12",
    "ANALYTICS_SERVER_SERVICE_PORT": "8000",
    "ANALYTICS_SERVER_SERVICE_PORT_HTTP": "8000",
    "ANALYTICS_SERVER_SERVICE_PORT_HTTP_METRICS": "9090",
    "ANALYTICS_SERVER_PORT_8000_TCP": "tcp://10.96.0.12:8000",
    "ANALYTICS_SERVER_PORT_8000_TCP_ADDR": "10.96.0.12",
    "ANALYTICS_SERVER_PORT_8000_TCP_PORT": "8000",
    "ANALYTICS_SERVER_PORT_8000_TCP_PROTO": "tcp",
    "ANALYTICS_SERVER_PORT_53_UDP": "udp://10.96.0.12:53",
    "ANALYTICS_SERVER_PORT_53_UDP_PROTO": "udp",
    "ANALYTICS_SERVER_PORT_9_SCTP_PROTO": "sctp",
    "ANALYTICS_SERVICE_HOST": "fd00:10:96::c",
    "ANALYTICS_SERVICE_PORT": "8000",
    "ANALYTICS_PORT": "tcp://[fd00:10:96::c]:8000",
    "ANALYTICS_PORT_8000_TCP_ADDR": "fd00:10:96::c",
    "ANALYTICS_CLICKHOUSE_SERVICE_HOST": "10.96.0.13",
    "ANALYTICS_CLICKHOUSE_SERVICE_PORT": "8123",
    "ANALYTICS_CLICKHOUSE_PORT": "tcp://10.96.0.13:8123",
    "ANALYTICS_CLICKHOUSE_PORT_8123_TCP": "tcp://10.96.0.13:8123",
    "ANALYTICS_ADMIN_TOKEN_SERVICE_HOST": "10.96.0.14",
}
LINK = {
    "ANALYTICS_NAME": "/web/analytics",
    "ANALYTICS_PORT": "tcp://172.17.0.5:8000",
    "ANALYTICS_PORT_8000_TCP_START": "tcp://172.17.0.5:8000",
    "ANALYTICS_PORT_8000_TCP_PORT_START": "8000",
    "ANALYTICS_PORT_8000_TCP_PORT_END": "8004",
    "ANALYTICS_ENV_PATH": "/usr/local/bin:/usr/bin",
    "ANALYTICS_ENV_ANALYTICS_SERVER_PORT": "8000",
    "ANALYTICS_CLICKHOUSE_NAME": "/web/analytics-clickhouse",
    "ANALYTICS_CLICKHOUSE_ENV_CLICKHOUSE_PASSWORD": "tcp or not",
}


@pytest.mark.parametrize("variables", [POD, LINK], ids=["kubernetes", "docker links"])
def test_the_environment_of_a_pod_and_of_a_link_is_passed_over(variables: dict[str, str]) -> None:
    assert load_config(None, variables).server == ServerSection()
    assert ignored_variables(variables) == sorted(variables)


@pytest.mark.parametrize("name", POD)
def test_each_of_them_is_told_alone(name: str) -> None:
    variables = {name: POD[name]}
    assert load_config(None, variables).server == ServerSection()
    assert ignored_variables(variables) == [name]


def test_settings_beside_them_count() -> None:
    config = load_config(None, POD | {"ANALYTICS_SERVER_PORT": "9000", "ANALYTICS_CLICKHOUSE_URL": "http://ch:8123/db"})
    assert config.server.port == 9000
    assert config.clickhouse.url == "http://ch:8123/db"
    assert ignored_variables({"ANALYTICS_SERVER_PORT": "9000", "PATH": "/bin", "OTHER_PORT": "tcp://1.2.3.4:5"}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANALYTICS_SERVER_PRT", "9000"),
        ("ANALYTICS_SERVER_PRT", "tcp://10.96.0.12:8000"),
        ("ANALYTICS_SERVER_PORT", "tcp://10.96.0.12"),
        ("ANALYTICS_SERVER_PORT", "http://10.96.0.12:8000"),
        ("ANALYTICS_SERVER_SERVICE_HOST", "stats.example.com"),
        ("ANALYTICS_SERVER_SERVICE_PORT", "http"),
        ("ANALYTICS_SERVER_HOSTS", "10.96.0.12"),
        ("ANALYTICS_SERVER_PORT_8000_TCP_PROTO", "http"),
        ("ANALYTICS_CLICKHOUSE_PORT", "8123"),
        ("ANALYTICS_DATABASE_NAME", "analytics"),
        ("ANALYTICS_DATABASE_NAME", "/analytics"),
        ("ANALYTICS_ENV_PATH", "/usr/bin"),
    ],
)
def test_a_misspelling_is_still_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_config(None, {name: value})


def test_a_start_names_them_in_one_line(tmp_path: Path) -> None:
    with RunningServer(tmp_path, {name.removeprefix("ANALYTICS_").lower(): POD[name] for name in POD}) as server:
        lines = [line for line in server.log.splitlines() if "ANALYTICS_SERVER_PORT" in line]
        assert len(lines) == 1
        assert all(name in lines[0] for name in POD)
