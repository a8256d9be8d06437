"""Sites, the tenants that events belong to: kept in ClickHouse and in memory.

Look-ups are in memory and never wait: every beacon needs them. A site that is created by its first event
is known at once here and written in the background. Of several servers each looks every `LOOK_S` whether another one
has changed a site: a profile is in effect on all of them within a second.

A deleted site stays deleted: its row remains and says so, and its beacons are those of an unknown site even where first
events create sites, because the tags of a site outlive it. Only `create` and `put` bring it back, with the profile that
it had. Its stored events are not touched, unless its deletion asks for that: then its row says so (`removal`).

Where it isn't known which profile a site has, because its document can't be read or is lost, the strictest holds.

A site's id is spelt as a host is (`stored_site_id`). Sites that older versions made in another spelling, such as
Punycode, keep their id and their data, and are found by every spelling of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import UNSET

from analytics_server.access.sites.sharing import with_all_links_ended, with_links_ended
from analytics_server.config import SitesSection
from analytics_server.errors import ConfigError, Conflict, RequestError, StoreError, StoreFatal
from analytics_server.model import Site, stored_site_id
from analytics_server.profiles.tables import UNKNOWN
from analytics_server.spelling.host_names import encoded_host, is_label
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import UnreadableDocuments
from analytics_server.zones import UTC_NAME, base_zone, check_timezone, find_zone

log = logging.getLogger(__name__)

SITE_ID = re.compile(r"[a-z0-9](?:[a-z0-9_:-]|\.(?!\.)){0,127}")
"""A host name, with a port if need be, or a plain name: nothing that means a path in an address or in a file system. Of
those in ASCII: an international name is judged label by label."""
SITE_CHARS = 128
MOST_SENT_CHARS = 2 * SITE_CHARS  # Punycode is longer than the letters that it stands for
_DIVIDER = re.compile(r"[.:]")
SITES = DocumentTable(name="sites", key_columns=("site_id",), keys_return=True)
REFRESH_S = 10.0
LOOK_S = 0.5
RETRY_S = 2.0


def valid_site_id(text: str) -> str:
    """The site's id in its one spelling (`stored_site_id`), or "" when it can't be one."""
    text = text.strip(" \t\r\n")
    if text != text.strip() or len(text) > MOST_SENT_CHARS:
        return ""
    site_id = stored_site_id(text)
    is_short = len(site_id) <= SITE_CHARS
    fits = SITE_ID.fullmatch(site_id) if site_id.isascii() else is_short and _is_international(site_id)
    return site_id if fits else ""


@lru_cache(2_048)
def _is_international(site_id: str) -> bool:
    """May a name that is not in ASCII be a site's id? Remembered: a tag may name it in another spelling each time."""
    fits = site_id[0] not in "-_" and all(map(is_label, _DIVIDER.split(site_id)))
    return fits and stored_site_id(site_id) == site_id


class Sites:
    """The directory of sites."""

    def __init__(
        self,
        store: Store,
        settings: SitesSection,
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._store = store
        self._documents = Documents(
            store,
            SITES,
            decode=self._decode,
            encode=lambda site: msgspec.json.encode(msgspec.structs.replace(site, stored_timezone=UNSET)).decode(),
            label=lambda key: ("site", key[0]),
            clock=clock,
            unreadable=unreadable,
        )
        self._settings = settings
        self._clock = clock
        self._sites: dict[str, Site] = {}
        """What is stored and what is not yet, by id: one look-up per beacon."""
        self._unwritten: dict[str, Site] = {}
        self._provisional: dict[str, Site] = {}
        self._other_spellings: dict[str, str] = {}
        """Ids that older versions have stored, by their one spelling."""
        self._takes_all = False
        self._engine_zones: frozenset[str] | None = None
        self._named: frozenset[tuple[str, str]] = frozenset()
        self._seen = tuple[object, ...]()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def load(self) -> None:
        """Read all sites. Raises a store error, or `ConfigError` if ClickHouse lacks the default time zone."""
        await self._ask_zones()
        await self._read()

    async def _read(self) -> None:
        """The stored sites, and those made here beside them.

        A site whose document can't be read keeps what is known of it here, or has the defaults with the strictest
        profile: its events go on to be taken, and nothing is written over what a newer version may have stored.
        """
        await self._documents.load()
        stored = {site_id: site for (site_id,), site in self._documents.items()}
        for (site_id,) in self._documents.unreadable:
            made_here = self._unwritten.pop(site_id, None) is not None
            known = None if made_here else self._sites.get(site_id)
            stored[site_id] = known or Site(site_id=site_id, profile=UNKNOWN)
        self._sites = self._provisional | stored | self._unwritten
        self._other_spellings = {
            spelling: site_id for site_id in stored if (spelling := stored_site_id(site_id)) not in self._sites
        }
        self._warn(stored.values())

    def _decode(self, key: Key, text: str) -> Site:
        return self._usable(msgspec.json.decode(text, type=Site))

    def _is_deleted(self, site_id: str) -> bool:
        deleted = self._documents.deleted
        if (site_id,) in deleted or (f"{site_id}.",) in deleted:
            return True
        return not site_id.isascii() and (encoded_host(site_id),) in deleted

    def _usable(self, site: Site) -> Site:
        """The site with a time zone that every question can be answered in."""
        if self._is_known(site.timezone):
            return site
        stand_in = base_zone(site.timezone).key
        return msgspec.structs.replace(
            site,
            timezone=stand_in if self._is_known(stand_in) else UTC_NAME,
            stored_timezone=site.timezone,
        )

    def _is_known(self, zone: str) -> bool:
        return find_zone(zone) is not None and (not self._engine_zones or zone in self._engine_zones)

    def _warn(self, sites: Iterable[Site]) -> None:
        """Once for each site whose stored time zone can't be used."""
        named = frozenset((site.site_id, str(site.stored_timezone)) for site in sites if site.stored_timezone)
        for site_id, zone in sorted(named - self._named):
            log.warning(
                "a site's time zone can't be used, another stands in for it: set an IANA name",
                extra={"site": site_id, "timezone": zone[:64]},
            )
        self._named = named

    async def _ask_zones(self) -> None:
        """Which zones this ClickHouse knows, asked once."""
        if self._engine_zones is not None:
            return
        try:
            answer = await self._store.query("SELECT time_zone FROM system.time_zones")
        except StoreFatal as error:  # without the right to read it, Python's list has to do
            log.warning("ClickHouse's time zones can't be listed", extra={"reason": error.message[:200]})
            self._engine_zones = frozenset()
            return
        zones = frozenset(str(name) for (name,) in answer.rows)
        default = self._settings.default_timezone
        if zones and default not in zones:
            raise ConfigError(f"[sites] default_timezone: this ClickHouse knows no time zone {default!r}.")
        self._engine_zones = zones

    def start(self) -> None:
        """Begin to write new sites and to refresh in the background."""
        self._task = asyncio.create_task(self._work(), name="sites")

    async def close(self) -> None:
        """End the background work and write the sites that first events made."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        try:
            await self._write_new()
        except StoreError as error:
            log.warning("new sites not written", extra={"reason": error.message[:200]})

    def get(self, site_id: str) -> Site | None:
        """The site of that id in its one spelling, from memory; an older site's own spelling does as well."""
        site = self._sites.get(site_id)
        if site is None and self._other_spellings:
            return self._sites.get(self._other_spellings.get(site_id, ""))
        return site

    def stored_id(self, site_id: str) -> str | None:
        """The id under which a site is stored, or None."""
        site = self.get(site_id)
        return None if site is None else site.site_id

    def all(self) -> list[Site]:
        """All sites, by id."""
        return sorted(self._sites.values(), key=lambda site: site.site_id)

    def may_create(self, site_id: str) -> bool:
        """Would `get_or_create` make this site?"""
        wanted = self._settings.create_unknown and self.get(site_id) is None and not self._is_deleted(site_id)
        return wanted and len(self._sites) < self._settings.max_sites

    def get_or_create(self, site_id: str) -> Site | None:
        """The site of a beacon; an unknown one is made if the config allows, else None."""
        site = self.get(site_id)
        if site is None and self._takes_all:
            return self._take(site_id)
        if site is None and self.may_create(site_id):
            site = self._new(site_id, self._settings.default_timezone)
            self._sites[site_id] = self._unwritten[site_id] = site
            self._wake.set()
        return site

    def take_all(self) -> None:
        """From now on any site's beacons are taken, because sites that exist were lost from the table.

        A site made for them stays in memory: a stored one would be newer than, and so win over, the lost one when
        that is restored. It has the strictest profile, as the lost site's is not known.
        """
        self._takes_all = True

    def _take(self, site_id: str) -> Site | None:
        if self._is_deleted(site_id) or len(self._sites) >= self._settings.max_sites:
            return None
        self._provisional[site_id] = self._new(site_id, self._settings.default_timezone, profile=UNKNOWN)
        return self._sites.setdefault(site_id, self._provisional[site_id])

    async def put(self, site: Site) -> Site:
        """Create or replace a site. Raises `RequestError` for a bad id or time zone."""
        site = await self._checked(site)
        async with self._documents.changing:
            await self._put(site)
        return site

    async def change(self, site_id: str, change: Callable[[Site], Site]) -> tuple[Site, Site] | None:
        """Change a site as it is stored now; the site before and after, None when there is none.

        Reading and writing are one step here, so that changes at the same time keep each other. Raises as `put` does.
        """
        async with self._documents.changing:
            await self.load()  # what is not changed stays as another server has left it
            before = self.get(site_id)
            if before is None:
                return None
            now = await self._checked(await with_links_ended(self._store, before, change(before), self._clock))
            await self._put(now)
        return before, now

    async def _checked(self, site: Site) -> Site:
        """The site as it may be stored. Raises `RequestError`."""
        known = site.site_id in self._sites or self._is_deleted(site.site_id)  # an older program allowed more
        if not known and (not site.site_id or valid_site_id(site.site_id) != site.site_id):
            raise RequestError(
                f"{site.site_id!r} can't be a site's id: use a host name such as example.com.", code="bad_site"
            )
        check_timezone(site.timezone)
        await self._ask_zones()
        if not self._is_known(site.timezone):
            raise RequestError(
                f"This ClickHouse knows no time zone {site.timezone!r}: use another name of the same zone.",
                code="bad_timezone",
            )
        return msgspec.structs.replace(site, stored_timezone=UNSET)

    async def _put(self, site: Site) -> None:
        await self._documents.put((site.site_id,), site)
        self._sites[site.site_id] = site
        self._provisional.pop(site.site_id, None)
        self._unwritten.pop(site.site_id, None)

    async def delete(self, site_id: str, *, erase: bool = False) -> bool:
        """Forget a site until it is `put` again; False when there is none. Raises a store error.

        `erase`: what is stored of it is to be removed; also of a site that was deleted before.
        """
        async with self._documents.changing:
            site = self.get(site_id)
            if site is None:
                return erase and await self._mark(site_id, "asked")
            last = msgspec.structs.replace(site, removal="asked") if erase else None
            await self._documents.delete((site.site_id,), site, last=last)
            for known in (self._sites, self._unwritten, self._provisional):
                known.pop(site.site_id, None)
            return True

    def all_stored(self) -> list[Site]:
        """All sites, and those that were deleted without their data, as they were last."""
        keys = self._documents.deleted
        former = (self._documents.deleted_value(key) or Site(site_id=key[0], profile=UNKNOWN) for key in keys)
        return [*self.all(), *(site for site in former if not site.removal)]

    def removals(self) -> dict[str, bool]:
        """The deleted sites whose data is to go, by id; False where it has gone."""
        former = ((key[0], self._documents.deleted_value(key)) for key in sorted(self._documents.deleted))
        return {site_id: site.removal == "asked" for site_id, site in former if site is not None and site.removal}

    async def data_removed(self, site_id: str) -> None:
        """What was stored of a deleted site is removed. Raises a store error."""
        async with self._documents.changing:
            await self._documents.load()
            if self.removals().get(site_id):
                await self._mark(site_id, "done")

    async def _mark(self, site_id: str, removal: Literal["asked", "done"]) -> bool:
        keys = [key for key in ((site_id,), (encoded_host(site_id),)) if key in self._documents.deleted]
        for key in keys[:1]:
            former = self._documents.deleted_value(key) or Site(site_id=key[0], profile=UNKNOWN)
            await self._documents.delete(key, last=msgspec.structs.replace(former, removal=removal))
        return bool(keys)

    async def create(self, site_id: str, timezone: str = "", *, change: Callable[[Site], Site] | None = None) -> Site:
        """Create a site; `timezone` is the configured default if left out. Raises as `put` does, and `Conflict`.

        `change` gives it its other settings. One that was deleted comes back by the id that its events have, and with
        its profile unless `change` sets another, as its stored events were taken under that.
        """
        async with self._documents.changing:
            deleted = self._documents.deleted
            if (site_id,) not in deleted and not site_id.isascii() and (encoded_host(site_id),) in deleted:
                site_id = encoded_host(site_id)
            site = self._new(site_id, timezone or self._settings.default_timezone, self._first_profile(site_id))
            if self._is_deleted(site_id):
                site = await with_all_links_ended(self._store, site, self._clock)
            site = await self._checked(site if change is None else change(site))
            if self.get(site_id) is not None:
                raise Conflict(f"The site {site_id!r} exists already: change it with PUT.", code="site_exists")
            if self.removals().get(site_id):
                raise Conflict(
                    f"What is stored of the site {site_id!r} is being removed: create it when that is done.",
                    code="site_being_erased",
                )
            await self._put(site)
        return site

    def _first_profile(self, site_id: str) -> str:
        """That which the site had before it was deleted, else the configured one."""
        if (site_id,) not in self._documents.deleted:
            return self._settings.default_profile
        if (former := self._documents.deleted_value((site_id,))) is None:
            return UNKNOWN
        return self._settings.default_profile if former.removal == "done" else former.profile

    def _new(self, site_id: str, timezone: str, profile: str = "") -> Site:
        profile = profile or self._settings.default_profile
        return Site(site_id=site_id, timezone=timezone, profile=profile, created_at_ms=int(self._clock() * 1000))

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S if self._store.capabilities.owns_files else LOOK_S):
                    await self._wake.wait()
            try:
                state = await self._documents.state()
                if self._wake.is_set() or state != self._seen or self._documents.is_older(REFRESH_S):
                    self._wake.clear()
                    await self._write_new()
                    await self.load()
                    self._seen = state
                continue
            except StoreError as error:
                log.debug("sites not refreshed", extra={"reason": error.message[:200]})
            except Exception:
                log.exception("sites not refreshed")
            await asyncio.sleep(RETRY_S)
            self._wake.set()

    async def _write_new(self) -> None:
        """Write the sites that a first event made here, unless another server or the command line was faster."""
        async with self._documents.changing:
            if not (new := dict(self._unwritten)):
                return
            await self._documents.load()
            unknown: dict[Key, Site] = {(site_id,): site for site_id, site in new.items() if self._is_unknown(site_id)}
            if unknown:
                await self._documents.put_all(unknown)
            for site_id in new:
                self._unwritten.pop(site_id, None)
                if stored := self._documents.get((site_id,)):
                    self._sites[site_id] = stored
                elif self._is_deleted(site_id):
                    self._sites.pop(site_id, None)
                elif (site_id,) in self._documents.unreadable:
                    self._sites[site_id] = Site(site_id=site_id, profile=UNKNOWN)

    def _is_unknown(self, site_id: str) -> bool:
        key, documents = (site_id,), self._documents
        return documents.get(key) is None and key not in documents.deleted and key not in documents.unreadable
