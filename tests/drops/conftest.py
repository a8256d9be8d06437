"""The store of either engine, as the contract suite makes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from analytics_server.store import Store, make_store, migrate
from tests.store.conftest import Engines, empty_store, engines, events_database, store

__all__ = ["empty_store", "engines", "events_database", "store"]


@pytest.fixture(scope="module")
def store_on_loop(engines: Engines) -> Iterator[tuple[Store, asyncio.Runner]]:
    """A store with the schema, on a loop of its own: hypothesis runs its examples in plain functions."""
    made = make_store(engines.config(threads=1))

    async def prepare() -> None:
        await made.open()
        await migrate(made)

    with asyncio.Runner() as runner:
        runner.run(prepare())
        yield made, runner
        runner.run(made.close())
