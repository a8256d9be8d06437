"""How large the benchmarks are: as published, or tiny for the smoke tests."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and durations; the defaults are those of docs/benchmarks.md."""

    directory: Path
    rounds: int = 3
    beacon_seconds: float = 8.0
    beacon_warm_up_seconds: float = 3.0
    beacon_templates: int = 4_000
    connections: int = 64
    batches: int = 6_000
    batch_events: int = 100
    batch_connections: int = 8
    flush_rows: int = 100_000
    flush_batches: int = 5
    drain_events: int = 10_000_000
    query_rows: int = 10_000_000
    query_inserts: int = 25
    query_repeats: int = 7
    query_data: Path | None = None
    """A directory that `python -m benchmarks.million` has filled before; else a fresh one is filled."""
    year_rows: int = 100_000_000
    year_inserts: int = 240
    year_days: int = 365
    year_data: Path | None = None
    """The same for the year's questions."""
    erasure_rows: int = 2_000_000
    erasure_inserts: int = 20
    idle_seconds: float = 60.0
    abuse_requests: int = 100_000
    slow_connections: int = 2_000
    slow_seconds: float = 10.0
    step_repeats: int = 20_000
    props_rows: int = 1_000_000
    audit_entries: int = 1_000_000
    access_blocks: int = 9
    access_questions: int = 200
    access_beacons: int = 2_000
    access_tokens: int = 1_000
    node_events: int = 200_000
    file_rows: int = 3_000_000
    file_inserts: int = 12
    wire_rows: int = 10_000_000
    wire_inserts: int = 25
    wire_answer: int = 1_000_000
    wire_clients: int = 50
    tracked_events: int = 10_000


def quick(directory: Path) -> Settings:
    """Sizes that show that a benchmark works, and nothing else."""
    return Settings(
        directory=directory,
        rounds=1,
        beacon_seconds=1.0,
        beacon_warm_up_seconds=0.0,
        beacon_templates=200,
        connections=4,
        batches=4,
        batch_connections=2,
        flush_rows=500,
        flush_batches=2,
        drain_events=5_000,
        query_rows=2_000,
        query_inserts=2,
        query_repeats=1,
        year_rows=4_000,
        year_inserts=3,
        year_days=14,
        erasure_rows=4_000,
        erasure_inserts=2,
        idle_seconds=1.0,
        abuse_requests=200,
        slow_connections=20,
        slow_seconds=0.5,
        audit_entries=7_000,
        access_blocks=1,
        access_questions=5,
        access_beacons=5,
        access_tokens=5,
        node_events=2_000,
        file_rows=2_000,
        file_inserts=2,
        wire_rows=2_000,
        wire_inserts=2,
        wire_answer=1_000,
        wire_clients=3,
        tracked_events=200,
        step_repeats=20,
        props_rows=1_000,
    )
