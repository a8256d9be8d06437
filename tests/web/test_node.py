"""Server-side tracking by a real Node.js process into a real server, both of which may be killed at any point."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.server import USER_AGENT, Client, RunningServer
from tests.web.process import NodeProcess

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEFORE = 1_000
AFTER = 500


@pytest.fixture
def site() -> str:
    return f"site-{uuid4().hex[:12]}.example"


class Application:
    """Starts the application with the package built, for one site."""

    def __init__(self, modules: Path, server: RunningServer, site: str) -> None:
        self._module = str(modules / "node" / "index.js")
        self._config = {"apiBaseUrl": server.url, "appName": site, "token": server.token}

    def __call__(self, *arguments: str, **config: object) -> NodeProcess:
        return NodeProcess(self._module, msgspec.json.encode({**self._config, **config}).decode(), *arguments)


@pytest.fixture
def application(modules: Path, server: RunningServer, site: str) -> Application:
    return Application(modules, server, site)


async def counted(server: RunningServer, site: str) -> dict[int, float]:
    """How often each numbered view is stored."""
    async with Client(server) as client:
        await client.flushed()
        rows = await client.query(site, ["events"], ["event:page"])
    return {int(path.removeprefix("/")): count for (path,), (count,) in rows.items()}


async def test_nothing_is_lost_or_doubled_when_the_server_is_killed(
    application: Application, server: RunningServer, site: str
) -> None:
    async with application("stream", batchEvents=100, maxQueueEvents=500, flushIntervalMs=20) as node:
        arrived = (await node.said("arrived", BEFORE))["arrived"]
        server.kill()
        assert (await node.said("kind"))["kind"] == "retry"
        await asyncio.to_thread(server.restart)
        await node.said("arrived", arrived + AFTER)
        node.send_signal(signal.SIGUSR2)
        end = await node.said("closed")
    tracked = end["tracked"]
    assert end["closed"]
    assert (end["delivered"], end["queued"], end["rejected"], end["dropped"]) == (tracked, 0, 0, 0)
    assert await counted(server, site) == dict.fromkeys(range(tracked), 1)


async def test_nothing_that_was_flushed_is_lost_when_the_sender_is_killed(
    application: Application, server: RunningServer, site: str
) -> None:
    async with application("flush") as node:
        await node.said("flushed", 1_000)
        node.send_signal(signal.SIGKILL)
        _, lines, _ = await node.ended()
    flushed = max([1_000, *(line["flushed"] for line in lines)])
    found = await counted(server, site)
    assert {*found.values()} == {1}
    assert {*range(flushed)} <= {*found} <= {*range(flushed + 100)}


@pytest.mark.parametrize(
    ("mode", "number", "code", "views"),
    [
        ("signal", signal.SIGTERM, -signal.SIGTERM, 50),
        ("signal", signal.SIGINT, -signal.SIGINT, 50),
        ("copies", signal.SIGHUP, -signal.SIGHUP, 100),
        ("handled", signal.SIGTERM, 7, 50),
        ("end", None, 0, 50),
    ],
)
async def test_what_waits_is_sent_when_the_process_ends(
    application: Application,
    server: RunningServer,
    site: str,
    mode: str,
    number: signal.Signals | None,
    code: int,
    views: int,
) -> None:
    # Nothing would leave for an hour by itself.
    async with application(mode, flushIntervalMs=3_600_000) as node:
        if number is not None:
            await node.said("pid")
            node.send_signal(number)
        assert (await node.ended())[::2] == (code, "")
    assert await counted(server, site) == dict.fromkeys(range(views), 1)


async def test_signal_that_the_application_handles_ends_no_client(
    application: Application, server: RunningServer, site: str
) -> None:
    async with application("reload", flushIntervalMs=3_600_000) as node:
        await node.said("pid")
        for _ in range(2):
            node.send_signal(signal.SIGHUP)
            await node.said("reloaded")
        node.send_signal(signal.SIGTERM)
        assert (await node.ended())[::2] == (-signal.SIGTERM, "")
    assert await counted(server, site) == {n: 1 if n < 50 else 2 for n in range(100)}


async def test_requests_share_a_connection(application: Application) -> None:
    peers = []

    async def take(request: web.Request) -> web.Response:
        events = (await request.json())["events"]
        peers.append(request.transport.get_extra_info("peername") if request.transport else None)
        return web.json_response({"accepted": len(events), "rejected": [], "dropped": {}}, status=202)

    app = web.Application()
    app.add_routes([web.post("/track", take)])
    server = TestServer(app)
    await server.start_server()
    try:
        async with application("flush", apiBaseUrl=str(server.make_url(""))) as node:
            await node.said("flushed", 1_000)
    finally:
        await server.close()
    assert len(peers) >= 10
    assert (
        len({*peers}) <= 2
    )  # A request that follows at once finds the connection not free yet, and opens a second one.


async def test_process_ends_though_the_server_is_away(application: Application) -> None:
    async with application("end", apiBaseUrl="http://127.0.0.1:9", closeTimeoutMs=300) as node:
        code, lines, _ = await node.ended()
    assert code == 0
    assert lines[-1] == {"kind": "dropped", "code": "closed", "events": 50}


async def test_visitor_of_a_request_reaches_the_server(
    application: Application, server: RunningServer, site: str
) -> None:
    headers = {"User-Agent": USER_AGENT, "Accept-Language": "de-AT,de;q=0.9"}
    async with application("serve", flushIntervalMs=0) as node, aiohttp.ClientSession(headers=headers) as browser:
        address = f"http://127.0.0.1:{(await node.said('port'))['port']}/cart"
        for forwarded in ("198.51.100.1", "198.51.100.2", "198.51.100.2"):
            async with browser.get(address, headers={"X-Forwarded-For": f"8.8.8.8, {forwarded}"}):
                pass
        async with browser.get(address, headers={"DNT": "1"}):
            pass
        node.send_signal(signal.SIGTERM)
        await node.ended()
    async with Client(server) as client:
        await client.kept(site, 6)
        assert await client.count(site, "visitors") == 2
        rows = await client.query(site, ["visitors"], ["visit:browser", "visit:language", "event:page"])
        assert rows == {("Chrome", "de-AT", "/cart"): (2,)}
        assert await client.query(site, ["events"], ["event:name"]) == {("pageview",): (3,), ("purchase",): (3,)}
