"""Last uses of credentials: written once a step, read of all servers, kept while ClickHouse is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from analytics_server.access.uses import DAY_S, CredentialUses
from analytics_server.errors import StoreRetryable
from analytics_server.store import Store

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
TODAY = datetime(2026, 11, 29, tzinfo=UTC)


async def rows(store: Store) -> int:
    answer = await store.query("SELECT count() FROM credential_uses")
    return int(str(answer.rows[0][0]))


async def test_a_day_of_uses_is_one_row(migrated: Store) -> None:
    now = NOON.timestamp()
    uses = CredentialUses(migrated, clock=lambda: now)
    for _ in range(100):
        uses.note("one")
    assert await uses.read() == {"one": TODAY}  # also before it is written
    await uses.write()
    uses.note("one")
    await uses.write()
    assert await rows(migrated) == 1
    now += DAY_S
    uses.note("one")
    await uses.close()

    assert await CredentialUses(migrated).read() == {"one": TODAY + timedelta(days=1)}


async def test_the_latest_use_of_all_servers_counts(migrated: Store) -> None:
    early = CredentialUses(migrated, clock=lambda: NOON.timestamp() - DAY_S)
    late = CredentialUses(migrated, clock=lambda: NOON.timestamp())
    for uses in (late, early):
        uses.note("one")
        await uses.write()

    assert await early.read() == {"one": TODAY}


async def test_what_could_not_be_written_is_written_later(migrated: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    uses = CredentialUses(migrated, clock=lambda: NOON.timestamp())
    uses.note("one")

    async def away(*_: object, **__: object) -> None:
        raise StoreRetryable("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(migrated, "insert", away)
        with pytest.raises(StoreRetryable):
            await uses.write()
        await uses.close()
    await uses.write()

    assert await CredentialUses(migrated).read() == {"one": TODAY}
