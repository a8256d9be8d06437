"""The right answer, computed the slow way: plain loops over plain events.

Follows the definitions users read in docs/metrics.md, not the SQL, and shares no code with
the package `query`: names, filters, buckets and metrics are all worked out here again.
"""

from __future__ import annotations

import itertools
import operator as compare
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from tests.query import filter_reading as reading
from tests.query.world import COUNTRY_NAMES, GOALS, SEGMENTS, SOURCE_NAMES, Event, micros, moment

Key = tuple[str, ...]
Answer = dict[Key, list[float | None]]

COUNTING_METRICS = ("visitors", "pageviews", "events")
"""Numbers of events that the cheap tables know."""
VISITOR_METRICS = ("visitors", "group_visitors")
"""Where goals are chosen: those asked about that have an event of the goal; for rates of groups, within the group."""
ACTIVE_METRICS = (*COUNTING_METRICS, "group_visitors", "exit_rate")
"""Those for which passive events count for nothing, but those of goals for visitors."""
MEASURING_METRICS = ("scroll_depth", "engagement_time")
REVENUE_METRICS = ("total_revenue", "average_revenue")
GOAL_METRICS = ("conversion_rate", "group_conversion_rate")
SHARES = (*GOAL_METRICS, "percentage")
EVENT_METRICS = (*COUNTING_METRICS, *MEASURING_METRICS, "exit_rate", "percentage")
SESSION_METRICS = ("sessions", "bounce_rate", "session_duration", "views_per_session")
NO_INTERACTION = ("pageview", "scroll", "engagement", "web_vital", "exposure", "not_found")
EVENT_COLUMNS = {
    "name": "name",
    "page": "path",
    "hostname": "hostname",
    "title": "title",
    "element": "element_id",
    "currency": "currency",
}


PATHS = ("event:page", "visit:entry_page", "visit:exit_page", "visit:referrer")
NUMBERS = {"gt": compare.gt, "gte": compare.ge, "lt": compare.lt, "lte": compare.le}


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
        hosts = [(event.at, event.hostname) for event in self.events if event.name == "pageview"]
        self.entry_host = min(hosts, default=None)
        self.exit_host = max(hosts, default=None)
        self.interactions = sum(event.interactive and event.name not in NO_INTERACTION for event in self.events)

    start: int = 0
    end: int = 0
    views: int = 0
    entry: tuple[int, str] | None = None
    exit: tuple[int, str] | None = None
    entry_host: tuple[int, str] | None = None
    exit_host: tuple[int, str] | None = None
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
        self, metrics: Sequence[str], dimensions: Sequence[str], filters: Sequence[Any], start: datetime, end: datetime
    ) -> Answer:
        """Values by group, in the order of `metrics`; groups in which nothing happened are absent."""
        first, last = micros(start), micros(end)
        matching = self._matching(filters, first, last)
        counted = dict.fromkeys(SHARES, "visitors") | {"group_conversion_rate": "group_visitors"}
        parts = {
            metric: self._metric(counted.get(metric, metric), dimensions, matching, first, last, filters)
            for metric in metrics
        }
        groups = {key for part in parts.values() for key in part} if dimensions else {()}
        whole = {metric: self._wider(metric, dimensions, filters, first, last) for metric in metrics}
        left = [index for index, name in enumerate(dimensions) if reading.divides_visitors(name)]
        found: Answer = {}
        for key in groups:
            found[key] = []
            for metric in metrics:
                value = self._value(metric, parts[metric].get(key, []))
                if metric in SHARES:
                    wide = whole[metric]
                    group = tuple(key[index] for index in left) if metric == "group_conversion_rate" else ()
                    value = 100 * (value or 0) / wide[group] if wide.get(group) else None
                found[key].append(value)
        return found

    def currencies(
        self, dimensions: Sequence[str], filters: Sequence[Any], start: datetime, end: datetime
    ) -> dict[str, set[str]]:
        """The currencies of the revenue that a question adds up: by goal, if it groups by goals, else under ""."""
        by_goal = "event:goal" in dimensions
        found: dict[str, set[str]] = defaultdict(set)
        for event in self._matching(filters, micros(start), micros(end)):
            for goal in [g for g in reading.goals_shown(filters) if self._is_of_goal(event, g)] if by_goal else [""]:
                if reading.pays(event, goal, filters, self._is_of_goal):
                    found[goal].add(event.currency)
        return dict(found)

    def _matching(self, filters: Sequence[Any], first: int, last: int) -> list[Event]:
        return [
            event
            for event in self.events
            if first <= event.at < last and all(self._holds(one, event) for one in filters)
        ]

    # A metric's raw material: per group, the distinct things that count.

    def _metric(
        self,
        metric: str,
        dimensions: Sequence[str],
        matching: Sequence[Event],
        first: int,
        last: int,
        filters: Sequence[Any],
    ) -> dict[Key, list[Any]]:
        found: dict[Key, dict[Any, Any]] = defaultdict(dict)
        goals = reading.goals_shown(filters)
        if metric not in SESSION_METRICS:
            place = dimensions.index("event:goal") if "event:goal" in dimensions else None
            of_goals = metric in VISITOR_METRICS and (place is not None or reading.chosen_goals(filters))
            divided = [
                n for n, name in enumerate(dimensions) if metric != "visitors" and reading.divides_visitors(name)
            ]
            among: dict[Key, set[Any]] = defaultdict(set)  # of goals: who is asked about, by group
            if of_goals:
                base = self._base(filters, first, last)
                found_base = self._metric("visitors", [dimensions[n] for n in divided], base, first, last, [])
                among |= {key: set(visitors) for key, visitors in found_base.items()}
            for number, event in enumerate(matching):
                if event.passive and not of_goals and (metric in ACTIVE_METRICS or _tells_no_scroll(metric, event)):
                    continue  # counts for nothing, and makes no group
                for key in self._keys(dimensions, event, event.at, goals):
                    group = found[key]  # exists whatever the event counts for
                    if of_goals:
                        known = among[tuple(key[n] for n in divided)]
                        days = [self._visitor(event, at) for at in (event.at, event.opened_at)]
                        group |= {one: one for one in [one for one in days if one in known][:1]}
                    elif metric not in REVENUE_METRICS:
                        self._count(metric, number, event, group)
                    elif reading.pays(event, "" if place is None else key[place], filters, self._is_of_goal):
                        group[number] = event.revenue
            return {key: list(group.values()) for key, group in found.items()}
        by_event = any(name.startswith(("event:", "experiment:")) for name in dimensions) or reading.names_pages(
            filters
        )
        for event in matching:
            whose = event.opened_at, event.session_id
            session = self.sessions[whose]
            if not first <= session.start < last:
                continue
            entered_here = session.entry is not None and session.entry[1] == event.path and session.entry[0] < last
            if metric == "bounce_rate" and by_event and not entered_here:
                continue
            for key in self._keys(dimensions, event, session.start, goals):
                found[key][whose] = session
        return {key: list(group.values()) for key, group in found.items()}

    def _count(self, metric: str, number: int, event: Event, group: dict[Any, Any]) -> None:
        """Add what the event counts for."""
        if metric in VISITOR_METRICS:
            if event.visitor_id:
                visitor = self._visitor(event, event.at)
                group[visitor] = visitor
        elif metric == "scroll_depth":
            if event.scroll_depth:
                page = event.opened_at, event.session_id, event.path
                group[page] = max(group.get(page, 0), event.scroll_depth)
        elif metric in ("engagement_time", "exit_rate"):
            group[number] = event
        elif metric == "events" or event.name == "pageview":
            group[number] = 1

    def _visitor(self, event: Event, at: int) -> tuple[Any, int]:
        return self._local(at).date(), event.visitor_id

    def _base(self, filters: Sequence[Any], first: int, last: int) -> list[Event]:
        """What a conversion is of: the events that pass the filters, whatever is said of goals and of properties."""
        filters = reading.without_goals(filters)
        every = self._matching([], first, last)
        return [e for e in every if all(True in reading.could(one, e, self._holds) for one in filters)]

    def _value(self, metric: str, things: list[Any]) -> float | None:
        if metric in (*COUNTING_METRICS, *SHARES, "sessions"):
            return len(things)
        if metric == "total_revenue":
            return float(sum(things))
        if metric == "engagement_time":
            views = sum(event.name == "pageview" for event in things)
            return sum(event.engagement_ms for event in things) / views / 1000 if views else None
        if metric == "exit_rate":
            views = [event for event in things if event.name == "pageview"]
            ends = {(e.opened_at, e.session_id) for e in views if self._session_of(e).exit == (e.at, e.path)}
            return 100 * len(ends) / len(views) if views else None
        if metric in ("scroll_depth", "average_revenue"):
            return float(sum(things)) / len(things) if things else None
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

    def _wider(
        self, metric: str, dimensions: Sequence[str], filters: Sequence[Any], first: int, last: int
    ) -> dict[Key, int]:
        """The visitors that a share is of, by group."""
        if metric not in SHARES:
            return {}
        matching = self._matching(filters, first, last)
        if metric != "percentage":
            matching = self._base(filters, first, last)
            filters = reading.without_goals(filters)
        by_group = metric == "group_conversion_rate"
        groups = [name for name in dimensions if by_group and reading.divides_visitors(name)]
        found = self._metric("visitors", groups, matching, first, last, filters)
        return {key: len(things) for key, things in found.items()}

    # Dimensions.

    def _keys(self, dimensions: Sequence[str], event: Event, at: int, goals: Sequence[str]) -> list[Key]:
        """The groups that the event is in: one, or as many as it has goals."""
        values = [self._values(name, event, at, goals) for name in dimensions]
        return list(itertools.product(*values))

    def _values(self, name: str, event: Event, at: int, goals: Sequence[str]) -> list[str]:
        if name == "event:goal":
            return [goal for goal in goals if self._is_of_goal(event, goal)]
        return [bucket_label(name, self._local(at)) if name.startswith("time:") else self._value_of(name, event)]

    def _is_of_goal(self, event: Event, goal: str) -> bool:
        """Does the event meet all of the goal's filters, a passive one in a way that speaks of passive events?"""
        if not event.passive:
            return all(self._holds(one, event) for one in GOALS[goal][1])
        return any(
            any(map(reading.speaks_of_passive, way)) and all(self._holds(one, event) for one in way)
            for way in reading.ways_to_meet(["and", GOALS[goal][1]])
        )

    def _session_of(self, event: Event) -> Session:
        return self.sessions[event.opened_at, event.session_id]

    def _value_of(self, name: str, event: Event) -> str:
        scope, _, field = name.partition(":")
        if scope == "experiment":
            return event.variant if event.experiment == field else ""
        if scope == "visit":
            session = self._session_of(event)
            if field in ("entry_page", "exit_page"):
                view = session.entry if field == "entry_page" else session.exit
                return view[1] if view else ""
            if field in ("entry_page_hostname", "exit_page_hostname"):
                host = session.entry_host if field == "entry_page_hostname" else session.exit_host
                return host[1] if host else ""
            if field == "country_name":
                return COUNTRY_NAMES.get(event.attributes["country"], event.attributes["country"])
            return event.attributes[field]
        if field.startswith("props:"):
            return event.props.get(field.removeprefix("props:"), "")
        if field == "scroll_depth":
            return str(event.scroll_depth // 10 * 10)
        return str(getattr(event, EVENT_COLUMNS[field]))

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
        if operator in ("has_done", "has_not_done"):
            done = any(self._holds(item[1], other) for other in self._session_of(event).events)
            return done is (operator == "has_done")
        if operator == "sequence":
            return self._done_in_order(item[1], self._session_of(event), after=-1)
        if operator == "goal":
            return self._is_of_goal(event, item[1])
        if operator == "segment":
            return all(self._holds(one, event) for one in SEGMENTS[item[1]])
        if item[1] == "segment":
            return any(self._holds(["segment", name], event) for name in item[2]) is (operator == "is")
        if item[1] == "event:goal":
            one_of = any(self._is_of_goal(event, name) for name in reading.goals_named(item))
            return one_of is not operator.endswith("_not")
        return self._compares(item, event)

    def _done_in_order(self, steps: Sequence[Any], session: Session, after: int) -> bool:
        """Does an event later than `after` meet the first step, one later than that the second, and so on?"""
        return not steps or any(
            other.at > after and self._holds(steps[0], other) and self._done_in_order(steps[1:], session, other.at)
            for other in session.events
        )

    def _compares(self, item: Any, event: Event) -> bool:
        operator, name, wanted = item[:3]
        if operator in NUMBERS:
            return bool(NUMBERS[operator](event.scroll_depth, float(wanted[0])))
        negated = operator.endswith("_not")
        method = operator.removesuffix("_not")
        if negated and method != "is" and not _carries(name, event):
            return False
        ignore_case = len(item) > 3 and item[3] == {"case_sensitive": False}
        value = self._value_of(name, event)
        if name in ("visit:source", "visit:channel"):
            wanted = [text or "Direct" for text in wanted]
        if name == "visit:country_name" and method == "is":
            wanted = [COUNTRY_NAMES.get(text, text) for text in wanted]
        if method != "matches":
            wanted = [spelt for text in wanted for spelt in _spelt(name, str(text), method)]
        found = _meets(method, value, tuple(map(str, wanted)), ignore_case, name in PATHS)
        return found is not negated


def bucket_label(name: str, local: datetime) -> str:
    """The calendar bucket of a local time; a minute or hour is what the clock shows, and how far it is from UTC."""
    shown = local.replace(second=0, microsecond=0, tzinfo=timezone(local.utcoffset() or timedelta()))
    match name.removeprefix("time:"):
        case "minute":
            return shown.isoformat(timespec="minutes")
        case "hour":
            return shown.replace(minute=0).isoformat(timespec="minutes")
        case "day":
            return local.date().isoformat()
        case "week":
            return (local.date() - timedelta(days=local.weekday())).isoformat()
        case "month":
            return local.date().replace(day=1).isoformat()
    raise AssertionError(name)


def _spelt(name: str, text: str, method: str) -> set[str]:
    """A value as it may be stored.

    Whole sources are stored by their one name, hosts, also as the beginning of a referrer, in lower case.
    """
    whole = method == "is" or (method == "matches_wildcard" and "*" not in text)
    if name == "visit:source":
        return {text, SOURCE_NAMES.get(text, text)} if whole else {text}
    if name.endswith("hostname"):
        return {text, text.lower()}
    if name == "visit:referrer":
        host, slash, path = text.partition("/")
        return {text, f"{host.lower()}{slash}{path}"}
    return {text}


def _tells_no_scroll(metric: str, event: Event) -> bool:
    return metric == "scroll_depth" and not event.scroll_depth


@cache
def _meets(method: str, value: str, wanted: tuple[str, ...], ignore_case: bool, path: bool) -> bool:
    """Does a value meet any of the wanted ones?"""
    match method:
        case "is":
            return any(_same(text, value, ignore_case) for text in wanted)
        case "contains":
            return any(_same(text, part, ignore_case) for part in _parts(value) for text in wanted)
        case "matches":
            return any(re.search(text, value) for text in wanted)
        case "matches_wildcard":
            return any(_fits(_cut(text, path), value, ignore_case) for text in wanted)
    raise AssertionError(method)


def _carries(name: str, event: Event) -> bool:
    """Does the event have the property, or is it of the experiment? Everything else every event has."""
    if name.startswith("event:props:"):
        return name.removeprefix("event:props:") in event.props
    return not name.startswith("experiment:") or event.experiment == name.removeprefix("experiment:")


def _same(text: str, other: str, ignore_case: bool) -> bool:
    return _folded(text) == _folded(other) if ignore_case else text == other


def _folded(text: str) -> str:
    """Canonical caseless matching, with one letter i."""
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return re.sub("[iı]\u0307*", "i", text)


def _parts(value: str) -> list[str]:
    """All parts of a text."""
    return [value[start:end] for start in range(len(value)) for end in range(start + 1, len(value) + 1)]


def _cut(wildcard: str, path: bool) -> list[str]:
    """A wildcard in single characters and stars; where values are no paths, one star is two."""
    pieces = re.findall(r"\*\*|.", wildcard, re.DOTALL)
    return pieces if path else ["**" if piece == "*" else piece for piece in pieces]


def _fits(pieces: Sequence[str], value: str, ignore_case: bool) -> bool:
    """`**` takes anything, `*` anything but a slash: by trying every way to split the value."""
    if not pieces:
        return not value
    if pieces[0] in ("*", "**"):
        most = value.find("/") if pieces[0] == "*" and "/" in value else len(value)
        return any(_fits(pieces[1:], value[cut:], ignore_case) for cut in range(most + 1))
    stars = [index for index, piece in enumerate(pieces) if piece in ("*", "**")]
    end = stars[0] if stars else len(pieces)
    text = "".join(pieces[:end])
    return any(
        _fits(pieces[end:], value[cut:], ignore_case)
        for cut in range(1, len(value) + 1)
        if _same(text, value[:cut], ignore_case)
    )
