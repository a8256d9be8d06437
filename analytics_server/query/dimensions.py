"""The only registry of dimensions: names, meaning and SQL.

Every identifier that reaches SQL comes from here or from `metrics`; what a client names
is looked up, never pasted. An expression is written once per source it can be read from:
`e.` is a row of `events`, `s.` one of `sessions`, `b.` a bucket of `traffic`, `t.` a row of
`day_totals`. Placeholders that are filled in when SQL is made: `@at` (the column that dates
the row), `@key` (the bound property or experiment name), `@goal` (the names of the goals
that the row is one of), and the names of `Dimension.lists`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from analytics_server.errors import RequestError
from analytics_server.spelling.countries import country_lists

Interval = Literal["minute", "hour", "day", "week", "month"]

SCROLL_STEP = 10
"""Per cent of the page that one value of event:scroll_depth stands for."""

DIRECT = "Direct"
"""The source and the channel that are stored where there is none."""


class Scope(StrEnum):
    """What a field belongs to: a moment, one event, or a whole session."""

    TIME = "time"
    EVENT = "event"
    SESSION = "session"


class ValueKind(StrEnum):
    """What a dimension's values are, and so how the values of filters on it are read."""

    TEXT = "text"
    PATH = "path"
    COUNTRY_CODE = "country_code"
    COUNTRY_NAME = "country_name"
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """What answers can be grouped and filtered by.

    `joined`: on events it is known only from the session's row, so a join is needed.
    `family`: the name ends in a key of the client's choice (`event:props:plan`); `present`: whether an event has a
    value of that key at all. `number`: of numbers, the exact one, of which the dimension's value is a class.
    `absent`: the word that is stored where there is nothing. `kept_as`: under which name `day_totals` keeps it,
    nothing if it doesn't; `totals`: its value there. `lists`: constant lists that the expressions name.
    """

    name: str
    about: str
    scope: Scope
    events: str
    sessions: str = ""
    traffic: str = ""
    joined: bool = False
    family: bool = False
    present: str = ""
    key: str = ""
    interval: Interval | None = None
    values: ValueKind = ValueKind.TEXT
    number: str = ""
    absent: str = ""
    kept_as: str = ""
    totals: str = "t.value"
    lists: Callable[[], Mapping[str, Sequence[str]]] | None = None


def _time(interval: Interval, sql: str) -> Dimension:
    return Dimension(
        name=f"time:{interval}",
        about=f"The calendar {interval} in the site's time zone.",
        scope=Scope.TIME,
        events=sql,
        sessions=sql,
        traffic="" if interval == "minute" else sql,
        interval=interval,
    )


def _session(name: str, about: str, *, values: ValueKind = ValueKind.TEXT, absent: str = "") -> Dimension:
    return Dimension(
        name=f"visit:{name}",
        about=about,
        scope=Scope.SESSION,
        events=f"e.{name}",
        sessions=f"s.{name}",
        kept_as=f"visit:{name}",
        values=values,
        absent=absent,
    )


def _edge_page(edge: Literal["entry", "exit"], about: str) -> Dimension:
    return Dimension(
        name=f"visit:{edge}_page",
        about=about,
        scope=Scope.SESSION,
        events=f"s.{edge}_page",
        sessions=f"tupleElement(s.{edge}, 'path')",
        joined=True,
        kept_as=f"visit:{edge}_page",
        values=ValueKind.PATH,
    )


def _edge_host(edge: Literal["entry", "exit"], about: str) -> Dimension:
    return Dimension(
        name=f"visit:{edge}_page_hostname",
        about=about,
        scope=Scope.SESSION,
        events=f"s.{edge}_page_hostname",
        sessions=f"tupleElement(s.{edge}_host, 'host')",
        joined=True,
    )


def _event(
    name: str,
    column: str,
    about: str,
    *,
    sessions: str = "",
    traffic: str = "",
    kept: bool = False,
    values: ValueKind = ValueKind.TEXT,
) -> Dimension:
    return Dimension(
        name=f"event:{name}",
        about=about,
        scope=Scope.EVENT,
        events=f"e.{column}",
        sessions=sessions,
        traffic=traffic,
        kept_as=f"event:{name}" if kept else "",
        values=values,
    )


GOAL = Dimension(
    name="event:goal",
    about="The site's saved goals that the event is one of: it may be one of several, or of none.",
    scope=Scope.EVENT,
    events="@goal",
    traffic="@goal",
)
CURRENCY = _event("currency", "revenue_currency", "Currency of the event's revenue; empty on events without revenue.")

AUTO_TIME = Dimension(
    name="time",
    about="The calendar minute, hour, day or month, whichever suits the length of the range.",
    scope=Scope.TIME,
    events="",
)

DIMENSIONS: tuple[Dimension, ...] = (
    AUTO_TIME,
    # Hours and minutes are instants (epoch seconds), because a clock hour occurs twice when
    # summer time ends; longer buckets are calendar dates.
    _time("minute", "toUnixTimestamp(toStartOfMinute(@at, {tz:String}))"),
    # An hour begins by the local clock, which toStartOfHour misses in some zones. HOUR_BETWEEN_CHANGES stands in for
    # this where clocks are changed within an hour.
    _time("hour", "toUnixTimestamp(@at) - 60 * toMinute(@at, {tz:String}) - toSecond(@at)"),
    _time("day", "toDate(@at, {tz:String})"),
    _time("week", "toMonday(@at, {tz:String})"),
    _time("month", "toStartOfMonth(@at, {tz:String})"),
    _event("name", "name", "Name of the event: pageview, click, … or a custom one.", traffic="b.name", kept=True),
    _event(
        "page",
        "path",
        "Path of the page the event happened on.",
        sessions="tupleElement(s.entry, 'path')",
        kept=True,
        values=ValueKind.PATH,
    ),
    _event("hostname", "hostname", "Host of the page the event happened on.", kept=True),
    _event("title", "title", "Title of the page the event happened on."),
    _event("element", "element_id", "id of the element that was used (clicks, forms, links)."),
    Dimension(
        name="event:scroll_depth",
        about="Scroll depth that the event reports, in tens of per cent: 0 for 0 to 9, …, 90 for 90 to 99, and 100.",
        scope=Scope.EVENT,
        events=f"toString(intDiv(e.scroll_depth, {SCROLL_STEP}) * {SCROLL_STEP})",
        values=ValueKind.NUMBER,
        number="e.scroll_depth",
    ),
    GOAL,
    CURRENCY,
    Dimension(
        name="event:props:*",
        about="A property of the event; events without it have an empty value.",
        scope=Scope.EVENT,
        events="e.props[@key]",
        family=True,
        present="mapContains(e.props, @key)",
    ),
    _edge_page("entry", "Path of the session's first page view."),
    _edge_page("exit", "Path of the session's last page view."),
    _edge_host("entry", "Host of the session's first page view."),
    _edge_host("exit", "Host of the session's last page view."),
    _session("source", "Traffic source of the session's first event, such as Google; Direct for none.", absent=DIRECT),
    _session("referrer", "Host and path the session came from.", values=ValueKind.PATH),
    _session("channel", "Channel group of the session's first event, such as Organic Search.", absent=DIRECT),
    _session("utm_source", "Campaign tag utm_source of the session's first event."),
    _session("utm_medium", "Campaign tag utm_medium of the session's first event."),
    _session("utm_campaign", "Campaign tag utm_campaign of the session's first event."),
    _session("utm_content", "Campaign tag utm_content of the session's first event."),
    _session("utm_term", "Campaign tag utm_term of the session's first event."),
    _session("device", "Desktop, Mobile, Tablet or TV."),
    _session("browser", "Browser family."),
    _session("browser_version", "Major version of the browser."),
    _session("os", "Operating system family."),
    _session("os_version", "Version of the operating system."),
    _session("country", "Two-letter country code (ISO 3166-1).", values=ValueKind.COUNTRY_CODE),
    Dimension(
        name="visit:country_name",
        about="English name of the country; the code where it has none.",
        scope=Scope.SESSION,
        events="transform(e.country, @codes, @names, e.country)",
        sessions="transform(s.country, @codes, @names, s.country)",
        totals="transform(t.value, @codes, @names, t.value)",
        kept_as="visit:country",
        values=ValueKind.COUNTRY_NAME,
        lists=country_lists,
    ),
    _session("region", "First-level subdivision of the country."),
    _session("city", "City."),
    _session("screen", "Screen size as WIDTHxHEIGHT."),
    _session("language", "Preferred language tag."),
    Dimension(
        name="experiment:*",
        about="Variant of that experiment which the event carries; other events have an empty value.",
        scope=Scope.EVENT,
        events="if(e.experiment = @key, e.variant, '')",
        family=True,
        present="e.experiment = @key",
    ),
)

HOUR_BETWEEN_CHANGES = (
    "greatest(toUnixTimestamp(@at) - (toUnixTimestamp(@at) + transform(@change, {clock_changes:Array(UInt32)},"
    " {clock_offsets:Array(Int32)}, 0)) % 3600, @change)"
)
HOUR_CHANGE = "roundDown(toUnixTimestamp(@at), {clock_changes:Array(UInt32)})"
"""The first instant of the local clock's hour. A change of the clock begins an hour, too: `@change` is the last one
before, as `HOUR_CHANGE` finds it. To go back by the minutes that the clock shows is not enough: from 02:50+12:45 in
Pacific/Chatham that comes to 03:00+13:45, which is the start of another hour."""

SESSION = Dimension(
    name="session",
    about="The session itself, by its hash: what has_done compares. No client can name it.",
    scope=Scope.SESSION,
    events="e.session_key",
    sessions="s.session_key",
)

ACTIVE_EVENT = Dimension(
    name="active",
    about="Whether the event is an active one: what goals compare. No client can name it.",
    scope=Scope.EVENT,
    events="e.passive = 0",
)

KEY_CHARS = 120
"""Longest property or experiment name that can be asked for."""

_DIMENSIONS = {dimension.name: dimension for dimension in DIMENSIONS if not dimension.family}
_FAMILIES = {dimension.name.removesuffix("*"): dimension for dimension in DIMENSIONS if dimension.family}


def find_dimension(name: str) -> Dimension:
    """The dimension of that name; raises `RequestError` naming the nearest one."""
    found = _DIMENSIONS.get(name)
    if found is not None:
        return found
    for prefix, family in _FAMILIES.items():
        key = name.removeprefix(prefix)
        if key != name and 0 < len(key) <= KEY_CHARS:
            return replace(family, name=name, key=key)
        if key != name:
            raise RequestError(
                f"{prefix}… needs a name of 1 to {KEY_CHARS} characters after the colon.", code="unknown_dimension"
            )
    names = [*_DIMENSIONS, *(family.name for family in _FAMILIES.values())]
    raise RequestError(f"There is no dimension {name!r}.{nearest(name, names)}", code="unknown_dimension")


PAGE = find_dimension("event:page")

_OF_EXITS = {
    "event:page": "tupleElement(s.exit, 'path')",
    "event:name": "'pageview'",
    GOAL.name: "@goal",
    ACTIVE_EVENT.name: "1",
}


def of_exits(dimension: Dimension) -> str:
    """The dimension over the row `s` of a session, for its last page view; "" if only the event itself tells."""
    return _OF_EXITS.get(dimension.name, "") if dimension.scope is Scope.EVENT else dimension.sessions


def is_property(dimension: Dimension) -> bool:
    """Is it a property of events (`event:props:*`)?"""
    return dimension.family and dimension.name.startswith("event:props:")


def has_one_value(dimension: Dimension) -> bool:
    """Does each event have one value of it, so that events can be divided by it? Not of times, nor of goals."""
    return dimension.scope is not Scope.TIME and dimension is not GOAL


NEAREST_CHARS = 120
"""Of a wrong name, so that a long one is not compared at length."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the closest valid name, or all of them."""
    known = sorted(names)
    close = difflib.get_close_matches(name[:NEAREST_CHARS], known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else f" Valid: {', '.join(known)}."
