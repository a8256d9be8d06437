"""Sites over HTTP: `/api/v1/sites`. A viewer sees them, an admin changes their settings, an owner makes and deletes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import (
    CHANGE_SITE,
    LIST_SITES,
    MANAGE_LINKS,
    MANAGE_SITES,
    VIEW_SITE,
    excess,
    refusal,
)
from analytics_server.access.principals import Principal
from analytics_server.access.sites.profile_routes import ChangedSite, changed_site
from analytics_server.access.sites.site_settings import BAD_SETTINGS, SiteId, SiteSettings
from analytics_server.access.sites.sites import Sites, valid_site_id
from analytics_server.access.stored_link import link_grant
from analytics_server.errors import Forbidden, NotFound, RequestError
from analytics_server.http.authorization import Caller, Resource
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom, not_narrowed
from analytics_server.http.parameters import known_values
from analytics_server.model import DropCount, Site, stored_site_id

_BAD_SETTINGS = ("bad_site", "bad_timezone", *BAD_SETTINGS)


class SiteRequest(SiteSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new site. What is left out has its default."""

    site_id: SiteId


class SiteChange(SiteSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to change; what is left out stays. `site_id` can't change; it may be sent along."""

    site_id: SiteId | None = None


class SitesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The sites that the token covers, by id.

    `drops`: what was not kept because no site has the name it was sent to, the latest first; `removing`: deleted sites
    whose data is being removed; both for tokens of all sites without a threshold, as they tell of single visitors.
    """

    sites: list[Site]
    drops: list[DropCount] = []
    removing: list[str] = []


_SITE = Parameter(
    name="site_id", about="The site; a slash in it is written %2F.", type=SiteId, required=True, example="example.com"
)
_DATA = Annotated[str, Meta(extra_json_schema={"enum": ["keep", "erase", ""]})]
_NO_SITE = {404: ("unknown_site",)}


class SiteRoutes:
    """Handlers for `/api/v1/sites`."""

    def __init__(self, sites: Sites, drops_of_unknown_sites: Callable[[], list[DropCount]] = list) -> None:
        self._sites = sites
        self._drops_of_unknown_sites = drops_of_unknown_sites

    def endpoints(self) -> list[Endpoint]:
        """The declarations."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/sites",
                name="list_sites",
                summary="The sites the token covers",
                tag="access",
                action=LIST_SITES,
                handle=self.list_sites,
                narrow=not_narrowed,
                keeps_threshold=True,
                replies=(Reply(about="By id.", type=SitesAnswer),),
            ),
            Endpoint(
                method="POST",
                path="/api/v1/sites",
                name="create_site",
                summary="Create a site",
                tag="access",
                about="Needs an owner. A site that was deleted comes back this way, with its data.",
                action=MANAGE_SITES,
                handle=self.create_site,
                body=Body(
                    types=(SiteRequest,),
                    examples={
                        "site": {
                            "site_id": "shop.example.com",
                            "timezone": "Europe/Stockholm",
                            "allowed_hosts": ["shop.example.com"],
                        }
                    },
                ),
                replies=(Reply(status=201, about="Created.", type=Site),),
                errors={400: _BAD_SETTINGS, 409: ("site_exists", "site_being_erased")},
                asks_store=True,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/sites/{site_id}",
                name="get_site",
                summary="One site",
                tag="access",
                action=VIEW_SITE,
                site=SiteFrom.PATH,
                handle=self.show_site,
                narrow=not_narrowed,
                keeps_threshold=True,
                parameters=(_SITE,),
                replies=(Reply(about="The site.", type=Site),),
                errors=_NO_SITE,
                asks_store=True,
            ),
            Endpoint(
                method="PUT",
                path="/api/v1/sites/{site_id}",
                name="change_site",
                summary="Change a site",
                tag="access",
                about="What is left out stays. A new time zone shifts the days of everything already stored; a new "
                "profile hides at once what it forbids, also of what is stored. Making a site public needs the "
                "right to give share links to it that never end.",
                action=CHANGE_SITE,
                site=SiteFrom.PATH,
                handle=self.change_site,
                parameters=(_SITE,),
                body=Body(types=(SiteChange,), examples={"zone": {"timezone": "Asia/Tokyo"}}),
                replies=(Reply(about="The site as it is now.", type=ChangedSite),),
                errors={400: _BAD_SETTINGS, **_NO_SITE},
                asks_store=True,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/sites/{site_id}",
                name="delete_site",
                summary="Delete a site",
                tag="access",
                about="Needs an owner. Its beacons are refused from then on and its data can't be "
                "asked for any more; what is stored stays until the site is created again. With `data=erase` it is "
                "removed, beginning at once, also of a site that was deleted before: `removing` of the list of sites "
                "names it until that is done.",
                action=MANAGE_SITES,
                handle=self.delete_site,
                parameters=(
                    _SITE,
                    Parameter(name="data", about="What becomes of what is stored: `keep` if left out.", type=_DATA),
                ),
                parse=_parse_deletion,
                replies=(Reply(status=204, about="Deleted."),),
                errors={400: ("bad_data", "bad_request", "unknown_key"), **_NO_SITE},
                asks_store=True,
            ),
        ]

    async def list_sites(self, call: Call[None]) -> SitesAnswer:
        """The sites that the caller covers; numbers and other names only to who may see those of single visitors."""
        sites = [_shown_to(call.caller, site) for site in self._sites.all() if call.caller.covers(site.site_id)]
        if not call.caller.covers_all or call.caller.narrowed_by is not None:
            return SitesAnswer(sites=sites)
        removing = [site_id for site_id, is_asked in self._sites.removals().items() if is_asked]
        return SitesAnswer(sites=sites, drops=self._drops_of_unknown_sites(), removing=removing)

    async def show_site(self, call: Call[None]) -> Site:
        """One site. Raises `NotFound`."""
        site_id = _site_id(call)
        if self._sites.get(site_id) is None:  # another server may have made it just now
            await self._sites.load()
        return _shown_to(call.caller, self._site(site_id))

    async def create_site(self, call: Call[SiteRequest]) -> Site:
        """Make a site. Raises `Conflict` for one that exists."""
        wanted = msgspec.structs.replace(call.body, timezone=call.body.timezone or None)
        site_id = call.trail.site_id = valid_site_id(wanted.site_id) or wanted.site_id
        new = Site(site_id=site_id)
        _note_public(call, new, wanted.applied_to(new))  # faults are told first, whether the site exists or not
        await self._sites.load()
        return await self._sites.create(site_id, wanted.timezone or "", change=wanted.applied_to)

    async def change_site(self, call: Call[SiteChange]) -> ChangedSite:
        """Change a site's settings. Raises `NotFound`, `RequestError`."""
        wanted, site_id = call.body, _site_id(call)

        def applied(site: Site) -> Site:
            if wanted.site_id is not None and valid_site_id(wanted.site_id) != stored_site_id(site.site_id):
                raise RequestError(f"site_id can't change: the address names {site.site_id!r}.", code="bad_site")
            now = wanted.applied_to(site)
            _note_public(call, site, now)
            return now

        changed = await self._sites.change(site_id, applied)
        if changed is None:
            raise _unknown_site(site_id)
        before, now = changed
        if now.profile != before.profile:
            call.trail.details["profile"] = now.profile
        return changed_site(before, now)

    async def delete_site(self, call: Call[str]) -> None:
        """Delete a site; its events stay stored, unless they are to be erased. Raises `NotFound`."""
        site_id, erase = _site_id(call), call.body == "erase"
        await self._sites.load()
        if erase:
            call.trail.details["data"] = "erase"
        if not await self._sites.delete(site_id, erase=erase):
            raise _unknown_site(site_id)

    def _site(self, site_id: str) -> Site:
        site = self._sites.get(site_id)
        if site is None:
            raise _unknown_site(site_id)
        return site


def _parse_deletion(request: web.Request) -> str:
    data = known_values(request, "data")["data"] or "keep"
    if data not in ("keep", "erase"):
        raise RequestError("data is keep or erase.", code="bad_data")
    return data


def _shown_to(caller: Caller, site: Site) -> Site:
    """The site; to a share link only what its page needs, as the other settings are the operator's own."""
    if caller.narrowed_by is None:
        return site
    return Site(
        site_id=site.site_id,
        timezone=site.timezone,
        stored_timezone=site.stored_timezone,
        currency=site.currency,
        profile=site.profile,
    )


def _site_id(call: Call[None] | Call[str] | Call[SiteChange]) -> str:
    return stored_site_id(call.path("site_id"))


def _note_public(call: Call[SiteRequest] | Call[SiteChange], before: Site, now: Site) -> None:
    """Writes a change of `public` into the audit entry.

    Raises `Forbidden` where the site becomes public by a caller who could not make a share link to it that never ends.
    """
    if now.public == before.public:
        return
    call.trail.details["public"] = str(now.public).lower()
    if now.public:
        caller = call.caller
        assert isinstance(caller, Principal)
        why = refusal(caller, MANAGE_LINKS, Resource.site(now.site_id)) or excess(caller, [link_grant(now.site_id)])
        if why:
            raise Forbidden(f"A public site is open as by a share link. {why}")


def _unknown_site(site_id: str) -> NotFound:
    return NotFound(f"The site {site_id[:128]!r} does not exist.", code="unknown_site")
