"""The lists of stored fields and files, held against what a server has: a new table, column or file fails them."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatch
from pathlib import Path

from analytics_server.config import ClickhouseSection, Config
from analytics_server.privacy.report.fields import FUNNEL_FACTS, TABLES
from analytics_server.privacy.report.files import EMBEDDED, EXPORTED, FILES
from analytics_server.privacy.report.stored import DataClass
from analytics_server.profiles.switches import FIELDS
from analytics_server.rollups.registry import DERIVED_TABLES
from analytics_server.store import make_store, migrate
from tests.server import Client, RunningServer

COLUMNS = """
    SELECT table, groupArray(name) FROM system.columns WHERE database = currentDatabase() AND table NOT IN (
        SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'MaterializedView'
    ) GROUP BY table
"""
FUNNEL = {"site_id", "ts", "subject", "number", "user_id"}
"""The columns of a saved funnel's table, which no migration makes (`analyses/funnels/materialized/facts.py`)."""


async def test_every_table_that_there_is_is_described_column_by_column(embedded_path: Path) -> None:
    url = f"chdb://{embedded_path}"
    store = make_store(Config(clickhouse=ClickhouseSection(url=url, database="report_fields", threads=1)))
    await store.open()
    try:
        await migrate(store)
        stored = {str(name): set(map(str, names)) for name, names in (await store.query(COLUMNS)).rows}  # type: ignore[call-overload]
    finally:
        await store.close()
    stored[FUNNEL_FACTS.name] = FUNNEL

    assert {table.name: set(table.columns) for table in TABLES} == stored
    assert len({table.name for table in TABLES}) == len(TABLES)
    derived = {name for table in DERIVED_TABLES for name in (table.name, table.builds) if name}
    assert {"events", *derived} <= set(stored)


def test_tables_of_the_whole_server_are_marked() -> None:
    for table in TABLES:
        assert table.of_server or "site_id" in table.columns, table.name
    marked = {table.name for table in TABLES if table.of_server}
    assert {"salts", "privacy_keys", "people", "person_sessions", "tokens", "audit", "erasures"} <= marked
    assert not marked & {"events", "sessions", "activity", "day_totals", "drops", "opt_outs", "saved"}


async def test_every_file_of_a_server_that_has_worked_is_described(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    found: set[str] = set()
    with RunningServer(tmp_path, {"export_directory": str(lake)}) as server:
        async with Client(server) as client:
            await client.call("POST", "/api/v1/sites", {"site_id": "a.example"})
            view = {"site": "a.example", "name": "pageview", "url": "https://a.example/"}
            assert (await client.send(view)).json["accepted"] == 1
            found |= _files(server.data_dir)
        assert server.terminate() == 0
        made = await asyncio.to_thread(server.command, "token", "create", "--role", "read")
        assert made.returncode == 0, made.stderr
        found |= _files(server.data_dir)
        server.restart()
    found |= {f"{EXPORTED}{path}" for path in _files(lake)}

    assert {"wal/lock", "audit/seal_key.json", "audit/commands.json", "server.json"} <= found
    assert any(path.startswith("clickhouse/") for path in found)
    assert [path for path in sorted(found) if not any(_is_of(path, file.path) for file in FILES)] == []


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}


def _is_of(path: str, pattern: str) -> bool:
    """A star stands for a name; at the end of what others lay out, for all below."""
    if pattern.startswith((EMBEDDED, f"{EXPORTED}site=")):
        return path.startswith(pattern.removesuffix("*"))
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(
        name == part or fnmatch(name, part) for name, part in zip(parts, wanted, strict=True)
    )


def test_every_description_is_a_sentence() -> None:
    for table in TABLES:
        for about in (table.purpose, *(about for _, about in table.columns.values())):
            assert not about[0].islower() or about.startswith(("id of", "pageview")), about
            assert about.endswith((".", "?")), about
        assert not table.kept.endswith("."), table.kept
    for file in FILES:
        assert file.holds[0].isupper(), file.holds
        assert file.holds.endswith("."), file.holds


def test_what_names_a_person_is_called_personal() -> None:
    named = {(table.name, column) for table in TABLES for column in table.columns if column == "user_id"}
    personal = {(t.name, c) for t in TABLES for c, (class_, _) in t.columns.items() if class_ is DataClass.PERSONAL}

    assert named <= personal
    assert {column for fields in FIELDS.values() for column in fields.columns} <= set(TABLES[0].columns)
