"""The steps that say who and when: is the event a repeated one, which visitor's is it, which session's?"""

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
from analytics_server.collect.steps.run import Run
from analytics_server.collect.steps.verdict import Drop, Verdict
from analytics_server.config import CollectSection, LimitsSection

DAY_MS = DAY_S * 1000

_DUPLICATE = Drop(DropReason.DUPLICATE)
_SPAM_REFERRER = Drop(DropReason.SPAM_REFERRER)
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

    def step(run: Run) -> Verdict:
        text = run.beacon.event_id
        if text is None:
            run.event_id = new_id(run.now_ms)
            return None
        event_id = parse_event_id(text)
        if event_id is None:
            run.outcome.warn("event_id", WarningCode.LEFT_OUT)
            run.event_id = new_id(run.now_ms)
            return None
        run.event_id = event_id
        key = (run.site_id, event_id)
        if seen(key):
            run.outcome.repeated.append(key)
            return _DUPLICATE
        run.outcome.event_ids.append(key)
        return None

    return step


def make_visitor(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Hash address and user agent, or the user of a server that tells neither, to the day's visitor."""
    identify, identify_user = parts.visitors.identify, parts.visitors.identify_user

    def step(run: Run) -> Verdict:
        assert run.ts_ms is not None
        run.day = day = run.ts_ms // DAY_MS
        if run.by_user:
            # also by an id that is too long to be stored: it is no other user's
            run.visitor_id = identify_user(run.site_id, run.beacon.user_id or "", day)
        elif len(run.events) == 1:  # nothing to remember it for
            run.visitor_id = identify(run.site_id, run.address, run.user_agent, day)
        else:
            known = run.visitors
            if known is None:
                known = run.visitors = {}
            who = (run.site_id, run.address, run.user_agent, day)
            visitor_id = known.get(who)
            if visitor_id is None:
                visitor_id = known[who] = identify(*who)
            run.visitor_id = visitor_id
        return None

    return step


def make_session(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """Find the open session or begin one, with what its first event brought (first touch)."""
    sessions, identify = parts.sessions, parts.visitors.identify
    of_client, of_visitor = sessions.of_client, sessions.of_visitor
    read_touch = FirstTouch(parts.urls, parts.referrers, parts.agents, parts.geo).read
    timeout_ms = settings.session_timeout_s * 1000

    def over_midnight(run: Run, ts_ms: int) -> Session | None:
        """Just after midnight UTC the visitor has a new id: the session goes on under both."""
        before = identify(run.site_id, run.address, run.user_agent, run.day - 1)
        session = of_visitor(run.site_id, before, ts_ms)
        if session is not None and run.visitor_id:
            sessions.attach(run.site_id, run.visitor_id, session)
        return session

    def step(run: Run) -> Verdict:
        site_id, session_id, ts_ms = run.site_id, run.session_id, run.ts_ms
        assert ts_ms is not None
        if session_id:
            session = of_client(site_id, session_id)
        else:
            session = of_visitor(site_id, run.visitor_id, ts_ms)
            if session is None and not run.by_user and ts_ms % DAY_MS < timeout_ms:
                session = over_midnight(run, ts_ms)
        if session is not None:
            run.session, run.ts_us = session, session.place(ts_ms)
            return None
        attributes = read_touch(run.beacon, run.page, run.address, run.user_agent, run.origin.language)
        if attributes is None:
            return _SPAM_REFERRER
        if session_id:
            run.session = sessions.open_client(site_id, session_id, ts_ms, attributes)
        else:
            run.session = sessions.open_visitor(site_id, run.visitor_id, ts_ms, attributes)
        run.ts_us = ts_ms * 1000
        return None

    return step


def make_row(parts: Parts, settings: CollectSection, limits: LimitsSection) -> EventFunction:
    """The anonymous row, its values in the order of `model.COLUMNS`."""

    def step(run: Run) -> Verdict:
        session, page = run.session, run.page
        run.outcome.rows.append(
            (
                run.site_id,
                run.ts_us,
                run.name,
                run.event_id,
                session.session_id,
                session.start_us,
                run.visitor_id,
                run.user_id,
                page.hostname,
                page.path,
                run.text,
                *session.attributes,
                *run.details,
            )
        )
        return None

    return step
