"""Runs the questions about sessions: the list, and one session's timeline."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from msgspec import UNSET

from analytics_server.analyses.sessions.request import (
    SessionEvent,
    SessionRow,
    SessionsAnswer,
    SessionsRequest,
    Timeline,
    TimelineMeta,
    TimelineQuestion,
    check_sessions,
)
from analytics_server.analyses.sessions.statement import (
    EVENT,
    choose,
    count_sessions,
    select_events,
    select_opened,
    select_page,
    select_session,
)
from analytics_server.errors import NotFound
from analytics_server.model import COLUMNS, SESSION_ATTRIBUTES
from analytics_server.profiles.refusal import refuse_users
from analytics_server.profiles.switches import SiteProfile
from analytics_server.profiles.tables import profile_of
from analytics_server.query.answer import whole_number
from analytics_server.query.context import Cost, QueryContext, meta_of, show_range, zone_of
from analytics_server.query.parameters import COUNT, TEXT, Binder

_DEFAULTS = {column.name: column.default for column in COLUMNS}


async def run_sessions(context: QueryContext, request: SessionsRequest) -> SessionsAnswer:
    """Answer `POST /api/v1/sessions`. Raises `RequestError`, `NotFound` or a store error."""
    question = check_sessions(request, context.library(request.site_id), max_rows=context.limits.query_rows)
    site = context.site(request.site_id)
    if question.user_id is not None:
        refuse_users(site.profile)
    context.check_profile(site, question.where)
    await context.check_patterns(question.where)
    range_, _ = await context.range_of(site, question.date_range)
    binder = Binder()
    binder.name("site", site.site_id, TEXT)
    binder.moment("start", range_.start)
    binder.moment("end", range_.end)
    chosen = choose(question, binder)
    result = await context.query(select_page(question, chosen, binder), binder.values)
    cost = Cost().plus(result)
    total = 0
    if question.count_all:
        counted = await context.query(count_sessions(chosen), binder.values)
        cost, total = cost.plus(counted), whole_number(counted.rows[0][0])
    return SessionsAnswer(
        sessions=[show_session(row, range_.zone, profile_of(site.profile)) for row in result.rows],
        meta=meta_of(
            chosen.table,
            range_,
            cost,
            context.site_warnings(site, range_),
            total_rows=total if question.count_all else UNSET,
        ),
        query=question.normalised() | {"date_range": list(show_range(range_))},
    )


async def run_timeline(context: QueryContext, question: TimelineQuestion) -> Timeline:
    """Answer `GET /api/v1/sessions/{session_id}`. Raises `RequestError`, `NotFound` or a store error."""
    site = context.site(question.site_id)
    zone = zone_of(site)
    binder = Binder()
    binder.name("site", site.site_id, TEXT)
    result = await context.query(select_opened(question, binder), binder.values)
    cost = Cost().plus(result)
    opened = [_moment(row[0]) for row in result.rows]
    chosen = question.opened_at or (opened[0] if opened else None)
    if chosen is None:
        raise unknown_session(question)
    binder.moment("opened_at", chosen)
    found = await context.query(select_session(), binder.values)
    cost = cost.plus(found)
    if not found.rows:
        raise unknown_session(question)
    binder.moment("started_at", _moment(found.rows[0][4]))
    binder.moment("ended_at", _moment(found.rows[0][5]))
    binder.name("limit", question.limit, COUNT)
    binder.name("offset", question.offset, COUNT)
    events = await context.query(select_events(), binder.values)
    cost = cost.plus(events)
    profile = profile_of(site.profile)
    others = [show_opened(moment) for moment in opened if moment != chosen]
    return Timeline(
        session=show_session(found.rows[0], zone, profile),
        events=[show_event(row, zone, profile) for row in events.rows],
        also_opened_at=others or UNSET,
        meta=TimelineMeta(
            table="sessions+events",
            time_zone=zone.key,
            elapsed_ms=round(cost.elapsed_ms, 1),
            rows_read=cost.rows_read,
            bytes_read=cost.bytes_read,
        ),
    )


def unknown_session(question: TimelineQuestion) -> NotFound:
    """What is answered for a session that the site does not have."""
    opened = f" that was opened at {show_opened(question.opened_at)}" if question.opened_at else ""
    return NotFound(
        f"The site has no session {question.session_id[:80]!r}{opened}: POST /api/v1/sessions lists them.",
        code="unknown_session",
    )


def show_session(row: Sequence[object], zone: tzinfo, profile: SiteProfile) -> SessionRow:
    """A row of `statement.ROW`, without what the site's profile forbids."""
    session_id, opened_at, visitors, user_id, started_at, ended_at, pageviews, events, bounce, entry, exit_, *rest = row
    assert isinstance(visitors, list), "an array gives a list"
    hidden = profile.hidden_columns
    attributes = {
        name: "" if name in hidden else str(value) for name, value in zip(SESSION_ATTRIBUTES, rest, strict=True)
    }
    began, over = _moment(started_at), _moment(ended_at)
    return SessionRow(
        session_id=str(session_id),
        opened_at=show_opened(_moment(opened_at)),
        visitor_id=str(visitors[0]) if visitors else "",
        user_id="" if "user_id" in hidden else str(user_id),
        started_at=_local(began, zone),
        ended_at=_local(over, zone),
        duration_s=(over - began) / timedelta(seconds=1),
        pageviews=whole_number(pageviews),
        events=whole_number(events),
        is_bounce=bool(bounce),
        entry_page=str(entry),
        exit_page=str(exit_),
        **attributes,
    )


def show_event(row: Sequence[object], zone: tzinfo, profile: SiteProfile) -> SessionEvent:
    """A row of `statement.EVENT`, without what the site's profile forbids."""
    known = dict(zip(EVENT, row, strict=True))
    for name in profile.hidden_columns & known.keys():
        known[name] = _DEFAULTS[name]
    visitor, props = known["visitor_id"], known["props"]
    assert isinstance(props, dict), "a map gives a dictionary"
    numbers = {name: whole_number(known[name]) for name in ("scroll_depth", "engagement_ms")}
    own = ("ts", "visitor_id", "scroll_depth", "engagement_ms", "revenue_amount", "props")
    return SessionEvent(
        ts=_local(_moment(known["ts"]), zone),
        visitor_id=str(visitor) if visitor else "",
        scroll_depth=numbers["scroll_depth"],
        engagement_ms=numbers["engagement_ms"],
        revenue_amount=float(str(known["revenue_amount"])),
        props={str(key): str(value) for key, value in props.items()},
        **{name: str(value) for name, value in known.items() if name not in own},
    )


def show_opened(moment: datetime) -> str:
    """The instant that names a session, UTC, as `opened_at` takes it in an address."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _local(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).isoformat(timespec="microseconds")


def _moment(value: object) -> datetime:
    assert isinstance(value, datetime), "a DateTime64 gives an aware time"
    return value
