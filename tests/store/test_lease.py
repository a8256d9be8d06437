"""A lease has one holder at most, ends by itself, and can be renewed and released."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from analytics_server.errors import StoreRetryable
from analytics_server.store import Store, make_store, migrate
from analytics_server.store import lease as lease_module
from analytics_server.store.lease import Lease, end_left_over, leased
from tests.server import wait_for
from tests.store.conftest import Engines

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A lease of the test's own."""
    return f"lease-{next(_numbers)}"


@dataclass(slots=True)
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def lease(store: Store, name: str, *, ttl_s: float = 600.0, clock: Clock | None = None) -> Lease:
    return Lease(store, name, holder="a test", ttl_s=ttl_s, clock=clock or Clock())


async def test_one_has_it_until_it_is_released(store: Store, name: str) -> None:
    first, second = lease(store, name), lease(store, name)

    assert await first.take()
    assert not await second.take()
    assert (first.is_held, second.is_held) == (True, False)

    await first.release()

    assert not first.is_held
    assert await second.take()


async def test_leases_of_other_names_are_others(store: Store, name: str) -> None:
    assert await lease(store, name).take()
    assert await lease(store, f"{name}-b").take()


async def test_it_ends_by_itself(store: Store, name: str) -> None:
    clock = Clock()
    ttl_s = 0.2
    first, second = lease(store, name, ttl_s=ttl_s, clock=clock), lease(store, name)
    while not await first.take():  # It ended before the look at who has it.
        ttl_s *= 2
        first = lease(store, name, ttl_s=ttl_s, clock=clock)

    await wait_for(second.take)
    clock.now += ttl_s

    assert not first.is_held
    assert not await first.take()


async def test_a_holder_that_stalled_knows_that_it_holds_nothing(store: Store, name: str) -> None:
    clock = Clock()
    holder = lease(store, name, ttl_s=10.0, clock=clock)
    assert await holder.take()

    clock.now += 10.0

    assert not holder.is_held


async def test_the_holder_can_renew_it(store: Store, name: str) -> None:
    clock = Clock()
    holder = lease(store, name, ttl_s=10.0, clock=clock)
    assert await holder.take()
    clock.now += 9.0

    assert await holder.take()
    clock.now += 9.0

    assert holder.is_held
    assert not await lease(store, name).take()


async def test_of_many_at_once_one_at_most_has_it(engines: Engines, events_database: str, name: str) -> None:
    stores = [make_store(engines.config(threads=1, database=events_database)) for _ in range(3)]
    for each in stores:
        await each.open()
        await migrate(each)
    try:
        for attempt in range(5):
            leases = [lease(each, f"{name}-{attempt}") for each in stores for _ in range(2)]
            taken = await asyncio.gather(*(each.take() for each in leases))
            assert sum(taken) <= 1
            assert taken == [each.is_held for each in leases]
            if not any(taken):  # those who met withdraw, and the next one gets it
                assert await leases[0].take()
    finally:
        for each in stores:
            await each.close()


async def test_without_an_answer_it_is_not_held(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*arguments: object, **named: object) -> None:
        raise StoreRetryable("away")

    holder = lease(store, name)
    assert await holder.take()
    with monkeypatch.context() as patch:
        patch.setattr(store, "command", away)
        with pytest.raises(StoreRetryable):
            await holder.take()
        await holder.release()

    assert not holder.is_held


async def test_work_under_a_lease_releases_it_also_when_it_fails(store: Store, name: str) -> None:
    async def work() -> None:
        async with leased(lease(store, name)) as taken:
            assert taken
            raise RuntimeError("work failed")

    with pytest.raises(RuntimeError):
        await work()

    async with leased(lease(store, name)) as taken:
        assert taken


@pytest.mark.parametrize("ttl_s", [0.0, -1.0, 86_401.0])
def test_a_time_limit_is_needed(ttl_s: float) -> None:
    with pytest.raises(ValueError, match="A lease is taken for at most"):
        Lease(store=None, name="x", holder="x", ttl_s=ttl_s)  # type: ignore[arg-type]


async def test_what_a_killed_process_held_is_free_where_no_other_can_hold_it(store: Store, name: str) -> None:
    killed, other = lease(store, name), lease(store, f"{name}-b")
    assert await killed.take()
    assert await other.take()
    await other.release()

    await end_left_over(store)

    assert await lease(store, name).take() is store.capabilities.owns_files
    assert await lease(store, f"{name}-b").take()


async def test_work_under_a_lease_renews_it_until_it_is_done(
    store: Store, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEWALS", 6_000)
    first, second = lease(store, name), lease(store, name)
    refused = 0

    async def failing(sql: str, parameters: Mapping[str, object] | None = None) -> None:
        nonlocal refused
        if refused < 2 and parameters and parameters.get("step") == 3:
            refused += 1
            raise StoreRetryable("away")
        await command(sql, parameters)

    command = store.command
    monkeypatch.setattr(store, "command", failing)
    async with leased(first) as taken:
        assert taken

        async def renewed() -> bool:
            assert first.is_held  # also while it is renewed, or can't be
            answer = await store.query("SELECT max(step) FROM leases WHERE name = {name:String}", {"name": name})
            return int(str(answer.rows[0][0])) > 5

        await wait_for(renewed, 30, "several renewals")
        assert not await second.take()
    assert (refused, await second.take()) == (1, True)


async def test_a_lease_that_is_lost_is_not_held(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEWALS", 6_000)
    first = lease(store, name)
    async with leased(first) as taken:
        assert taken
        other = {"name": name, "claim": "other", "step": 1, "holder": "a test", "for_ms": 60_000}
        await store.command(lease_module._WRITE, other)

        async def lost() -> bool:
            return not first.is_held

        await wait_for(lost, 30, "the loss")
