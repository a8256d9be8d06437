"""What is stored, field by field: every column of `events`, of what is derived from it, and of all other tables.

Owns a sentence and a class for each column of `events` and of what is derived from it. A test holds `TABLES` against
the tables and columns that ClickHouse has after the migrations, so a new one can't be forgotten here.
"""

from __future__ import annotations

from analytics_server.model import COLUMNS, SESSION_ATTRIBUTES
from analytics_server.privacy.report.other_tables import OTHER_TABLES
from analytics_server.privacy.report.stored import DataClass, KeptFor, StoredTable

_P, _S, _C, _A, _T = (
    DataClass.PERSONAL,
    DataClass.PSEUDONYMOUS,
    DataClass.CONTENT,
    DataClass.ATTRIBUTE,
    DataClass.TECHNICAL,
)
_CLASSES = {
    "user_id": _P,
    **dict.fromkeys(("visitor_id", "session_id"), _S),
    **dict.fromkeys(("path", "title", "referrer", "element_id", "element_text", "element_href", "props", "name"), _C),
    **dict.fromkeys(("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term"), _C),
    **dict.fromkeys(("site_id", "ts", "event_id", "session_start", "passive", "interactive"), _T),
}
_ABOUT = {column.name: column.about for column in COLUMNS}
_SITE = {"site_id": (_T, "The site.")}
_DAY = {"day": (_T, "The day in the site's time zone.")}
_BUILD_ID = {"build_id": (_T, "Which building of the day the row belongs to.")}
_BUILD = {**_SITE, **_DAY, **_BUILD_ID, "timezone": (_T, "The site's time zone when the day was built.")}
_EVENT_COUNT = {"events": (_T, "How many events.")}
_OPENED_EVENTS = {"opened_events": (_T, "How many events the sessions had that were opened then.")}


def _of_event(name: str) -> tuple[DataClass, str]:
    return _CLASSES.get(name, _A), _ABOUT[name]


_SESSION_KEY = (_S, "Hash of the session's opening time and id, by which it is looked up.")
_EVENTS = StoredTable(
    "events",
    "One row per event: everything else is computed from it.",
    KeptFor.EVENTS,
    {
        **{column.name: _of_event(column.name) for column in COLUMNS},
        "batch_id": (_T, "Which insert wrote the row, so that it is stored exactly once."),
        "session_key": _SESSION_KEY,
    },
)
_SESSIONS = StoredTable(
    "sessions",
    "One row per session: bounces, durations, entry and exit pages.",
    KeptFor.EVENTS,
    {
        **{name: _of_event(name) for name in ("site_id", "session_id", "visitor_id", "user_id", "hostname")},
        **{name: _of_event(name) for name in SESSION_ATTRIBUTES},
        "opened_at": (_T, "When the server opened the session."),
        "session_key": _SESSION_KEY,
        "started_at": (_T, "Time of its first event."),
        "ended_at": (_T, "Time of its last event so far."),
        "kept_open_at": (_T, "Time of the last event that keeps it open."),
        "visitor_ids": (_S, "Its visitors' hashes: two where it lasts over midnight UTC."),
        "pageviews": (_T, "How many page views it has."),
        "events": (_T, "How many events it has."),
        "active_events": (_T, "How many active events it has."),
        "interactions": (_T, "How many of its events end a bounce."),
        "entry": (_C, "Time and path of its first page view."),
        "exit": (_C, "Time and path of its last page view."),
        "entry_host": (_A, "Time and host of its first page view."),
        "exit_host": (_A, "Time and host of its last page view."),
    },
)
_TRAFFIC = StoredTable(
    "traffic",
    "Counts per quarter of an hour and event name: headline numbers and the chart.",
    KeptFor.EVENTS,
    {
        **_SITE,
        "bucket": (_T, "The quarter of an hour, UTC."),
        "name": _of_event("name"),
        **_EVENT_COUNT,
        "active": (_T, "How many active events."),
        "visitors": (_S, "State of a count of distinct visitors' hashes."),
    },
)
_OPENINGS = StoredTable(
    "openings",
    "Events by the time their session was opened: says whether the sessions of a day have grown.",
    KeptFor.EVENTS,
    {**_SITE, "bucket": (_T, "The quarter of an hour, UTC."), **_EVENT_COUNT},
)
_ACTIVITY = StoredTable(
    "activity",
    "One row per user, event name and day: who came back. Empty where no user_id is sent.",
    KeptFor.EVENTS,
    {
        **_SITE,
        "name": _of_event("name"),
        "user_key": (_S, "Hash of the user_id, by which users are grouped."),
        "user_id": _of_event("user_id"),
        "day": (_T, "The day, UTC."),
        **_EVENT_COUNT,
        "first_at": (_T, "Time of the day's first event."),
        "last_at": (_T, "Time of the day's last event."),
    },
)
_COUNTS = ("visitors", "pageviews", "events", "sessions", "viewed_sessions", "bounces", "duration_us", "session_views")
_DAY_TOTALS = StoredTable(
    "day_totals",
    "Plain numbers per closed day and value of a dimension: identifies no person.",
    KeptFor.TOTALS,
    {
        **_SITE,
        **_DAY,
        "dimension": (_T, "Which dimension."),
        **_BUILD_ID,
        "value": (_C, "Its value, such as a path or a country."),
        **dict.fromkeys(_COUNTS, (_T, "A sum over the day.")),
    },
)
_DAY_BUILDS = StoredTable(
    "day_builds",
    "Which building of a day's totals counts.",
    KeptFor.TOTALS,
    {
        **_BUILD,
        "version": (_T, "Version of what is built."),
        "events": (_T, "How many events the day had."),
        "opened_from": (_T, "First day on which its sessions were opened."),
        "opened_to": (_T, "Last day on which its sessions were opened."),
        **_OPENED_EVENTS,
        "kept": (_T, "Are the totals kept longer than the events?"),
    },
)
_DEFINITION = {"definition": (_T, "Hash of what the saved funnel counts.")}
_FUNNEL_DAYS = StoredTable(
    "funnel_days",
    "What closed days bring to a saved funnel.",
    KeptFor.EVENTS,
    {
        **_SITE,
        **_DEFINITION,
        **_DAY,
        **_BUILD_ID,
        "shared": (_T, "Does the subject go on into another day?"),
        "level": (_T, "How many steps were reached."),
        "subject": (_P, "A session's or visitor's hash; the user_id in funnels by user, of those who go on."),
        "start": (_T, "When the attempt began."),
        "after": (_T, "When the later steps were reached."),
        "subjects": (_T, "How many subjects the row stands for."),
    },
)
_FUNNEL_BUILDS = StoredTable(
    "funnel_builds",
    "Which building of a saved funnel's day counts.",
    KeptFor.EVENTS,
    {
        **_BUILD,
        **_DEFINITION,
        "since": (_T, "Begin of what was read."),
        "until": (_T, "End of what was read."),
        "events": (_T, "How many events there were."),
        "opened_since": (_T, "Begin of the sessions' openings."),
        "opened_until": (_T, "End of the sessions' openings."),
        **_OPENED_EVENTS,
    },
)
FUNNEL_FACTS = StoredTable(
    "funnel_",
    "One table for each saved funnel: which of its steps happened when.",
    KeptFor.EVENTS,
    {
        **_SITE,
        "ts": _of_event("ts"),
        "subject": (_P, "A session's or visitor's hash; the user_id in funnels by user."),
        "number": (_T, "Which steps the event is one of."),
        "user_id": _of_event("user_id"),
    },
)
"""A family of tables that begin with this name."""

TABLES: tuple[StoredTable, ...] = (
    _EVENTS,
    _SESSIONS,
    _TRAFFIC,
    _OPENINGS,
    _ACTIVITY,
    _DAY_TOTALS,
    _DAY_BUILDS,
    _FUNNEL_DAYS,
    _FUNNEL_BUILDS,
    FUNNEL_FACTS,
    *OTHER_TABLES,
)
