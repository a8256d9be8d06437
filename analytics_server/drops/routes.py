"""Drops over HTTP: `GET /api/v1/drops`.

A token that reads sees the sites that it covers. Names that no site has are for those who manage all sites: to all
others such a name is a site that does not exist, as everywhere.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from analytics_server.access.actions import MANAGE_SITES, VIEW_DROPS, allowed
from analytics_server.access.principals import Principal
from analytics_server.access.sites.sites import Sites
from analytics_server.drops.answer import DropsAnswer, DropsRequest
from analytics_server.drops.service import DropService
from analytics_server.errors import NotFound, RequestError
from analytics_server.http.authorization import ALL_SITES, Caller
from analytics_server.http.declaration import Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.http.parameters import known_values
from analytics_server.model import stored_site_id
from analytics_server.query.endpoint_parts import NO_SITE
from analytics_server.query.language.time_range import RangeSpec
from analytics_server.query.trends import DEFAULT_RANGE, date_range_of

_PARAMETERS = (
    Parameter(
        name="site_id",
        about="The site, or, for an admin token of all sites, a name that beacons used for one. If left out: all sites "
        "that the token covers, and for that admin every name.",
        example="example.com",
    ),
    Parameter(
        name="date_range",
        about=f"As in a query: a name, or a pair as JSON or with a comma. `{DEFAULT_RANGE}` if left out. Counts "
        "are kept for 30 days.",
    ),
    Parameter(name="from", about="As in a pair of `date_range`.", example="2026-11-01"),
    Parameter(name="to", about="As in a pair of `date_range`; the last day is included.", example="2026-11-30"),
)


def endpoints(service: DropService, sites: Sites) -> list[Endpoint]:
    """What was dropped and rejected."""

    async def drops(call: Call[DropsRequest]) -> DropsAnswer:
        name = call.body.site_id
        if not name:
            if _manages_all(call.caller):
                return await service.of_sites(call.body, None)
            covered = tuple(site.site_id for site in sites.all() if call.caller.covers(site.site_id))
            return await service.of_sites(call.body, covered)
        call.authorize(name)
        site = sites.get(name)
        if site is None and not _manages_all(call.caller):
            raise NotFound(f"There is no site {name[:128]!r}.", code="unknown_site")
        answer = await service.of_site(call.body, site)
        if site is None and not answer.drops:
            raise NotFound(
                f"There is no site {name[:128]!r}, and no beacon named it in this range (counts are kept for 30 days).",
                code="unknown_site",
            )
        return answer

    return [
        Endpoint(
            method="GET",
            path="/api/v1/drops",
            name="drops",
            summary="What was dropped and rejected, why, and what to do about it",
            tag="query",
            about="By reason over the range, with examples of what was concerned, and by hour.",
            action=VIEW_DROPS,
            handle=drops,
            parse=_parse,
            parameters=_PARAMETERS,
            replies=(Reply(about="By site and reason, and by hour and reason.", type=DropsAnswer),),
            errors={400: ("bad_date_range", "bad_request", "unknown_key"), **NO_SITE},
            asks_store=True,
            takes_turns=True,
        )
    ]


def _manages_all(caller: Caller) -> bool:
    return isinstance(caller, Principal) and allowed(caller, MANAGE_SITES, ALL_SITES)


def _parse(request: web.Request) -> DropsRequest:
    given = known_values(request, *(parameter.name for parameter in _PARAMETERS))
    name = stored_site_id(given["site_id"])
    if not name and "site_id" in request.query:
        raise RequestError("site_id is empty: name a site, or leave it out for all sites.", code="bad_request")
    return DropsRequest(site_id=name, date_range=_pair(given["date_range"]) or date_range_of(given))


def _pair(text: str) -> RangeSpec | None:
    """A pair of dates as JSON or with a comma between; None for any other text."""
    if text.startswith("["):
        try:
            return msgspec.json.decode(text, type=tuple[str | int, str | int])
        except msgspec.DecodeError as error:
            raise RequestError(
                f'date_range can\'t be read: {error}. A pair is ["2026-11-01", "2026-11-07"].', code="bad_date_range"
            ) from error
    first, comma, last = text.partition(",")
    return date_range_of({"from": first.strip(), "to": last.strip()}) if comma else None
