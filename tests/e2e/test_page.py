"""From a page in real Chromium to the stored row: nothing gets lost on the way, whatever the page is like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, Request

from tests.e2e.pages import Pages
from tests.server import Client, RunningServer, wait_for

pytestmark = pytest.mark.asyncio(loop_scope="session")

MIN_BYTES = 5_000_000
"""What one page load sends at least: eighty times the budget that browsers have for keepalive requests."""
VIEWS = 180
"""By the history API; Chromium ignores more than 200 calls in ten seconds."""
VIRTUAL_VIEWS = 320
EVENTS = 1_700
LONG_TEXT = "語" * 1_000
ACCEPTED = 'ingest_events_total{outcome="accepted"}'


@pytest_asyncio.fixture(loop_scope="session")
async def pages() -> AsyncIterator[Pages]:
    async with Pages() as pages:
        yield pages


@pytest_asyncio.fixture(loop_scope="session")
async def asked(server: RunningServer) -> AsyncIterator[Client]:
    """Whom the tests ask what was stored."""
    async with Client(server) as client:
        yield client


def tag(server: RunningServer, site: str, attributes: str = "") -> str:
    return f'<script defer src="{server.url}/a.js" data-site="{site}" {attributes}></script>'


async def stored(client: Client, site: str, events: int) -> dict[str, int]:
    """Events by name, once so many are stored; without `engagement`, whose number depends on how long it takes."""

    async def there() -> dict[str, int]:
        found = await client.query(site, ["events"], ["event:name"])
        counted = {name: int(count) for (name,), (count,) in found.items() if name != "engagement"}
        return counted if sum(counted.values()) >= events else {}

    await wait_for(lambda: known(client, site), 30, "the site")
    return await wait_for(there, 60, f"{events} events")


async def known(client: Client, site: str) -> bool:
    question = {"site_id": site, "metrics": ["events"], "date_range": "all"}
    return (await client.call("POST", "/api/v1/query", question)).status == 200


async def test_page_that_sends_megabytes_loses_nothing(
    server: RunningServer, asked: Client, pages: Pages, page: Page, site: str
) -> None:
    sent = 0

    def count(request: Request) -> None:
        nonlocal sent
        if request.url == f"{server.url}/track":
            sent += len(request.post_data_buffer or b"")

    page.on("request", count)
    before = await asked.metric(ACCEPTED)
    await page.goto(pages.add("/", tag(server, site)))
    for chunk in range(10):
        await page.evaluate(
            """([chunk, views, virtual, events, text]) => {
                for (let i = 0; i < views; i++) history.pushState(0, '', `/view/${chunk}/${i}`);
                for (let i = 0; i < virtual; i++) analytics('pageview', {url: `/virtual/${chunk}/${i}`});
                for (let i = 0; i < events; i++) analytics('read', {props: {text, chunk, i}});
            }""",
            [chunk, VIEWS // 10, VIRTUAL_VIEWS // 10, EVENTS // 10, LONG_TEXT],
        )
        # While some of it is still on its way, as people read on.
        await page.wait_for_timeout(50)
    expected = {"pageview": 1 + VIEWS + VIRTUAL_VIEWS, "read": EVENTS, "goodbye": 1}
    # The last view may still wait for a title: it leaves with the page, as does the goodbye.
    await wait_for(lambda: accepted(asked, before + sum(expected.values()) - 2), 60, "the requests to end")
    await page.evaluate("analytics('goodbye')")
    await page.goto("about:blank")
    found = await stored(asked, site, sum(expected.values()))
    await asked.flushed()
    found = await stored(asked, site, sum(expected.values()))
    assert {name: found.get(name) for name in expected} == expected
    assert sent >= MIN_BYTES
    assert await asked.count(site, "visitors") == 1


async def accepted(client: Client, events: float) -> bool:
    """Has so much been accepted, of all sites together?"""
    return await client.metric(ACCEPTED) >= events


async def test_page_whose_fetch_adds_headers_is_counted(
    server: RunningServer, asked: Client, pages: Pages, page: Page, site: str
) -> None:
    """A monitor that wraps fetch and adds its tracing header makes the browser ask the server first."""
    wrap = """<script>
    const theirs = window.fetch;
    window.fetch = (address, options = {}) => theirs(address, {...options,
      headers: {...options.headers, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        'X-Datadog-Trace-Id': '1', baggage: 'a=b'}});
    </script>"""
    await page.goto(pages.add("/", tag(server, site), head=wrap))
    await page.evaluate("analytics('traced')")
    assert await stored(asked, site, 2) == {"pageview": 1, "traced": 1}


ODD = {
    "user_id: 42": "analytics('set', {user_id: 42})",
    "user_id: true": "analytics('set', {user_id: true})",
    "user_id: {}": "analytics('set', {user_id: {id: 1}})",
    "session_id: 7": "analytics('set', {session_id: 7})",
    "session_id too long": "analytics('set', {session_id: 's'.repeat(300)})",
    "a list": "analytics('set', {props: {plan: 'pro', cart: [1, 2]}})",
    "an object": "analytics('set', {props: {plan: 'pro', cart: {a: {b: 1}}}})",
    "long text": "analytics('set', {props: {text: 'x'.repeat(5000)}})",
    "long key": "analytics('set', {props: {['k'.repeat(100)]: 1}})",
    "many": "analytics('set', {props: Object.fromEntries([...Array(80).keys()].map(n => ['k' + n, n]))})",
    "no number": "analytics('set', {props: {n: NaN, i: Infinity}})",
    "a list of props": "analytics('set', {props: [1, 2]})",
    "text for props": "analytics('set', {props: 'text'})",
    "odd title": "analytics('set', {title: {a: 1}})",
    "odd screen": "analytics('set', {screen: 'large'})",
    "odd language": "analytics('set', {language: 5})",
    "odd referrer": "analytics('set', {referrer: ['https://a.example']})",
    "odd revenue": "analytics('set', {revenue: 12})",
    "odd element": "analytics('set', {element: 'button'})",
}


@pytest.mark.parametrize("call", ODD.values(), ids=ODD.keys())
async def test_one_odd_value_costs_no_event(
    server: RunningServer, asked: Client, pages: Pages, page: Page, site: str, call: str
) -> None:
    await page.goto(pages.add("/", tag(server, site)))
    await page.evaluate(f"{call}; analytics('after')")
    await page.evaluate("history.pushState(0, '', '/next'); document.title = 'Next'")
    assert await stored(asked, site, 3) == {"pageview": 2, "after": 1}


async def test_number_for_a_user_and_a_list_for_a_property_are_stored_as_text(
    server: RunningServer, asked: Client, pages: Pages, page: Page, site: str
) -> None:
    await page.goto(pages.add("/", tag(server, site)))
    await page.evaluate("analytics('set', {user_id: 42, props: {plan: 'pro', cart: [1, 2]}}); analytics('after')")
    await stored(asked, site, 2)
    question = {
        "site_id": site,
        "query": "SELECT user_id, props['plan'], props['cart'] FROM events WHERE name = 'after'",
    }
    reply = await asked.call("POST", "/api/v1/sql", question)
    assert reply.json["rows"] == [["42", "pro", "[1,2]"]]


@pytest.mark.parametrize("hours", [-10, 10])
async def test_wrong_clock_of_a_device_does_not_move_a_late_event(
    server: RunningServer, asked: Client, pages: Pages, page: Page, site: str, hours: int
) -> None:
    """The first request fails, so the event carries its time, by a clock that is hours off."""
    await page.add_init_script(f"const now = Date.now; Date.now = () => now() + {hours} * 3600000")
    failed = asyncio.Event()

    async def fail(route: object) -> None:
        failed.set()
        await route.fulfill(status=503, headers={"Access-Control-Allow-Origin": "*"})  # type: ignore[attr-defined]

    await page.route("**/track", fail, times=1)
    await page.goto(pages.add("/", tag(server, site)))
    await asyncio.wait_for(failed.wait(), 15)
    assert await stored(asked, site, 1) == {"pageview": 1}
    question = {"site_id": site, "query": "SELECT abs(dateDiff('second', ts, now())) < 40 FROM events"}
    reply = await asked.call("POST", "/api/v1/sql", question)
    assert reply.json["rows"] in ([[1]], [[True]])
