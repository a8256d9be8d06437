"""Signing in on the dashboard: the first owner, e-mail and password, an invitation, and signing out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pyotp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.dashboard.conftest import dashboard_page
from tests.mail.smtp import SmtpServer
from tests.mail.smtp import running as mail_running
from tests.server import Client, RunningServer, own_port, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

PASSWORD = "seven green umbrellas"
OWNER = "owner@example.org"
SITE = "own.example"


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with mail_running(SmtpServer()) as smtp:
        yield smtp


@pytest.fixture(scope="module")
def server(smtp: SmtpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own, without accounts."""
    port = own_port()
    settings = {
        "server_port": str(port),
        "server_public_url": f"http://127.0.0.1:{port}",
        "mail_host": "127.0.0.1",
        "mail_port": str(smtp.port),
        "mail_tls": "none",
        "mail_sender": "stats@example.com",
    }
    server = RunningServer(tmp_path_factory.mktemp("account"), settings)
    server.url = settings["server_public_url"]
    with server:
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
    await expect(page.get_by_label("Password")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Password")).to_be_visible()


async def test_an_invitation_s_link_leads_to_the_report(page: Page, client: Client, server: RunningServer) -> None:
    body = {"email": "ben@example.org", "roles": {SITE: "viewer"}}
    invitation = (await client.call("POST", "/api/v1/invitations", body)).json
    await page.goto(invitation["link"])
    assert "#" not in page.url
    await fill(page, Password=PASSWORD)
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_a_forgotten_password_is_set_anew_by_mail(
    page: Page, client: Client, server: RunningServer, smtp: SmtpServer
) -> None:
    email = "forgetful@example.org"
    body = {"email": email, "password": PASSWORD, "roles": {SITE: "viewer"}}
    assert (await client.call("POST", "/api/v1/people", body)).status == 201
    await page.goto(f"{server.url}/dashboard")
    await page.get_by_label("E-mail", exact=True).fill(email)
    await page.get_by_role("button", name="Forgot your password?").click()
    await expect(page.get_by_label("E-mail", exact=True)).to_have_value(email)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("If there is an account")
    await page.get_by_role("button", name="Back to the sign-in").click()
    await expect(page.get_by_label("Password", exact=True)).to_be_visible()

    async def arrived() -> bool:
        return smtp.taken[-1:] != [] and smtp.taken[-1].recipient == email

    await wait_for(arrived, 60, "the message")
    await page.goto(smtp.taken[-1].link)
    await expect(page).to_have_url(f"{server.url}/dashboard")
    await fill(page, Password="eight yellow bicycles")
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


async def test_links_are_made_copied_and_revoked_by_who_may(
    browser: Browser, client: Client, server: RunningServer
) -> None:
    segment = {"site_id": SITE, "name": "Blog", "filters": [["contains", "event:page", ["/blog"]]]}
    assert (await client.call("POST", "/api/v1/segments", segment)).status in (201, 409)
    viewer = {"email": "vera@example.org", "password": PASSWORD, "roles": {SITE: "viewer"}}
    assert (await client.call("POST", "/api/v1/people", viewer)).status == 201
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard?site={SITE}#token={server.token}")
        await page.get_by_role("button", name="Share links").click()
        sheet = page.get_by_role("dialog", name=f"Share links of {SITE}")
        form = sheet.get_by_role("region", name="A new link")
        await form.get_by_label("Name").fill("For <b>the agency</b>")
        await form.get_by_label("Saved segment").select_option(label="Blog")
        await form.get_by_label("Put rows of fewer visitors together").fill("1001")
        await form.get_by_role("button", name="Make a link").click()
        assert await form.get_by_label("Put rows of fewer visitors together").evaluate("(one) => !one.validity.valid")
        await form.get_by_label("Put rows of fewer visitors together").fill("2")
        await form.get_by_role("button", name="Make a link").click()
        link = await sheet.get_by_label("The new link").input_value()
        assert link.startswith(f"{server.url}/share/asl_")
        made = sheet.get_by_role("listitem").filter(has_text="For <b>the agency</b>")
        await expect(made).to_contain_text("segment Blog · rows of fewer than 2 visitors together")
        await sheet.get_by_role("button", name="Copy").click()
        await expect(sheet.get_by_role("button", name="Copied").or_(sheet.get_by_text("Press Ctrl C"))).to_be_visible()

        async with dashboard_page(browser) as shared:
            await shared.goto(link)
            pages = shared.get_by_role("region", name="Pages", exact=True)
            await expect(pages.get_by_role("listitem")).to_have_text(["Fewer than 2 visitors each–"])
            await pages.get_by_role("tab", name="Entry").click()
            await expect(pages).to_contain_text("This link leaves it out.")
            await expect(shared.locator(".metric .value").first).to_have_text("–")
            await expect(shared.get_by_role("button", name="Share links")).to_be_hidden()
            await expect(shared.get_by_role("button", name="Your account")).to_be_hidden()
            await shared.goto(f"{server.url}/share/{SITE}")
            await expect(shared.get_by_role("alert")).to_contain_text("unknown")
            assert (await client.call("PUT", f"/api/v1/sites/{SITE}", {"public": True})).status == 200
            await shared.reload()
            await expect(shared.get_by_role("region", name="Pages", exact=True)).to_be_visible()
            assert (await client.call("PUT", f"/api/v1/sites/{SITE}", {"public": False})).status == 200

        await made.get_by_role("button", name="Revoke").click()
        await made.get_by_role("button", name="Revoke for good").click()
        await expect(made).to_have_count(0)
        assert link.rpartition("/")[2] not in await page.content()
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard")
        await fill(page, E_mail="vera@example.org", Password=PASSWORD)
        await expect(page.get_by_role("button", name="Your account")).to_be_visible()
        await expect(page.get_by_role("button", name="Share links")).to_be_hidden()


async def test_an_account_changes_its_password_second_factor_and_sessions(
    browser: Browser, client: Client, server: RunningServer
) -> None:
    email, changed = "mia@example.org", "eight yellow bicycles"
    body = {"email": email, "password": PASSWORD, "roles": {SITE: "viewer"}}
    assert (await client.call("POST", "/api/v1/people", body)).status == 201
    async with dashboard_page(browser) as page:
        await page.goto(f"{server.url}/dashboard")
        await fill(page, E_mail=email, Password=PASSWORD)
        await page.get_by_role("button", name="Your account").click()
        sheet = page.get_by_role("dialog", name="Your account")
        factor = sheet.get_by_role("region", name="Second factor")
        await expect(sheet.get_by_role("region", name="Sessions").get_by_role("listitem")).to_contain_text(
            "This session"
        )
        other = await client.call("POST", "/api/v1/session", {"email": email, "password": PASSWORD})
        assert other.status == 200
        await page.keyboard.press("Escape")
        await page.get_by_role("button", name="Your account").click()
        entries = sheet.get_by_role("region", name="Sessions").get_by_role("listitem")
        await expect(entries).to_have_count(2)
        await entries.get_by_role("button", name="End").click()  # of the other one alone
        await expect(entries).to_have_count(1)
        await expect(entries).to_contain_text("This session")
        await factor.get_by_label("Your password").fill("wrong password")
        await factor.get_by_role("button", name="Turn on").click()
        await expect(factor.get_by_role("alert")).to_contain_text("wrong")  # and still signed in
        await factor.get_by_label("Your password").fill(PASSWORD)
        await factor.get_by_role("button", name="Turn on").click()
        app = pyotp.TOTP(await factor.locator("code.key").inner_text())
        await factor.get_by_label("Code", exact=True).fill(app.now())
        await factor.get_by_role("button", name="Confirm").click()
        await factor.get_by_role("button", name="I have kept them").wait_for()
        codes = await factor.get_by_role("listitem").all_inner_texts()
        assert len(codes) == len(set(codes)) > 5
        await factor.get_by_role("button", name="I have kept them").click()
        await factor.get_by_label("Your password").fill(PASSWORD)
        await factor.get_by_label("Code, or a recovery code").fill(codes[0])
        await factor.get_by_role("button", name="Turn off").click()
        await expect(factor.get_by_role("button", name="Turn on")).to_be_visible()

        await sheet.get_by_label("Password so far").fill(PASSWORD)
        await sheet.get_by_label("New password").fill(changed)
        await sheet.get_by_role("button", name="Change the password").click()
        await expect(page.get_by_role("alert")).to_contain_text("password is changed")
        await fill(page, E_mail=email, Password=changed)
        await page.get_by_role("button", name="Your account").click()
        await sheet.get_by_role("button", name="Sign out everywhere").click()
        await expect(page.get_by_role("alert")).to_contain_text("signed out everywhere")
        await page.reload()
        await expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
async def test_the_dialogs_fit_and_have_labels(
    browser: Browser, client: Client, server: RunningServer, width: int, scheme: str
) -> None:
    email = f"w{width}@example.org"
    body = {"email": email, "password": PASSWORD, "roles": {SITE: "admin"}}
    assert (await client.call("POST", "/api/v1/people", body)).status == 201
    async with dashboard_page(browser, width=width) as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.goto(f"{server.url}/dashboard")
        await fill(page, E_mail=email, Password=PASSWORD)
        for button in ("Share links", "Your account"):
            await page.get_by_role("button", name=button).click()
            await expect(page.get_by_role("dialog").get_by_role("button").nth(1)).to_be_visible()
            sheet = page.locator("dialog")
            assert await sheet.evaluate("(one) => one.querySelector('.scroll').scrollWidth <= one.clientWidth")
            assert await sheet.evaluate(
                "(one) => [...one.querySelectorAll('input')].every((input) => input.labels.length === 1)"
            )
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await page.keyboard.press("Escape")
            await expect(sheet).to_have_count(0)
