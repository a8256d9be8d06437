"""Lists of sessions and timelines equal what plain loops over all events find, on both engines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from analytics_server.analyses.sessions.request import (
    ORDERS,
    SessionRow,
    SessionsAnswer,
    SessionsRequest,
    Timeline,
    check_timeline,
)
from analytics_server.analyses.sessions.run import run_sessions, run_timeline
from analytics_server.model import Site
from tests.analyses.sessions.people import USERS, Event, Past
from tests.analyses.sessions.places import Place, asked, date_ranges, filters, many, sites
from tests.query.world import moment

PASSIVE = ("pageview", "scroll", "engagement", "web_vital", "exposure", "not_found")
Key = tuple[int, str]


def row_of(past: Past, key: Key) -> dict[str, Any]:
    """What the list shows of a session."""
    events, views = past.sessions[key], past.views(key)
    first, last = min(event.at for event in events), max(event.at for event in events)
    visitors = sorted({event.visitor_id for event in events if not event.is_passive} - {0})
    acts = [event for event in events if event.name not in PASSIVE]
    return {
        "session_id": key[1],
        "opened_at": utc(key[0]),
        "visitor_id": str(visitors[0]) if visitors else "",
        "user_id": max((event.user_id for event in events), key=lambda text: text.encode()),
        "started_at": past.local(first).isoformat(timespec="microseconds"),
        "ended_at": past.local(last).isoformat(timespec="microseconds"),
        "duration_s": (last - first) / 1_000_000,
        "pageviews": len(views),
        "events": len(events),
        "is_bounce": len(views) == 1 and not acts,
        "entry_page": views[0][1] if views else "",
        "exit_page": views[-1][1] if views else "",
        "source": events[0].source,
    }


def utc(at: int) -> str:
    return moment(at).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def shown(row: SessionRow) -> dict[str, Any]:
    found = {name: getattr(row, name) for name in row.__struct_fields__}
    return {name: value for name, value in found.items() if name in ROW_KEYS}


ROW_KEYS = (
    *("session_id", "opened_at", "visitor_id", "user_id", "started_at", "ended_at", "duration_s", "pageviews"),
    *("events", "is_bounce", "entry_page", "exit_page", "source"),
)


def order_of(past: Past, key: Key, order_by: list[list[str]]) -> list[Any]:
    """What sessions are compared by; whatever is not asked for goes the way of the first."""
    events = past.sessions[key]
    first, last = min(event.at for event in events), max(event.at for event in events)
    values = {
        "started_at": first,
        "ended_at": last,
        "duration_s": last - first,
        "pageviews": len(past.views(key)),
        "events": len(events),
    }
    way = -1 if order_by[0][1] == "desc" else 1
    ways = [(-1 if direction == "desc" else 1) * values[name] for name, direction in order_by]
    return [*ways, way * key[0], [way * byte for byte in key[1].encode()]]


def ask(place: Place, site: Site, **question: Any) -> SessionsAnswer:
    return place.run(run_sessions(place.context, asked(SessionsRequest, site_id=site.site_id, **question)))


orders = st.lists(
    st.tuples(st.sampled_from(ORDERS), st.sampled_from(("asc", "desc"))).map(list), max_size=3, unique_by=lambda o: o[0]
)


@many
@given(
    site=sites,
    span=date_ranges(),
    where=filters(),
    order_by=orders,
    user=st.sampled_from((None, None, *USERS)),
    limit=st.sampled_from((1, 7, 1_000)),
    offset=st.sampled_from((0, 0, 3, 500)),
)
def test_lists_are_what_the_events_say(
    place: Place, site: Site, span: Any, where: Any, order_by: Any, user: str | None, limit: int, offset: int
) -> None:
    pagination = {"limit": limit, "offset": offset}
    parts = {"date_range": span, "filters": where, "order_by": order_by, "user_id": user, "pagination": pagination}
    answer = ask(place, site, include={"total_rows": True}, **parts)
    past = place.pasts[site.site_id]
    start, end = (datetime.fromisoformat(edge) for edge in answer.meta.date_range)
    rows = {key: row_of(past, key) for key in past.chosen(start, end, where)}
    wanted = [key for key, row in rows.items() if user in (None, row["user_id"])]
    wanted.sort(key=lambda key: order_of(past, key, order_by or [["started_at", "desc"]]))
    assert [shown(row) for row in answer.sessions] == [rows[key] for key in wanted[offset : offset + limit]]
    assert answer.meta.total_rows == len(wanted)


def event_of(past: Past, event: Event) -> dict[str, Any]:
    return {
        "ts": past.local(event.at).isoformat(timespec="microseconds"),
        "name": event.name,
        "path": event.path,
        "visitor_id": str(event.visitor_id) if event.visitor_id else "",
        "user_id": event.user_id,
        "event_id": str(event.event_id),
        "props": {"plan": event.plan} if event.plan else {},
    }


def timeline(place: Place, site: Site, **parameters: str) -> Timeline:
    question = check_timeline({"site_id": site.site_id, **parameters}, max_rows=10_000)
    return place.run(run_timeline(place.context, question))


@settings(parent=many, max_examples=40)
@given(site=sites, data=st.data(), limit=st.sampled_from((None, 1, 3)), offset=st.sampled_from((None, 0, 2)))
def test_timelines_are_the_events_in_order(
    place: Place, site: Site, data: st.DataObject, limit: int | None, offset: int | None
) -> None:
    past = place.pasts[site.site_id]
    key = data.draw(st.sampled_from(sorted(past.sessions)))
    same_id = sorted((opened for opened, id_ in past.sessions if id_ == key[1]), reverse=True)
    newest = data.draw(st.booleans())
    if newest:
        key = same_id[0], key[1]
    parameters = {} if newest else {"opened_at": utc(key[0])}
    parameters |= {name: str(value) for name, value in {"limit": limit, "offset": offset}.items() if value is not None}
    answer = timeline(place, site, session_id=key[1], **parameters)
    events = sorted(past.sessions[key], key=lambda e: (e.at, e.path.encode(), e.name.encode()))
    first = offset or 0
    got = [{name: getattr(event, name) for name in event_of(past, events[0])} for event in answer.events]
    # Events that are alike in time, path and name come in the order of their random ids.
    cut = slice(first, first + (limit or 1_000))
    alike = ("ts", "path", "name")
    assert [[e[n] for n in alike] for e in got] == [[event_of(past, e)[n] for n in alike] for e in events[cut]]
    known = [event_of(past, event) for event in events]
    assert all(event in known for event in got)
    assert len({event["event_id"] for event in got}) == len(got)
    assert shown(answer.session) == row_of(past, key)
    others = [utc(opened) for opened in same_id if opened != key[0]]
    assert answer.also_opened_at == (others or UNSET)


def test_a_page_after_another_leaves_nothing_out(place: Place) -> None:
    site = next(iter(place.pasts))
    found = Site(site_id=site)
    everything = ask(place, found, date_range="6mo", pagination={"limit": 1_000}).sessions
    pages = []
    for offset in range(0, len(everything), 7):
        pages += ask(place, found, date_range="6mo", pagination={"limit": 7, "offset": offset}).sessions
    assert pages == everything
    assert len(everything) > 50
    assert timedelta(seconds=everything[0].duration_s) >= timedelta(0)
