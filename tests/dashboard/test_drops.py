"""Where nothing was counted, the dashboard says what came and was left out, of the last 30 days or of the period."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, expect

from tests.browser import USER_AGENT
from tests.dashboard.conftest import dashboard_page
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

HEADLESS = USER_AGENT.replace("Chrome/", "HeadlessChrome/")


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("quiet"), {"ingest_flush_interval_ms": "100"}) as server:
        yield server


def view(site: str, **fields: object) -> dict[str, object]:
    return {"site": site, "name": "pageview", "url": f"https://{site}/", **fields}


async def test_a_site_without_visits_explains_what_came_before_the_server_s_last_start(
    browser: Browser, quiet_server: RunningServer
) -> None:
    site = "never.example"
    async with Client(quiet_server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": site, "allowed_hosts": [site]})
        await client.send(view(site, url="https://staging.never.example/"))
        assert quiet_server.terminate() == 0
        quiet_server.restart()
        async with dashboard_page(browser) as page:
            await page.goto(f"{quiet_server.url}/dashboard?site={site}#token={quiet_server.token}")
            dropped = page.locator(".begin .dropped")
            await expect(dropped).to_contain_text("A visit came and was not counted.")
            await expect(dropped).to_contain_text("Seen: staging.never.example.")
            await expect(dropped).to_contain_text("allowed_hosts")
            await client.send(view(site), headers={"User-Agent": HEADLESS})
            await expect(dropped).to_contain_text("It looks automated")
            await expect(dropped).to_contain_text("Seen: HeadlessChrome.")
            await expect(dropped.locator("p")).to_have_count(2)


async def test_a_period_without_visits_explains_what_came_in_it(browser: Browser, quiet_server: RunningServer) -> None:
    site = "once.example"
    async with Client(quiet_server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": site})
        await client.send(view(site, timestamp="2026-01-15T10:00:00Z"), trusted=True)
        await client.kept(site, 1)
        await client.send([view(site)] * 3, headers={"User-Agent": HEADLESS})
        await client.send(view(site, url="/pricing?email=anna@mail.example"))
        async with dashboard_page(browser) as page:
            await page.goto(f"{quiet_server.url}/dashboard?site={site}&range=7d#token={quiet_server.token}")
            left_out = page.get_by_role("region", name="Not counted")
            await expect(left_out).to_contain_text("Nothing was counted in this period")
            await expect(left_out).to_contain_text("3 events were not counted. It looks automated")
            await expect(left_out).to_contain_text("1 event was refused.")
            await expect(left_out).to_contain_text("Seen: /pricing.")
            await page.goto(f"{quiet_server.url}/dashboard?site={site}&range=2026-01-15..2026-01-15")
            await expect(page.get_by_role("region", name="Overview")).to_be_visible()
            await expect(left_out).to_be_hidden()
