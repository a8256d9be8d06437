"""The command itself: exit codes, both forms of output, and a server that runs meanwhile."""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from analytics_server.doctor.examination import report_of
from analytics_server.doctor.report import EXIT_CODES, Finding, Report, Status, count, size, span, worst
from analytics_server.doctor.show import QUIET_S, ProgressLine, show
from tests.server import RunningServer

FINDINGS = (
    Finding(check="wal", status="ok", message="The log is empty."),
    Finding(check="clock", status="warning", message="It is late. " * 12, remedy="Go to bed."),
    Finding(check="views", status="error", message="One is missing.", remedy="Find it.", repaired="looked for it"),
)


def doctor(server: RunningServer, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return server.command("doctor", *options, **environment)


def report_from(done: subprocess.CompletedProcess[str]) -> Report:
    """The document, decoded strictly: its shape is a promise."""
    report = msgspec.json.decode(done.stdout, type=Report)
    assert report.exit_code == done.returncode
    return report


async def test_a_data_directory_may_have_signs_that_mean_something_in_addresses(tmp_path: Path) -> None:
    server = RunningServer(tmp_path / "a b%20c#d")
    await asyncio.to_thread(server.start)
    assert await asyncio.to_thread(server.terminate) == 0

    well = await asyncio.to_thread(doctor, server)
    assert (well.returncode, well.stdout.splitlines()[-1]) == (0, "All is well.")
    assert (server.data_dir / "clickhouse" / "metadata").is_dir()
    assert os.listdir(tmp_path) == ["a b%20c#d"]


async def test_a_life_of_an_installation(tmp_path: Path) -> None:
    """Never started; running; stopped; damaged; repaired."""
    server = RunningServer(tmp_path)
    bare = await asyncio.to_thread(doctor, server)
    assert (bare.returncode, "There is no database" in bare.stdout, server.data_dir.exists()) == (1, True, False)

    await asyncio.to_thread(server.start)
    try:
        running = report_from(await asyncio.to_thread(doctor, server, "--json", "--repair"))
    finally:
        assert await asyncio.to_thread(server.terminate) == 0
    found = {finding.check: finding for finding in running.findings}
    assert running.status == "warning"
    assert found["wal"].facts["server_running"] == 1
    assert found["clickhouse"].message.startswith("A server is running on this directory")
    assert "rollup_traffic" not in found

    well = await asyncio.to_thread(doctor, server)
    assert (well.returncode, well.stderr, well.stdout.splitlines()[-1]) == (0, "", "All is well.")
    assert "\x1b" not in well.stdout
    assert all(len(line) <= 80 for line in well.stdout.splitlines())

    (server.data_dir / "wal" / "00000000000000000001.wal").write_bytes(b"no segment at all" * 100)
    damaged = await asyncio.to_thread(doctor, server)
    assert (damaged.returncode, "ERROR" in damaged.stdout) == (2, True)
    mended = report_from(await asyncio.to_thread(doctor, server, "--json", "--repair"))
    assert {finding.check: finding.status for finding in mended.findings if finding.status != "ok"} == {
        "quarantine": "warning"
    }


async def test_a_wrong_setting_is_an_error_and_not_a_stack_trace(tmp_path: Path) -> None:
    done = await asyncio.to_thread(doctor, RunningServer(tmp_path), ANALYTICS_SERVER_PROT="1", COLUMNS="300")

    assert done.returncode == 2
    assert "ANALYTICS_SERVER_PROT is no setting" in done.stdout
    assert done.stderr == ""


async def test_a_clickhouse_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"clickhouse_url": "http://user:secret@127.0.0.1:9/db"})
    done = await asyncio.to_thread(doctor, server, "--json")

    last = report_from(done).findings[-1]
    assert (done.returncode, last.check, last.status) == (2, "clickhouse", "error")
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize("number", range(len(FINDINGS) + 1))
def test_the_worst_finding_decides(number: int) -> None:
    expected: Status = ("ok", "ok", "warning", "error")[number]
    report = report_of(FINDINGS[:number], 1_762_000_000)

    assert (worst(FINDINGS[:number]), report.status, report.exit_code) == (expected, expected, EXIT_CODES[expected])
    assert report.checked_at == "2025-11-01T12:26:40+00:00"


def test_the_text_says_what_is_wrong_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    show(report_of(FINDINGS, 0), stream)
    text = stream.getvalue()

    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    assert re.search(r"^ERROR +views +One is missing\.$", text, re.M)
    assert "Repaired: looked for it." in text
    assert "→ Find it." in text
    assert text.splitlines()[-1] == "1 repair made. 1 error and 1 warning."


def test_progress_is_told_only_when_it_takes_long() -> None:
    now = [0.0]
    stream = io.StringIO()
    with ProgressLine(stream, lambda: now[0]) as line:
        line.advance("sessions 2026-01", 0, 9)
        assert stream.getvalue() == ""
        now[0] = QUIET_S
        line.advance("sessions 2026-02", 1, 9)
        line.advance("sessions 2026-03", 2, 9)

    assert stream.getvalue() == "sessions 2026-02, 2 of 9\n"


def test_numbers_are_said_as_people_say_them() -> None:
    assert [count(1, "day"), count(2_000, "day"), count(2, "batch", "batches")] == ["1 day", "2,000 days", "2 batches"]
    assert [span(-1), span(90), span(150), span(7_200), span(200_000)] == ["0 s", "90 s", "2 min", "2 h", "2 days"]
    assert [size(0), size(2_048), size(5 << 20), size(3 << 29)] == ["0 bytes", "2.0 KB", "5.0 MB", "1.5 GB"]
