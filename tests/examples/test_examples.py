"""The examples beside that of Next.js, run against a real server; the numbers are read back from it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import msgspec
import pytest
from playwright.async_api import Page

from tests.examples.process import EXAMPLES, ExampleProcess, with_packages
from tests.server import USER_AGENT, Client, RunningServer
from tests.web.workspace import WEB, run

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def environment(server: RunningServer) -> dict[str, str]:
    return {"ANALYTICS_URL": server.url, "TOKEN": server.token, "PORT": "0"}


async def test_versions_are_those_that_the_tests_use() -> None:
    used = msgspec.json.decode((WEB / "package.json").read_bytes())["devDependencies"]
    found = 0
    for path in EXAMPLES.glob("*/package.json"):
        package = msgspec.json.decode(path.read_bytes())
        for name, version in {**package["dependencies"], **package.get("devDependencies", {})}.items():
            if path.parent.name != "nextjs" and name != "@analytics/client":
                assert used[name] == version, (path.parent.name, name)
                found += 1
        assert (path.parent / "README.md").read_text(encoding="utf-8").count(
            f"make example NAME={path.parent.name}\n"
        ) == 1
    assert found > 5


async def test_react_spa(modules: Path, server: RunningServer, tmp_path: Path, page: Page) -> None:
    example = with_packages("react-spa", modules, tmp_path)
    vite = ("node_modules/vite/bin/vite.js", "--host", "127.0.0.1", "--port", "0")
    async with ExampleProcess(example, *vite, VITE_ANALYTICS_URL=server.url) as notes:
        await page.goto(notes.origin)
        await page.fill("[name=note]", "milk")
        await page.press("[name=note]", "Enter")
        await page.wait_for_selector("li")
        await page.click("nav :text('About')")
        await page.click("text=Tell me more")
        await page.go_back()
        await page.wait_for_function("document.title === 'Notes'")
        await page.goto("about:blank")
    async with Client(server) as client:
        await client.flushed()
        assert await client.query("notes.example", ["pageviews"], ["event:page", "event:title"]) == {
            ("/", "Notes"): (2,),
            ("/about", "About"): (1,),
        }
        names = await client.query("notes.example", ["events"], ["event:name"])
        assert [names[name,] for name in ("note_added", "asked_for_more", "exposure")] == [(1,), (1,), (1,)]


async def test_react_spa_returns_from_the_back_forward_cache(
    modules: Path, server: RunningServer, tmp_path: Path, page: Page
) -> None:
    """As it is built for production: the development server keeps a connection open, and such a page is not kept."""
    example = with_packages("react-spa", modules, tmp_path)
    (example / ".env").write_text(f"VITE_ANALYTICS_URL={server.url}\n", encoding="utf-8")
    run("node_modules/vite/bin/vite.js", "build", folder=example)

    async def views() -> dict[str, float]:
        async with Client(server) as client:
            await client.flushed()
            rows = await client.query("notes.example", ["pageviews"], ["event:page"])
        return {path: count for (path,), (count,) in rows.items()}

    before = await views()
    vite = ("node_modules/vite/bin/vite.js", "preview", "--host", "127.0.0.1", "--port", "0")
    async with ExampleProcess(example, *vite) as notes:
        await page.goto(notes.origin)
        await page.click("nav :text('About')")
        await page.wait_for_function("document.title === 'About'")
        await page.evaluate("window.kept = true")
        await page.goto(f"{server.url}/healthz")
        await page.go_back(wait_until="commit")
        assert await page.evaluate("window.kept"), "not from the cache"
        await page.click("nav :text('Notes')")
        await page.wait_for_function("document.title === 'Notes'")
        await page.goto("about:blank")
    after = await views()
    assert {path: after[path] - before.get(path, 0) for path in after} == {"/": 2, "/about": 2}


async def test_nestjs_backend(
    modules: Path, server: RunningServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    example = with_packages("nestjs-backend", modules, tmp_path)
    run("node_modules/typescript/bin/tsc", folder=example)
    headers = {"User-Agent": USER_AGENT, "X-Forwarded-For": "198.51.100.9", "X-User": "u-42"}
    async with (
        ExampleProcess(example, "dist/main.js", **environment) as orders,
        aiohttp.ClientSession(orders.origin, headers=headers) as session,
    ):
        for path, body, status in (
            ("/orders", {"product": "lamp", "total": 49.5}, 201),
            ("/orders", {"product": "lamp", "total": 0}, 400),
        ):
            async with session.post(path, json=body) as answer:
                assert answer.status == status
        for path in ("/orders/7", "/health"):
            async with session.get(path) as answer:
                assert answer.status == 200
    async with Client(server) as client:
        await client.flushed()
        assert await client.query("orders.example", ["events"], ["event:name"]) == {
            ("pageview",): (1,),
            ("order_placed",): (1,),
            ("purchase",): (1,),
            ("checkout",): (2,),
            ("request",): (3,),
        }
        placed = await client.query("orders.example", ["total_revenue", "visitors"], ["event:props:product"])
        assert placed["lamp",] == (49.5, 1)


async def test_funnel_tracking(
    modules: Path, server: RunningServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    example = with_packages("funnel-tracking", modules, tmp_path)
    async with ExampleProcess(example, "funnel.mjs", ready="From Hacker News", **environment) as funnel:
        printed = funnel.output
    assert "Everybody" in printed
    counts = [int(number) for number in printed.split("Everybody")[1].split("\n\n")[0].split() if number.isdigit()]
    assert {100, 60, 40, 10, 20, 30} <= {*counts}
    async with Client(server) as client:
        await client.flushed()
        names = await client.query("signup.example", ["events", "visitors"], ["event:name"])
        assert [names[name,][0] for name in ("pageview", "signup_started", "signup_done", "purchase")] == [
            100,
            60,
            40,
            10,
        ]


async def test_ecommerce(
    modules: Path, server: RunningServer, tmp_path: Path, environment: dict[str, str], page: Page
) -> None:
    example = with_packages("ecommerce", modules, tmp_path)
    async with ExampleProcess(example, "shop.mjs", **environment) as shop:
        await page.goto(shop.origin)
        await page.click("a >> text=/^lamp$/")
        await page.click("#add")
        await page.click("#order")
        await page.click("text=More")
        await page.click("a >> text=/^bulb$/")
        await page.click("#order")
        await page.wait_for_selector("text=Thank you")
        await page.goto("about:blank")
    async with Client(server) as client:
        await client.flushed()
        assert await client.query("lamps.example", ["pageviews"], ["event:page"]) == {
            ("/",): (2,),
            ("/lamp",): (1,),
            ("/bulb",): (1,),
            ("/thanks",): (2,),
        }
        rows = await client.query("lamps.example", ["total_revenue"], ["event:name", "event:props:product"])
        assert {row: money for row, money in rows.items() if row[0] == "purchase"} == {
            ("purchase", "lamp"): (49.5,),
            ("purchase", "bulb"): (4.25,),
        }
        assert ("add_to_cart", "lamp") in rows
        assert await client.query("lamps.example", ["visits", "visitors"]) == {(): (1, 1)}
