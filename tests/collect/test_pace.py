"""Bodies that were compressed far are read in turn and with rests; none of their events is lost."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from analytics_server.collect.answer import Answer
from analytics_server.collect.pace import WAITING, WAITING_OF_NETWORK, Pace, is_compressed_far
from analytics_server.errors import TooManyRequests, Unavailable
from tests.collect.world import World, answered
from tests.server import USER_AGENT

EMPTY = gzip.compress(b'{"events":[' + b"{}," * 349_000 + b"{}]}")
"""A kilobyte that takes long to read."""

HEADERS = {"user-agent": USER_AGENT, "content-encoding": "gzip"}


async def collect(world: World, body: bytes, address: str) -> Answer:
    return await world.collector.collect("batch", body, HEADERS, address)


async def test_such_bodies_leave_most_of_the_time_to_others() -> None:
    world = World()
    busy, began = time.thread_time(), time.monotonic()
    answers = await asyncio.gather(*(collect(world, EMPTY, f"192.0.2.{number}") for number in range(6)))
    busy, elapsed = time.thread_time() - busy, time.monotonic() - began

    assert {answer.status for answer in answers} == {413}
    assert busy < elapsed / 4


async def test_a_batch_of_like_events_is_taken_whole() -> None:
    world = World()
    event = b'{"kind":"interaction","appName":"a.example","type":"x"}'
    body = gzip.compress(b'{"events":[' + b",".join([event] * 400) + b"]}")
    answer = await collect(world, body, "192.0.2.1")

    assert is_compressed_far(len(body), 400 * len(event))
    assert answered(answer)["accepted"] == 400
    assert len(world.events) == 400


async def test_few_wait_of_one_network_and_not_many_of_all() -> None:
    pace = Pace()
    free = asyncio.Event()

    async def hold(address: str) -> None:
        async with pace.turn(address):
            await free.wait()

    held = [asyncio.create_task(hold(f"2001:db8::{number}")) for number in range(WAITING_OF_NETWORK)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await hold("2001:db8::ffff")
    held += [asyncio.create_task(hold(f"192.0.2.{number}")) for number in range(WAITING - WAITING_OF_NETWORK)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await hold("198.51.100.1")
    held.pop().cancel()
    await asyncio.sleep(0)
    held.append(asyncio.create_task(hold("198.51.100.1")))
    free.set()
    await asyncio.gather(*held)
