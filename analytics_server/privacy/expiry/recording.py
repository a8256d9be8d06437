"""Shared by expiry and the removal of sites: their entry in the audit log, the contexts in which they work, and who is
told how far they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from analytics_server.http.audit import AuditEntry, Recorder

REMOVAL_TURN = "removal"
"""The turn (`store/lease.py`) in which rows are taken out of rollups, or made again: by erasure, expiry, the removal of
a site, the backfill of an update and `doctor --repair`. The comparison after an insert in doubt
(`rollups/reconcile.py`) needs none: it adds by single INSERTs, and an erasure compares once more when one ran."""

Around = Callable[[], AbstractAsyncContextManager[None]]

OnPhase = Callable[[str], None]
"""Hears what is done next, in a few words."""


def unheard(phase: str) -> None:
    """An `OnPhase` that does nothing."""


async def record_removal(
    recorder: Recorder, action: str, site_id: str, rows: Mapping[str, int], details: Mapping[str, str]
) -> None:
    """The entry of what went of a site: `rows` by table, beside other details. Raises `AuditUnavailable`."""
    await recorder.append(
        AuditEntry(
            action=action,
            principal_kind="internal",
            principal_name="expiry",
            site_id=site_id,
            rows=sum(rows.values()),
            details={**details, **{table: str(count) for table, count in rows.items()}},
        )
    )


@asynccontextmanager
async def within(around: Iterable[Around]) -> AsyncIterator[None]:
    """All of the contexts, such as one that lets data parts vanish."""
    async with AsyncExitStack() as stack:
        for each in around:
            await stack.enter_async_context(each())
        yield
