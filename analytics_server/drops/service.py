"""Counts of dropped and rejected events: kept in memory for a minute, then flushed to ClickHouse; read from both.

Constraint: a count is read exactly once, although a batch may be on its way from memory to the table meanwhile. A
batch whose insert failed in whatever way is sent again under the same token, which ClickHouse recognises. A process
that is killed loses the counts of the last minute: these are no events, and their loss is documented.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from msgspec import UNSET, UnsetType

from analytics_server.collect.drops import DropReason
from analytics_server.config import Config
from analytics_server.drops.answer import DropsAnswer, DropsMeta, DropsRequest, make_answer
from analytics_server.drops.table import KEPT, DropSelection, DropTotals, read_totals, write_rows
from analytics_server.drops.unwritten import DropRow, UnwrittenDrops
from analytics_server.errors import StoreError, StoreRetryable
from analytics_server.model import Site
from analytics_server.profiles.tables import profile_of
from analytics_server.query.context import zone_of, zone_warnings
from analytics_server.query.language.time_range import resolve_range
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

WRITE_INTERVAL_S = 60.0
CLOSE_TIMEOUT_S = 5.0
MOST_TRIES = 10


class _Batch(NamedTuple):
    rows: list[DropRow]
    token: str


class DropService:
    """The counts of one server. `clock` gives the time, UTC."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Callable[[], datetime],
        site_of: Callable[[str], Site | None] = lambda site_id: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._site_of = site_of
        self._timeout_s = config.limits.query_timeout_s
        self._default_zone = config.sites.default_timezone
        self._unwritten = UnwrittenDrops()
        self._batch: _Batch | None = None
        self._writing = asyncio.Lock()
        self._written = 0
        self.add = self._unwritten.add
        """Counts events."""

    # ---- writing -------------------------------------------------------

    async def run(self) -> None:
        """Write once a minute, until cancelled."""
        failing = False
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            try:
                await self.write()
                failing = False
            except StoreError as error:
                if not failing:
                    log.warning("counts of drops not written, trying again", extra={"reason": error.message[:200]})
                failing = True

    async def write(self) -> None:
        """Write what is in memory. Raises a store error; what could not be written is kept."""
        async with self._writing:
            if self._batch is not None:
                await self._write(self._batch)
            if left_out := self._unwritten.left_out:
                log.warning("counts of drops did not fit in memory", extra={"events": left_out})
            if rows := self._unwritten.take():
                self._batch = _Batch(rows, uuid4().hex)
                await self._write(self._batch)

    async def close(self) -> None:
        """Write the last counts, within a few seconds."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.write()
        except (StoreError, TimeoutError) as error:
            log.warning("the last counts of drops are lost", extra={"reason": str(error)[:200]})

    async def _write(self, batch: _Batch) -> None:
        await write_rows(self._store, batch.rows, batch.token)
        self._batch = None
        self._written += 1

    # ---- reading -------------------------------------------------------

    async def of_site(self, request: DropsRequest, site: Site | None) -> DropsAnswer:
        """About one name; `site`: the site of that name, if there is one. Raises a store error or `RequestError`."""
        name = request.site_id if site is None else site.site_id
        return await self._answer(request, (name,), site, site_exists=site is not None)

    async def of_sites(self, request: DropsRequest, sites: tuple[str, ...] | None) -> DropsAnswer:
        """About several sites; None: all names that beacons used, also those of no site. Raises as `of_site` does."""
        return await self._answer(request, sites, None, site_exists=UNSET)

    async def _answer(
        self, request: DropsRequest, names: tuple[str, ...] | None, site: Site | None, *, site_exists: bool | UnsetType
    ) -> DropsAnswer:
        now = self._clock()
        place = site or Site(site_id="", timezone=self._default_zone)
        zone = zone_of(place)
        range_ = resolve_range(request.date_range, now=now, zone=zone, earliest=now - KEPT)
        selection = DropSelection(range_, names, now)
        totals = await self._read(selection)
        for key in [key for key in totals.examples if self._is_hidden(*key)]:
            del totals.examples[key]

        def meta(shown: tuple[str, str]) -> DropsMeta:
            return DropsMeta(
                time_zone=zone.key, date_range=shown, kept_days=KEPT // timedelta(days=1), warnings=zone_warnings(place)
            )

        return make_answer(totals, selection, meta, site_exists)

    def _is_hidden(self, site_id: str, reason: str) -> bool:
        """Would the example of that reason say what the site's profile forbids?"""
        site = self._site_of(site_id) if reason == DropReason.SPAM_REFERRER else None
        return site is not None and "referrer" in profile_of(site.profile).hidden_columns

    async def _read(self, selection: DropSelection) -> DropTotals:
        """The table's rows and those in memory. Read again where a batch was written meanwhile."""
        for _ in range(MOST_TRIES):
            if self._batch is not None or self._writing.locked():
                await self.write()
            written = self._written
            totals = await read_totals(self._store, selection, timeout_s=self._timeout_s)
            if written == self._written and self._batch is None:
                for row in self._unwritten.rows():
                    if selection.holds(row):
                        totals.add_row(row)
                return totals
        raise StoreRetryable("The counts of drops are being written again and again: ask later.")
