"""The Next.js part in a small application, with both routers, on each older version of Next.js that is promised.

The newest version runs the whole example of the documentation (`tests/examples/test_nextjs.py`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import aiohttp
import msgspec
import pytest
from playwright.async_api import Page

from tests.examples.nextjs import Upstream
from tests.examples.process import ExampleProcess, link_packages
from tests.server import USER_AGENT, Client, RunningServer, wait_for
from tests.web.workspace import WEB, run

pytestmark = pytest.mark.timeout(600)

FOLDER = Path(__file__).with_name("next")
VERSIONS = ("13", "14", "15")
BUILD_TIMEOUT_S = 400.0


def site_of(version: str) -> str:
    return f"next-{version}.example"


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def application(version: str, modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The application, built for production."""
    packages = FOLDER / version / "node_modules"
    if not (packages / "installed").is_file():
        pytest.skip(f"the packages of {packages.parent} are not installed: `make test` does it where npm is there")
    package = msgspec.json.decode((packages / "next" / "package.json").read_bytes())
    assert package["version"].split(".")[0] == version
    folder = tmp_path_factory.mktemp("next") / "app"
    shutil.copytree(FOLDER / "app", folder)
    after = "export { after } from 'next/server';" if int(version) > 14 else "export const after = undefined;"
    (folder / "lib" / "after.ts").write_text(after, encoding="utf-8")
    (folder / "lib" / "site.ts").write_text(f"export const site = '{site_of(version)}';", encoding="utf-8")
    link_packages(folder, packages, modules)
    run("node_modules/next/dist/bin/next", "build", folder=folder, timeout_s=BUILD_TIMEOUT_S)
    return folder


def test_types_hold(application: Path) -> None:
    """Those of every export, and those that Next.js asks of pages and route handlers."""
    assert (application / ".next" / "types").is_dir()
    run(str(WEB / "node_modules/typescript/bin/tsc"), "--noEmit", folder=application)


async def come(upstream: Upstream, *names: str) -> None:
    """Until these events have come, in any order, beside those of engagement."""
    found: list[str] = []

    async def are_there() -> bool:
        found[:] = [event["name"] for event in upstream.events if event["name"] != "engagement"]
        return sorted(found) == sorted(names)

    try:
        await wait_for(are_there)
    except AssertionError:
        raise AssertionError(f"{names} were to come, {found} did") from None


@pytest.mark.asyncio(loop_scope="session")
async def test_visit_is_counted(application: Path, version: str, server: RunningServer, page: Page) -> None:
    known = {"TOKEN": server.token}
    arguments = ("node_modules/next/dist/bin/next", "start", "-H", "127.0.0.1", "-p", "0")
    async with (
        Upstream(server.url) as upstream,
        ExampleProcess(application, *arguments, ready="Ready", ANALYTICS_URL=upstream.url, **known) as shop,
    ):
        await page.goto(shop.origin)
        await come(upstream, "pageview")  # The page is hydrated by then: a click before would load the next one anew.
        await page.click("text=First")
        await page.click("#buy")
        await page.click("text=Click")
        await page.go_back()
        await page.click("#subscribe")
        app = [*["pageview"] * 3, "exposure", "bought", "clicked", "subscribed"]
        await come(upstream, *app)
        await page.goto(f"{shop.origin}/help/returns")
        await come(upstream, *app, "pageview")
        await page.click("text=Delivery")
        await come(upstream, *app, *["pageview"] * 2)
        await page.goto(f"{shop.origin}/blog/first")
        await come(upstream, *app, *["pageview"] * 3, "exposure", "asked")
        headers = {"User-Agent": USER_AGENT}
        async with (
            aiohttp.ClientSession(shop.origin, headers=headers) as session,
            session.post("/api/orders") as answer,
        ):
            assert await answer.json() == {"delivered": True}
    async with Client(server) as client:
        await client.flushed()
        rows = await client.query(site_of(version), ["events"], ["event:name", "event:page", "event:props:route"])
    assert {row: count for row, count in rows.items() if row[0] != "engagement"} == {
        ("pageview", "/", "/"): (2,),
        ("pageview", "/blog/first", "/blog/[slug]"): (2,),
        ("pageview", "/help/returns", "/help/[topic]"): (1,),
        ("pageview", "/help/delivery", "/help/[topic]"): (1,),
        ("exposure", "/blog/first", "/blog/[slug]"): (2,),
        ("bought", "/blog/first", "/blog/[slug]"): (1,),
        ("clicked", "/blog/first", "/blog/[slug]"): (1,),
        ("subscribed", "/", ""): (1,),
        ("asked", "/blog/first", ""): (1,),
        ("ordered", "/api/orders", ""): (1,),
    }
