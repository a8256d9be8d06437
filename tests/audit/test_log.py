"""The log: what is written when, where a chain goes on, and what an insert in doubt leads to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from analytics_server.audit import log as audit_log
from analytics_server.audit.chain import SERVER_CHAIN, ChainRow, HeadFile
from analytics_server.audit.log import MOST_IN_BATCH, MOST_WAITING, AuditLog
from analytics_server.audit.table import insert_rows, rows_after
from analytics_server.audit.verify import ChainReport, verify
from analytics_server.errors import AuditUnavailable, StoreAmbiguous, StoreRetryable
from analytics_server.http.audit import AuditEntry
from analytics_server.store import Store
from tests.audit.conftest import DAY_US, Clock, an_entry, opened
from tests.server import wait_for


async def stored(store: Store, log: AuditLog) -> list[ChainRow]:
    return await rows_after(store, log.head.server, 0, until=2**60, limit=100_000)


async def report(store: Store, log: AuditLog) -> ChainReport:
    found = await verify(store, [log.head])
    (own,) = [chain for chain in found.chains if chain.server == log.head.server]
    return own


async def test_an_appended_entry_is_durable_together_with_those_before(store: Store, tmp_path: Path) -> None:
    log = await opened(store, tmp_path)
    log.note(an_entry(1))
    log.note(an_entry(2))

    await log.append(an_entry(3))

    assert [row.sequence for row in await stored(store, log)] == [1, 2, 3]
    assert HeadFile(tmp_path, SERVER_CHAIN).read() == log.head


async def test_entries_that_are_noted_are_written_in_the_background(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "WRITE_INTERVAL_S", 0.0)
    log = await opened(store, tmp_path)
    task = asyncio.create_task(log.run())
    log.note(an_entry())

    async def written() -> bool:
        return log.head.sequence == 1

    await wait_for(written)
    task.cancel()
    await asyncio.wait({task})

    assert len(await stored(store, log)) == 1


async def test_many_appends_at_once_share_an_insert(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inserts = 0

    async def counted(store: Store, rows: list[ChainRow], query_id: str) -> None:
        nonlocal inserts
        inserts += 1
        await insert_rows(store, rows, query_id)

    monkeypatch.setattr(audit_log, "insert_rows", counted)
    log = await opened(store, tmp_path)

    await asyncio.gather(*(log.append(an_entry(number)) for number in range(50)))

    assert inserts <= 2
    assert (await report(store, log)).entries == 50


async def test_a_restart_continues_the_chain(store: Store, tmp_path: Path) -> None:
    first = await opened(store, tmp_path)
    await first.append(an_entry(1))
    await first.close()

    second = await opened(store, tmp_path)
    second.note(an_entry(2))
    await second.close()

    found = await report(store, second)
    assert (found.server, found.entries, found.broken) == (first.head.server, 2, None)


async def test_a_batch_that_was_written_before_its_head_is_taken_over(store: Store, tmp_path: Path) -> None:
    log = await opened(store, tmp_path)
    await log.append(an_entry(1))
    before = HeadFile(tmp_path, SERVER_CHAIN).path.read_bytes()
    for number in range(3):
        log.note(an_entry(number))
    await log.write()
    HeadFile(tmp_path, SERVER_CHAIN).path.write_bytes(before)

    again = await opened(store, tmp_path)
    await again.append(an_entry(5))

    assert (await report(store, again)).broken is None
    assert again.head.sequence == 5


async def test_two_servers_have_a_chain_each(store: Store, tmp_path: Path) -> None:
    logs = [await opened(store, tmp_path / name) for name in ("a", "b")]
    for number in range(10):
        for log in logs:
            log.note(an_entry(number))
    await asyncio.gather(*(log.write() for log in logs))

    assert [(await report(store, log)).entries for log in logs] == [10, 10]
    assert logs[0].head.server != logs[1].head.server


async def test_entries_of_two_months_are_one_chain(store: Store, tmp_path: Path) -> None:
    clock = Clock()
    log = await opened(store, tmp_path, clock)
    for number in range(4):
        log.note(an_entry(number))
        clock.now_us += 20 * DAY_US
    await log.write()

    assert (await report(store, log)).entries == 4


Insert = Callable[[Store, list[ChainRow], str], Awaitable[None]]


def failing(times: int, *, after: bool) -> Insert:
    """An insert that fails so many times in doubt: after, or before the rows are stored."""
    left = times

    async def insert(store: Store, rows: list[ChainRow], query_id: str) -> None:
        nonlocal left
        if not left or after:
            await insert_rows(store, rows, query_id)
        if left:
            left -= 1
            raise StoreAmbiguous("no answer")

    return insert


@pytest.mark.parametrize("after", [True, False])
async def test_an_insert_in_doubt_leaves_each_entry_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    log = await opened(store, tmp_path)
    monkeypatch.setattr(audit_log, "insert_rows", failing(1, after=after))

    with pytest.raises(AuditUnavailable):
        await log.append(an_entry(1))
    await log.append(an_entry(2))

    found = await report(store, log)
    assert (found.entries, found.broken) == (2, None)


async def test_a_write_that_is_cancelled_is_finished_by_the_next(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, rest = asyncio.Event(), asyncio.Event()

    async def stalled(store: Store, rows: list[ChainRow], query_id: str) -> None:
        await insert_rows(store, rows, query_id)
        reached.set()
        await rest.wait()

    log = await opened(store, tmp_path)
    log.note(an_entry())
    with monkeypatch.context() as patch:
        patch.setattr(audit_log, "insert_rows", stalled)
        task = asyncio.create_task(log.write())
        await reached.wait()
        task.cancel()
        await asyncio.wait({task})
    await log.close()

    found = await report(store, log)
    assert (found.entries, found.broken) == (1, None)


async def test_memory_is_bounded_while_nothing_can_be_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(store: Store, rows: list[ChainRow], query_id: str) -> None:
        raise StoreRetryable("away")

    log = await opened(store, tmp_path)
    monkeypatch.setattr(audit_log, "MOST_WITH_CHANGES", MOST_WAITING - MOST_IN_BATCH + 3)  # beside the batch
    with monkeypatch.context() as patch:
        patch.setattr(audit_log, "insert_rows", refused)
        for number in range(MOST_WAITING + 7):
            log.note(an_entry(number))
        with pytest.raises(StoreRetryable):
            await log.write()
        for told in ("not written yet", "not written yet", "audit_lost"):
            with pytest.raises(AuditUnavailable, match=told):
                await log.append(an_entry())
    await log.write()

    rows = await stored(store, log)
    lost = [row.text for row in rows if row.action == "audit_lost"]
    assert len(rows) == MOST_WAITING + 2 + len(lost)
    assert ['"entries":"7"' in lost[0], '"entries":"1"' in lost[1]] == [True, True]


async def test_strangers_cannot_fill_the_log(store: Store, tmp_path: Path) -> None:
    log = await opened(store, tmp_path)
    for _ in range(5_000):
        log.note(AuditEntry(action="query_site", operation="query", outcome="unauthorized"))
    await log.close()

    rows = await stored(store, log)
    assert len(rows) == 11
    assert '"times":"4990"' in rows[-1].text
