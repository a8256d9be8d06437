"""The ingest side's counters exist before anything has gone wrong."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from analytics_server import ingest
from analytics_server.errors import StoreError
from analytics_server.ingest.metrics import IngestMetrics


def test_every_fault_and_outcome_stands_at_zero_from_the_start() -> None:
    assert ingest.__file__ is not None
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(ingest.__file__).parent.rglob("*.py"))
    faults = set(re.findall(r'wal_errors\.labels\("(\w+)"\)', sources)) | {"disk_full", "write"}
    outcomes = set(re.findall(r'flush_attempts\.labels\("(\w+)"\)', sources)) | {
        kind.__name__.removeprefix("Store").lower() for kind in kinds_of(StoreError)
    }
    assert {"fsync", "torn_tail", "ok", "ambiguous"} <= faults | outcomes

    registry = CollectorRegistry()
    IngestMetrics(registry)
    shown = generate_latest(registry).decode()

    assert set(re.findall(r'^wal_errors_total\{kind="(\w+)"\} 0\.0$', shown, re.MULTILINE)) == faults
    assert set(re.findall(r'^flush_attempts_total\{outcome="(\w+)"\} 0\.0$', shown, re.MULTILINE)) == outcomes


def kinds_of(error: type[StoreError]) -> set[type[StoreError]]:
    """All kinds of store errors that a store raises as such; those of other packages concern no insert."""
    found = {kind for child in error.__subclasses__() for kind in {child} | kinds_of(child)}
    return {kind for kind in found if kind.__module__ == "analytics_server.errors"}
