"""`analytics-server export` and `erase` as processes: at a running server, and at its data while none runs."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path

import msgspec
import pytest

from analytics_server.privacy.erasure_jobs import ErasurePhase
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.people import ANNA, Traffic, exported
from tests.server import Client, RunningServer

pytestmark = pytest.mark.timeout(400)
SETTINGS = {"ingest_flush_interval_ms": "60000"}
TIMEOUT_S = 100.0


def command(server: RunningServer, *arguments: str, stdin: str = "", token: str | None = None) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    changes = {} if token is None else {"ANALYTICS_ADMIN_TOKEN": token}
    done = server.command(*arguments, typed=stdin, **changes)
    return done.returncode, done.stdout, done.stderr


def assert_phases(err: str) -> None:
    """A line for each phase that was seen, in their order, and nothing else; how many are seen is a matter of time."""
    phases = [f"{phase.value} …" for phase in ErasurePhase if phase is not ErasurePhase.DONE]
    lines = err.splitlines()
    assert lines == [phase for phase in phases if phase in lines]


async def test_both_ask_the_server_that_runs_on_the_data_directory(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "server", SETTINGS) as server:
        async with Client(server) as client:
            await Traffic(21).send(client, 60)
            code, out, err = await asyncio.to_thread(command, server, "export", "-", stdin=f"{ANNA}\n")
            assert (code, err) == (0, "")
            assert sorted(out.encode().splitlines()) == sorted(await exported(client, ANNA))

            code, _, err = await asyncio.to_thread(command, server, "export", ANNA, token="")
            assert (code, "--token" in err) == (1, True)

            code, out, err = await asyncio.to_thread(command, server, "erase", ANNA, "--yes", "--json", "--opt-out")
            assert code == 0, err
            assert_phases(err)
            certificate = msgspec.json.decode(out)
            assert certificate["removed"]["events"] > 0
            assert certificate["opted_out"]
            assert [msgspec.json.decode(line)["table"] for line in await exported(client, ANNA)] == ["opt_outs"]
        assert server.terminate() == 0


async def test_both_work_on_the_data_while_no_server_runs_and_deliver_what_the_log_holds(tmp_path: Path) -> None:
    traffic = Traffic(22)
    with RunningServer(tmp_path / "server", SETTINGS) as server:
        async with Client(server) as client:
            await traffic.send(client, 60)
        server.kill()
        archive = tmp_path / "person.zip"
        code, _, err = await asyncio.to_thread(
            command, server, "export", ANNA, "--format", "zip", "--output", str(archive)
        )
        assert code == 0, err
        with zipfile.ZipFile(archive) as opened:
            rows = [msgspec.json.decode(line) for line in opened.read("data.ndjson").splitlines()]
        assert {row["event_id"] for row in rows if row["table"] == "events"} == traffic.of(ANNA)

        code, _, err = await asyncio.to_thread(command, server, "erase", ANNA)
        assert code == 1, err  # it is not confirmed
        code, out, err = await asyncio.to_thread(command, server, "erase", ANNA, "--yes")
        assert code == 0, err
        assert_phases(err)
        assert f"events: {len(traffic.of(ANNA))} rows removed" in out
        assert not list((server.data_dir / "wal").glob("*.wal"))
        others = {event["event_id"] for event in traffic.events} - traffic.of(ANNA)
        await assert_every_event_stored_once_everywhere(server, others, others)
