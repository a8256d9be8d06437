"""The request steps: what its headers say of all its events, and the events' times."""

from __future__ import annotations

from analytics_server.collect.drops import DropReason
from analytics_server.collect.enrich.bot import loaded_ahead
from analytics_server.collect.enrich.bot_reason import BotReason
from analytics_server.collect.enrich.client_hints import BRANDS_HEADER, says_headless
from analytics_server.collect.enrich.privacy_signal import privacy_signal
from analytics_server.collect.formats.beacon import Beacon, parse_timestamp
from analytics_server.collect.formats.warnings import WarningCode
from analytics_server.collect.steps.parts import Parts, RequestFunction
from analytics_server.collect.steps.run import EventContext, Run
from analytics_server.collect.steps.verdict import Drop, bot
from analytics_server.config import CollectSection, LimitsSection

OLDEST_MS = 946_684_800_000
"""2000-01-01: the earliest time an import may carry."""
SAME_CLOCK_MS = 1000
"""A server whose `sent_at` is so near has a right clock: the rest is how long the request took, which varies."""

_DROPS = {reason: Drop(reason) for reason in DropReason}


def make_privacy_signal(parts: Parts, settings: CollectSection, limits: LimitsSection) -> RequestFunction:
    """Drop what a browser sends that asked not to be tracked."""
    respect_dnt, respect_gpc = settings.respect_dnt, settings.respect_gpc

    def step(run: Run) -> Drop | None:
        origin = run.origin
        if origin.dnt is None and origin.gpc is None:
            return None
        signal = privacy_signal(origin.dnt, origin.gpc, respect_dnt=respect_dnt, respect_gpc=respect_gpc)
        return None if signal is None else _DROPS[signal]

    return step


def make_bot(parts: Parts, settings: CollectSection, limits: LimitsSection) -> RequestFunction:
    """Drop what automation sends, and pages that a browser loads ahead of time. Not what a trusted server sends."""
    drop_bots, judge, name_of = settings.drop_bots, parts.bots.judge, parts.bots.name_of

    def step(run: Run) -> Drop | None:
        if run.trusted or not drop_bots:
            return None
        origin = run.origin
        if (origin.sec_purpose or origin.purpose or origin.x_moz) and loaded_ahead(
            origin.sec_purpose, origin.purpose, origin.x_moz
        ):
            return _DROPS[DropReason.PREFETCH]
        if origin.hints is not None and says_headless(origin.hints[BRANDS_HEADER]):
            return bot(BotReason.HEADLESS, name_of(origin.user_agent))
        kind = judge(origin.user_agent)
        return None if kind is None else bot(kind, name_of(origin.user_agent))

    return step


def make_time(parts: Parts, settings: CollectSection, limits: LimitsSection) -> RequestFunction:
    """Read the events' times and put the events in their order; a public one too far off is clamped and counted."""
    max_future_ms, max_past_ms = settings.max_future_s * 1000, settings.max_past_s * 1000

    def time_of(beacon: Beacon, index: int, run: Run) -> int | None:
        """Epoch milliseconds; None when the event's time is none."""
        now_ms = run.now_ms
        ts_ms = now_ms if beacon.timestamp is None else parse_timestamp(beacon.timestamp)
        if ts_ms is None:
            return None
        if beacon.sent_at is not None:
            ts_ms = _corrected(ts_ms, beacon, index, run)
        if run.trusted:
            earliest = OLDEST_MS
            if ts_ms < earliest:
                return None
        else:
            earliest = now_ms - max_past_ms
        clamped = min(max(ts_ms, earliest), now_ms + max_future_ms)
        if clamped != ts_ms:
            run.outcome.clamped += 1
        return clamped

    def step(run: Run) -> Drop | None:
        now_ms, origin, events = run.now_ms, run.origin, run.events
        timed = False
        for index, beacon in run.beacons:
            if beacon.timestamp is None and beacon.sent_at is None:
                events.append(EventContext(index, beacon, now_ms, origin))
            else:
                timed = True
                events.append(EventContext(index, beacon, time_of(beacon, index, run), origin))
        if timed and len(events) > 1:
            events.sort(key=_by_time)
        return None

    return step


def _corrected(ts_ms: int, beacon: Beacon, index: int, run: Run) -> int:
    """The time by this server's clock: `timestamp` and `sent_at` are off by the same."""
    sent_ms = parse_timestamp(beacon.sent_at) if beacon.sent_at is not None else None
    if sent_ms is not None:
        if beacon.timestamp is None:
            return ts_ms
        if run.trusted and abs(run.now_ms - sent_ms) <= SAME_CLOCK_MS:
            return min(ts_ms, sent_ms)  # By each request's way, events of one sender would change their order.
        corrected_ms = run.now_ms - max(0, sent_ms - ts_ms)
        if corrected_ms >= OLDEST_MS:
            return corrected_ms
    run.outcome.index = index
    run.outcome.warn("sent_at", WarningCode.LEFT_OUT)
    return ts_ms


def _by_time(event: EventContext) -> int:
    return event.ts_ms or 0
