"""What may be asked of sessions, and the shape of the answers.

Times of answers are the site's with their offset, to the microsecond; `opened_at` alone is UTC, because it is what
a session is named by, together with its id. Numbers of 64 bits are texts: JavaScript can't hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from analytics_server.errors import RequestError
from analytics_server.model import stored_site_id
from analytics_server.query.answer import AnswerMeta
from analytics_server.query.dimensions import nearest
from analytics_server.query.language.conditions import Condition, normalise
from analytics_server.query.language.filters import parse_filters
from analytics_server.query.language.library import Library
from analytics_server.query.language.request import DEFAULT_LIMIT, Pagination
from analytics_server.query.language.shapes import DateRange
from analytics_server.query.language.time_range import EARLIEST, LATEST, RangeSpec

ORDERS = ("started_at", "ended_at", "duration_s", "pageviews", "events")
"""What sessions can be sorted by."""

USER_ID_CHARS = 256
SESSION_ID_CHARS = 256
DEFAULT_EVENTS = 1_000
MAX_OFFSET = 2**31
PARAMETERS = ("site_id", "session_id", "opened_at", "limit", "offset")


class SessionsInclude(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the answer should hold besides its rows."""

    total_rows: bool = False


class SessionsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/sessions`. `user_id`: only the sessions of that user."""

    site_id: Annotated[str, Meta(min_length=1, max_length=253)]
    date_range: DateRange = "7d"
    filters: tuple[object, ...] = ()
    user_id: Annotated[str, Meta(min_length=1, max_length=USER_ID_CHARS)] | None = None
    order_by: Annotated[tuple[tuple[str, Literal["asc", "desc"]], ...], Meta(max_length=len(ORDERS))] = ()
    include: SessionsInclude = SessionsInclude()
    pagination: Pagination = Pagination()


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session. `visitor_id`: text, the smallest of several, "" if none is kept."""

    session_id: str
    opened_at: str
    visitor_id: str
    user_id: str
    started_at: str
    ended_at: str
    duration_s: float
    pageviews: int
    events: int
    is_bounce: bool
    entry_page: str
    exit_page: str
    referrer: str
    source: str
    channel: str
    utm_source: str
    utm_medium: str
    utm_campaign: str
    utm_content: str
    utm_term: str
    country: str
    region: str
    city: str
    browser: str
    browser_version: str
    os: str
    os_version: str
    device: str
    screen: str
    language: str


class SessionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `POST /api/v1/sessions`; `query` is the question with all defaults."""

    sessions: list[SessionRow]
    meta: AnswerMeta
    query: dict[str, object]


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a session, with what it carries beside the session's attributes."""

    ts: str
    name: str
    event_id: str
    visitor_id: str
    user_id: str
    hostname: str
    path: str
    title: str
    scroll_depth: int
    engagement_ms: int
    element_id: str
    element_tag: str
    element_text: str
    element_href: str
    revenue_amount: float
    revenue_currency: str
    experiment: str
    variant: str
    props: dict[str, str]


class TimelineMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a timeline rests on."""

    table: str
    time_zone: str
    elapsed_ms: float
    rows_read: int
    bytes_read: int


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to `GET /api/v1/sessions/{session_id}`: the session and its events in order.

    `also_opened_at`: when other sessions of the same id were opened, the newest first; left out if there are none.
    """

    session: SessionRow
    events: list[SessionEvent]
    meta: TimelineMeta
    also_opened_at: list[str] | UnsetType = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsQuestion:
    """A checked request for a list."""

    site_id: str
    date_range: RangeSpec
    where: tuple[Condition, ...]
    user_id: str | None
    order_by: tuple[tuple[str, bool], ...]
    """What to sort by, and whether downwards."""
    count_all: bool
    limit: int
    offset: int

    def normalised(self) -> dict[str, object]:
        """As JSON with all defaults, without the range."""
        return {
            "site_id": self.site_id,
            "filters": [normalise(condition) for condition in self.where],
            "user_id": self.user_id,
            "order_by": [[name, "desc" if down else "asc"] for name, down in self.order_by],
            "include": {"total_rows": self.count_all},
            "pagination": {"limit": self.limit, "offset": self.offset},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineQuestion:
    """Which session. `opened_at` None: the newest of that id."""

    site_id: str
    session_id: str
    opened_at: datetime | None
    limit: int
    offset: int


def check_sessions(request: SessionsRequest, library: Library, *, max_rows: int) -> SessionsQuestion:
    """Look up every name. Raises `RequestError`."""
    limit = min(DEFAULT_LIMIT, max_rows) if request.pagination.limit is None else request.pagination.limit
    if limit > max_rows:
        raise RequestError(f"pagination.limit may be {max_rows} at most; use offset for more.", code="bad_pagination")
    for place, (name, _) in enumerate(request.order_by):
        if name not in ORDERS:
            raise RequestError(
                f"order_by[{place}] names {name!r}, which sessions can't be sorted by.{nearest(name, ORDERS)}",
                code="bad_order",
            )
    return SessionsQuestion(
        site_id=stored_site_id(request.site_id),
        date_range=request.date_range,
        where=parse_filters(request.filters, library),
        user_id=request.user_id,
        order_by=tuple((name, way == "desc") for name, way in request.order_by or (("started_at", "desc"),)),
        count_all=request.include.total_rows,
        limit=limit,
        offset=request.pagination.offset,
    )


def check_timeline(parameters: Mapping[str, str], *, max_rows: int) -> TimelineQuestion:
    """Read a query string (with `session_id` from the path, if it stood there). Raises `RequestError`."""
    for name in parameters:
        if name not in PARAMETERS:
            raise RequestError(f"There is no parameter {name[:120]!r}.{nearest(name, PARAMETERS)}", code="unknown_key")
    site_id, session_id = stored_site_id(parameters.get("site_id", "")), parameters.get("session_id", "")
    if not site_id:
        raise RequestError("Name the site: ?site_id=example.com.", code="bad_request")
    if not 0 < len(session_id) <= SESSION_ID_CHARS:
        raise RequestError(f"session_id must have 1 to {SESSION_ID_CHARS} characters.", code="bad_request")
    opened_at = parameters.get("opened_at")
    return TimelineQuestion(
        site_id=site_id,
        session_id=session_id,
        opened_at=None if opened_at is None else _moment(opened_at),
        limit=_number(parameters, "limit", min(DEFAULT_EVENTS, max_rows), least=1, most=max_rows),
        offset=_number(parameters, "offset", 0, least=0, most=MAX_OFFSET),
    )


def _number(parameters: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise RequestError(f"{name} must be a whole number from {least} to {most}.", code="bad_pagination")
    return int(text)


def _moment(text: str) -> datetime:
    """An instant, UTC, exact to the microsecond."""
    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RequestError(
            f"opened_at is no time: {text[:80]!r}. Write it as the list of sessions does, 2026-01-31T12:00:00.000000Z.",
            code="bad_request",
        ) from error
    if not EARLIEST - timedelta(days=1) <= moment <= LATEST:
        raise RequestError(f"opened_at must lie between {EARLIEST.date()} and {LATEST.date()}.", code="bad_request")
    return moment
