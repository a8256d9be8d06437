"""The Next.js part in a real application, with both routers, into a real server: the example of the documentation."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.examples.nextjs import EXAMPLE, Upstream, prepare
from tests.examples.process import ExampleProcess
from tests.server import USER_AGENT, Client, RunningServer, wait_for
from tests.web.workspace import run

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

SITE = "shop.example"
BUILD_TIMEOUT_S = 400.0
COOKIE = "session=a-secret-of-the-shop"
STATIC = {"/", "/newsletter", "/products/lamp", "/products/chair"}
STATIC_OF_PAGES = {"/help/returns", "/help/delivery"}
ELSEWHERE = "198.51.100.9"
COMPILE_TIMEOUT_MS = 90_000.0
SLOWDOWN = 20


@pytest.fixture(scope="module")
def build(modules: Path) -> Path:
    """The example, built for production once; this checks its types too."""
    prepare(modules)
    run("node_modules/next/dist/bin/next", "build", folder=EXAMPLE, timeout_s=BUILD_TIMEOUT_S)
    return EXAMPLE / ".next"


def start(command: str, upstream: Upstream, server: RunningServer, **environment: str) -> ExampleProcess:
    """`next start` or `next dev`."""
    known = {"ANALYTICS_URL": upstream.url, "TOKEN": server.token, **environment}
    arguments = ("node_modules/next/dist/bin/next", command, "-H", "127.0.0.1", "-p", "0")
    return ExampleProcess(EXAMPLE, *arguments, ready="Ready in", **known)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def upstream(server: RunningServer) -> AsyncIterator[Upstream]:
    async with Upstream(server.url) as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(build: Path, upstream: Upstream, server: RunningServer) -> AsyncIterator[ExampleProcess]:
    async with start("start", upstream, server) as shop:
        yield shop


@pytest.fixture
async def faults(page: Page) -> list[str]:
    """What the page throws, and the errors that it writes to the console."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    return found


async def shown(page: Page, title: str) -> None:
    """Until the page has this title; its view may still wait to be sent."""
    await page.wait_for_function("title => document.title === title", arg=title)


async def come(upstream: Upstream, names: list[str]) -> None:
    """Until the events since the test began are these, in any order but for their number."""
    found: list[str] = []

    async def are_there() -> bool:
        found[:] = [event["name"] for event in upstream.events if event["name"] != "engagement"]
        return sorted(one.split()[0] for one in found) == sorted(names)

    try:
        await wait_for(are_there)
    except AssertionError:
        raise AssertionError(f"{names} were to come, {found} did") from None


async def left(upstream: Upstream, path: str) -> None:
    """Until the last page, which is this one, has said how long it was read: then nothing more comes."""

    async def is_told() -> bool:
        views = [at for at, event in enumerate(upstream.events) if event["name"] == "pageview"]
        return any(
            event["name"] == "engagement" and event["url"].endswith(path) for event in upstream.events[views[-1] :]
        )

    await wait_for(is_told)


async def test_pages_that_are_rendered_ahead_of_time_stay_so(build: Path) -> None:
    manifest = msgspec.json.decode((build / "prerender-manifest.json").read_bytes())
    assert {*manifest["routes"]} >= STATIC | STATIC_OF_PAGES
    assert (build / "server" / "pages" / "help.html").is_file()  # A page without data is a file.


async def test_visit_with_both_routers(
    shop: ExampleProcess, upstream: Upstream, server: RunningServer, page: Page, faults: list[str]
) -> None:
    await page.context.add_cookies([{"name": "session", "value": COOKIE.split("=")[1], "url": shop.origin}])
    await page.goto(shop.origin)
    await shown(page, "Shop")
    await come(upstream, ["pageview"])  # The page is hydrated by then: a click before would load the next one anew.
    for title in ("A lamp", "A chair", "A lamp"):
        await page.click(f"text={title.split()[1].title()}")
        await shown(page, title)
    await page.go_back()
    await shown(page, "A chair")
    await page.go_forward()
    await shown(page, "A lamp")
    assert await page.evaluate("location.search") == "?colour=red"
    await page.click("#buy")
    await page.wait_for_selector("text=Buy done")
    await page.click("text=Shop")
    await shown(page, "Shop")
    await page.click("text=Newsletter")
    await shown(page, "Newsletter")
    await page.click("#subscribe")
    app = [*["pageview"] * 8, "buy", "order_placed", "purchase", "newsletter"]
    await come(upstream, app)

    await page.goto(f"{shop.origin}/help")
    await shown(page, "Help")
    await come(upstream, [*app, "pageview"])
    await page.click("#call")
    await page.click("text=Returns")
    await shown(page, "About returns")
    await page.click("text=Help")
    await shown(page, "Help")
    await page.click("text=Delivery")
    await shown(page, "About delivery")
    await page.go_back()
    await shown(page, "Help")
    await come(upstream, [*app, *["pageview"] * 5, "called"])
    await page.goto(f"{shop.origin}/newsletter")
    await come(upstream, [*app, *["pageview"] * 6, "called", "page_asked"])
    await page.goto("about:blank")
    await left(upstream, "/newsletter")
    assert [fault for fault in faults if "favicon" not in fault and "404" not in fault] == []
    assert not [headers for headers in upstream.headers if "cookie" in headers or COOKIE in str(headers)]

    async with Client(server) as client:
        await client.flushed()
        rows = await client.query(SITE, ["pageviews"], ["event:page", "event:props:route", "event:title"])
    assert {row: count for row, count in rows.items() if any(count)} == {
        ("/", "/", "Shop"): (2,),
        ("/products/lamp", "/products/[slug]", "A lamp"): (3,),
        ("/products/chair", "/products/[slug]", "A chair"): (2,),
        ("/newsletter", "/newsletter", "Newsletter"): (2,),
        ("/help", "/help", "Help"): (3,),
        ("/help/returns", "/help/[topic]", "About returns"): (1,),
        ("/help/delivery", "/help/[topic]", "About delivery"): (1,),
    }
    async with Client(server) as client:
        rows = await client.query(SITE, ["events"], ["event:name", "event:page"])
        for name, path in (
            ("buy", "/products/lamp"),
            ("order_placed", "/products/lamp"),
            ("newsletter", "/newsletter"),
        ):
            assert rows[name, path] == (1,)
        assert await client.query(SITE, ["visitors"], ["visit:browser"]) == {("Chrome",): (1,)}


async def test_servers_report_in_every_runtime(shop: ExampleProcess, upstream: Upstream, server: RunningServer) -> None:
    before = len(upstream.events)
    headers = {"User-Agent": USER_AGENT, "X-Forwarded-For": f"203.0.113.1, {ELSEWHERE}", "Cookie": COOKIE}
    async with aiohttp.ClientSession(shop.origin, headers=headers) as session:
        async with session.get("/api/stock") as answer:
            assert (await answer.json())["lamp"] == 3
        async with session.get("/api/broken", headers={"Referer": f"{shop.origin}/"}) as answer:
            assert answer.status == 500

    async def have_come() -> bool:
        return len(upstream.events) == before + 2

    await wait_for(have_come)
    told = {event["name"]: event for event in upstream.events[before:]}
    assert {(event["ip"], event["user_agent"]) for event in told.values()} == {(ELSEWHERE, USER_AGENT)}
    assert told["stock_asked"]["url"] == f"{shop.origin}/api/stock"
    props = told["server_error"]["props"]
    digest = props.pop("digest", None)
    assert props == {"route": "/api/broken", "method": "GET", "type": "route", "error": "RangeError"}
    assert "nobody@" not in str(digest)


async def test_proxy_says_whose_beacon_it_is_and_passes_nothing_else_on(
    shop: ExampleProcess, upstream: Upstream, server: RunningServer
) -> None:
    before = len(upstream.headers)
    events = len(upstream.events)
    headers = {
        "User-Agent": USER_AGENT,
        "Accept-Language": "de-AT",
        "X-Forwarded-For": f"203.0.113.1, {ELSEWHERE}",
        "Cookie": COOKIE,
        "Authorization": "Basic c2VjcmV0",
        "Referer": f"{shop.origin}/private",
    }
    async with aiohttp.ClientSession(shop.origin, headers=headers) as session:
        async with session.get("/stats/a.js") as answer:
            script, tag = await answer.text(), answer.headers["ETag"]
            assert "cookie" not in script
            assert answer.content_type == "text/javascript"
        async with session.get("/stats/a.js", headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
        async with session.get("/stats/track") as answer:
            assert answer.status == 404
        forged = {
            "site": SITE,
            "name": "forged",
            "event_id": "0",
            "ip": "192.0.2.1",
            "user_agent": "x",
            "timestamp": 1e12,
        }
        async with session.post("/stats/track", data=msgspec.json.encode(forged)) as answer:
            assert (answer.status, (await answer.json())["accepted"]) == (202, 1)
        async with session.post("/stats/track", data=b"{") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "bad_json")
    assert len(upstream.headers) == before + 3  # what can't be read is refused here
    for passed in upstream.headers[before:]:
        assert not {"cookie", "referer"} & {*passed}
        assert passed.get("authorization") in (None, f"Bearer {server.token}")
    assert [(event["ip"], event["user_agent"]) for event in upstream.events[events:]] == [(ELSEWHERE, USER_AGENT)]


async def test_what_waits_is_sent_when_the_application_is_stopped(shop: ExampleProcess, upstream: Upstream) -> None:
    before = len(upstream.events)
    async with (
        aiohttp.ClientSession(shop.origin) as session,
        session.post("/api/orders", json={"product": "x"}) as answer,
    ):
        assert answer.status == 200
    assert await shop.terminate() == 128 + signal.SIGTERM
    assert {event["name"] for event in upstream.events[before:]} == {"order_placed", "purchase"}


async def test_strict_mode_of_both_routers_counts_once(
    build: Path, server: RunningServer, page: Page, faults: list[str]
) -> None:
    async with Upstream(server.url) as upstream:
        async with start("dev", upstream, server, NEXT_PUBLIC_SITE="strict.example") as shop:
            page.set_default_timeout(COMPILE_TIMEOUT_MS)
            await page.goto(shop.origin)
            await shown(page, "Shop")
            await come(upstream, ["pageview"])
            await page.click("text=Lamp")
            await shown(page, "A lamp")
            await page.go_back()
            await shown(page, "Shop")
            await come(upstream, ["pageview"] * 3)
            await page.goto(f"{shop.origin}/help")
            await shown(page, "Help")
            await come(upstream, ["pageview"] * 4)
            await page.click("text=Returns")
            await shown(page, "About returns")
            await page.click("text=Help")
            await shown(page, "Help")
            await come(upstream, ["pageview"] * 6)
            await page.goto("about:blank")
        views = [event for event in upstream.events if event["name"] == "pageview"]
        assert [event["props"]["route"] for event in views] == [
            *("/", "/products/[slug]", "/"),
            *("/help", "/help/[topic]", "/help"),
        ]


async def test_page_of_either_router_returns_from_the_back_forward_cache(
    build: Path, server: RunningServer, page: Page
) -> None:
    async with Upstream(server.url) as upstream, start("start", upstream, server) as shop:
        routes: list[str] = []
        for first, link, title, path in (
            ("", "Lamp", "A lamp", "/products/[slug]"),
            ("/help", "Returns", "About returns", "/help/[topic]"),
        ):
            await page.goto(shop.origin + first)
            routes.append(first or "/")
            await come(upstream, ["pageview"] * len(routes))  # The page is hydrated by then.
            await page.click(f"text={link}")
            await shown(page, title)
            await page.evaluate("window.kept = true")
            await page.goto(f"{server.url}/healthz")
            await page.go_back(wait_until="commit")
            assert await page.evaluate("window.kept"), "not from the cache"
            routes += [path, path]
            await come(upstream, ["pageview"] * len(routes))
        await page.goto("about:blank")
        views = [event for event in upstream.events if event["name"] == "pageview"]
    assert [event["props"]["route"] for event in views] == routes


async def test_slow_devices_name_their_routes(build: Path, server: RunningServer, page: Page) -> None:
    async with Upstream(server.url) as upstream, start("start", upstream, server) as shop:
        await visit_slowly(shop, upstream, page)


async def visit_slowly(shop: ExampleProcess, upstream: Upstream, page: Page) -> None:
    slow = await page.context.new_cdp_session(page)
    await slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})

    async def have_come(count: int) -> list[tuple[str | None, str]]:
        """The routes and titles of so many views, once they have come."""
        views: list[dict[str, Any]] = []

        async def are_there() -> bool:
            views[:] = [event for event in upstream.events if event["name"] == "pageview"]
            return len(views) == count

        await wait_for(are_there)
        return [(event.get("props", {}).get("route"), event["title"]) for event in views]

    for count in (1, 4):
        await page.goto(shop.origin)
        await shown(page, "Shop")
        await have_come(count)  # The page is hydrated by then: a click before would load the next one anew.
        for title in ("A lamp", "A chair"):
            await page.click(f"text={title.split()[1].title()}")
            await shown(page, title)
    await page.go_back()
    await shown(page, "A lamp")
    await page.click("text=Shop")
    await shown(page, "Shop")
    await page.goto(f"{shop.origin}/help")
    await shown(page, "Help")
    await have_come(9)
    await page.click("text=Returns")
    await shown(page, "About returns")
    await page.goto("about:blank")
    lamp, chair = ("/products/[slug]", "A lamp"), ("/products/[slug]", "A chair")
    assert await have_come(10) == [
        *(("/", "Shop"), lamp, chair),
        *(("/", "Shop"), lamp, chair, lamp, ("/", "Shop")),
        *(("/help", "Help"), ("/help/[topic]", "About returns")),
    ]
