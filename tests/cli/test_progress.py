"""Long work of commands tells on standard error how far it is, as it moves on; standard output stays as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE
from typing import Any

import msgspec
import pytest

from analytics_server.access.sites.sites import Sites
from analytics_server.audit.export import PAGE
from analytics_server.config import SitesSection
from analytics_server.model import Site
from analytics_server.privacy.erasure_jobs import ErasurePhase
from tests import preloaded
from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.migrated import lay_tables
from tests.privacy.erasing import filled
from tests.privacy.people import ANNA
from tests.privacy.test_kept_totals import opened
from tests.query.conftest import insert_events
from tests.query.plan.test_coverage import SITE, around
from tests.query.world import make_world
from tests.server import COMMAND_TIMEOUT_S, Client, RunningServer, wait_for

pytestmark = pytest.mark.timeout(300)
OTHER = "kolkata.example"
PHASES = [f"{phase.value} …" for phase in ErasurePhase if phase is not ErasurePhase.DONE]
MEGABYTE = 1_000_000
STEP = 10 * MEGABYTE


async def told(server: RunningServer, *arguments: str) -> tuple[str, list[str]]:
    """Standard output of a command that succeeds, and the lines of standard error."""
    done = await asyncio.to_thread(server.command, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


async def test_expiry_and_the_removal_of_a_site_tell_each_phase(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    lay_tables(server.data_dir)
    kept = Site(site_id=SITE, retention_days=10, rollup_retention_days=36_500)
    events = [event for event in make_world(seed=3, sessions=200) if event.site_id in (SITE, OTHER)]
    async with opened(server) as store:
        sites = Sites(store, SitesSection())
        for site in (kept, Site(site_id=OTHER)):
            await sites.put(site)
        await insert_events(store, around(events, ("2025-03-29T00:00", "2025-03-30T12:00")), seed=4)

    planned, dry = await told(server, "expire", "--dry-run")
    expired, phases = await told(server, "expire")
    nothing, silent = await told(server, "expire", "--json")
    removed, tables = await told(server, "site", "remove", OTHER, "--data", "erase", "--yes")

    assert (dry, nothing, silent) == ([], "[]\n", [])
    assert expired == planned.replace("would go", "removed")
    assert expired.startswith(f"{SITE}\tbefore ")
    assert phases == [f"totals of {SITE} …", "collect …", "delete …", "rollups …", "builds …"]
    assert removed == f"{OTHER} is deleted, with everything that was stored of it.\n"
    assert (tables[0], tables[-1]) == (f"{OTHER}: events …", f"{OTHER}: files …")
    assert {f"{OTHER}: {table} …" for table in ("sessions", "traffic", "openings")} <= set(tables)
    assert len(tables) == len(set(tables))


async def test_the_export_of_the_audit_log_tells_how_many_entries_it_has_read(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    lay_tables(server.data_dir)
    few, silent = await told(server, "audit", "export")
    async with opened(server) as store:
        await store.command(
            "INSERT INTO audit SELECT '0', number + 1, toDateTime64('2026-11-01 00:00:00', 6, 'UTC') + number,"
            f" 'query_site', '', '{{\"version\":1}}', 'x' FROM numbers({PAGE * 2 + PAGE // 2})"
        )
    many, lines = await told(server, "audit", "export")
    file = tmp_path / "audit.ndjson"
    at_terminal, again = await told(server, "audit", "export", "--to", "2026-11-01T00:00:10", "--output", str(file))

    assert (len(few.splitlines()), silent) == (1, [])
    total = len(many.splitlines())
    assert total == PAGE * 2 + PAGE // 2 + 2
    assert lines == [f"{PAGE:,} of {total:,} entries …", f"{PAGE * 2:,} of {total:,} entries …"]
    assert (at_terminal, len(file.read_bytes().splitlines())) == ("", 10)
    assert again == [line.replace(f"{total:,}", f"{total + 1:,}") for line in lines]


async def test_an_export_tells_its_tables_and_how_much_it_has_written(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100"})
    with server:
        await filled(server, 5)
        assert server.terminate() == 0
    async with opened(server) as store:
        found = await store.query(f"SELECT count() FROM events WHERE user_id = '{ANNA}'")
        times = 15_000 // int(str(found.rows[0][0]))
        await store.command(
            "INSERT INTO events SELECT * EXCEPT number"
            " REPLACE (generateUUIDv4(number) AS event_id, repeat('x', 400) AS title)"
            f" FROM events CROSS JOIN numbers({times}) AS copies WHERE user_id = '{ANNA}'"
        )

    without, lines = await told(server, "export", ANNA)
    with server:
        running, amounts = await told(server, "export", ANNA)
        assert server.terminate() == 0
    zipped, of_zip = await told(server, "export", ANNA, "--format", "zip", "--output", str(tmp_path / "anna.zip"))

    assert_amounts(amounts, len(running))
    assert_amounts([line for line in lines if line.endswith(" MB …")], len(without))
    tables = [line for line in lines if not line.endswith(" MB …")]
    assert tables[:2] == ["deliver …", "events …"]
    assert tables[-1] == "dead_letters …"
    named = {f"{msgspec.json.decode(line)['table']} …" for line in without.splitlines()}
    assert named <= set(tables)
    assert len(tables) == len(set(tables))
    assert sorted(running.splitlines()) == sorted(without.splitlines())
    assert (zipped, [line for line in of_zip if not line.endswith(" MB …")]) == ("", tables)


def assert_amounts(lines: Sequence[str], written: int) -> None:
    """They grow, by a step at least, up to what was written."""
    amounts = [int(line.removesuffix(" MB …")) * MEGABYTE for line in lines]
    assert amounts, written
    assert all(after // STEP > before // STEP for before, after in pairwise([0, *amounts]))
    assert amounts[-1] <= written + MEGABYTE
    assert written // STEP == amounts[-1] // STEP


@dataclass
class Started:
    """A command that runs; `errors` is where its standard error goes to."""

    process: preloaded.Running
    errors: Path

    @property
    def lines(self) -> list[str]:
        return self.errors.read_text(encoding="utf-8").splitlines()

    async def says(self, line: str) -> None:
        async def is_there() -> bool:
            return line in self.lines or self.process.poll() is not None

        await wait_for(is_there, 60, line)
        assert line in self.lines, self.lines

    async def ended(self) -> str:
        """Standard output of one that succeeds."""
        assert self.process.stdout is not None
        out = await asyncio.to_thread(self.process.stdout.read)
        assert self.process.wait(COMMAND_TIMEOUT_S) == 0, self.lines
        return out.decode()


@asynccontextmanager
async def started(server: RunningServer, errors: Path, *arguments: str) -> AsyncIterator[Started]:
    with errors.open("wb") as file:
        environment = server.environment()
        process = preloaded.start("analytics_server", arguments, stdout=PIPE, stderr=file, env=environment)
    try:
        yield Started(process, errors)
    finally:
        process.kill()
        process.wait(COMMAND_TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("is_asked", [False, True], ids=["at the data", "at a server"])
async def test_an_erasure_tells_its_phases_while_it_is_under_way(
    tmp_path: Path, clickhouse_front: ClickHouseFront, is_asked: bool
) -> None:
    """Held while it collects, it has told so and nothing of what is next; and it tells the phase that takes seconds."""
    where = {"clickhouse_url": clickhouse_front.url, "clickhouse_database": f"erasing_{is_asked}"}
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "100", **where})
    with server:
        traffic = await filled(server, 6)
        if not is_asked:
            assert server.terminate() == 0
        held = Fault(kind="stall", statement="select", contains="count() FROM events", when="before")
        clickhouse_front.faults.add(held)
        async with started(server, tmp_path / "errors", "erase", ANNA, "--yes", "--json") as erasing:
            await asyncio.to_thread(clickhouse_front.faults.wait_stalled)
            await erasing.says("collect …")
            assert not {"delete …", "files …"} & set(erasing.lines)
            clickhouse_front.faults.release()
            certificate: dict[str, Any] = msgspec.json.decode(await erasing.ended())
            lines = erasing.lines
        if is_asked:
            async with Client(server) as client:
                assert (await client.get("/readyz")).status == 200
            assert server.terminate() == 0

    assert certificate["removed"]["events"] == len(traffic.of(ANNA))
    assert {"collect …", "files …"} <= set(lines)
    assert lines == [phase for phase in PHASES if phase in lines]
