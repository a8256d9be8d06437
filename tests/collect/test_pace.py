"""Bodies that were compressed far are read in turn and with rests; none of their events is lost."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from analytics_server.collect.answer import BeaconAnswer
from analytics_server.collect.pace import WAITING, WAITING_OF_NETWORK, Pace, is_compressed_far
from analytics_server.errors import TooManyRequests, Unavailable
from tests.collect.world import FORMAT, World, answered
from tests.server import USER_AGENT

EMPTY = gzip.compress(b'{"events":[' + b"{}," * 349_000 + b"{}]}")
"""A kilobyte that takes long to read."""

HEADERS = {"user-agent": USER_AGENT, "content-encoding": "gzip"}


async def collect(world: World, body: bytes, address: str) -> BeaconAnswer:
    return await world.collector.collect(FORMAT["batch"], body, HEADERS, address)


async def test_after_such_a_body_comes_a_rest_of_nine_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rests = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        rests.append(max(0.0, seconds))
        now += max(0.0, seconds)

    monkeypatch.setattr("analytics_server.collect.pace.time.monotonic", lambda: now)
    monkeypatch.setattr("analytics_server.collect.pace.asyncio.sleep", sleep)
    pace = Pace()
    for took_s in (0.1, 0.5, 0.0):
        async with pace.turn("192.0.2.1"):
            now += took_s

    assert rests == pytest.approx([0.0, 0.9, 2.0])


async def test_such_bodies_are_read_one_at_a_time() -> None:
    world = World()
    answers = await asyncio.gather(*(collect(world, EMPTY, f"192.0.2.{number}") for number in range(3)))

    assert {answer.status for answer in answers} == {413}


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
