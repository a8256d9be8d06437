"""A site with a profile: the dashboard says what is left out, and asks no question about it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.conftest import dashboard_page
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_lists_that_the_profile_leaves_out_are_greyed_out_with_the_reason(
    browser: Browser, server: RunningServer
) -> None:
    site = "exempt.example"
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": "fr-exempt"})
        await client.send({"site": site, "name": "pageview", "url": f"https://{site}/"})
        await client.kept(site, 1)
    async with dashboard_page(browser) as page:
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        await page.goto(f"{server.url}/dashboard?site={site}#token={server.token}")

        sources = page.get_by_role("region", name="Sources")
        await expect(sources).to_contain_text("Not collected")
        await expect(sources).to_contain_text("This site’s profile fr-exempt leaves it out.")
        await expect(page.locator("p.profile")).to_contain_text("Profile fr-exempt: campaign tags; city;")
        await expect(page.get_by_role("region", name="Pages")).to_contain_text("/")
        locations = page.get_by_role("region", name="Locations")
        await expect(locations.get_by_role("tab", name="Cities")).to_have_attribute("data-left-out", "")
        await expect(locations.get_by_role("tab", name="Regions")).not_to_have_attribute("data-left-out", "")
        await expect(locations).not_to_have_attribute("data-left-out", "")
        for name in ("Channels", "Sources", "Referrers", "Campaigns"):
            tab = sources.get_by_role("tab", name=name)
            await expect(tab).to_have_attribute("title", re.compile("profile fr-exempt leaves it out"))
        paper = "element => getComputedStyle(element).backgroundColor"
        assert await sources.evaluate(paper) == await page.locator("body").evaluate(paper)
        assert await locations.evaluate(paper) != await page.locator("body").evaluate(paper)
        await locations.get_by_role("tab", name="Cities").click()
        await expect(locations).to_contain_text("Not collected")
        await expect(locations).to_have_attribute("data-left-out", "")
        assert failed == []


async def test_share_links_that_the_profile_forbids_are_greyed_out(browser: Browser, server: RunningServer) -> None:
    site, other = "statistics.example", "shared.example"
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": "uk-statistics"})
        await client.call("POST", "/api/v1/sites", {"site_id": other})
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={site}#token={server.token}")
        button = page.get_by_role("button", name="Share links")
        await expect(button).to_have_attribute("data-left-out", "")
        await button.click()
        await expect(page.get_by_role("dialog")).to_contain_text("profile uk-statistics forbids share links")
        await expect(page.get_by_role("button", name="Make a link")).to_have_count(0)
        await page.keyboard.press("Escape")
        await page.get_by_role("combobox", name="Site").select_option(other)
        await expect(button).not_to_have_attribute("data-left-out", "")
        await button.click()
        await expect(page.get_by_role("button", name="Make a link")).to_be_visible()


async def test_a_site_with_the_standard_profile_says_so(browser: Browser, server: RunningServer) -> None:
    site = "plain-profile.example"
    async with Client(server) as client:
        await client.send({"site": site, "name": "pageview", "url": f"https://{site}/"})
        await client.kept(site, 1)
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={site}#token={server.token}")
        await expect(page.get_by_role("region", name="Pages")).to_contain_text("/")
        await expect(page.locator("p.profile")).to_have_text("Profile standard: nothing is left out.")
        await expect(page.locator("[data-left-out]")).to_have_count(0)
