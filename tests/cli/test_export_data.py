"""`analytics-server export-data` as a process, at a running server."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dashboard.traffic import measured
from tests.server import Client, RunningServer

SITE = "files.example"
TIMEOUT_S = 100.0


def command(server: RunningServer, *arguments: str, token: str | None = None) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    changes = {} if token is None else {"ANALYTICS_ADMIN_TOKEN": token}
    done = server.command("export-data", *arguments, **changes)
    return done.returncode, done.stdout, done.stderr


EXPIRE = """
from analytics_server.cli.context import read_config, with_store
from analytics_server.cli.audit import open_store
config = read_config(None)
async def work(store):
    await open_store(store, config)
    await store.command("ALTER TABLE events DELETE WHERE ts < toStartOfMonth(now()) SETTINGS mutations_sync = 2")
with_store(config, work)
"""
"""The purge leaves what came within the last hour, so the stopped server's events are removed as it does it."""


def expire(server: RunningServer) -> None:
    subprocess.run([sys.executable, "-c", EXPIRE], env=server.environment(), timeout=TIMEOUT_S, check=True)


DUCKDB = """
import json, sys, duckdb
duckdb.sql("SET TimeZone = 'UTC'")
print(json.dumps([[str(cell) for cell in row] for row in duckdb.sql(sys.argv[1]).fetchall()]))
"""


def duckdb(sql: str) -> list[list[str]]:
    """The rows of DuckDB's answer, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", DUCKDB, sql], capture_output=True, timeout=TIMEOUT_S, check=True)
    found: list[list[str]] = msgspec.json.decode(done.stdout)
    return found


def at_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def month_before(month: datetime) -> datetime:
    return (month - timedelta(days=1)).replace(day=1)


def manifest_of(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode((directory / "manifest.json").read_bytes())
    for file in found["files"]:
        data = (directory / file["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
    return found


@pytest.mark.timeout(300)
async def test_a_directory_is_filled_month_by_month_and_kept_up_to_date(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    this = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    long_ago = month_before(month_before(this))
    directory = tmp_path / "files" / SITE
    with RunningServer(tmp_path / "server", {"ingest_flush_interval_ms": "100"}) as server:
        async with Client(server) as client:
            moments = [long_ago + timedelta(days=3), long_ago + timedelta(days=20), now]
            events = [
                {
                    "site": SITE,
                    "name": "pageview",
                    "url": f"https://{SITE}/{place}",
                    "timestamp": int(at.timestamp() * 1000),
                }
                for place, at in enumerate(moments)
            ]
            await client.send({"events": events}, trusted=True)
            await measured(client, SITE, len(events))

            to = ("--to", str(directory), "--format", "ndjson")
            code, out, err = await asyncio.to_thread(command, server, SITE, *to)
            assert (code, err) == (0, "")
            manifest = manifest_of(directory)
            files = {file["month"]: file for file in manifest["files"]}
            assert (manifest["site_id"], manifest["format"]) == (SITE, "ndjson")
            assert sorted(files) == [f"{at:%Y-%m}" for at in (long_ago, month_before(this), this)]
            assert (files[f"{long_ago:%Y-%m}"]["complete"], files[f"{this:%Y-%m}"]["complete"]) == (True, False)
            assert "the month goes on" in out.splitlines()[-1]
            lines = {month: (directory / file["name"]).read_bytes().splitlines() for month, file in files.items()}
            paths = {month: sorted(msgspec.json.decode(line)["path"] for line in each) for month, each in lines.items()}
            assert list(paths.values()) == [["/0", "/1"], [], ["/2"]]
            assert sorted(path.name for path in directory.iterdir()) == sorted(
                ["manifest.json", *(file["name"] for file in files.values())]
            )

            # Only what is not whole is written again.
            await client.send({"events": [{**events[2], "url": f"https://{SITE}/3"}]}, trusted=True)
            await measured(client, SITE, 4)
            first = directory / files[f"{long_ago:%Y-%m}"]["name"]
            kept = first.read_bytes()
            first.write_bytes(kept[:-1])  # broken off
            code, out, _ = await asyncio.to_thread(command, server, SITE, *to)
            assert code == 0
            again = [line.partition(":")[0] for line in out.splitlines()]
            assert first.name in again
            assert files[f"{this:%Y-%m}"]["name"] in again
            assert first.read_bytes() == kept
            assert len((directory / files[f"{this:%Y-%m}"]["name"]).read_bytes().splitlines()) == 2
            code, out, _ = await asyncio.to_thread(command, server, SITE, *to)
            assert (code, first.name in out) == (0, False)
            code, out, _ = await asyncio.to_thread(command, server, SITE, *to, "--again")
            assert (code, first.name in out) == (0, True)
            manifest_of(directory)

            # A complete month to which an event came later.
            late = {"url": f"https://{SITE}/4", "timestamp": events[0]["timestamp"]}
            await client.send({"events": [{**events[0], **late}]}, trusted=True)
            await measured(client, SITE, 5)
            code, out, err = await asyncio.to_thread(command, server, SITE, *to)
            assert (code, first.name in out, err) == (0, True, "")
            assert len(first.read_bytes().splitlines()) == 3
            assert [file["events"] for file in manifest_of(directory)["files"]] == [3, 0, 2]

            lake = tmp_path / "lake"
            code, _, err = await asyncio.to_thread(command, server, SITE, "--to", str(lake))
            assert (code, err) == (0, "")
            asked = f"SELECT path, ts, typeof(ts), props FROM '{lake}/*.parquet' ORDER BY path"
            rows = await asyncio.to_thread(duckdb, asked)
            assert [path for path, *_ in rows] == ["/0", "/1", "/2", "/3", "/4"]
            assert [datetime.fromisoformat(ts) for _, ts, *_ in rows[:3]] == [at_ms(at) for at in moments]
            assert {tuple(rest) for _, _, *rest in rows} == {("TIMESTAMP WITH TIME ZONE", "{}")}

            code, _, err = await asyncio.to_thread(command, server, SITE, "--to", str(directory))
            assert (code, "holds ndjson files" in err) == (1, True)
            code, _, err = await asyncio.to_thread(command, server, "nobody.example", "--to", str(tmp_path / "none"))
            assert (code, "nobody.example" in err) == (1, True)
            code, _, err = await asyncio.to_thread(command, server, SITE, *to, token="")
            assert (code, "--token" in err) == (1, True)
        assert server.terminate() == 0
        code, _, err = await asyncio.to_thread(command, server, SITE, *to)
        assert (code, "No server runs" in err) == (1, True)

        # Events expire, their totals stay: archives are kept, also with --again, and no empty ones are made.
        archived = {file.name: file.read_bytes() for file in directory.iterdir()}
        expire(server)
        server.restart()
        code, out, err = await asyncio.to_thread(command, server, SITE, *to, "--again")
        assert code == 0
        kept = f"{first.name}: kept: the server has fewer events now."
        assert kept in err.splitlines(), (out, err)
        assert first.read_bytes() == archived[first.name]
        manifest_of(directory)
        other = tmp_path / "other"
        code, _, err = await asyncio.to_thread(command, server, SITE, "--to", str(other))
        assert (code, "kept" in err) == (0, False)
        assert [file["month"] for file in manifest_of(other)["files"]] == [f"{this:%Y-%m}"]
