"""The React part in a real browser, in StrictMode: rendered by a server or not, with React 18 and 19."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page

from analytics_server.analyses.experiments.assignment import assign
from tests.tracker.site import Site
from tests.web.workspace import WEB, run

pytestmark = pytest.mark.asyncio(loop_scope="session")

APPLICATION = Path(__file__).with_name("react")
PACKAGES = {"18": [WEB / "react-18" / "node_modules", WEB / "node_modules"], "19": [WEB / "node_modules"]}
VARIANT = assign("cta", "u-42", [("control", 1.0), ("b", 1.0)])


class Application:
    """The application's bundle, and how a server renders it."""

    def __init__(self, folder: Path, html: str) -> None:
        self.folder = folder
        self.html = html

    def add(self, site: Site, *, manual: bool = False, rendered: bool = False, late: bool = False) -> str:
        """Serves it; returns its address."""
        site.serve_files(self.folder)
        root = f'<div id="root">{self.html if rendered else ""}</div>'
        options = f"window.manual = {str(manual).lower()}; window.late = {str(late).lower()}"
        script = f'<script>{options}</script><script type="module" src="/files/page.js"></script>'
        return site.add_raw("/app", f"<!doctype html><title>App</title>{root}{script}")


@pytest.fixture(scope="module", params=PACKAGES)
def application(request: pytest.FixtureRequest, modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Application:
    folder = tmp_path_factory.mktemp(f"react{request.param}")
    packages = [str(path) for path in PACKAGES[request.param]]
    return Application(folder, run(str(APPLICATION / "build.mjs"), str(WEB), str(modules), str(folder), *packages))


@pytest.fixture
async def faults(page: Page) -> list[str]:
    """What the page throws, and what React writes to the console. Listening needs the running loop."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    return found


async def fence(site: Site, page: Page) -> list[str]:
    """The names of all events, once all has been sent."""
    await page.evaluate("document.querySelector('#after').click()")
    await site.wait(lambda site: site.named("after"))
    return [event["name"] for event in site.events]


@pytest.mark.parametrize(
    ("rendered", "late"),
    [(False, False), (False, True), (True, True)],
    ids=["at once", "with a part that is late", "by a server"],
)
async def test_strict_mode_counts_once(
    application: Application, site: Site, page: Page, faults: list[str], rendered: bool, late: bool
) -> None:
    await page.goto(application.add(site, rendered=rendered, late=late))
    await page.wait_for_selector("#late")
    assert await page.text_content("#variant") == VARIANT
    await page.click("#buy")
    await page.wait_for_function("document.querySelector('#path').textContent === '/bought'")
    assert await page.evaluate("clients.size") == 2  # The client and its function track, each always the same.
    names = await fence(site, page)
    effects = await page.evaluate("effects")
    assert effects == 2 or late
    assert sorted(names) == sorted(["pageview", *["ready"] * effects, "exposure", "buy", "after"])
    assert names[0] == "pageview"
    assert site.named("exposure")[0]["experiment"] == {"id": "cta", "variant": VARIANT}
    assert site.named("buy")[0]["props"] == {"path": "/"}
    assert [fault for fault in faults if "favicon" not in fault and "404" not in fault] == []


async def test_address_that_changes_is_a_view_and_a_provider_that_is_gone_sees_none(
    application: Application, site: Site, page: Page
) -> None:
    await page.goto(application.add(site))
    await page.wait_for_selector("#late")
    await site.wait(lambda site: site.named("pageview"))
    await page.evaluate("history.pushState(0, '', '/second'); document.title = 'Second'")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    await page.evaluate("show(false)")
    await page.wait_for_function(
        "!document.querySelector('#late') && new Promise(done => setTimeout(() => done(true)))"
    )
    await page.evaluate("history.pushState(0, '', '/unseen')")
    await page.evaluate("show(true)")
    await page.wait_for_selector("#late")
    await fence(site, page)
    paths = [event["url"].removeprefix(site.origin) for event in site.named("pageview")]
    assert paths == ["/app", "/second", "/unseen"]
    assert site.named("pageview")[1]["title"] == "Second"


async def test_page_views_of_the_application_s_own_are_reported_once_each(
    application: Application, site: Site, page: Page
) -> None:
    await page.goto(application.add(site, manual=True))
    await page.wait_for_selector("#late")
    await site.wait(lambda site: site.named("pageview"))
    await page.evaluate("go('/two')")
    await site.wait(lambda site: len(site.named("pageview")) == 2)
    await page.evaluate("go('/three')")
    await site.wait(lambda site: len(site.named("pageview")) == 3)
    views = [(event["url"].removeprefix(site.origin), event["title"]) for event in site.named("pageview")]
    assert views == [("/one", "one"), ("/two", "two"), ("/three", "three")]


async def test_who_opts_out_is_tracked_no_more(application: Application, site: Site, page: Page) -> None:
    await page.goto(application.add(site))
    await page.wait_for_selector("#late")
    await site.wait(lambda site: site.named("pageview"))
    await page.click(".out")
    assert await page.is_disabled(".out")
    await page.click("#after")
    await page.click("#buy")
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    await page.goto(site.add_raw("/left", "<!doctype html><p>Left</p>"))
    await page.evaluate("fetch('/fence').then(answer => answer.text())")
    assert not {"after", "buy"} & {event["name"] for event in site.events}


async def test_server_renders_what_the_browser_will(application: Application) -> None:
    assert f'<p id="variant">{VARIANT}</p>' in application.html
