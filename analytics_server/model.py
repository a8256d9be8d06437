"""The shared model: the event row, the list of its columns, the site.

`COLUMNS` is the one source for the schema check, the WAL's rows, the insert and
later the export: an event row is a tuple whose values stand in this order.
Imports nothing of the project but the spelling of hosts, so every package may use it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from analytics_server.spelling.host_names import readable_host

Row = tuple[object, ...]
"""One event as stored: values in the order of `COLUMNS`, without `batch_id`."""

PAGEVIEW = "pageview"

STANDARD_EVENTS = frozenset(
    {
        "pageview",
        "click",
        "scroll",
        "engagement",
        "outbound",
        "download",
        "form",
        "not_found",
        "web_vital",
        "exposure",
    }
)

PASSIVE_EVENTS = frozenset({"engagement", "scroll", "web_vital"})
"""Events that tell more about a page view that was counted: they open no session and are not counted themselves."""

ACTIVE, PASSIVE, PASSIVE_LATE = 0, 1, 2
"""Values of the column `passive`. The last: the event came after its session's inactivity gap, and so moves the
session's end without keeping it open."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column of `events`: its name, ClickHouse type and the value meaning "absent"."""

    name: str
    type: str
    default: object
    about: str


def _c(name: str, kind: str, default: object, about: str) -> Column:
    return Column(name=name, type=kind, default=default, about=about)


_LC = "LowCardinality(String)"
_TS = "DateTime64(6, 'UTC')"

COLUMNS: tuple[Column, ...] = (
    _c("site_id", _LC, "", "The site the event belongs to."),
    _c("ts", _TS, 0, "When it happened, UTC; the microseconds keep the order of acceptance."),
    _c("name", _LC, "", "pageview, click, … or a custom event's name."),
    _c("event_id", "UUID", None, "Unique id; a repeated one is counted once."),
    _c("session_id", "String", "", "The session, from the client or opened by the server."),
    _c("session_start", _TS, 0, "When the session was opened, UTC: the key of its row in sessions."),
    _c(
        "visitor_id",
        "UInt64",
        0,
        "Salted hash of one UTC day, kept by a session that lasts over its end; 0 when none is kept.",
    ),
    _c("passive", "UInt8", 0, "0: active. 1: engagement, scroll or web vital. 2: the same, after the inactivity gap."),
    _c("interactive", "UInt8", 1, "0: a custom event that ends no bounce."),
    _c("user_id", "String", "", "The application's own id of a person, if it sent one."),
    _c("hostname", _LC, "", "Host of the page."),
    _c("path", _LC, "", "Path of the page with the allow-listed query keys."),
    _c("title", "String", "", "Title of the page."),
    _c("referrer", "String", "", "Where the session came from, host and path (first touch)."),
    _c("source", _LC, "", "Name of the traffic source (first touch)."),
    _c("channel", _LC, "", "Channel group as in GA4 (first touch)."),
    _c("utm_source", _LC, "", "Campaign tag utm_source (first touch)."),
    _c("utm_medium", _LC, "", "Campaign tag utm_medium (first touch)."),
    _c("utm_campaign", _LC, "", "Campaign tag utm_campaign (first touch)."),
    _c("utm_content", _LC, "", "Campaign tag utm_content (first touch)."),
    _c("utm_term", _LC, "", "Campaign tag utm_term (first touch)."),
    _c("country", _LC, "", "ISO 3166-1 alpha-2 code (first touch)."),
    _c("region", _LC, "", "First-level subdivision (first touch)."),
    _c("city", _LC, "", "City (first touch)."),
    _c("browser", _LC, "", "Browser family (first touch)."),
    _c("browser_version", _LC, "", "Browser's major version (first touch)."),
    _c("os", _LC, "", "Operating system family (first touch)."),
    _c("os_version", _LC, "", "Operating system's version (first touch)."),
    _c("device", _LC, "", "Desktop, Mobile, Tablet or TV (first touch)."),
    _c("screen", _LC, "", "Screen size as WIDTHxHEIGHT (first touch)."),
    _c("language", _LC, "", "Preferred language tag (first touch)."),
    _c("scroll_depth", "UInt8", 0, "Deepest scroll of the page so far, per cent."),
    _c("engagement_ms", "UInt32", 0, "Engaged time since the last report, milliseconds."),
    _c("element_id", _LC, "", "id of the element that was used."),
    _c("element_tag", _LC, "", "Tag name of the element."),
    _c("element_text", "String", "", "Visible text of the element."),
    _c("element_href", "String", "", "Target of the element, cleaned like a page's URL."),
    _c("revenue_amount", "Decimal(18, 4)", 0, "Revenue in the currency's own unit."),
    _c("revenue_currency", _LC, "", "ISO 4217 code of the revenue."),
    _c("experiment", _LC, "", "Experiment of an exposure."),
    _c("variant", _LC, "", "Variant of an exposure."),
    _c("props", "Map(LowCardinality(String), String)", None, "The event's own properties, values as text."),
)

COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
COLUMN_INDEX: dict[str, int] = {name: index for index, name in enumerate(COLUMN_NAMES)}

SESSION_ATTRIBUTES: tuple[str, ...] = (
    "referrer",
    "source",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_content",
    "utm_term",
    "country",
    "region",
    "city",
    "browser",
    "browser_version",
    "os",
    "os_version",
    "device",
    "screen",
    "language",
)
"""Columns that every event of a session carries with the value of its first event."""

Attributes = tuple[str, ...]
"""Values in the order of `SESSION_ATTRIBUTES`."""


class DropCount(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one site that were not kept for one reason, since the server started.

    `rejected`: the client was told (`reason` is a rejection's code); otherwise dropped, `reason` is a drop's.
    `site_id` is as the events named it, and empty where that can't be a site's id. `kinds`: of `bot`, which bots.
    """

    site_id: str
    reason: str
    rejected: bool
    events: int
    last_at_ms: int
    about: str
    remedy: str
    kinds: dict[str, int] = {}


def stored_site_id(text: str) -> str:
    """A site's id in its one spelling, that of a host: clients may write it in any case, and in Punycode.

    Sites that older versions made keep the id that they have (`access.sites`): what is asked of the store takes the
    id from the site. Two ids are compared by this spelling.
    """
    return readable_host(text.strip())


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site: what events belong to. `timezone` is an IANA name.

    `allow_apps`: pages of apps and extensions, which have no http address, are counted too. `currency`: ISO 4217 code
    of the revenue that is shown first, "" for whichever there is most of. `events_per_s`: 0 for the server's limit
    alone. `excluded_…`: events that are not kept (`access/sites/exclusions.py`). `profile`: a name of
    `profiles/tables.py`.
    `retention_days`: for how long events are kept, 0: as the settings say. `rollup_retention_days`: the same of totals
    of days, which identify no person. `public`: anyone may see its numbers, as by a share link. `shared_from_ms`:
    share links made until then are over, as sharing was forbidden, or the site deleted.
    `removal`: only of a deleted site whose data is to go, or has gone (`privacy/expiry/site_removal.py`).
    `stored_timezone`: only where the stored name can't be used, and `timezone` stands in for it. Never stored itself.
    """

    site_id: str
    timezone: str = "UTC"
    stored_timezone: str | UnsetType = UNSET
    allowed_hosts: tuple[str, ...] = ()
    allow_apps: bool = False
    currency: str = ""
    events_per_s: int = 0
    excluded_paths: tuple[str, ...] = ()
    excluded_hosts: tuple[str, ...] = ()
    excluded_countries: tuple[str, ...] = ()
    excluded_props: tuple[str, ...] = ()
    retention_days: int = 0
    rollup_retention_days: int = 0
    profile: str = "standard"
    public: bool = False
    shared_from_ms: int = 0
    created_at_ms: int = 0
    removal: Literal["asked", "done"] | UnsetType = UNSET
