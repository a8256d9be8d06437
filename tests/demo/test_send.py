"""The demo command against real processes: straight into the data, and through a server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_server.demo.traffic import planned_sessions
from tests.demo.orders import order
from tests.server import RunningServer

END = "2026-03-31"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(tmp_path_factory.mktemp("demo")).start()
    yield running
    running.terminate()


def demo(running: RunningServer, *options: str) -> subprocess.CompletedProcess[str]:
    return running.command("demo", "--days", "28", "--end", END, *options, ANALYTICS_ADMIN_TOKEN="")


def expected(sessions: int) -> str:
    events = sum(len(session.events) for session in planned_sessions(order(sessions=sessions, timezone="UTC")))
    return f"{sessions} sessions with {events:,} events"


def through(running: RunningServer) -> list[str]:
    return ["--url", running.url, "--token", running.token]


def test_sends_through_a_running_server_and_every_event_is_kept(server: RunningServer) -> None:
    done = demo(server, "--site", "sent.example", "--sessions", "150", *through(server))
    assert done.returncode == 0, done.stderr
    assert expected(150) in done.stdout
    again = demo(server, "--site", "sent.example", "--sessions", "10", *through(server), "--add")
    assert again.returncode == 0, again.stderr


def test_refuses_a_data_directory_in_use_and_says_what_to_do(server: RunningServer) -> None:
    done = demo(server, "--sessions", "5")
    assert done.returncode == 1
    assert "--url" in done.stderr
    assert "Traceback" not in done.stderr


def test_says_when_the_token_is_unknown_or_missing(server: RunningServer) -> None:
    unknown = demo(server, "--sessions", "5", "--url", server.url, "--token", "nonsense")
    assert unknown.returncode == 1
    assert "401" in unknown.stderr
    missing = demo(server, "--sessions", "5", "--url", server.url)
    assert missing.returncode == 2
    assert "--token" in missing.stderr


def test_fills_straight_and_says_that_it_is_made_up(tmp_path: Path) -> None:
    stopped = RunningServer(tmp_path)
    first = demo(stopped, "--sessions", "150")
    assert first.returncode == 0, first.stderr
    assert expected(150) in first.stdout
    assert "made-up" in first.stdout
    second = demo(stopped, "--sessions", "5")
    assert second.returncode == 1
    assert "--add" in second.stderr


@pytest.mark.parametrize("options", [("--end", "yesterday"), ("--days", "0"), ("--timezone", "Mars/Olympus")])
def test_one_line_says_what_is_wrong_with_an_option(tmp_path: Path, options: tuple[str, str]) -> None:
    done = demo(RunningServer(tmp_path), "--sessions", "5", *options)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
