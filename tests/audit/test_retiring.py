"""The chain of a server that is gone for good is removed on an operator's command, and only then."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from analytics_server.audit import retiring
from analytics_server.audit.chain import COMMANDS_CHAIN, ChainHead
from analytics_server.audit.expiry import BrokenChain
from analytics_server.audit.log import AuditLog
from analytics_server.audit.retiring import CannotRetire, Retired, retire
from analytics_server.audit.seals import SealKey
from analytics_server.audit.table import rows_after
from analytics_server.audit.verify import verify
from analytics_server.errors import StoreRetryable
from analytics_server.store import Store
from tests.audit.conftest import DAY_US, Clock, an_entry, opened
from tests.audit.test_expiry import KEEP_DAYS, KEY, a_cut, a_year, now

ENTRIES = 5
OTHER_KEY = SealKey(key="cd" * 32)


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gone(empty_migrated: Store, tmp_path: Path, clock: Clock) -> AuditLog:
    """The chain of a server in another data directory, which wrote its last entry as long ago as entries are kept."""
    log = await a_year(empty_migrated, tmp_path / "gone", clock, days=ENTRIES)
    clock.now_us += KEEP_DAYS * DAY_US
    return log


@pytest.fixture
async def ours(empty_migrated: Store, tmp_path: Path, clock: Clock, gone: AuditLog) -> AuditLog:
    return await opened(empty_migrated, tmp_path / "ours", clock, chain=COMMANDS_CHAIN)


async def retired(
    store: Store,
    ours: AuditLog,
    chain: str,
    clock: Clock,
    *,
    keep_days: int = KEEP_DAYS,
    accept_broken: bool = False,
) -> Retired:
    return await retire(
        store,
        ours,
        chain,
        now=now(clock),
        keep_days=keep_days,
        key=KEY,
        own={ours.head.server},
        server=ours.head.server,
        entry=lambda done: msgspec.structs.replace(an_entry(), resource=done.end.server),
        accept_broken=accept_broken,
    )


async def test_a_gone_server_s_chain_is_removed_whole_and_sealed(
    empty_migrated: Store, gone: AuditLog, ours: AuditLog, clock: Clock
) -> None:
    chain = gone.head.server

    assert await retired(empty_migrated, ours, chain, clock) == Retired(end=gone.head)

    assert await rows_after(empty_migrated, chain, 0, until=2**60, limit=100) == []
    seal, told = await rows_after(empty_migrated, ours.head.server, 0, until=2**60, limit=100)
    assert (seal.action, f"{ENTRIES}:{gone.head.hash}" in seal.text) == ("audit_cut", True)
    assert (told.action, chain in told.text) == ("query_site", True)
    report = await verify(empty_migrated, [ours.head, gone.head], key=KEY)
    found = {one.server: (one.broken, one.sealed_until, one.is_seal_proven) for one in report.chains}
    assert found == {ours.head.server: (None, 0, False), chain: (None, ENTRIES, True)}
    await a_cut(empty_migrated, clock, ours)
    assert (await verify(empty_migrated, [ours.head], key=KEY)).ok


async def test_a_server_that_comes_back_finds_a_seal_that_is_not_its_own(
    empty_migrated: Store, gone: AuditLog, ours: AuditLog, clock: Clock
) -> None:
    await retired(empty_migrated, ours, gone.head.server, clock)

    report = await verify(empty_migrated, [gone.head], key=OTHER_KEY)

    faults = {one.server: one.broken and one.broken.fault for one in report.chains}
    assert faults == {ours.head.server: "forged seal", gone.head.server: "newest removed"}


async def test_a_chain_with_a_young_entry_stays(
    empty_migrated: Store, gone: AuditLog, ours: AuditLog, clock: Clock
) -> None:
    with pytest.raises(CannotRetire, match="may be alive"):
        await retired(empty_migrated, ours, gone.head.server, clock, keep_days=KEEP_DAYS + 2)
    with pytest.raises(CannotRetire, match="keeps all entries"):
        await retired(empty_migrated, ours, gone.head.server, clock, keep_days=0)
    with pytest.raises(CannotRetire, match="There is no chain"):
        await retired(empty_migrated, ours, "nobody", clock)
    with pytest.raises(CannotRetire, match="of this data directory"):
        await retired(empty_migrated, ours, ours.head.server, clock)
    assert len(await rows_after(empty_migrated, gone.head.server, 0, until=2**60, limit=100)) == ENTRIES


async def test_a_broken_chain_goes_only_if_that_is_accepted(
    empty_migrated: Store, gone: AuditLog, ours: AuditLog, clock: Clock
) -> None:
    chain = gone.head.server
    await empty_migrated.command(
        f"ALTER TABLE audit DELETE WHERE server = '{chain}' AND sequence = 2 SETTINGS mutations_sync = 2"
    )

    with pytest.raises(BrokenChain, match="broken at entry 2: removed"):
        await retired(empty_migrated, ours, chain, clock)
    done = await retired(empty_migrated, ours, chain, clock, accept_broken=True)

    assert (done.end, done.broken and done.broken.sequence) == (gone.head, 2)
    assert await rows_after(empty_migrated, chain, 0, until=2**60, limit=100) == []
    assert (await verify(empty_migrated, [ours.head], key=KEY)).ok


async def test_what_a_kill_left_is_removed_by_the_next_call(
    empty_migrated: Store, gone: AuditLog, ours: AuditLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(store: Store, end: ChainHead) -> None:
        raise StoreRetryable("away")

    with monkeypatch.context() as patch:
        patch.setattr(retiring, "delete_until", refused)
        with pytest.raises(StoreRetryable):
            await retired(empty_migrated, ours, gone.head.server, clock)

    await retired(empty_migrated, ours, gone.head.server, clock)

    rows = await rows_after(empty_migrated, ours.head.server, 0, until=2**60, limit=100)
    assert [row.action for row in rows] == ["audit_cut", "query_site", "query_site"], "told before, and again"
    assert await rows_after(empty_migrated, gone.head.server, 0, until=2**60, limit=100) == []
