"""Identity steps: deduplication of an event, its visitor, its session."""

from __future__ import annotations

import os
from itertools import count

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.first_touch import FirstTouch
from analytics_server.collect.formats.beacon import parse_event_id
from analytics_server.collect.formats.warnings import WarningCode
from analytics_server.collect.identity.session import Session
from analytics_server.collect.identity.visitor import DAY_S
from analytics_server.collect.steps.parts import EventFunction, Parts
from analytics_server.collect.steps.run import EventContext, Run, tells_visitor
from analytics_server.collect.steps.verdict import Drop, Verdict
from analytics_server.config import CollectSection, LimitsSection
from analytics_server.model import ACTIVE, COLUMNS, PASSIVE, PASSIVE_EVENTS, PASSIVE_LATE, Row
from analytics_server.profiles.tables import STANDARD, profile_of

DAY_MS = DAY_S * 1000

_DUPLICATE = Drop(DropReason.DUPLICATE)
_NO_SESSION = Drop(DropReason.NO_SESSION)
_COUNTER_MASK = (1 << 74) - 1
_LOW_MASK = (1 << 62) - 1


def make_duplicate(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Drop an event whose id was accepted before; give one without an id its own."""
    seen = parts.duplicates.seen
    next_number = count(int.from_bytes(os.urandom(9), "big")).__next__

    def new_id(now_ms: int) -> bytes:
        """UUID version 7: milliseconds, then a counter that starts at random in each process."""
        number = next_number() & _COUNTER_MASK
        high = now_ms << 16 | 0x7000 | number >> 62
        return (high << 64 | 1 << 63 | number & _LOW_MASK).to_bytes(16, "big")

    def step(event: EventContext, run: Run) -> Verdict:
        text = event.beacon.event_id
        if text is None:
            event.event_id = new_id(run.now_ms)
            return None
        event_id = parse_event_id(text)
        if event_id is None:
            run.outcome.index = event.index
            run.outcome.warn("event_id", WarningCode.LEFT_OUT)
            event.event_id = new_id(run.now_ms)
            return None
        event.event_id = event_id
        key = (event.site_id, event_id)
        if seen(key):
            run.outcome.repeated.append(key)
            return _DUPLICATE
        run.outcome.event_ids.append(key)
        return None

    return step


def make_visitor(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Hash address and user agent, or the user of a server that tells neither, to the day's visitor."""
    identify, identify_user = parts.visitors.identify, parts.visitors.identify_user

    def known_or_hashed(who: tuple[str, str, str, int], run: Run) -> int:
        """Of a batch, the visitors are remembered until its end."""
        if len(run.events) == 1:
            return identify(*who)
        known = run.visitors
        if known is None:
            known = run.visitors = {}
        visitor_id = known.get(who)
        if visitor_id is None:
            visitor_id = known[who] = identify(*who)
        return visitor_id

    def step(event: EventContext, run: Run) -> Verdict:
        assert event.ts_ms is not None  # checked by the first step
        day = event.ts_ms // DAY_MS
        site_id, address, user_agent, last = event.site_id, event.address, event.user_agent, run.hashed
        if event.by_user:
            # also by an id that is too long to be stored: it is no other user's
            event.visitor_id = identify_user(site_id, event.beacon.user_id or "", day)
        elif (
            last is not None
            and last.address is address
            and last.user_agent is user_agent
            and last.site_id is site_id
            and last.ts_ms is not None
            and last.ts_ms // DAY_MS == day
        ):
            event.visitor_id = last.visitor_id
        else:
            event.visitor_id = known_or_hashed((site_id, event.hashed_address or address, user_agent, day), run)
            run.hashed = event
        return None

    return step


def make_session(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Find the open session or begin one, with what its first event brought (first touch).

    A passive event begins none: it joins the one it tells more about, or is dropped.
    """
    sessions, visitors = parts.sessions, parts.visitors
    of_client, of_visitor, before_passive = sessions.of_client, sessions.of_visitor, sessions.before_passive
    read_touch = FirstTouch(parts.urls, parts.referrers, parts.agents, parts.geo).read
    timeout_ms = settings.session_timeout_s * 1000

    def on_day(event: EventContext, day: int) -> int:
        """The visitor's id on another day."""
        if event.by_user:
            return visitors.identify_user(event.site_id, event.beacon.user_id or "", day)
        return visitors.identify(event.site_id, event.hashed_address or event.address, event.user_agent, day)

    def over_midnight(event: EventContext, ts_ms: int, run: Run) -> Session | None:
        """Around midnight UTC the visitor has two ids: the session goes on under both.

        What is read back after a restart knows the first day's only, hours after midnight too.
        """
        day, since_ms = divmod(ts_ms, DAY_MS)
        session = None
        if since_ms < timeout_ms or ts_ms * 1000 <= sessions.restored_until_us:
            session = of_visitor(event.site_id, on_day(event, day - 1), ts_ms)
        if session is None and since_ms >= DAY_MS - timeout_ms and run.now_ms // DAY_MS > day:
            # comes late, after one of the next day
            session = of_visitor(event.site_id, on_day(event, day + 1), ts_ms)
        if session is not None and event.visitor_id:
            sessions.attach(event.site_id, event.visitor_id, session)
        return session

    def of_passive(event: EventContext, ts_ms: int) -> Session | None:
        """The latest session of a passive event that found none open, of this day or the day before."""
        site_id = event.site_id
        return before_passive(site_id, event.visitor_id, ts_ms) or before_passive(
            site_id, on_day(event, ts_ms // DAY_MS - 1), ts_ms
        )

    def step(event: EventContext, run: Run) -> Verdict:
        site_id, session_id, ts_ms = event.site_id, event.session_id, event.ts_ms
        assert ts_ms is not None
        passive = event.name in PASSIVE_EVENTS
        event.passive = PASSIVE if passive else ACTIVE
        if session_id:
            session = of_client(site_id, session_id)
        else:
            session = of_visitor(site_id, event.visitor_id, ts_ms)
            if session is None and (
                (ts_ms + timeout_ms) % DAY_MS < 2 * timeout_ms or ts_ms * 1000 <= sessions.restored_until_us
            ):
                session = over_midnight(event, ts_ms, run)
        if session is not None:
            event.session, event.ts_us = session, session.place(ts_ms)
            if passive:
                event.visitor_id = session.visitor_id or event.visitor_id
            elif event.visitor_id != session.visitor_id:
                event.visitor_id = session.visitor_of(event.visitor_id, ts_ms)
            return None
        if passive:
            session = None if session_id else of_passive(event, ts_ms)
            if session is None:
                return _NO_SESSION
            event.session, event.ts_us, event.passive = session, ts_ms * 1000, PASSIVE_LATE
            event.visitor_id = session.visitor_id or event.visitor_id
            return None
        told = tells_visitor(event, run)
        attributes = read_touch(
            event.beacon,
            event.page,
            event.address if told else "",
            event.user_agent if told or event.beacon.user_agent is not None else "",
            run.origin.language if told else "",
            event.site.allowed_hosts,
            None if run.trusted and not (told and event.beacon.user_agent is None) else run.origin.hints,
        )
        if attributes is None:
            host = parts.urls.clean_referrer(event.beacon.referrer or "")
            shown = host is not None and "referrer" not in profile_of(event.site.profile).hidden_columns
            return Drop(DropReason.SPAM_REFERRER, example=host.host if host is not None and shown else "")
        if session_id:
            event.session = sessions.open_client(site_id, session_id, ts_ms, attributes, event.visitor_id)
        else:
            event.session = sessions.open_visitor(site_id, event.visitor_id, ts_ms, attributes)
        event.ts_us = ts_ms * 1000
        return None

    return step


def make_row(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """The row, its values in the order of `model.COLUMNS`, without those that the site's profile leaves out."""
    left_out: dict[str, tuple[tuple[int, object], ...]] = {}

    def without(row: Row, profile: str) -> Row:
        absent = left_out.get(profile)
        if absent is None:
            hidden = profile_of(profile).hidden_columns
            absent = tuple((at, column.default) for at, column in enumerate(COLUMNS) if column.name in hidden)
            left_out[profile] = absent
        values = list(row)
        for at, value in absent:
            values[at] = value
        return tuple(values)

    def step(event: EventContext, run: Run) -> Verdict:
        session, page = event.session, event.page
        row: Row = (
            event.site_id,
            event.ts_us,
            event.name,
            event.event_id,
            session.session_id,
            session.start_us,
            event.visitor_id,
            event.passive,
            0 if event.beacon.interactive is False else 1,
            event.user_id,
            page.hostname,
            page.path,
            event.text,
            *session.attributes,
            *event.details,
        )
        profile = event.site.profile
        run.outcome.rows.append(row if profile == STANDARD else without(row, profile))
        return None

    return step
