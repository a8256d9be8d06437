"""A repeated event is acknowledged only when the one before it is on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics_server.app import Server
from analytics_server.collect import collector as collector_module
from analytics_server.collect.answer import BeaconAnswer
from analytics_server.collect.formats.table import TRACK
from analytics_server.config import Config, IngestSection, ServerSection
from analytics_server.ingest.wal.group import Waiter
from analytics_server.ingest.wal.log import Wal
from analytics_server.model import COLUMN_INDEX, Row
from tests.collect.world import World

BEACON = b'{"site":"a.example","name":"x","event_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}'
EVENT_ID = bytes.fromhex("6f9619ff8b864d01b42d00cf4fc964ff")
HEADERS = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36"}


async def test_a_repeat_shares_the_fate_of_an_event_that_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(Config(server=ServerSection(data_dir=str(tmp_path)), ingest=IngestSection(ack="os")))
    collector, wal = server.collect.collector, server.ingest.wal
    wal.open()
    answers: list[BeaconAnswer] = []
    write, fails = os.writev, True

    def failing(fd: int, pieces: list[bytes]) -> int:
        if fails:
            raise OSError(28, "No space left on device")
        return write(fd, pieces)

    monkeypatch.setattr("analytics_server.ingest.wal.log.os.writev", failing)
    collector.take_fast(TRACK, BEACON, HEADERS, "192.0.2.1", answers.append)
    collector.take_fast(TRACK, BEACON, HEADERS, "192.0.2.1", answers.append)
    assert answers == []
    wal.start()
    assert (await collector.collect(TRACK, BEACON, HEADERS, "192.0.2.1")).status == 503
    assert [answer.status for answer in answers] == [503, 503]

    fails = False
    assert (await collector.collect(TRACK, BEACON, HEADERS, "192.0.2.1")).status == 202
    assert (await collector.collect(TRACK, BEACON, HEADERS, "192.0.2.1")).status == 202
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

    def send(self, who: str, body: bytes = BEACON) -> None:
        def respond(answer: BeaconAnswer) -> None:
            self.answers[who] = answer.status

        self.world.collector.take_fast(TRACK, body, HEADERS, "192.0.2.1", respond)

    def large(self) -> asyncio.Task[BeaconAnswer]:
        """A trusted batch with the event in its midst."""
        headers = {**HEADERS, "authorization": "Bearer collect"}
        body = msgspec.json.encode(LARGE)
        return asyncio.create_task(self.world.collector.collect(TRACK, body, headers, "192.0.2.1"))

    def knows(self) -> bool:
        """Is an id remembered?"""
        return len(self.world.duplicates) > 0

    def waits(self) -> bool:
        """Does a request wait for the log?"""
        return bool(self.log._waiting)

    async def call(self) -> asyncio.Task[BeaconAnswer]:
        task = asyncio.create_task(self.world.collector.collect(TRACK, BEACON, HEADERS, "192.0.2.1"))
        await asyncio.sleep(0)  # until it waits for the log
        return task


def take_in_pieces(patch: pytest.MonkeyPatch) -> None:
    """Batches of trusted senders, event by event."""
    patch.setattr(collector_module, "EVENTS_AT_ONCE", 1)
    patch.setattr(collector_module, "LARGE_BODY", 0)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it holds; a thread decodes large bodies meanwhile."""
    async with asyncio.timeout(20):
        for _ in count():
            if condition():
                return
            await asyncio.sleep(0)


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


LARGE = (
    [{"site": "a.example", "name": "x"}] * 2 + [msgspec.json.decode(BEACON)] + [{"site": "a.example", "name": "x"}] * 2
)


async def test_a_request_that_crashes_leaves_no_id_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its events are not kept: the sender is told 500, and what it sends again must be."""
    two = [msgspec.json.decode(BEACON), {"site": "a.example", "name": "x", "session_id": "crash"}]

    def crash(*_: object) -> None:
        raise RuntimeError("a bug")

    requests = Requests()
    with monkeypatch.context() as patch:
        patch.setattr(requests.world.sessions, "open_client", crash)
        with pytest.raises(RuntimeError):
            requests.send("crashes in the pipeline", msgspec.json.encode(two))
    with monkeypatch.context() as patch:
        patch.setattr(requests.log, "append", crash)
        with pytest.raises(RuntimeError):
            requests.send("crashes in the log")
    assert not requests.knows()

    requests.send("again", msgspec.json.encode(two))
    requests.log.commit()
    assert requests.answers == {"again": 202}
    assert len(requests.log.written) == 2


async def test_a_repeat_of_an_event_of_a_large_batch_waits_until_that_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its id is known while the batch, taken in pieces, is not in the log yet."""
    take_in_pieces(monkeypatch)
    for fate, status in (("", 202), ("lost", 503)):
        requests = Requests()
        large = requests.large()
        await until(requests.knows)
        requests.send("repeat")
        assert not requests.log._waiting
        await until(requests.waits)
        requests.log.commit(fate)
        requests.log.commit()

        assert requests.answers == {"repeat": status}
        assert (await large).status == status
        assert len(requests.log.written) == (0 if fate else len(LARGE))


async def test_a_large_batch_that_is_broken_off_leaves_no_id_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in_pieces(monkeypatch)
    requests = Requests()
    large = requests.large()
    await until(requests.knows)
    requests.send("repeat")
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    requests.log.commit()
    requests.send("again")
    requests.log.commit()

    assert requests.answers == {"repeat": 503, "again": 202}
    assert len(requests.log.written) == 1


async def test_others_are_answered_while_a_large_batch_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    take_in_pieces(monkeypatch)
    requests = Requests()
    large = requests.large()
    await until(requests.knows)
    requests.send("new", b'{"site":"a.example","name":"new"}')
    requests.log.commit()
    assert requests.answers == {"new": 202}
    await until(requests.waits)
    requests.log.commit()

    assert (await large).status == 202
    assert [row[COLUMN_INDEX["name"]] for row in requests.log.written] == ["new", *["x"] * len(LARGE)]


STEPS = st.lists(st.sampled_from(["send", "call", "large", "turn", "leave", "commit", "lose"]), max_size=24)


@settings(max_examples=80)
@given(STEPS)
def test_whatever_the_order_an_acknowledged_id_is_written_once(steps: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        take_in_pieces(patch)
        asyncio.run(play(steps))


async def play(steps: list[str]) -> None:
    requests = Requests()
    tasks: list[asyncio.Task[BeaconAnswer]] = []
    acknowledged = False
    for number, step in enumerate([*steps, *["commit"] * len(steps)]):
        if step == "send":
            requests.send(str(number))
        elif step == "call":
            tasks.append(await requests.call())
        elif step == "large":
            tasks.append(requests.large())
        elif step == "turn":
            await asyncio.sleep(0)
        elif step == "leave" and tasks:
            tasks.pop(0).cancel()
            await asyncio.sleep(0)
        elif step in ("commit", "lose") and requests.log._waiting:
            requests.log.commit("lost" if step == "lose" else "")
        told = {*requests.answers.values(), *(task.result().status for task in tasks if task.done())}
        acknowledged = acknowledged or 202 in told
        written = [row for row in requests.log.written if row[COLUMN_INDEX["event_id"]] == EVENT_ID]
        assert len(written) <= 1
        assert written or not acknowledged
    async with asyncio.timeout(10):  # a large body is decoded by a thread
        while requests.log._waiting or not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            while requests.log._waiting:
                requests.log.commit()
