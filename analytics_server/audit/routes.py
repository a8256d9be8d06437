"""Reading the audit log over HTTP: `GET /api/v1/privacy/audit`. Reading it is an entry itself.

Who manages all sites sees every entry; who manages single sites sees the entries about those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from analytics_server.access.actions import VIEW_AUDIT
from analytics_server.audit.chain import FORMAT, ChainedEntry, ChainRow, shown_moment
from analytics_server.audit.export import export_line
from analytics_server.audit.log import AuditLog
from analytics_server.audit.moments import EARLIEST, LATEST, parse_moment
from analytics_server.audit.table import newest_rows
from analytics_server.errors import RequestError
from analytics_server.http.authorization import ALL_SITES, Resource
from analytics_server.http.declaration import Parameter, Reply
from analytics_server.http.endpoint import Call, Endpoint
from analytics_server.http.parameters import is_number_within, known_values
from analytics_server.model import stored_site_id
from analytics_server.store.protocol import Store

DEFAULT_LIMIT = 100
MOST_ENTRIES = 1_000
DEFAULT_DAYS = 30
"""So many days are read where no beginning is given: the log may hold years, and each page sorts what is asked for."""
_CURSOR = re.compile(r"(\d{1,17})-([0-9a-f]{1,64})-(\d{1,19})")

_PARAMETERS = (
    Parameter(
        name="from",
        about=f"The first moment or day, UTC if no offset is given; {DEFAULT_DAYS} days before the end if left out.",
        example="2026-11-01",
    ),
    Parameter(
        name="to", about="The end: a moment is left out, a day is included; now if left out.", example="2026-11-30"
    ),
    Parameter(name="site_id", about="Only entries about this site.", example="example.com"),
    Parameter(
        name="limit",
        about=f"How many; {DEFAULT_LIMIT} if left out.",
        type=Annotated[int, Meta(ge=1, le=MOST_ENTRIES)],
    ),
    Parameter(name="before", about="The `next` of the answer before: the entries that follow it."),
)


class AuditCursor(msgspec.Struct, frozen=True, kw_only=True):
    """Where the next page begins: behind that entry."""

    at_us: int
    server: str
    sequence: int


class AuditRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: a range of time, maybe one site, and how many. `site_id`: "" for all."""

    start: datetime = EARLIEST
    end: datetime = LATEST
    site_id: str = ""
    limit: int = DEFAULT_LIMIT
    before: AuditCursor | None = None


class AuditRecord(ChainedEntry, frozen=True, kw_only=True, omit_defaults=False):
    """An entry and its hash. All members are shown; the hash is that of the canonical text, which omits empty ones."""

    hash: str


class AuditAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, the newest first. `next`: what `before` takes to go on; null at the end."""

    entries: list[AuditRecord]
    next: str | None


def endpoints(store: Store, log: AuditLog, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Endpoint]:
    """The log."""

    async def audit(call: Call[AuditRequest]) -> AuditAnswer:
        asked, caller = call.body, call.caller
        sites: tuple[str, ...] | None = None
        if not call.may(ALL_SITES):
            sites = tuple(site for site in map(stored_site_id, caller.sites) if call.may(Resource.site(site)))
        if asked.site_id:
            call.authorize(asked.site_id)
            sites = (asked.site_id,)
        await log.write()
        rows = await newest_rows(
            store,
            start=asked.start,
            end=asked.end,
            sites=sites,
            before=None if asked.before is None else (asked.before.at_us, asked.before.server, asked.before.sequence),
            limit=asked.limit + 1,
        )
        call.trail.rows = min(len(rows), asked.limit)
        return _answer(rows, asked.limit)

    return [
        Endpoint(
            method="GET",
            path="/api/v1/privacy/audit",
            name="get_audit",
            summary="Who did what: the audit log, the newest entries first",
            tag="privacy",
            about="A token for single sites sees the entries about those. Reading it is an entry itself.",
            action=VIEW_AUDIT,
            handle=audit,
            parse=lambda request: _parse(request, clock()),
            parameters=_PARAMETERS,
            replies=(Reply(about="Entries, each with the hash of the one before in its chain.", type=AuditAnswer),),
            errors={400: ("bad_date_range", "bad_request", "unknown_key")},
            asks_store=True,
        )
    ]


def _answer(rows: Sequence[ChainRow], limit: int) -> AuditAnswer:
    shown = rows[:limit]
    following = None
    if len(rows) > limit:
        last = shown[-1]
        following = f"{last.at_us}-{last.server}-{last.sequence}"
    return AuditAnswer(entries=[_record(row) for row in shown], next=following)


def _record(row: ChainRow) -> AuditRecord:
    """The entry as it is stored; of one whose text was made unreadable, what its columns say."""
    try:
        return msgspec.json.decode(export_line(row), type=AuditRecord)
    except msgspec.MsgspecError:
        return AuditRecord(
            version=FORMAT,
            server=row.server,
            sequence=row.sequence,
            at=shown_moment(row.at_us),
            action=row.action,
            site_id=row.site_id,
            outcome="unreadable",
            hash=row.hash,
        )


def _parse(request: web.Request, now: datetime) -> AuditRequest:
    given = known_values(request, *(parameter.name for parameter in _PARAMETERS))
    limit = given["limit"] or str(DEFAULT_LIMIT)
    if not is_number_within(limit, MOST_ENTRIES):
        raise RequestError(f"limit is a number from 1 to {MOST_ENTRIES}.", code="bad_request")
    cursor = None
    if given["before"]:
        found = _CURSOR.fullmatch(given["before"])
        if found is None:
            raise RequestError("before is the `next` of an earlier answer, as it was.", code="bad_request")
        cursor = AuditCursor(at_us=int(found[1]), server=found[2], sequence=int(found[3]))
    end = parse_moment(given["to"], "to", is_end=True) if given["to"] else LATEST
    if given["from"]:
        start = parse_moment(given["from"], "from")
    else:
        start = max(EARLIEST, min(end, now) - timedelta(days=DEFAULT_DAYS))
    if start >= end:
        raise RequestError("from must be before to.", code="bad_date_range")
    return AuditRequest(start=start, end=end, site_id=stored_site_id(given["site_id"]), limit=int(limit), before=cursor)
