"""Expiry: what is older than a site keeps it is removed, once a day, by one server at a time.

`retention_days` of a site counts, else `[privacy] retention_days`; 0 there keeps everything, and a profile may set a
limit to both. What was purged is in the
audit log, site by site. A purge that was broken off is completed by the next one (`site_tables.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec

from analytics_server.batch_ids import first_batch_id
from analytics_server.http.audit import AuditEntry, Recorder
from analytics_server.ingest.flush.letter_removal import remove_from_letters
from analytics_server.model import Site
from analytics_server.privacy.expiry.site_tables import ExpiryTables
from analytics_server.profiles.tables import profile_of
from analytics_server.store.lease import Lease, leased
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

ACTION = "expire"
LEASE = "expiry"
LEASE_S = 3_600.0


class SiteExpiry(msgspec.Struct, frozen=True, kw_only=True):
    """What goes of one site: rows by table, of UTC days earlier than `before`. Sessions over the cut are shortened."""

    site_id: str
    retention_days: int
    before: date
    rows: dict[str, int]


class Expiry:
    """`sites`: all there are. `default_days`: for those that say nothing; 0 keeps. `clock`: UTC. `around`: contexts in
    which a purge works, such as one that lets parts vanish."""

    def __init__(
        self,
        store: Store,
        sites: Callable[[], list[Site]],
        *,
        default_days: int,
        letters: Path,
        cluster: str,
        recorder: Recorder,
        holder: str,
        around: Iterable[Callable[[], AbstractAsyncContextManager[None]]] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._sites = sites
        self._default_days = default_days
        self._letters = letters
        self._cluster = cluster
        self._recorder = recorder
        self._holder = holder
        self._around = tuple(around)
        self._clock = clock

    async def plan(self) -> list[SiteExpiry]:
        """What would go now, of sites with anything to go. Raises a store error."""
        planned = []
        for site, days in self._limited():
            tables = self._tables(site, days)
            rows = await tables.rows()
            if rows or await tables.is_unfinished():
                planned.append(
                    SiteExpiry(site_id=site.site_id, retention_days=days, before=self._before(days), rows=rows)
                )
        return planned

    async def purge(self) -> list[SiteExpiry] | None:
        """Remove it; what went, or None when another server is at it. Raises a store error, `AuditUnavailable`."""
        lease = Lease(self._store, LEASE, holder=self._holder, ttl_s=LEASE_S)
        async with leased(lease) as taken:
            if not taken:
                return None
            done: list[SiteExpiry] = []
            for planned in await self.plan():
                if not await lease.take():  # renewed for each site
                    return done
                await self._purge_site(planned)
                done.append(planned)
            return done

    async def purge_daily(self) -> bool:
        """Purge and log what went; False when another server is at it. Raises what `purge` does."""
        done = await self.purge()
        for site in done or ():
            log.info("expired data removed", extra={"site": site.site_id, "rows": sum(site.rows.values())})
        return done is not None

    async def _purge_site(self, planned: SiteExpiry) -> None:
        tables = ExpiryTables(
            self._store, planned.site_id, planned.before, self._clock().timestamp(), cluster=self._cluster
        )
        async with AsyncExitStack() as stack:
            for around in self._around:
                await stack.enter_async_context(around())
            await tables.purge()
        is_expired = partial(_is_of_site, planned.site_id)
        until = first_batch_id(datetime.combine(planned.before, datetime.min.time(), UTC).timestamp())
        letters = await asyncio.to_thread(remove_from_letters, self._letters, is_expired, until)
        rows = {**planned.rows, **({"dead_letters": letters} if letters else {})}
        details = {"before": planned.before.isoformat(), "retention_days": str(planned.retention_days)}
        await self._recorder.append(
            AuditEntry(
                action=ACTION,
                principal_kind="internal",
                principal_name="expiry",
                site_id=planned.site_id,
                rows=sum(rows.values()),
                details={**details, **{table: str(count) for table, count in rows.items()}},
            )
        )

    def _limited(self) -> list[tuple[Site, int]]:
        found = [(site, kept_days(site, self._default_days)) for site in self._sites()]
        return [(site, days) for site, days in found if days]

    def _before(self, days: int) -> date:
        return self._clock().astimezone(UTC).date() - timedelta(days=days)

    def _tables(self, site: Site, days: int) -> ExpiryTables:
        now_s = self._clock().timestamp()
        return ExpiryTables(self._store, site.site_id, self._before(days), now_s, cluster=self._cluster)


def kept_days(site: Site, default_days: int) -> int:
    """Days for which the site's events are kept: its own setting or the default, in its profile's limit; 0: always."""
    days = site.retention_days or default_days
    most = profile_of(site.profile).most_retention_days
    return most if most and (not days or days > most) else days


def _is_of_site(site_id: str, of_row: str, user_id: str) -> bool:
    return of_row == site_id
