"""Turns: one server at a time, the next when the first is done or dead, and none goes on that has lost its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

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


class Connection:
    """Another server's way to the same ClickHouse. `hangs`: until then nothing is answered, and then it is lost."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.hangs: asyncio.Event | None = None
        self.has_asked = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def _reach(self) -> None:
        if self.hangs is not None:
            await self.hangs.wait()
            raise StoreRetryable("The connection is lost.")

    async def command(self, *arguments: Any, **options: Any) -> Any:
        await self._reach()
        return await self._store.command(*arguments, **options)

    async def query(self, *arguments: Any, **options: Any) -> Any:
        await self._reach()
        answer = await self._store.query(*arguments, **options)
        self.has_asked.set()
        return answer


def connection(store: Store) -> Any:
    return Connection(store)


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


async def _is_more(count: Callable[[], int]) -> bool:
    return count() > 0


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


async def test_work_ends_before_another_server_begins_also_while_a_renewal_hangs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_shared(store, monkeypatch)
    monkeypatch.setattr(leases, "LOOK_S", 0.01)
    seen: list[str] = []
    hanging, other, has_begun = connection(store), connection(store), asyncio.Event()

    async def first() -> None:
        async with SharedTurn(hanging, "removal", holder="first", ttl_s=2.0).taken():
            seen.append("first begins")
            hanging.hangs = asyncio.Event()
            has_begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("first ends")

    async def second() -> None:
        await has_begun.wait()
        async with SharedTurn(other, "removal", holder="second").taken():
            seen.append("second begins")
        hanging.hangs.set()

    told, none = await asyncio.wait_for(asyncio.gather(first(), second(), return_exceptions=True), 60)
    assert isinstance(told, StoreRetryable)
    assert none is None
    assert seen == ["first begins", "first ends", "second begins"]


async def test_a_turn_that_is_renewed_lasts_longer_than_the_lease(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_shared(store, monkeypatch)

    async def renewed() -> bool:
        answer = await store.query(f"SELECT max(step) FROM {TABLE} WHERE name = 'removal' AND holder = 'long'")
        return int(str(answer.rows[0][0])) > 6  # the time of one is over after four

    async with SharedTurn(store, "removal", holder="long", ttl_s=8.0).taken():
        await wait_for(renewed, 60, "renewals")


async def test_who_takes_turns_without_end_lets_others_have_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    as_shared(store, monkeypatch)
    greedy, waiting, may_stop, turns = connection(store), connection(store), asyncio.Event(), 0

    async def again_and_again() -> None:
        nonlocal turns
        turn = SharedTurn(greedy, "removal", holder="greedy")
        while not may_stop.is_set():
            async with turn.taken():
                turns += 1
                waiting.has_asked.clear()
                asking = [asyncio.create_task(event.wait()) for event in (waiting.has_asked, may_stop)]
                await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
                for task in asking:
                    task.cancel()

    async def wait_for_one() -> int:
        try:
            async with SharedTurn(waiting, "removal", holder="waiting").taken():
                return turns
        finally:
            may_stop.set()

    endless = asyncio.create_task(again_and_again())
    await wait_for(lambda: _is_more(lambda: turns), 60, "a turn")
    assert await asyncio.wait_for(wait_for_one(), 60) < 12
    await endless


async def test_a_long_wait_is_logged_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    as_shared(store, monkeypatch)
    monkeypatch.setattr(leases, "LOOK_S", 0.01)
    monkeypatch.setattr(leases, "TELL_S", 0.0)
    other = connection(store)
    async with SharedTurn(store, "removal", holder="first").taken():
        second = asyncio.create_task(_one(other))
        for _ in range(3):
            other.has_asked.clear()
            await asyncio.wait_for(other.has_asked.wait(), 60)
    await second
    told = [record for record in caplog.records if record.message == "still waiting for a turn"]
    assert [record.__dict__["turn"] for record in told] == ["removal"]


async def test_the_turn_of_a_killed_server_is_free_when_its_time_is_over(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither released nor renewed: only the written claim is left."""
    as_shared(store, monkeypatch)
    killed = leases.Lease(store, "removal", holder="killed", ttl_s=2.0)
    assert await killed.take()
    async with SharedTurn(store, "removal", holder="next").taken():
        assert not killed.is_held


async def _one(store: Store) -> None:
    async with SharedTurn(store, "removal", holder="one").taken():
        pass


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
