"""The sites: what events belong to, kept in ClickHouse and in memory.

Look-ups are in memory and never wait: they are on the way of every beacon. A site
that is created by its first event is known at once here and written in the
background; other servers learn of it with the next refresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from analytics_server.config import SitesSection
from analytics_server.errors import RequestError, StoreError
from analytics_server.model import Site
from analytics_server.store.protocol import Store

log = logging.getLogger(__name__)

SITE_ID = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,127}")
REFRESH_S = 10.0
RETRY_S = 2.0


def valid_site_id(text: str) -> str:
    """The site's id in its one spelling (lower case), or "" when it can't be one."""
    site_id = text.strip().lower()
    return site_id if SITE_ID.fullmatch(site_id) else ""


class Sites:
    """The directory of sites."""

    def __init__(self, store: Store, settings: SitesSection, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._sites: dict[str, Site] = {}
        self._unwritten: dict[str, Site] = {}
        self._changes = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read all sites. Raises a store error."""
        changes = self._changes
        found = await self._read()
        if changes == self._changes:  # else the answer may be older than what was changed here meanwhile
            self._sites = found | self._unwritten

    async def _read(self) -> dict[str, Site]:
        answer = await self._store.query("SELECT document FROM sites FINAL WHERE deleted = 0")
        found = [msgspec.json.decode(str(row[0]), type=Site) for row in answer.rows]
        return {site.site_id: site for site in found}

    def start(self) -> None:
        """Begin to write new sites and to refresh in the background."""
        self._task = asyncio.create_task(self._work(), name="sites")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._write_new()
        except StoreError as error:
            log.warning("new sites not written", extra={"reason": error.message[:200]})

    def get(self, site_id: str) -> Site | None:
        return self._sites.get(site_id)

    def all(self) -> list[Site]:
        return sorted(self._sites.values(), key=lambda site: site.site_id)

    def get_or_create(self, site_id: str) -> Site | None:
        """The site of a beacon; an unknown one is made if the config allows, else None."""
        site = self._sites.get(site_id)
        if site is None and self._settings.create_unknown and len(self._sites) < self._settings.max_sites:
            site = self._new(site_id, self._settings.default_timezone)
            self._sites[site_id] = self._unwritten[site_id] = site
            self._wake.set()
        return site

    async def put(self, site: Site) -> Site:
        """Create or replace a site. Raises `RequestError` for a bad id or time zone."""
        if not site.site_id or valid_site_id(site.site_id) != site.site_id:
            raise RequestError(f"{site.site_id!r} can't be a site's id: use a host name such as example.com.")
        check_timezone(site.timezone)
        await self._write([site], deleted=0)
        self._changes += 1
        self._sites[site.site_id] = site
        self._unwritten.pop(site.site_id, None)
        return site

    async def create(self, site_id: str, timezone: str = "") -> Site:
        return await self.put(self._new(site_id, timezone or self._settings.default_timezone))

    def _new(self, site_id: str, timezone: str) -> Site:
        return Site(site_id=site_id, timezone=timezone, created_at_ms=int(self._clock() * 1000))

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), REFRESH_S)
            self._wake.clear()
            try:
                await self._write_new()
                await self.load()
                continue
            except StoreError as error:
                log.debug("sites not refreshed", extra={"reason": error.message[:200]})
            except Exception:
                log.exception("sites not refreshed")
            await asyncio.sleep(RETRY_S)
            if self._unwritten:
                self._wake.set()

    async def _write_new(self) -> None:
        """Write the sites that a first event made here, unless another server or the command line was faster."""
        new = dict(self._unwritten)
        if new:
            known = await self._read()
            if unknown := [site for site_id, site in new.items() if site_id not in known]:
                await self._write(unknown, deleted=0)
            for site_id in new:
                self._unwritten.pop(site_id, None)
                self._sites[site_id] = known.get(site_id, self._sites[site_id])

    async def _write(self, sites: list[Site], *, deleted: int) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC)
        await self._store.insert(
            "sites",
            ("site_id", "document", "deleted", "updated_at"),
            [
                [site.site_id for site in sites],
                [msgspec.json.encode(site).decode() for site in sites],
                [deleted] * len(sites),
                [now] * len(sites),
            ],
        )


def check_timezone(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises `RequestError`."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise RequestError(
            f"{name!r} is no time zone: use an IANA name such as Europe/Stockholm.", code="bad_timezone"
        ) from error
