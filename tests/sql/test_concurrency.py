"""Slots to run SQL: few, shared between sites and tokens, and reassigned when the engine cannot be interrupted."""

from __future__ import annotations

import asyncio

import pytest

from analytics_server.config import SqlSection
from analytics_server.errors import TooManyRequests, Unavailable
from analytics_server.sql.concurrency import ConcurrencyLimit


def slots(at_once: int = 2, per_site: int = 4, wait_s: float = 30.0) -> ConcurrencyLimit:
    return ConcurrencyLimit(at_once=at_once, waiting=8 * at_once, per_site=per_site, wait_s=wait_s)


async def begun(work: asyncio.Task[object]) -> bool:
    """Whether it has its slot, after everything that is ready has run."""
    for _ in range(5):
        await asyncio.sleep(0)
    return work.done()


async def test_waits_for_a_turn_and_is_refused_in_the_end() -> None:
    few = slots(at_once=1, per_site=2, wait_s=0.05)
    first = await few.acquire(["a"])
    waiting = asyncio.create_task(few.acquire(["a"]))
    await asyncio.sleep(0)
    few.check(["b"])
    with pytest.raises(TooManyRequests):
        few.check(["a"])
    with pytest.raises(TooManyRequests):
        await few.acquire(["a"])
    with pytest.raises(Unavailable):
        await few.acquire(["b"])
    with pytest.raises(Unavailable):
        await waiting
    few.release(first)
    few.release(await few.acquire(["b"]))
    assert not few._present
    assert not few._running


@pytest.mark.parametrize("at_once", [2, 3])
@pytest.mark.parametrize("same", ["site", "token"])
async def test_neither_a_site_nor_a_token_has_all_turns(at_once: int, same: str) -> None:
    few = slots(at_once)
    holders = [(["a"], f"t{n}") if same == "site" else ([f"a{n}"], "t") for n in range(at_once)]
    running = [asyncio.create_task(few.acquire(*holder)) for holder in holders]
    assert [await begun(each) for each in running] == [True] * (at_once - 1) + [False]

    other = await few.acquire(["b"], "other")
    few.release(running[0].result())
    assert await begun(running[-1])
    few.release(other)


async def test_a_query_that_outlives_its_limit_holds_up_only_its_own_site_and_token() -> None:
    few = slots()
    endless = [await few.acquire(["a"], "t"), await few.acquire(["b"], "u")]
    waiting = [asyncio.create_task(few.acquire(*holder)) for holder in ((["a"], "v"), (["c"], "t"), (["c"], "w"))]
    assert not any([await begun(each) for each in waiting])
    for slot in endless:
        few.reassign(slot)
        few.reassign(slot)
    assert [await begun(each) for each in waiting] == [False, False, True]

    few.release(endless[0])  # ended after all: its site and token may go on, as far as there are slots
    assert await begun(waiting[0])
    assert not await begun(waiting[1])
    few.release(waiting[2].result())
    assert await begun(waiting[1])


async def test_so_many_turns_are_passed_on_and_no_more() -> None:
    few = slots(at_once=1, wait_s=0.05)
    for number in range(4):
        few.reassign(await few.acquire([f"s{number}"]))
    last = await few.acquire(["last"])
    few.reassign(last)
    with pytest.raises(Unavailable):
        await few.acquire(["next"])
    few.release(last)
    await few.acquire(["next"])


async def test_places_to_wait_are_shared_too() -> None:
    few = slots(at_once=1)
    waiting = [asyncio.create_task(few.acquire([f"s{number}"], "t")) for number in range(4)]
    await begun(waiting[0])
    with pytest.raises(TooManyRequests, match="of this token"):
        await few.acquire(["s9"], "t")
    others = [asyncio.create_task(few.acquire([f"o{number}"])) for number in range(5)]
    await begun(others[0])
    with pytest.raises(Unavailable, match=r"\[sql\] waiting"):
        few.check(["o9"])
    with pytest.raises(Unavailable):
        await few.acquire(["o9"])
    for each in (*waiting, *others):
        each.cancel()
    await asyncio.wait([*waiting, *others])


@pytest.mark.parametrize("same", ["site", "token"])
async def test_by_the_defaults_no_site_and_no_token_has_more_than_half_of_the_places(same: str) -> None:
    limits = SqlSection()
    many = ConcurrencyLimit(
        at_once=limits.queries, waiting=limits.waiting, per_site=10 * limits.site_queries, wait_s=limits.wait_s
    )
    half = (limits.queries + limits.waiting) // 2
    holders = [(["a"], f"t{n}") if same == "site" else ([f"a{n}"], "t") for n in range(half)]
    tasks = [asyncio.create_task(many.acquire(*holder)) for holder in holders]
    await begun(tasks[0])
    with pytest.raises(TooManyRequests, match=rf"{half} queries of this {same} .*half of \[sql\] queries and waiting"):
        many.check(["a"] if same == "site" else ["b"], "t")
    many.check(["other"], "other")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_one_who_goes_away_leaves_no_trace() -> None:
    few = slots(at_once=1)
    first = await few.acquire(["a"])
    waiting = asyncio.create_task(few.acquire(["b"]))
    await begun(waiting)
    waiting.cancel()
    few.release(first)
    await asyncio.wait({waiting})

    few.release(await few.acquire(["c"]))
    assert not few._present
    assert not few._running
    assert few._taken == 0


async def test_a_query_about_several_sites_counts_for_each() -> None:
    few = slots(at_once=4, per_site=1)
    both = await few.acquire(["a", "b"])
    for sites in (["a"], ["b"], ["b", "c"], ["a", "b", "c"]):
        with pytest.raises(TooManyRequests, match="of this site"):
            await few.acquire(sites)
    few.release(await few.acquire(["c", "d"]))
    few.release(both)
    few.release(await few.acquire(["b"]))
    assert not few._present
    assert not few._running
