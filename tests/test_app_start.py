"""Starts that can't succeed end with one clear line and exit code 1; a start can be interrupted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from analytics_server.config import load_config
from analytics_server.errors import ConfigError
from analytics_server.ingest.wal import segment
from tests.server import RunningServer

TIMEOUT_S = 60.0


def command(tmp_path: Path, *arguments: str, **settings: str) -> tuple[list[str], dict[str, str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
    wanted = {"server_data_dir": str(tmp_path / "data"), "server_port": "0", **settings}
    environment = clean | {f"ANALYTICS_{name.upper()}": value for name, value in wanted.items()}
    return [sys.executable, "-W", "default", "-m", "analytics_server", *arguments], environment


def refused(tmp_path: Path, *arguments: str, **settings: str) -> str:
    """What a start says that must fail; asserts that it is one line of the program's own."""
    line, environment = command(tmp_path, *(arguments or ("serve",)), **settings)
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.strip().splitlines()
    assert last.startswith("analytics-server: ")
    assert not [line for line in before if " error " in line or " critical " in line]
    return last


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_in_use(tmp_path: Path, taken_port: int) -> None:
    line = refused(tmp_path, server_port=str(taken_port))
    assert f"Can't listen on 127.0.0.1:{taken_port}: Address already in use." in line


def test_a_host_that_does_not_exist(tmp_path: Path) -> None:
    assert "Can't listen on" in refused(tmp_path, server_host="nowhere.invalid")


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert f"The directory {tmp_path / 'data' / 'wal'} can't be used: Not a directory." in refused(tmp_path)


def test_a_log_of_a_newer_program(tmp_path: Path) -> None:
    head = bytearray(segment.head_bytes(1, 1))
    head[4] = segment.VERSION + 1
    (tmp_path / "data" / "wal").mkdir(parents=True)
    (tmp_path / "data" / "wal" / "1.wal").write_bytes(head)
    assert "Start the newer program" in refused(tmp_path)


def test_a_clickhouse_that_does_not_answer(tmp_path: Path, unused_tcp_port: int) -> None:
    url = f"http://name:secret@127.0.0.1:{unused_tcp_port}/db"
    line = refused(tmp_path, clickhouse_url=url, clickhouse_start_timeout_s="0.5")
    assert "Opening ClickHouse failed" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("setting", "value", "part"),
    [
        ("clickhouse_url", "http://127.0.0.1:port/db", "[clickhouse] url is no address"),
        ("clickhouse_url", "ftp://127.0.0.1/db", "is not supported"),
        ("server_trusted_proxies", "nonsense", "[server] trusted_proxies"),
        ("tracker_collect_path", "track", "TRACKER_COLLECT_PATH"),
        ("tracker_script_path", "/a{b", "TRACKER_SCRIPT_PATH"),
        ("sites_default_timezone", "Mars/Olympus", "[sites] default_timezone"),
    ],
)
def test_a_setting_that_can_not_work(tmp_path: Path, setting: str, value: str, part: str) -> None:
    assert part in refused(tmp_path, **{setting: value})


def test_check_config_refuses_what_serve_refuses(tmp_path: Path) -> None:
    assert "default_timezone" in refused(tmp_path, "check-config", sites_default_timezone="Mars/Olympus")


def test_a_second_process_on_the_same_directory(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        assert "Another server is using" in refused(tmp_path, server_data_dir=str(server.data_dir))
        line = refused(tmp_path, "site", "list", server_data_dir=str(server.data_dir))
        assert "Stop it first, or ask it over HTTP" in line


def test_sigterm_while_it_waits_for_clickhouse(tmp_path: Path, unused_tcp_port: int) -> None:
    line, environment = command(tmp_path, "serve", clickhouse_url=f"http://127.0.0.1:{unused_tcp_port}")
    with subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        for said in process.stderr:
            if "waiting for ClickHouse" in said:
                break
        assert "waiting for ClickHouse" in said
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(TIMEOUT_S) == 0
    assert "Traceback" not in rest


def test_a_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    line, environment = command(tmp_path, "check-config", clickhouse_url="http://name:umbrella@h:1/db")
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    assert "umbrella" not in done.stdout + done.stderr


def test_paths_of_the_tracker_begin_with_a_slash() -> None:
    for value in ("", "/", "x", "/x/", "//x", "/x?y", "/x y", "/{x}"):
        with pytest.raises(ConfigError):
            load_config(None, {"ANALYTICS_TRACKER_COLLECT_PATH": value})
    config = load_config(None, {"ANALYTICS_TRACKER_COLLECT_PATH": "/e/track-1"})
    assert msgspec.structs.asdict(config.tracker)["collect_path"] == "/e/track-1"
