"""Turns: one server at a time, the next when the first is done or dead, and nobody goes on who has lost theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from analytics_server.errors import StoreRetryable
from analytics_server.store import Store, make_store, migrate
from analytics_server.store import lease as leases
from analytics_server.store.lease import TABLE, SharedTurn
from tests.server import wait_for
from tests.store.conftest import Engines


@pytest.fixture
async def store(engines: Engines) -> AsyncIterator[Store]:
    made = make_store(engines.config(threads=2))
    await made.open()
    await migrate(made)
    await made.command(f"TRUNCATE TABLE {TABLE}")
    yield made
    await made.close()


def as_shared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other servers may write to it, also where the engine is this process's own."""
    shared = msgspec.structs.replace(store.capabilities, owns_files=False)
    monkeypatch.setattr(store, "capabilities", shared)


async def test_who_comes_second_waits_until_the_first_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    as_shared(store, monkeypatch)
    monkeypatch.setattr(leases, "LOOK_S", 0.01)
    seen: list[str] = []

    async def work(name: str, may_end: asyncio.Event) -> None:
        async with SharedTurn(store, "removal", holder=name).taken():
            seen.append(f"{name} begins")
            await may_end.wait()
            seen.append(f"{name} ends")

    first_may, second_may = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(work("first", first_may))
    await wait_for(lambda: _is(seen, 1), 60, "the first")
    second = asyncio.create_task(work("second", second_may))
    other = asyncio.create_task(_other_kind(store, seen))
    await wait_for(lambda: _is(seen, 2), 60, "work of another kind")
    second_may.set()
    first_may.set()
    await asyncio.gather(first, second, other)
    assert seen == ["first begins", "other", "first ends", "second begins", "second ends"]


async def _is(seen: list[str], count: int) -> bool:
    return len(seen) >= count


async def _other_kind(store: Store, seen: list[str]) -> None:
    async with SharedTurn(store, "other", holder="other").taken():
        seen.append("other")


async def test_who_loses_the_turn_stops_and_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    as_shared(store, monkeypatch)

    async def work() -> None:
        async with SharedTurn(store, "removal", holder="slow", ttl_s=2.0).taken():
            await store.command(f"TRUNCATE TABLE {TABLE}")
            await store.command(
                f"INSERT INTO {TABLE} (name, claim, step, holder, ends_at, at)"
                " SELECT 'removal', 'another', 1, 'another', now64(6, 'UTC') + 60, now64(6, 'UTC')"
            )
            await asyncio.Event().wait()

    with pytest.raises(StoreRetryable, match="is lost"):
        await work()


async def test_an_error_of_the_work_is_told_and_the_turn_is_free_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_shared(store, monkeypatch)
    for error in (TimeoutError("the work's own"), ValueError("x")):
        with pytest.raises(type(error)) as caught:
            async with SharedTurn(store, "removal", holder="a").taken():
                raise error
        assert caught.value is error
    async with SharedTurn(store, "removal", holder="b").taken():
        pass
