"""Fault 21: a data part is lost, cut or flipped while the server is down. It starts, takes beacons, and names the part.

Nothing that is computed from `events` is lowered to what is left before an operator consents.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.conftest import daily_work_done
from tests.server import Client, RunningServer

SITE = "damaged.example"
EVENTS = 300


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "directory deleted": shutil.rmtree,
    "columns.txt deleted": lambda part: (part / "columns.txt").unlink(),
    "checksums.txt flipped": lambda part: flip(part / "checksums.txt"),
    "data truncated": lambda part: os.truncate(part / "data.bin", 20),
    "data flipped": lambda part: flip(part / "data.bin"),
}
CASES = [
    *(("events", damage) for damage in DAMAGE),
    ("traffic", "directory deleted"),
    ("salts", "data flipped"),
    ("salts", "directory deleted"),
    ("tokens", "data flipped"),
    ("sites", "data flipped"),
    ("schema_migrations", "data truncated"),
]


def parts(server: RunningServer, table: str) -> list[Path]:
    """Those that hold data. What was merged is removed as the engine does minutes later: until then it stands in."""
    directory = Path(os.path.realpath(server.data_dir / "clickhouse" / "data" / "analytics" / table))
    found = sorted(path for path in directory.iterdir() if path.is_dir() and path.name.count("_") == 3)
    for path in found:
        if any(_covers(other, path) for other in found):
            shutil.rmtree(path)
    return [path for path in found if path.exists()]


def _covers(merged: Path, part: Path) -> bool:
    """Names are partition, first and last block, level."""
    (where, *blocks), (other, *mine) = merged.name.split("_"), part.name.split("_")
    first, last, level = map(int, blocks)
    return where == other and first <= int(mine[0]) and int(mine[1]) <= last and level > int(mine[2])


def doctor(server: RunningServer, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and findings by check."""
    done = server.command("doctor", "--json", *options)
    report = msgspec.json.decode(done.stdout)
    return done.returncode, {finding["check"]: finding for finding in report["findings"]}


async def send(client: Client, events: int = EVENTS) -> None:
    reply = await client.send({"events": [{"site": SITE, "name": "x"} for _ in range(events)]})
    assert (reply.status, reply.json["accepted"]) == (202, events)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a server that has ended in order, with a site, a token and `EVENTS` events."""

    async def fill(server: RunningServer) -> None:
        async with Client(server) as client:
            assert (await client.call("POST", "/api/v1/sites", {"site_id": SITE})).status < 300
            assert (await client.call("POST", "/api/v1/tokens", {"role": "read", "name": "x"})).status < 300
            await send(client)
            await client.flushed()

    with RunningServer(tmp_path_factory.mktemp("filled"), {"sites_create_unknown": "false"}) as server:
        asyncio.run(fill(server))
        assert server.terminate() == 0
        return server.data_dir


@pytest.mark.parametrize(("table", "damage"), CASES, ids=[" ".join(case) for case in CASES])
async def test_fault_21_the_start_succeeds_and_names_what_is_lost(
    table: str, damage: str, filled: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = RunningServer(tmp_path, {"sites_create_unknown": "false"})
    request.addfinalizer(server.kill)
    shutil.copytree(filled, server.data_dir, symlinks=True)
    part = parts(server, table)[-1]
    assert part.is_relative_to(tmp_path)
    DAMAGE[damage](part)
    if table == "tokens":
        server.token = ""
    await asyncio.to_thread(server.start)
    said = next(line for line in server.log.splitlines() if "data of ClickHouse is lost" in line)
    assert f"table={table}" in said
    assert part.name in said
    assert "remedy=" in said
    assert "#token=" not in server.greeting, "damage must not print an admin token"
    async with Client(server) as client:
        assert (await client.get("/readyz")).status == 200
        assert await client.metric(f'clickhouse_lost_parts{{table="{table}"}}') == 1
        assert await client.metric(f'clickhouse_lost_rows{{table="{table}"}}') >= 1
        await send(client, 10)
        await client.flushed()
    running, noted = doctor(server)
    assert (running, noted["parts"]["status"]) == (2, "error")
    assert server.terminate() == 0

    code, found = doctor(server)
    assert (code, found["parts"]["status"]) == (2, "error")
    (lost,) = found["parts"]["facts"]["lost"]
    assert lost["table"] == table
    assert lost["part"].endswith(part.name)
    if table == "events":
        assert lost["rows"] == EVENTS
        assert "300 rows" in found["parts"]["message"]
    if table == "traffic":
        assert doctor(server, "--repair")[1]["parts"]["status"] == "ok", "rollups can be computed again"


async def test_fault_21_nothing_is_lowered_without_consent(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Nor by the batch that the killed server had not delivered, which a start compares with the rollups."""
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "500"})
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await send(client)
        await client.flushed()
        await daily_work_done(client)
    assert server.terminate() == 0
    server._settings["ingest_flush_interval_ms"] = "3600000"
    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        await daily_work_done(client)
        await send(client, 10)
    server.kill()
    shutil.rmtree(parts(server, "events")[0])

    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        await client.flushed()
        assert await client.count(SITE) == EVENTS + 10, "the rollup still tells of them"
    assert server.terminate() == 0

    code, found = doctor(server, "--repair")
    assert (code, found["rollup_traffic"]["status"], found["parts"]["status"]) == (2, "error", "error")
    code, found = doctor(server, "--repair", "--accept-loss")
    assert (code, found["rollup_traffic"]["status"], found["parts"]["status"]) == (0, "ok", "ok")
    assert doctor(server)[0] == 0, "it lasts"
    await asyncio.to_thread(server.restart)
    async with Client(server) as client:
        assert await client.metric('clickhouse_lost_parts{table="events"}') == 0
        assert await client.count(SITE) == 10


async def test_fault_21_a_part_that_is_put_back_is_no_loss_any_more(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = RunningServer(tmp_path)
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await send(client)
        await client.flushed()
    assert server.terminate() == 0
    (part,) = parts(server, "events")
    part.rename(tmp_path / "kept")
    assert doctor(server)[0] == 2
    shutil.copytree(tmp_path / "kept", part)

    code, found = doctor(server)

    assert (code, found["parts"]["status"]) == (0, "ok")


@pytest.mark.parametrize("way", ["the database's file", "all metadata"])
async def test_fault_22_lost_metadata_is_no_empty_database(
    way: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    server = RunningServer(tmp_path)
    request.addfinalizer(server.kill)
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await send(client)
        await client.flushed()
    assert server.terminate() == 0
    metadata = server.data_dir / "clickhouse" / "metadata"
    if way == "all metadata":
        shutil.rmtree(metadata)
    else:
        (metadata / "analytics.sql").unlink()

    with pytest.raises(AssertionError, match="did not start") as failure:
        await asyncio.to_thread(server.start)
    last = str(failure.value).strip().splitlines()[-1]
    assert last.startswith("analytics-server: ")
    assert str(metadata / "analytics.sql") in last
    code, found = doctor(server, "--repair")
    assert (code, found["clickhouse"]["status"]) == (2, "error")
    assert "--accept-loss" in found["clickhouse"]["message"]

    doctor(server, "--repair", "--accept-loss")
    (aside,) = server.data_dir.glob("clickhouse.lost-*")
    assert list(aside.glob("store/*/*/*/data.bin"))
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await send(client, 10)
        await client.kept(SITE, 10)
