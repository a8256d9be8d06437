"""The requests that the dashboard sends, as its scripts build them (dashboard/static/js).

`opening` is what one view of a site asks at once; `tabs` what a click on a tab asks,
`details` what the lists behind "Details" ask, `filtered` a view with a filter set.
"""

from __future__ import annotations

Query = dict[str, object]

HEADLINE = ["visitors", "sessions", "pageviews", "views_per_session", "bounce_rate", "session_duration"]
SESSION_COLUMNS = ["visitors", "sessions", "bounce_rate", "session_duration"]
PAGE_COLUMNS = ["visitors", "pageviews", "bounce_rate"]
SYSTEM_EVENTS = ["pageview", "engagement", "scroll", "web_vital", "exposure"]
SESSION_TABS = (
    "channel",
    "source",
    "referrer",
    "utm_campaign",
    "utm_source",
    "utm_medium",
    "entry_page",
    "exit_page",
    "country",
    "region",
    "city",
    "browser",
    "os",
    "device",
    "screen",
)
KNOWN = frozenset({"utm_campaign", "utm_source", "utm_medium", "entry_page", "exit_page"})
"""Tabs that leave out the rows without a value."""
ROWS = 9
DETAIL_ROWS = 50
MAX_BUCKETS = 5_000


class View:
    """A site and a range, perhaps filtered."""

    def __init__(self, site: str, date_range: str | list[str], filters: list[object] | None = None) -> None:
        self._site = site
        self._range = date_range
        self._filters = filters or []

    def headline(self) -> Query:
        """The six numbers, against the period before."""
        return self._query(HEADLINE, include={"comparison": "previous_period"})

    def series(self, metric: str = "visitors", date_range: str | list[str] | None = None) -> Query:
        """The chart by day; asked once more for the period before, when the first answer is there."""
        query = self._query(
            [metric], dimensions=["time:day"], include={"time_labels": True}, pagination={"limit": MAX_BUCKETS}
        )
        return query if date_range is None else query | {"date_range": date_range}

    def panel(self, dimension: str, metrics: list[str] | None = None, *, details: bool = False) -> Query:
        """The rows of a panel, or of its details."""
        filters: list[object] = []
        if dimension == "event:name":
            filters.append(["is_not", dimension, SYSTEM_EVENTS])
        if dimension.removeprefix("visit:") in KNOWN:
            filters.append(["is_not", dimension, [""]])
        more: Query = {"include": {"total_rows": True}} if details else {}
        return self._query(
            metrics or ["visitors"],
            filters=filters,
            dimensions=[dimension],
            order_by=[["visitors", "desc"], [dimension, "asc"]],
            pagination={"limit": DETAIL_ROWS if details else ROWS, "offset": 0},
            **more,
        )

    def _query(self, metrics: list[str], filters: list[object] | None = None, **more: object) -> Query:
        return {
            "site_id": self._site,
            "metrics": metrics,
            "date_range": self._range,
            "filters": [*self._filters, *(filters or [])],
            **more,
        }


def opening(view: View) -> dict[str, Query]:
    """What is asked when a site is opened, by name; the chart's second series follows its first."""
    return {
        "headline with comparison": view.headline(),
        "chart by day": view.series(),
        "sources": view.panel("visit:source"),
        "pages": view.panel("event:page"),
        "countries": view.panel("visit:country"),
        "browsers": view.panel("visit:browser"),
        "events": view.panel("event:name", ["visitors", "events"]),
    }


def tabs(view: View) -> dict[str, Query]:
    """What the other tabs and the other metrics of the chart ask."""
    opened = {"source", "country", "browser"}
    found = {f"tab {name}": view.panel(f"visit:{name}") for name in SESSION_TABS if name not in opened}
    return found | {f"chart of {metric}": view.series(metric) for metric in HEADLINE if metric != "visitors"}


def details(view: View) -> dict[str, Query]:
    """The lists behind "Details"."""
    found = {
        f"details {name}": view.panel(f"visit:{name}", SESSION_COLUMNS, details=True)
        for name in ("source", "entry_page", "country", "browser")
    }
    return found | {"details page": view.panel("event:page", PAGE_COLUMNS, details=True)}
