"""The watch over the data parts, told which tables can be computed again from `events`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from analytics_server.rollups.registry import SHIPPED_ROLLUPS
from analytics_server.store.integrity import Integrity
from analytics_server.store.protocol import Store


def make_integrity(
    store: Store, data_dir: Path, registry: CollectorRegistry, delivered: Callable[[], int]
) -> Integrity:
    """The integrity of `events`, the shipped rollups and the state. `delivered` counts the batches so far."""
    return Integrity(store, SHIPPED_ROLLUPS, data_dir, registry, delivered)
