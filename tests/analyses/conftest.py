"""The analyses are asked of the same world as the query: its store, its saved things, its oracles."""

from __future__ import annotations

from tests.query.conftest import oracles, saved, service, store, world

__all__ = ["oracles", "saved", "service", "store", "world"]
