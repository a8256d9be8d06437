"""What is saved in a kept data directory and what is asked of it; all ranges are fixed and lie in the past."""

from __future__ import annotations

from datetime import date, timedelta

from tests.upgrade.kept import Question

DEMO, SHOP = "demo", "shop.example"
LAST_DAY = "2026-03-14"
WEEK = ["2026-03-08", LAST_DAY]
IMPORTED = "2024-05-07"
"""The day of imported (historic) events of the shop."""

STEPS = [
    {"name": "pageview", "filters": [["is", "event:page", ["/"]]]},
    {"name": "pageview", "filters": [["is", "event:page", ["/pricing"]]]},
    {"name": "signup"},
]

SAVED: list[tuple[str, dict[str, object]]] = [
    ("/api/v1/goals", {"site_id": DEMO, "name": "Signed up", "event": "signup", "about": "Sent the form."}),
    ("/api/v1/goals", {"site_id": DEMO, "name": "Bought", "event": "purchase", "currency": "EUR"}),
    ("/api/v1/goals", {"site_id": SHOP, "name": "Basket", "event": "add_to_basket", "page": "/shop/*"}),
    ("/api/v1/segments", {"site_id": DEMO, "name": "Phones", "filters": [["is", "visit:device", ["Mobile"]]]}),
    ("/api/v1/annotations", {"site_id": DEMO, "text": "New prices.", "date": "2026-03-10"}),
    ("/api/v1/annotations", {"site_id": SHOP, "text": "Open.", "date": "2024-05-07T09:30"}),
    (
        "/api/v1/queries",
        {
            "site_id": DEMO,
            "name": "Sources",
            "request": {
                "site_id": DEMO,
                "metrics": ["visitors"],
                "date_range": WEEK,
                "dimensions": ["visit:source"],
            },
        },
    ),
    (
        "/api/v1/queries",
        {
            "site_id": DEMO,
            "name": "Pages by SQL",
            "sql": "SELECT path, count() AS n FROM events WHERE name = {name:String} GROUP BY path ORDER BY path",
            "params": {"name": "pageview"},
        },
    ),
    ("/api/v1/funnels/saved", {"site_id": DEMO, "name": "To sign up", "steps": STEPS, "window": "1d"}),
    (
        "/api/v1/experiments",
        {
            "site_id": DEMO,
            "name": "Call to action",
            "key": "hero_cta",
            "variants": [{"name": "choose"}, {"name": "taste"}],
            "goals": ["signup", {"name": "purchase"}],
            "window": "7d",
            "start": WEEK[0],
            "end": LAST_DAY,
        },
    ),
    (
        "/api/v1/experiments",
        {
            "site_id": SHOP,
            "name": "Colour",
            "variants": [{"name": "red"}, {"name": "blue", "weight": 3}],
            "goals": ["Basket"],
        },
    ),
]


def questions(sent_on: date) -> list[Question]:
    """`sent_on` is the day of the recent events of the shop."""
    imported = [IMPORTED, IMPORTED]
    recent = [(sent_on - timedelta(days=1)).isoformat(), sent_on.isoformat()]
    return [
        *(
            Question(token="read", method="GET", path=f"{path}?site_id={site}")
            for path in sorted({path for path, _ in SAVED})
            for site in (DEMO, SHOP)
        ),
        Question(token="read", method="GET", path="/api/v1/sites"),
        Question(token="admin", method="GET", path="/api/v1/tokens"),
        Question(token="shop", method="GET", path="/api/v1/sites"),
        *(
            Question(
                token="read", method="GET", path=f"/api/v1/experiments/Colour/assign?site_id={SHOP}&subject={number}"
            )
            for number in range(4)
        ),
        *_of_the_demo(),
        *_of_the_shop(imported),
        *_of_the_shop(recent),
        _sql(SHOP, "SELECT name, path, session_id, user_id, revenue_amount, props FROM events ORDER BY event_id"),
        Question(token="shop", method="POST", path="/api/v1/query", body=_query(DEMO, WEEK, ["visitors"])),
        Question(token="manage", method="GET", path=f"/api/v1/goals?site_id={DEMO}"),
        Question(token="manage", method="GET", path=f"/api/v1/goals?site_id={SHOP}"),
        Question(token="collect", method="POST", path="/api/v1/query", body=_query(SHOP, imported, ["events"])),
    ]


def _of_the_demo() -> list[Question]:
    site = {"site_id": DEMO, "date_range": WEEK}
    figures = ["visitors", "sessions", "pageviews", "events", "bounce_rate", "visit_duration"]
    return [
        _asked("query", _query(DEMO, WEEK, figures)),
        _asked("query", _query(DEMO, WEEK, ["pageviews"], include={"comparison": "previous_period"})),
        _asked("query", _query(DEMO, WEEK, ["visitors", "pageviews"], ["time:day"])),
        _asked("query", _query(DEMO, [LAST_DAY, LAST_DAY], ["events"], ["time:hour"])),
        _asked("query", _query(DEMO, WEEK, ["visitors", "sessions"], ["visit:source"])),
        _asked("query", _query(DEMO, WEEK, ["sessions"], ["visit:entry_page"], filters=[["segment", "Phones"]])),
        _asked("query", _query(DEMO, WEEK, ["visitors", "events"], ["event:goal"])),
        _asked("query", _query(DEMO, WEEK, ["visitors"], ["visit:country", "visit:browser"], exact=True)),
        _asked("query", _query(DEMO, WEEK, ["events"], ["event:props:plan"], filters=[["goal", "Signed up"]])),
        _asked("funnels", {**site, "steps": STEPS, "by": "session", "breakdown": "visit:device"}),
        _asked("funnels", {**site, "funnel": "To sign up"}),
        _asked("funnels/sessions", {**site, "steps": STEPS, "drill": {"step": 2, "kind": "dropped", "limit": 20}}),
        _asked("cohorts", {**site, "period": "day", "periods": 3, "by": "user"}),
        _asked("cohorts", {**site, "period": "day", "periods": 2, "by": "user", "breakdown": "visit:source"}),
        _asked("paths", {**site, "start": "/", "steps": 4, "limit": 5}),
        _asked("sessions", {**site, "include": {"total_rows": True}, "pagination": {"limit": 30, "offset": 0}}),
        _asked("experiments/hero_cta/results", {"site_id": DEMO, "breakdown": "visit:device"}),
        _sql(DEMO, "SELECT name, count() AS n, uniqExact(session_id) AS s FROM events GROUP BY name ORDER BY name"),
        _sql(
            DEMO, "SELECT entry_page, sum(pageviews) AS n FROM sessions GROUP BY entry_page ORDER BY n DESC, entry_page"
        ),
    ]


def _of_the_shop(days: list[str]) -> list[Question]:
    figures = ["visitors", "sessions", "pageviews", "events"]
    return [
        _asked("query", _query(SHOP, days, figures)),
        _asked("query", _query(SHOP, days, ["events"], ["event:name", "event:page"])),
        _asked("query", _query(SHOP, days, ["sessions"], ["visit:source", "visit:utm_campaign"])),
        _asked("query", _query(SHOP, days, ["events"], ["event:goal"])),
        _asked("sessions", {"site_id": SHOP, "date_range": days}),
    ]


def _query(
    site: str, days: list[str], metrics: list[str], dimensions: list[str] | None = None, **more: object
) -> object:
    return {"site_id": site, "metrics": metrics, "date_range": days, "dimensions": dimensions or [], **more}


def _asked(route: str, body: object) -> Question:
    return Question(token="read", method="POST", path=f"/api/v1/{route}", body=body)


def _sql(site: str, text: str) -> Question:
    return _asked("sql", {"site_id": site, "query": text})
