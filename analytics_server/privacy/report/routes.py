"""The evidence bundle over HTTP: `GET /api/v1/privacy/report`. The call's audit entry carries the report's hash."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import VIEW_PRIVACY_REPORT
from analytics_server.access.stored_link import ShareLink
from analytics_server.config import Config
from analytics_server.errors import NotFound, RequestError
from analytics_server.http.declaration import SITE, Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.parameters import known_values
from analytics_server.model import Site, stored_site_id
from analytics_server.privacy.report.bundle import PrivacyReport, make_report
from analytics_server.privacy.report.history import PrivacyHistory
from analytics_server.privacy.report.page import report_page, report_zip

FORMATS = {"json": "application/json", "html": "text/html", "zip": "application/zip"}
_FORMAT = Annotated[str, Meta(extra_json_schema={"enum": [*FORMATS, ""]})]


class ReportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: a site, and the format."""

    site_id: str
    format: str


def endpoints(
    config: Config,
    site_of: Callable[[str], Site | None],
    links_of: Callable[[str], Awaitable[Sequence[ShareLink]]],
    history: PrivacyHistory,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Endpoint]:
    """The report. `links_of`: a site's share links that can be opened; `history`: what is known of removals."""

    async def report(call: Call[ReportRequest]) -> PrivacyReport | web.Response:
        asked = call.body
        site = site_of(asked.site_id)
        if site is None:
            raise NotFound(f"There is no site {asked.site_id[:128]!r}.", code="unknown_site")
        made = await make_report(config, site, await links_of(site.site_id), history, clock())
        call.trail.details["sha256"] = made.sha256
        if asked.format == "json":
            return made
        name = f"privacy-report-{made.report.made_at[:10]}.{asked.format}"
        headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
        if asked.format == "zip":
            return web.Response(body=report_zip(made), content_type=FORMATS["zip"], headers=headers)
        return web.Response(text=report_page(made), content_type=FORMATS["html"], headers=headers)

    return [
        Endpoint(
            method="GET",
            path="/api/v1/privacy/report",
            name="get_privacy_report",
            summary="What a site stores, why and how long: a report to be filed",
            tag="privacy",
            about="Settings, profile, every stored field, salts, what was removed, and drafts of the texts that the "
            "law asks for; dated, with a SHA-256 that also stands in the audit log.",
            action=VIEW_PRIVACY_REPORT,
            site=SiteFrom.BODY,
            handle=report,
            parse=_parse,
            parameters=(
                SITE,
                Parameter(
                    name="format", about="`json` if left out; `html`: a page; `zip`: both, and the texts.", type=_FORMAT
                ),
            ),
            replies=(
                Reply(
                    about="The report.",
                    type=PrivacyReport,
                    formats=tuple(kind for name, kind in FORMATS.items() if name != "json"),
                ),
            ),
            errors={400: ("bad_format", "bad_request", "unknown_key"), 404: ("unknown_site",)},
            asks_store=True,
        )
    ]


def _parse(request: web.Request) -> ReportRequest:
    given = known_values(request, "site_id", "format")
    site_id = stored_site_id(given["site_id"])
    if not site_id:
        raise RequestError("Name the site: ?site_id=example.com.", code="bad_request")
    format_ = given["format"] or "json"
    if format_ not in FORMATS:
        raise RequestError(f"format is one of {', '.join(FORMATS)}.", code="bad_format")
    return ReportRequest(site_id=site_id, format=format_)
