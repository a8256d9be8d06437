"""What the lists show is what their search finds: decoded paths, names of countries, sizes, what is missing."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from analytics_server.percent_encoding import readable
from tests.dashboard.conftest import dashboard_page
from tests.dashboard.test_modules import call
from tests.dashboard.traffic import CHROME
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

SITE = "words.example"
PATHS = {
    "/%C3%BCber-uns": "/über-uns",
    "/%c3%9cBERSICHT": "/ÜBERSICHT",
    "/u%CC%88ber": "/u\u0308ber",
    "/%E6%97%A5%E6%9C%AC": "/日本",
    "/100%25": "/100%",
    "/a%28b%29": "/a(b)",
    "/a(b)c": "/a(b)c",
    "/red%20shoes": "/red shoes",
    "/plain.html": "/plain.html",
    "/%CE%A3%CE%8A%CE%A3%CE%A5%CE%A6%CE%9F%CE%A3": "/ΣΊΣΥΦΟΣ",
    "/%C4%B0stanbul": "/İstanbul",
    "/bad%FF": "/bad%FF",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def words(server: RunningServer) -> None:
    """A pageview of each path, from some country each."""
    events = [
        {
            "site": SITE,
            "name": "pageview",
            "url": f"https://{SITE}{path}",
            "session_id": f"session-{number}",
            "user_agent": CHROME,
            "ip": f"10.0.0.{number}",
            "screen": {"width": 1440 + number % 2, "height": 900},
        }
        for number, path in enumerate(PATHS)
    ]
    async with Client(server) as client:
        reply = await client.send({"events": events}, trusted=True)
        assert reply.json["rejected"] == []
        await client.kept(SITE, len(events))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser, server: RunningServer, words: None) -> Any:
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={SITE}#token={server.token}")
        await page.get_by_role("region", name="Pages", exact=True).get_by_role("listitem").first.wait_for()
        yield page


async def found(page: Page, server: RunningServer, dimension: str, text: str) -> set[str]:
    """The stored values that a search for a text in a list finds, by the real query."""
    wanted = await call(page, "search", "searchFilter", dimension, text)
    question = {
        "site_id": SITE,
        "metrics": ["visitors"],
        "dimensions": [dimension],
        "date_range": "all",
        "filters": [wanted],
    }
    async with Client(server) as client:
        reply = await client.call("POST", "/api/v1/query", question)
    assert reply.status == 200, reply.body
    return {row["dimensions"][0] for row in reply.json["results"]}


@pytest.mark.parametrize(("stored", "shown"), PATHS.items())
async def test_a_path_is_shown_as_people_read_it(page: Page, stored: str, shown: str) -> None:
    for dimension in ("event:page", "visit:entry_page", "visit:exit_page"):
        assert await call(page, "format", "valueName", dimension, stored) == shown
    assert await call(page, "format", "valueName", "event:name", stored) == stored


@pytest.mark.parametrize(
    "path", ["/a%2Fb", "/a%3Fb", "/a%23b", "/%00", "/%0A", "/%E2%80%AE", "/%EF%BB%BF", "/%C3", "/%zz", "/%E2%80%A8"]
)
async def test_what_would_mislead_stays_encoded(page: Page, path: str) -> None:
    assert await call(page, "format", "readable", path) == path


async def test_joined_characters_stay_whole(page: Page) -> None:
    family = "👩‍👧"
    encoded = "".join(f"%{byte:02X}" for byte in family.encode())
    assert await call(page, "format", "readable", f"/{encoded}") == f"/{family}"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("über", {"/%C3%BCber-uns", "/%c3%9cBERSICHT", "/u%CC%88ber"}),
        ("ÜBER", {"/%C3%BCber-uns", "/%c3%9cBERSICHT", "/u%CC%88ber"}),
        ("%C3%BCber", {"/%C3%BCber-uns", "/%c3%9cBERSICHT", "/u%CC%88ber"}),
        ("%c3%bcber", {"/%C3%BCber-uns", "/%c3%9cBERSICHT", "/u%CC%88ber"}),
        ("日", {"/%E6%97%A5%E6%9C%AC"}),
        ("σίσυφος", {"/%CE%A3%CE%8A%CE%A3%CE%A5%CE%A6%CE%9F%CE%A3"}),
        ("istanbul", {"/%C4%B0stanbul"}),
        ("100%", {"/100%25"}),
        ("100%25", {"/100%25"}),
        ("a(b)", {"/a%28b%29", "/a(b)c"}),
        ("red shoes", {"/red%20shoes"}),
        ("red%20shoes", {"/red%20shoes"}),
        ("PLAIN", {"/plain.html"}),
        ("plain.h", {"/plain.html"}),
        ("plainxh", set()),
        (".*", set()),
        ("%FF", {"/bad%FF"}),
        ("ü" * 200, set()),
    ],
)
async def test_pages_are_found_in_either_spelling(
    page: Page, server: RunningServer, text: str, paths: set[str]
) -> None:
    for dimension in ("event:page", "visit:entry_page"):
        assert await found(page, server, dimension, text) == set(map(readable, paths))


@pytest.mark.parametrize(
    ("text", "sizes"), [("1440 × 900", {"1440x900"}), ("1441x9", {"1441x900"}), ("× 900", {"1440x900", "1441x900"})]
)
async def test_sizes_are_found_as_they_are_shown(page: Page, server: RunningServer, text: str, sizes: set[str]) -> None:
    assert await found(page, server, "visit:screen", text) == sizes


@pytest.mark.parametrize(
    ("dimension", "text"),
    [("visit:region", "unknown"), ("visit:referrer", "none"), ("visit:country", "unkn"), ("visit:city", "Unknown")],
)
async def test_what_is_missing_is_found_by_the_name_it_is_given(
    page: Page, server: RunningServer, dimension: str, text: str
) -> None:
    assert await found(page, server, dimension, text) == {""}


@pytest.mark.parametrize(
    ("text", "has", "has_not"),
    [
        ("Germany", {"DE"}, {"FR", "US"}),
        ("germ", {"DE"}, {"FR"}),
        ("de", {"DE", "SE"}, {"FR"}),  # by its code, and Sweden by its name
        ("cote d'ivoire", {"CI"}, {"DE"}),
        ("turkiye", {"TR"}, {"DE"}),
        ("united", {"US", "GB", "AE"}, {"DE"}),
        ("Atlantis", set(), {"DE", "US"}),
    ],
)
async def test_countries_are_found_by_name(page: Page, text: str, has: set[str], has_not: set[str]) -> None:
    operator, dimension, codes = await call(page, "search", "searchFilter", "visit:country", text)
    assert (operator, dimension) == ("contains", "visit:country")
    assert has <= set(codes)
    assert not has_not & set(codes)


@pytest.mark.parametrize("text", ["a", "germ", "gx", "Atlantis"])
async def test_any_text_can_be_searched_for_among_countries(page: Page, server: RunningServer, text: str) -> None:
    assert await found(page, server, "visit:country", text) == set()


async def test_the_dialog_finds_what_it_shows_and_filters_by_what_is_stored(page: Page, server: RunningServer) -> None:
    await page.goto(f"{server.url}/dashboard?site={SITE}")
    await page.get_by_role("region", name="Pages", exact=True).get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog", name="Pages: all rows")
    await dialog.get_by_role("searchbox").fill("über-")
    await expect(dialog.get_by_text("1 to 1 of 1")).to_be_visible()
    await dialog.get_by_role("button", name="/über-uns").click()
    await expect(page.locator(".chip .value")).to_have_text("/über-uns")
    assert "/%C3%BCber-uns" in page.url or "%2F%C3%BCber-uns" in page.url
    await expect(page.locator(".metric:has(.label:text-is('Pageviews')) .value")).to_have_text("1")
