"""The list of stored fields, held against the database that the schema makes."""

from __future__ import annotations

from pathlib import Path

from analytics_server.config import ClickhouseSection, Config
from analytics_server.privacy.report.fields import FUNNEL_FACTS, TABLES, DataClass
from analytics_server.profiles.switches import FIELDS
from analytics_server.rollups.registry import DERIVED_TABLES
from analytics_server.store import make_store, migrate

COLUMNS = "SELECT table, groupArray(name) FROM system.columns WHERE database = currentDatabase() GROUP BY table"
FUNNEL = {"site_id", "ts", "subject", "number", "user_id"}
"""The columns of a saved funnel's table, which no migration makes (`analyses/funnels/materialized/facts.py`)."""


async def test_every_column_of_events_and_of_what_is_derived_is_described(embedded_path: Path) -> None:
    url = f"chdb://{embedded_path}"
    store = make_store(Config(clickhouse=ClickhouseSection(url=url, database="report_fields", threads=1)))
    await store.open()
    try:
        await migrate(store)
        stored = {str(name): set(map(str, names)) for name, names in (await store.query(COLUMNS)).rows}  # type: ignore[call-overload]
    finally:
        await store.close()
    stored[FUNNEL_FACTS.name] = FUNNEL

    described = {table.name: set(table.columns) for table in TABLES}
    assert described == {name: stored[name] for name in described}
    derived = {name for table in DERIVED_TABLES for name in (table.name, table.builds) if name}
    assert {"events", *derived, "drops", "salts"} == set(described)


def test_every_description_is_a_sentence() -> None:
    for table in TABLES:
        for about in (table.purpose, *(about for _, about in table.columns.values())):
            assert not about[0].islower() or about.startswith(("id of", "pageview")), about
            assert about.endswith((".", "?")), about


def test_what_names_a_person_is_called_personal() -> None:
    named = {(table.name, column) for table in TABLES for column in table.columns if column == "user_id"}
    personal = {(t.name, c) for t in TABLES for c, (class_, _) in t.columns.items() if class_ is DataClass.PERSONAL}

    assert named <= personal
    assert {column for fields in FIELDS.values() for column in fields.columns} <= set(TABLES[0].columns)
