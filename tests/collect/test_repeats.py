"""A repeated event is acknowledged only when the one before it is on disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.app import Server
from analytics_server.collect.collector import Answer
from analytics_server.config import Config, IngestSection, ServerSection
from analytics_server.ingest.group import Waiter
from analytics_server.ingest.wal import Wal
from analytics_server.model import Row
from tests.collect.world import World

BEACON = b'{"site":"a.example","name":"x","event_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}'
HEADERS = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"}


async def test_a_repeat_shares_the_fate_of_an_event_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(Config(server=ServerSection(data_dir=str(tmp_path)), ingest=IngestSection(ack="os")))
    collector, wal = server._collector, server._wal
    wal.open()
    answers: list[Answer] = []
    write, fails = os.writev, True

    def failing(fd: int, pieces: list[bytes]) -> int:
        if fails:
            raise OSError(28, "No space left on device")
        return write(fd, pieces)

    monkeypatch.setattr("analytics_server.ingest.wal.os.writev", failing)
    collector.take_fast(BEACON, HEADERS, "192.0.2.1", answers.append)
    collector.take_fast(BEACON, HEADERS, "192.0.2.1", answers.append)
    assert answers == []
    wal.start()
    assert (await collector.collect("track", BEACON, HEADERS, "192.0.2.1")).status == 503
    assert [answer.status for answer in answers] == [503, 503]

    fails = False
    assert (await collector.collect("track", BEACON, HEADERS, "192.0.2.1")).status == 202
    assert (await collector.collect("track", BEACON, HEADERS, "192.0.2.1")).status == 202
    await wal.close()


class HeldWal:
    """A log whose groups are committed or lost when the test says so, in order; rows make a group of their own."""

    def __init__(self) -> None:
        self.written: list[Row] = []
        self._waiting: list[tuple[list[Row], Waiter]] = []

    def refusal(self) -> str:
        return ""

    def append(self, rows: list[Row], waiter: Waiter) -> None:
        self._waiting.append((rows, waiter))

    def commit(self, error: str = "") -> None:
        """The oldest request's rows, as the log does it: all waiters of a group are told in one go."""
        rows, waiter = self._waiting.pop(0)
        if not error:
            self.written += rows
        waiter(error if rows else "")


class Requests:
    """One collector over such a log; `send` is the front's fast way, `call` a handler's coroutine."""

    def __init__(self) -> None:
        self.world = World()
        self.log = HeldWal()
        self.world.collector._wal = cast(Wal, self.log)
        self.answers: dict[str, int] = {}

    def send(self, who: str) -> None:
        def respond(answer: Answer) -> None:
            self.answers[who] = answer.status

        self.world.collector.take_fast(BEACON, HEADERS, "192.0.2.1", respond)

    async def call(self) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.world.collector.collect("track", BEACON, HEADERS, "192.0.2.1"))
        await asyncio.sleep(0)  # until it waits for the log
        return task


def test_a_repeat_is_not_vouched_for_by_a_later_try_that_is_lost_too() -> None:
    """The first try is lost, the id is taken again, the repeat of the first is answered, the second try is lost."""
    requests = Requests()
    requests.send("first")
    requests.send("repeat")
    requests.log.commit("lost")
    requests.send("again")
    requests.log.commit()  # the repeat's turn, while the id is known once more
    requests.log.commit("lost")

    assert requests.answers == {"first": 503, "repeat": 503, "again": 503}
    assert not requests.log.written

    requests.send("at last")
    requests.send("repeat of it")
    requests.log.commit()
    requests.log.commit()
    assert (requests.answers["at last"], requests.answers["repeat of it"]) == (202, 202)
    assert len(requests.log.written) == 1


async def test_a_loss_is_known_before_anybody_behind_it_is_answered() -> None:
    """The first try waits in a coroutine, which runs later than the callback of the repeat."""
    requests = Requests()
    first = await requests.call()
    requests.send("repeat")
    requests.log.commit("lost")
    requests.log.commit()

    assert requests.answers == {"repeat": 503}
    assert (await first).status == 503


async def test_a_client_that_has_gone_does_not_leave_its_lost_id_behind() -> None:
    requests = Requests()
    first = await requests.call()
    requests.send("repeat")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    requests.log.commit("lost")
    requests.log.commit()
    requests.send("again")
    requests.log.commit()

    assert requests.answers == {"repeat": 503, "again": 202}
    assert len(requests.log.written) == 1


STEPS = st.lists(st.sampled_from(["send", "call", "leave", "commit", "lose"]), max_size=24)


@settings(max_examples=60)
@given(STEPS)
def test_whatever_the_order_an_acknowledged_id_is_written_once(steps: list[str]) -> None:
    asyncio.run(play(steps))


async def play(steps: list[str]) -> None:
    requests = Requests()
    tasks: list[asyncio.Task[Answer]] = []
    acknowledged = False
    for number, step in enumerate([*steps, *["commit"] * len(steps)]):
        if step == "send":
            requests.send(str(number))
        elif step == "call":
            tasks.append(await requests.call())
        elif step == "leave" and tasks:
            tasks.pop(0).cancel()
            await asyncio.sleep(0)
        elif step in ("commit", "lose") and requests.log._waiting:
            requests.log.commit("lost" if step == "lose" else "")
        told = {*requests.answers.values(), *(task.result().status for task in tasks if task.done())}
        acknowledged = acknowledged or 202 in told
        assert len(requests.log.written) <= 1
        assert requests.log.written or not acknowledged
    await asyncio.sleep(0)
    assert all(task.done() for task in tasks)
