"""Turns to run SQL: few, shared between sites and tokens, and passed on when the engine can't be interrupted."""

from __future__ import annotations

import asyncio

import pytest

from analytics_server.errors import TooManyRequests, Unavailable
from analytics_server.sql.concurrency import Turns


def turns(at_once: int = 2, per_site: int = 4, wait_s: float = 30.0) -> Turns:
    return Turns(at_once=at_once, per_site=per_site, wait_s=wait_s)


async def begun(work: asyncio.Task[object]) -> bool:
    """Whether it has its turn, after everything that is ready has run."""
    for _ in range(5):
        await asyncio.sleep(0)
    return work.done()


async def test_waits_for_a_turn_and_is_refused_in_the_end() -> None:
    few = turns(at_once=1, per_site=2, wait_s=0.05)
    first = await few.take("a")
    waiting = asyncio.create_task(few.take("a"))
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await few.take("a")
    with pytest.raises(Unavailable):
        await few.take("b")
    with pytest.raises(Unavailable):
        await waiting
    few.give_back(first)
    few.give_back(await few.take("b"))
    assert not few._present
    assert not few._running


@pytest.mark.parametrize("at_once", [2, 3])
@pytest.mark.parametrize("same", ["site", "token"])
async def test_neither_a_site_nor_a_token_has_all_turns(at_once: int, same: str) -> None:
    few = turns(at_once)
    holders = [("a", f"t{n}") if same == "site" else (f"a{n}", "t") for n in range(at_once)]
    running = [asyncio.create_task(few.take(*holder)) for holder in holders]
    assert [await begun(each) for each in running] == [True] * (at_once - 1) + [False]

    other = await few.take("b", "other")
    few.give_back(running[0].result())
    assert await begun(running[-1])
    few.give_back(other)


async def test_a_query_that_outlives_its_limit_holds_up_only_its_own_site_and_token() -> None:
    few = turns()
    endless = [await few.take("a", "t"), await few.take("b", "u")]
    waiting = [asyncio.create_task(few.take(*holder)) for holder in (("a", "v"), ("c", "t"), ("c", "w"))]
    assert not any([await begun(each) for each in waiting])
    for turn in endless:
        few.pass_on(turn)
        few.pass_on(turn)
    assert [await begun(each) for each in waiting] == [False, False, True]

    few.give_back(endless[0])  # ended after all: its site and token may go on, as far as there are turns
    assert await begun(waiting[0])
    assert not await begun(waiting[1])
    few.give_back(waiting[2].result())
    assert await begun(waiting[1])


async def test_so_many_turns_are_passed_on_and_no_more() -> None:
    few = turns(at_once=1, wait_s=0.05)
    for number in range(4):
        few.pass_on(await few.take(f"s{number}"))
    last = await few.take("last")
    few.pass_on(last)
    with pytest.raises(Unavailable):
        await few.take("next")
    few.give_back(last)
    await few.take("next")


async def test_places_to_wait_are_shared_too() -> None:
    few = turns(at_once=1)
    waiting = [asyncio.create_task(few.take(f"s{number}", "t")) for number in range(4)]
    await begun(waiting[0])
    with pytest.raises(TooManyRequests, match="of this token"):
        await few.take("s9", "t")
    others = [asyncio.create_task(few.take(f"o{number}")) for number in range(5)]
    await begun(others[0])
    with pytest.raises(Unavailable):
        await few.take("o9")
    for each in (*waiting, *others):
        each.cancel()
    await asyncio.wait([*waiting, *others])


async def test_one_who_goes_away_leaves_no_trace() -> None:
    few = turns(at_once=1)
    first = await few.take("a")
    waiting = asyncio.create_task(few.take("b"))
    await begun(waiting)
    waiting.cancel()
    few.give_back(first)
    await asyncio.wait({waiting})

    few.give_back(await few.take("c"))
    assert not few._present
    assert not few._running
    assert few._taken == 0
