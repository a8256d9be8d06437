"""Map(LowCardinality(String), String) against JSON for an event's properties.

The same properties in two tables that hold nothing else; one event in four has some, as
on a site with custom events. Why the schema has a Map: docs/benchmarks.md.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from analytics_server.config import Config, ServerSection
from analytics_server.store import Store, make_store
from benchmarks.report import Figure
from benchmarks.settings import Settings
from benchmarks.worker import ask

MODULE = "benchmarks.props"
REPEATS = 3
_KINDS = {"Map": "Map(LowCardinality(String), String)", "JSON": "JSON"}
_VALUE = """
    if(number % 4 = 0,
       map('plan', ['free', 'pro', 'team'][number % 3 + 1], 'seats', toString(number % 40), 'trial', 'true',
           concat('key_', toString(sipHash64(number) % 30)), toString(sipHash64(number, 1) % 1000)),
       map())
"""
_QUESTIONS = {
    "Map": "SELECT props['plan'] AS value, count() FROM props_map WHERE mapContains(props, 'plan') GROUP BY value",
    "JSON": "SELECT props.plan::String AS value, count() FROM props_json WHERE isNotNull(props.plan) GROUP BY value",
}


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Of one type."""

    insert_s: float
    query_ms: float
    bytes_on_disk: int


def measure(settings: Settings) -> list[Figure]:
    """The figures of both types."""
    sizes = (settings.props_rows,)
    found = ask(MODULE, settings.directory / "props", sizes, dict[str, Measured])
    figures = []
    for name, one in found.items():
        rate = settings.props_rows / one.insert_s
        figures += [
            Figure(name=f"props as {name}: insert in the engine", value=rate, unit="rows/s"),
            Figure(name=f"props as {name}: count by one key", value=one.query_ms, unit="ms"),
            Figure(name=f"props as {name}: on disk", value=one.bytes_on_disk / settings.props_rows, unit="bytes/row"),
        ]
    return figures


async def work(directory: Path, rows: int) -> dict[str, Measured]:
    """Runs where the engine may be opened."""
    store = make_store(Config(server=ServerSection(data_dir=str(directory))))
    await store.open()
    try:
        return {name: await _measure(store, name, kind, rows) for name, kind in _KINDS.items()}
    finally:
        await store.close()


async def _measure(store: Store, name: str, kind: str, rows: int) -> Measured:
    table = f"props_{name.lower()}"
    await store.command(f"CREATE TABLE {table} (number UInt64, props {kind}) ENGINE = MergeTree ORDER BY number")
    # As a client's text: both types have to be read from it.
    value = _VALUE if name == "Map" else f"toJSONString({_VALUE})"
    started = time.perf_counter()
    await store.command(f"INSERT INTO {table} SELECT number, {value} FROM numbers({rows})")
    inserted = time.perf_counter() - started
    await store.command(f"OPTIMIZE TABLE {table} FINAL")
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        await store.query(_QUESTIONS[name])
        times.append((time.perf_counter() - started) * 1000)
    answer = await store.query(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = {table:String}", {"table": table}
    )
    return Measured(insert_s=inserted, query_ms=min(times), bytes_on_disk=int(str(answer.rows[0][0])))
