"""The page asks for what the server allows, and never draws as 0 what it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Request, Route, expect

from tests.dashboard.conftest import dashboard_page
from tests.dashboard.test_modules import call
from tests.dashboard.traffic import CHROME, Traffic
from tests.dashboard.traffic import SITE as SHOP
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SITE = "old.example"
DAYS = 6_000


def first_day() -> date:
    return datetime.now(UTC).date() - timedelta(days=DAYS - 1)


async def fill(server: RunningServer, days: int) -> None:
    """A pageview on each of the last days, once."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=1) - timedelta(days=days - 1)
    events = [
        {
            "site": SITE,
            "name": "pageview",
            "url": f"https://{SITE}/page-{number % 60}",
            "timestamp": int((start + timedelta(days=number)).timestamp() * 1_000),
            "user_agent": CHROME,
            "ip": "10.0.0.1",
        }
        for number in range(days)
    ]
    async with Client(server) as client:
        if await client.count(SITE):
            return
        reply = await client.send({"events": events}, trusted=True)
        assert reply.json["rejected"] == []
        await client.kept(SITE, days)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"ingest_flush_interval_ms": "100", "limits_query_rows": "10"}
    with RunningServer(tmp_path_factory.mktemp("narrow"), settings) as server:
        yield server


async def drawn(page: Page) -> list[float | None]:
    """What the chart's first line holds: values of finished buckets."""
    await expect(page.locator(".chart canvas")).to_be_visible()
    found: list[float | None] = await page.evaluate("globalThis.drawn.at(-1)")
    return found


async def watch_chart(page: Page) -> None:
    """Keep the data of every chart that is drawn."""
    await page.add_init_script(
        """globalThis.drawn = [];
        addEventListener('DOMContentLoaded', () => {
          const Real = globalThis.uPlot;
          globalThis.uPlot = class extends Real {
            constructor(options, data, place) {
              super(options, data, place);
              globalThis.drawn.push(data[2]);
            }
          };
          Object.assign(globalThis.uPlot, Real);
        });"""
    )


async def test_six_thousand_days_are_all_drawn(browser: Browser, server: RunningServer, traffic: Traffic) -> None:
    today = datetime.now(UTC).date()
    labels = [(first_day() + timedelta(days=number)).isoformat() for number in range(DAYS)]

    async def answer_of_every_day(route: Route) -> None:
        """As the server would: 6,000 days in the table take minutes to fill, a month at a time."""
        body = route.request.post_data_json or {}
        if body.get("dimensions") != ["time:day"]:
            await route.continue_()
            return
        rows = [{"dimensions": [label], "metrics": [1]} for label in labels[: body["pagination"]["limit"]]]
        meta = {"time_labels": labels, "date_range": [labels[0], labels[-1]], "warnings": []}
        await route.fulfill(json={"meta": meta, "results": rows})

    async with dashboard_page(browser) as page:
        await watch_chart(page)
        await page.route("**/api/v1/query", answer_of_every_day)
        view = f"site={SHOP}&range={first_day()}..{today}&interval=day&metric=pageviews&compare=off"
        await page.goto(f"{server.url}/dashboard?{view}#token={server.token}")
        await page.get_by_role("group", name="Pageviews per day").wait_for()
        values = await drawn(page)
        assert len(values) == DAYS
        assert set(values[:-1]) == {1}
        assert values[-1] is None  # today is drawn by the dashed line
        await expect(page.locator(".chart-note")).to_be_hidden()


@pytest.mark.parametrize(
    ("range_days", "asked", "shown"),
    [(10, "day", "day"), (11, "day", "week"), (60, "day", "week"), (80, "week", "month")],
)
async def test_a_chart_of_more_buckets_than_allowed_is_drawn_by_a_longer_interval(
    browser: Browser, narrow: RunningServer, range_days: int, asked: str, shown: str
) -> None:
    await fill(narrow, 80)
    last = datetime.now(UTC).date()
    async with dashboard_page(browser) as page:
        await watch_chart(page)
        view = f"site={SITE}&range={last - timedelta(days=range_days - 1)}..{last}&interval={asked}&metric=pageviews"
        await page.goto(f"{narrow.url}/dashboard?{view}&compare=off#token={narrow.token}")
        await page.get_by_role("group", name=f"Pageviews per {shown}").wait_for()
        note = page.locator(".chart-note")
        if shown == asked:
            await expect(note).to_be_hidden()
        else:
            await expect(note).to_contain_text(f"Shown by {shown}")
        values = await drawn(page)
        assert len(values) <= 10
        assert all(values[:-1])


async def test_nothing_is_asked_for_that_the_server_refuses(browser: Browser, narrow: RunningServer) -> None:
    limits: list[int] = []

    def note(request: Request) -> None:
        body: dict[str, Any] = request.post_data_json or {} if request.url.endswith("/api/v1/query") else {}
        limits.append(body.get("pagination", {}).get("limit", 0))

    await fill(narrow, 80)
    async with dashboard_page(browser) as page:
        page.on("request", note)
        await page.goto(f"{narrow.url}/dashboard?site={SITE}&range=91d#token={narrow.token}")
        pages = page.get_by_role("region", name="Pages", exact=True)
        await expect(pages.get_by_role("listitem")).to_have_count(9)
        await pages.get_by_role("button", name="Details").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog.get_by_text("1 to 10 of 60")).to_be_visible()
        await dialog.get_by_role("button", name="Next").click()
        await expect(dialog.get_by_text("11 to 20 of 60")).to_be_visible()
        assert max(limits) == 10


async def test_what_an_answer_may_lack_is_a_gap_and_no_zero(browser: Browser, narrow: RunningServer) -> None:
    async with dashboard_page(browser) as page:
        await page.goto(f"{narrow.url}/dashboard")
        labels = [f"2026-10-{day:02d}" for day in range(1, 13)]
        rows = [{"dimensions": [label], "metrics": [3]} for label in labels[:10]]
        options = {"previous": None, "metric": "visitors", "interval": "day", "today": "2026-10-31"}
        cut = {**options, "answer": {"meta": {"time_labels": labels}, "results": rows}}
        whole = {**options, "answer": {"meta": {"time_labels": labels}, "results": rows[:9]}}
        assert (await call(page, "headline", "chartData", cut))["values"] == [3] * 10 + [None, None]
        assert (await call(page, "headline", "chartData", whole))["values"] == [3] * 9 + [0, 0, 0]
