"""The right answer, computed the slow way: plain loops over plain events.

Follows the definitions users read in docs/metrics.md, not the SQL, and shares no code with
the query room: names, filters, buckets and metrics are all worked out here again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.query.world import Event, micros, moment

Key = tuple[str, ...]
Answer = dict[Key, list[float | None]]

EVENT_METRICS = ("visitors", "pageviews", "events")
SESSION_METRICS = ("sessions", "bounce_rate", "session_duration", "views_per_session")
PASSIVE = ("pageview", "scroll", "engagement", "web_vital", "exposure", "not_found")
EVENT_COLUMNS = {"name": "name", "page": "path", "hostname": "hostname", "title": "title", "element": "element_id"}


@dataclass(slots=True)
class Session:
    """All events of one session, and what follows from them."""

    events: list[Event]

    def __post_init__(self) -> None:
        views = [(event.at, event.path) for event in self.events if event.name == "pageview"]
        self.start = min(event.at for event in self.events)
        self.end = max(event.at for event in self.events)
        self.views = len(views)
        self.entry = min(views, default=None)
        self.exit = max(views, default=None)
        self.interactions = sum(event.name not in PASSIVE for event in self.events)

    start: int = 0
    end: int = 0
    views: int = 0
    entry: tuple[int, str] | None = None
    exit: tuple[int, str] | None = None
    interactions: int = 0


class Oracle:
    """Answers questions about one site by looking at every event."""

    def __init__(self, events: Iterable[Event], site_id: str, zone: str) -> None:
        self.zone = ZoneInfo(zone)
        self.events = [event for event in events if event.site_id == site_id]
        grouped: dict[tuple[int, str], list[Event]] = defaultdict(list)
        for event in self.events:
            grouped[event.opened_at, event.session_id].append(event)
        self.sessions = {key: Session(found) for key, found in grouped.items()}

    def answer(
        self,
        metrics: Sequence[str],
        dimensions: Sequence[str],
        filters: Sequence[Any],
        start: datetime,
        end: datetime,
    ) -> Answer:
        """Values by group, in the order of `metrics`; groups in which nothing happened are absent."""
        first, last = micros(start), micros(end)
        matching = [
            event
            for event in self.events
            if first <= event.at < last and all(self._holds(one, event) for one in filters)
        ]
        parts = {metric: self._metric(metric, dimensions, matching, first, last) for metric in metrics}
        groups = {key for part in parts.values() for key in part} if dimensions else {()}
        return {key: [self._value(metric, parts[metric].get(key, [])) for metric in metrics] for key in groups}

    # A metric's raw material: per group, the distinct things that count.

    def _metric(
        self, metric: str, dimensions: Sequence[str], matching: Sequence[Event], first: int, last: int
    ) -> dict[Key, list[Any]]:
        found: dict[Key, dict[Any, Any]] = defaultdict(dict)
        if metric in EVENT_METRICS:
            for number, event in enumerate(matching):
                # Groups exist as soon as an event falls into them, whatever it counts for.
                group = found[self._key(dimensions, event, event.at)]
                if metric == "visitors" and event.visitor_id:
                    group[self._local(event.at).date(), event.visitor_id] = 1
                elif metric == "events" or (metric == "pageviews" and event.name == "pageview"):
                    group[number] = 1
            return {key: list(group.values()) for key, group in found.items()}
        by_event = any(name.startswith(("event:", "experiment:")) for name in dimensions)
        for event in matching:
            key = event.opened_at, event.session_id
            session = self.sessions[key]
            if not first <= session.start < last:
                continue
            entered_here = session.entry is not None and session.entry[1] == event.path and session.entry[0] < last
            if metric == "bounce_rate" and by_event and not entered_here:
                continue
            found[self._key(dimensions, event, session.start)][key] = session
        return {key: list(group.values()) for key, group in found.items()}

    @staticmethod
    def _value(metric: str, things: list[Any]) -> float | None:
        if metric in (*EVENT_METRICS, "sessions"):
            return len(things)
        sessions: list[Session] = things
        if metric == "bounce_rate":
            viewed = [session for session in sessions if session.views]
            bounced = [session for session in viewed if session.views == 1 and not session.interactions]
            return 100 * len(bounced) / len(viewed) if viewed else None
        if not sessions:
            return None
        if metric == "session_duration":
            return sum(session.end - session.start for session in sessions) / len(sessions) / 1e6
        return sum(session.views for session in sessions) / len(sessions)

    # Dimensions.

    def _key(self, dimensions: Sequence[str], event: Event, at: int) -> Key:
        return tuple(
            self._bucket(name, at) if name.startswith("time:") else self._value_of(name, event) for name in dimensions
        )

    def _value_of(self, name: str, event: Event) -> str:
        scope, _, field = name.partition(":")
        if scope == "experiment":
            return event.variant if event.experiment == field else ""
        if scope == "visit":
            session = self.sessions[event.opened_at, event.session_id]
            if field in ("entry_page", "exit_page"):
                view = session.entry if field == "entry_page" else session.exit
                return view[1] if view else ""
            return event.attributes[field]
        if field.startswith("props:"):
            return event.props.get(field.removeprefix("props:"), "")
        return str(getattr(event, EVENT_COLUMNS[field]))

    def _bucket(self, name: str, at: int) -> str:
        local = self._local(at)
        match name.removeprefix("time:"):
            case "minute":
                return local.replace(second=0, microsecond=0).isoformat(timespec="minutes")
            case "hour":
                return local.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes")
            case "day":
                return local.date().isoformat()
            case "week":
                return (local.date() - timedelta(days=local.weekday())).isoformat()
            case "month":
                return local.date().replace(day=1).isoformat()
        raise AssertionError(name)

    def _local(self, at: int) -> datetime:
        return moment(at).astimezone(UTC).astimezone(self.zone)

    # Filters.

    def _holds(self, item: Any, event: Event) -> bool:
        operator = item[0]
        if operator == "and":
            return all(self._holds(inner, event) for inner in item[1])
        if operator == "or":
            return any(self._holds(inner, event) for inner in item[1])
        if operator == "not":
            return not self._holds(item[1], event)
        negated = operator.endswith("_not")
        value, wanted = self._value_of(item[1], event), item[2]
        ignore_case = len(item) > 3 and item[3] == {"case_sensitive": False}
        if ignore_case:
            value, wanted = value.lower(), [text.lower() for text in wanted]
        match operator.removesuffix("_not"):
            case "is":
                found = value in wanted
            case "contains":
                found = any(text in value for text in wanted)
            case "matches":
                found = any(re.search(text, value) for text in wanted)
            case "matches_wildcard":
                found = any(_fits(text, value) for text in wanted)
            case _:
                raise AssertionError(operator)
        return found is not negated


def _fits(wildcard: str, value: str) -> bool:
    """`**` takes anything, `*` anything but a slash: by trying every way to split the value."""
    if not wildcard:
        return not value
    if wildcard.startswith("**"):
        return any(_fits(wildcard[2:], value[cut:]) for cut in range(len(value) + 1))
    if wildcard.startswith("*"):
        most = value.find("/") if "/" in value else len(value)
        return any(_fits(wildcard[1:], value[cut:]) for cut in range(most + 1))
    return value[:1] == wildcard[0] and _fits(wildcard[1:], value[1:])
