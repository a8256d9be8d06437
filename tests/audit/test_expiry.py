"""Entries leave the log when they are too old, and the chain can still be checked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from analytics_server.audit import expiry
from analytics_server.audit.chain import COMMANDS_CHAIN, ChainHead, ChainRow, chained, moment
from analytics_server.audit.expiry import BrokenChain, cut
from analytics_server.audit.log import AuditLog
from analytics_server.audit.seals import CUT, SealKey
from analytics_server.audit.table import insert_rows, rows_after
from analytics_server.audit.verify import ChainReport, verify
from analytics_server.errors import StoreRetryable
from analytics_server.http.audit import AuditEntry
from analytics_server.store import Store
from tests.audit.conftest import DAY_US, Clock, an_entry, opened

KEEP_DAYS = 30


async def a_year(store: Store, directory: Path, clock: Clock, days: int = 100) -> AuditLog:
    """A chain with an entry a day."""
    log = await opened(store, directory, clock)
    for number in range(days):
        log.note(an_entry(number))
        clock.now_us += DAY_US
    await log.write()
    return log


KEY = SealKey(key="ab" * 32)


async def a_cut(
    store: Store, clock: Clock, log: AuditLog, *own: AuditLog, keep_days: int = KEEP_DAYS
) -> list[ChainHead]:
    """What the server of the chain does once a day; `own`: other chains of its data directory."""
    heads = [one.head for one in (log, *own)]
    return await cut(store, log, now=now(clock), keep_days=keep_days, key=KEY, own=heads, server=log.head.server)


async def chain_of(store: Store, log: AuditLog) -> ChainReport:
    report = await verify(store, [log.head], key=KEY)
    (own,) = [chain for chain in report.chains if chain.server == log.head.server]
    return own


def now(clock: Clock) -> datetime:
    return moment(clock.now_us)


async def test_old_entries_go_and_the_rest_is_whole(empty_migrated: Store, tmp_path: Path) -> None:
    clock = Clock()
    log = await a_year(empty_migrated, tmp_path, clock)

    ends = await a_cut(empty_migrated, clock, log)

    assert [end.sequence for end in ends] == [70]
    rows = await rows_after(empty_migrated, log.head.server, 0, until=2**60, limit=1_000)
    assert [row.sequence for row in rows] == list(range(71, 102))
    assert rows[-1].action == "audit_cut"
    found = await chain_of(empty_migrated, log)
    assert (found.broken, found.sealed_until, found.first, found.entries) == (None, 70, 71, 31)


async def test_nothing_old_means_no_seal(empty_migrated: Store, tmp_path: Path) -> None:
    clock = Clock()
    log = await a_year(empty_migrated, tmp_path, clock, days=10)

    assert await a_cut(empty_migrated, clock, log) == []
    assert await a_cut(empty_migrated, clock, log, keep_days=0) == []
    assert log.head.sequence == 10


async def test_an_interrupted_cut_leaves_a_chain_that_verifies_and_is_completed(
    empty_migrated: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    log = await a_year(empty_migrated, tmp_path, clock)

    async def refused(store: Store, end: ChainHead) -> None:
        raise StoreRetryable("away")

    with monkeypatch.context() as patch:
        patch.setattr(expiry, "delete_until", refused)
        with pytest.raises(StoreRetryable):
            await a_cut(empty_migrated, clock, log)
    assert (await chain_of(empty_migrated, log)).broken is None
    await empty_migrated.command("ALTER TABLE audit DELETE WHERE sequence BETWEEN 5 AND 20 SETTINGS mutations_sync = 2")
    assert (await chain_of(empty_migrated, log)).broken is None

    await a_cut(empty_migrated, clock, log)

    found = await chain_of(empty_migrated, log)
    assert (found.broken, found.first) == (None, 71)


async def test_more_than_was_sealed_cannot_go_unseen(empty_migrated: Store, tmp_path: Path) -> None:
    clock = Clock()
    log = await a_year(empty_migrated, tmp_path, clock)
    await a_cut(empty_migrated, clock, log)

    await empty_migrated.command("ALTER TABLE audit DELETE WHERE sequence <= 71 SETTINGS mutations_sync = 2")

    broken = (await chain_of(empty_migrated, log)).broken
    assert broken is not None
    assert (broken.fault, broken.sequence) == ("removed", 71)


async def test_cuts_of_years_keep_every_chain_whole_also_one_that_rests(empty_migrated: Store, tmp_path: Path) -> None:
    clock = Clock()
    busy = await opened(empty_migrated, tmp_path, clock)
    resting = await opened(empty_migrated, tmp_path, clock, chain=COMMANDS_CHAIN)
    for day in range(0, 100, 10):
        busy.note(an_entry(day))
        if day in (0, 20, 50, 90):
            await resting.append(an_entry(day))
        if day % 20 == 0:
            await a_cut(empty_migrated, clock, busy, resting)
            report = await verify(empty_migrated, [busy.head, resting.head], key=KEY)
            assert report.ok, (day, report)
        clock.now_us += 10 * DAY_US

    rows = await empty_migrated.query("SELECT min(at) FROM audit")
    oldest = rows.rows[0][0]
    assert isinstance(oldest, datetime)
    assert (now(clock) - oldest.astimezone(UTC)).days <= KEEP_DAYS + 20


@pytest.mark.parametrize("key_of_b", [SealKey(key="cd" * 32), KEY], ids=["own key", "one key"])
async def test_a_server_that_was_off_for_longer_than_entries_are_kept_finds_its_chain_whole(
    empty_migrated: Store, tmp_path: Path, key_of_b: SealKey
) -> None:
    store, clock = empty_migrated, Clock()
    a, b = await opened(store, tmp_path / "a", clock), await opened(store, tmp_path / "b", clock)
    for number in range(6):
        await a.append(an_entry(number))
        await b.append(an_entry(number))
        clock.now_us += DAY_US
    await cut(store, b, now=now(clock), keep_days=4, key=key_of_b, own=[b.head], server=b.head.server)
    for _ in range(3):
        clock.now_us += 2 * KEEP_DAYS * DAY_US
        assert {end.server for end in await a_cut(store, clock, a)} == {a.head.server}

    again = await opened(store, tmp_path / "b", clock)
    await again.append(an_entry(10))
    for own, key in ((again, key_of_b), (a, KEY)):
        report = await verify(store, [own.head], key=key)
        assert report.ok, report
        (chain,) = [one for one in report.chains if one.server == b.head.server]
        assert (chain.sealed_until, chain.last) == (2, 8)


async def test_a_chain_of_which_nothing_is_left_stays_whole_and_goes_on(
    empty_migrated: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    busy = await opened(empty_migrated, tmp_path, clock)
    commands = await opened(empty_migrated, tmp_path, clock, chain=COMMANDS_CHAIN)
    for number in range(3):
        await commands.append(an_entry(number))
    for day in range(0, 4 * KEEP_DAYS, 10):
        await busy.append(an_entry(day))
        await a_cut(empty_migrated, clock, busy, commands)
        assert (await verify(empty_migrated, [busy.head, commands.head], key=KEY)).ok, day
        clock.now_us += 10 * DAY_US
    assert await rows_after(empty_migrated, commands.head.server, 0, until=2**60, limit=1) == []

    again = await opened(empty_migrated, tmp_path, clock, chain=COMMANDS_CHAIN)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
    await again.append(an_entry(3))
    found = await chain_of(empty_migrated, again)
    assert (found.broken, found.sealed_until, found.first, found.last) == (None, 3, 4, 4)


async def test_entries_behind_the_seal_of_an_emptied_chain_are_missed(
    empty_migrated: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    busy = await opened(empty_migrated, tmp_path, clock)
    commands = await opened(empty_migrated, tmp_path, clock, chain=COMMANDS_CHAIN)
    await commands.append(an_entry(1))
    clock.now_us += 2 * KEEP_DAYS * DAY_US
    await a_cut(empty_migrated, clock, busy, commands)
    await commands.append(an_entry(2))
    await empty_migrated.command(
        "ALTER TABLE audit DELETE WHERE server = {server:String} SETTINGS mutations_sync = 2",
        {"server": commands.head.server},
    )

    broken = (await chain_of(empty_migrated, commands)).broken
    assert broken is not None
    assert (broken.fault, broken.sequence) == ("newest removed", 2)
    await opened(empty_migrated, tmp_path, clock, chain=COMMANDS_CHAIN)
    assert [record.levelname for record in caplog.records if "audit log are missing" in record.message] == ["ERROR"]


async def test_a_clock_that_was_wrong_removes_nothing_young(empty_migrated: Store, tmp_path: Path) -> None:
    clock = Clock()
    log = await opened(empty_migrated, tmp_path, clock)
    log.note(an_entry(1))
    clock.now_us -= 1_000 * DAY_US
    log.note(an_entry(2))
    clock.now_us += 1_000 * DAY_US
    await log.write()

    assert await a_cut(empty_migrated, clock, log) == []
    assert (await chain_of(empty_migrated, log)).entries == 2


CHANGES = {
    "first removed, age moved": (1, "removed"),
    "age moved": (3, "edited"),
    "text edited": (2, "edited"),
    "last old one rewritten": (5, "edited"),
    "removed": (2, "removed"),
    "stored twice": (3, "duplicated"),
    "forged seal": (4, "forged seal"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_chain_that_is_broken_where_it_would_be_cut_is_not(
    empty_migrated: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    """Entries 1 to 4 are too old; those of the other chain go."""
    monkeypatch.setattr(expiry, "PORTION", 3)
    store, clock = empty_migrated, Clock()
    log, whole = await opened(store, tmp_path, clock), await opened(store, tmp_path, clock, chain=COMMANDS_CHAIN)
    for number in range(3):
        await log.append(an_entry(number))
        await whole.append(an_entry(number))
    if change == "forged seal":
        details = SealKey(key="cd" * 32).details(
            log.head.server, [ChainHead(server=log.head.server, sequence=3, hash="0")]
        )
        await log.append(AuditEntry(action=CUT, details=details))
    else:
        await log.append(an_entry(3))
    clock.now_us += 2 * KEEP_DAYS * DAY_US
    await log.append(an_entry(4))
    await broken_by(store, log, change)
    report = (await verify(store, [log.head, whole.head], key=KEY)).chains

    for _ in range(2):
        with pytest.raises(BrokenChain, match=f"{log.head.server} at entry {CHANGES[change][0]}: {CHANGES[change][1]}"):
            await a_cut(store, clock, log, whole)

    assert [record.levelname for record in caplog.records if "is not cut" in record.message] == ["ERROR"] * 2
    after = {chain.server: chain for chain in (await verify(store, [log.head, whole.head], key=KEY)).chains}
    (before,) = [chain.broken for chain in report if chain.server == log.head.server]
    assert before is not None
    assert (before.sequence, before.fault) == CHANGES[change]
    assert after[log.head.server].broken == before
    assert (after[whole.head.server].broken, after[whole.head.server].sealed_until) == (None, 3)
    assert await rows_after(store, whole.head.server, 0, until=3, limit=1) == []


async def broken_by(store: Store, log: AuditLog, change: str) -> None:
    """Change the first four entries of the chain as is possible with write access to the table."""
    rows = {row.sequence: row for row in await rows_after(store, log.head.server, 0, until=4, limit=9)}
    earlier = rows[3].at_us - 500 * DAY_US
    remade, _ = chained(ChainHead(server=log.head.server, sequence=3, hash=rows[3].hash), an_entry(77), rows[4].at_us)
    removed, put = {
        "first removed, age moved": ([1, 2, 3], [msgspec.structs.replace(rows[3], at_us=earlier)]),
        "age moved": ([3], [msgspec.structs.replace(rows[3], at_us=earlier)]),
        "text edited": ([2], [msgspec.structs.replace(rows[2], text=rows[2].text.replace("Anna", "Bert"))]),
        "last old one rewritten": ([4], [remade]),
        "removed": ([2], []),
        "stored twice": ([], [rows[3]]),
        "forged seal": (list[int](), list[ChainRow]()),
    }[change]
    if removed:
        await store.command(
            "ALTER TABLE audit DELETE WHERE server = {server:String} AND has({gone:Array(UInt64)}, sequence)"
            " SETTINGS mutations_sync = 2",
            {"server": log.head.server, "gone": removed},
        )
    if put:
        await insert_rows(store, put, "changed")


async def test_a_chain_that_is_old_as_a_whole_is_compared_with_its_head(empty_migrated: Store, tmp_path: Path) -> None:
    clock = Clock()
    busy = await opened(empty_migrated, tmp_path, clock)
    commands = await opened(empty_migrated, tmp_path, clock, chain=COMMANDS_CHAIN)
    for number in range(3):
        await commands.append(an_entry(number))
    clock.now_us += 2 * KEEP_DAYS * DAY_US
    await empty_migrated.command("ALTER TABLE audit DELETE WHERE sequence = 3 SETTINGS mutations_sync = 2")

    with pytest.raises(BrokenChain, match="newest removed"):
        await a_cut(empty_migrated, clock, busy, commands)

    broken = (await chain_of(empty_migrated, commands)).broken
    assert broken is not None
    assert broken.fault == "newest removed"


async def test_what_becomes_too_old_on_the_day_is_seen_to_the_microsecond(
    empty_migrated: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for portion in (2, 3, 4, 5, 1_000):
        monkeypatch.setattr(expiry, "PORTION", portion)
        clock = Clock()
        log = await opened(empty_migrated, tmp_path / str(portion), clock)
        for number in range(5):
            await log.append(an_entry(number))
        rows = await rows_after(empty_migrated, log.head.server, 0, until=9, limit=9)
        for at_us, last in ((rows[2].at_us, 2), (rows[2].at_us + 1, 3)):
            clock.now_us = at_us + KEEP_DAYS * DAY_US
            assert [end.sequence for end in await a_cut(empty_migrated, clock, log)] == [last], portion
            assert (await chain_of(empty_migrated, log)).broken is None
