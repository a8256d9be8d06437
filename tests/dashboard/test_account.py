"""Signing in on the dashboard: the first owner, e-mail and password, an invitation, and signing out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.dashboard.conftest import dashboard_page
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "seven green umbrellas"
OWNER = "owner@example.org"
SITE = "own.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own, on which nobody has an account."""
    with RunningServer(tmp_path_factory.mktemp("account")) as server:
        yield server
        assert server.terminate() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": SITE})
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with dashboard_page(browser) as page:
        yield page


async def fill(page: Page, **values: str) -> None:
    for label, value in values.items():
        await page.get_by_label(label.replace("_", "-"), exact=True).fill(value)
    await page.keyboard.press("Enter")


async def test_the_link_of_the_first_start_offers_an_account_which_then_signs_in(
    page: Page, client: Client, server: RunningServer
) -> None:
    await page.goto(f"{server.url}/dashboard#token={server.token}")
    await page.get_by_role("button", name="Set up", exact=True).click()
    await fill(page, E_mail=OWNER, Password="password1234")
    await expect(page.get_by_role("alert")).to_contain_text("most common")
    await fill(page, E_mail=OWNER, Password=PASSWORD)
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await expect(page.locator(".live-pill")).to_have_text("0 visitors now")  # by the cookie
    assert await page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]
    await page.reload()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await expect(page.locator(".offer")).to_have_count(0)

    await page.get_by_role("button", name="Sign out").click()
    await fill(page, E_mail=OWNER, Password="wrong password!")
    await expect(page.get_by_role("alert")).to_contain_text("wrong")
    await fill(page, E_mail=OWNER, Password=PASSWORD)
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await page.reload()
    await expect(page.get_by_label("Password")).to_be_visible()


async def test_an_invitation_s_link_leads_to_the_report(page: Page, client: Client, server: RunningServer) -> None:
    body = {"email": "ben@example.org", "roles": {SITE: "viewer"}}
    invitation = (await client.call("POST", "/api/v1/invitations", body)).json
    await page.goto(invitation["link"])
    assert "#" not in page.url
    await fill(page, Password=PASSWORD)
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_a_session_that_ends_leads_back_to_the_sign_in(page: Page, client: Client, server: RunningServer) -> None:
    body = {"email": "eve@example.org", "password": PASSWORD, "roles": {SITE: "viewer"}}
    person = (await client.call("POST", "/api/v1/people", body)).json
    await page.goto(f"{server.url}/dashboard")
    await expect(page.get_by_role("alert")).to_be_empty()
    await fill(page, E_mail="eve@example.org", Password=PASSWORD)
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await client.call("DELETE", f"/api/v1/people/{person['person_id']}")
    await expect(page.get_by_role("alert")).to_contain_text("signed out")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
async def test_the_forms_fit_and_have_labels(browser: Browser, server: RunningServer, width: int, scheme: str) -> None:
    async with dashboard_page(browser, width=width) as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.goto(f"{server.url}/dashboard")
        await expect(page.get_by_label("E-mail")).to_be_focused()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await page.evaluate("[...document.querySelectorAll('input')].every((one) => one.labels.length === 1)")
        await page.get_by_role("button", name="Use an access token").click()
        await expect(page.get_by_label("Access token")).to_be_focused()


async def test_a_share_link_opens_a_read_only_view(page: Page, client: Client, server: RunningServer) -> None:
    event = {"site": SITE, "name": "pageview", "url": f"https://{SITE}/blog/a"}
    assert (await client.send([event, {**event, "url": f"https://{SITE}/secret"}])).json["accepted"] == 2
    await client.flushed()
    wanted = {"site_id": SITE, "filters": [["contains", "event:page", ["/blog"]]], "password": "open sesame"}
    link = (await client.call("POST", "/api/v1/share-links", wanted)).json
    await page.goto(link["link"])
    await fill(page, Password="wrong")
    await expect(page.get_by_role("alert")).to_contain_text("wrong")
    await fill(page, Password="open sesame")
    pages = page.get_by_role("region", name="Pages", exact=True)
    await expect(pages.get_by_role("listitem")).to_have_count(1)
    await expect(pages.get_by_role("listitem")).to_contain_text("/blog/a")
    await expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
    await expect(page.locator(".live-pill")).to_be_hidden()
    assert await page.evaluate("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]

    await client.call("DELETE", f"/api/v1/share-links/{link['link_id']}")
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("revoked")
