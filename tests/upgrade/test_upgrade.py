"""Today's server starts on the data directory of every version that is kept here, and answers as that version did."""

from __future__ import annotations

import asyncio
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.rollups.backfill import WARNING
from tests.server import Client, RunningServer, wait_for
from tests.upgrade.kept import ANSWERS, DEFINITIONS, Kept, ask, differences
from tests.upgrade.questions import DEMO

ARCHIVES = sorted(Path(__file__).parent.glob("data-*.tar.xz"))

CROSSING = {"site_id": DEMO, "metrics": ["events"], "date_range": "12mo"}
"""A range on both sides of the moment at which the newer version first ran."""


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


async def test_an_older_data_directory_gives_the_same_answers(place: Path) -> None:
    kept = msgspec.json.decode((place / ANSWERS).read_bytes(), type=Kept)
    server = RunningServer(place, {"ingest_flush_interval_ms": "100"})
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.flushed()

        async def all_is_worked_out() -> bool:
            answer = await client.call("POST", "/api/v1/query", CROSSING, token=kept.tokens["admin"])
            return WARNING not in answer.json["meta"]["warnings"]

        await wait_for(all_is_worked_out, 200, "the end of what the update has left to be done")
        found = [await ask(client, kept.tokens, answered.question) for answered in kept.answers]
        crossing = await client.call("POST", "/api/v1/query", CROSSING, token=kept.tokens["admin"])
        hosts = await client.query(DEMO, ["sessions"], ["visit:entry_page_hostname", "visit:exit_page_hostname"])
    assert server.terminate() == 0

    wrong = {
        f"{expected.question.method} {expected.question.path} {expected.question.body}": differs
        for expected, now in zip(kept.answers, found, strict=True)
        if (differs := differences([expected.status, expected.answer], [now.status, now.answer]))
    }
    assert not wrong
    assert any(text.startswith(DEFINITIONS) for text in crossing.json["meta"]["warnings"])
    assert hosts
    assert all(entry and leaving for entry, leaving in hosts), "sessions of before have their hosts"
    assert "Traceback" not in server.log
    letters = command(server, "dead-letters", "export", "--all").splitlines()
    assert differences(kept.dead_letters, [msgspec.json.decode(line) for line in letters]) == []
    assert rollups(command(server, "doctor", "--json", fails=True)) == {"ok"}


def rollups(report: str) -> set[Any]:
    """The status of every finding about what is derived from events."""
    findings = msgspec.json.decode(report)["findings"]
    about = [
        finding for finding in findings if finding["check"].startswith(("rollup", "day_totals", "views", "schema"))
    ]
    assert len(about) >= 8, [finding["check"] for finding in findings]
    return {finding["status"] for finding in about}


def command(server: RunningServer, *arguments: str, fails: bool = False) -> str:
    done = server.command(*arguments)
    assert fails or done.returncode == 0, done.stderr
    return done.stdout
