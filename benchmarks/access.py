"""What authentication, rights and the audit log add to a question, and to a visitor's beacon.

One process answers the same question at two ports, in turns: at one as a server does, at the other one for everybody
and without an audit entry. Processor time of that process alone (the client is another one), the writing of the
entries included. The question is a cheap one, of a hundred events, so that the share is the largest there is.

A beacon of a visitor names no token, so its sender is not looked up. It is sent in turns to the server as it is, with
many tokens, and with its tokens replaced by something that fails when it is asked.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from analytics_server.access.principals import Principal, Role
from analytics_server.app import Server
from analytics_server.config import Config, ServerSection
from analytics_server.http.authorization import Action, Resource
from analytics_server.http.routing.routes import route_table
from benchmarks.process import TOKEN
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings
from benchmarks.visitors import AGENT

SITE = "example.com"
QUESTION = {"site_id": SITE, "metrics": ["visitors", "pageviews"], "date_range": "30d", "dimensions": ["visit:source"]}
BEACON = {"site": SITE, "name": "pageview", "url": f"https://{SITE}/"}
MOST_SHARE = 5.0


class Everybody:
    """Lets everyone do everything."""

    def __init__(self, owner: Principal) -> None:
        self._owner = owner

    async def authenticate(self, credential: Any) -> Principal:
        """The owner, for any request."""
        return self._owner

    def authorize(self, caller: Principal, action: Action, resource: Resource) -> None:
        """Whatever it is."""


class Unasked:
    """In place of the tokens: every look-up fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"a visitor's beacon asked for {name}")


def run(settings: Settings) -> Result:
    """Blocks of questions to both ports in turns."""
    return asyncio.run(_run(settings))


async def _run(settings: Settings) -> Result:
    section = ServerSection(data_dir=str(settings.directory / "access"), port=0)
    server = Server(Config(server=section), admin_token=TOKEN)
    await server.start()
    runners: list[web.AppRunner] = []
    try:
        await _fill(server)
        owner = await server.access.authorizer.authenticate(f"Bearer {TOKEN}")
        asked = [endpoint for endpoint in server.endpoints() if endpoint.path == "/api/v1/query"]
        checked = await _listen(route_table(asked, server.access.authorizer, server.audit.log), runners)
        free = await _listen(route_table(asked, Everybody(owner)), runners)
        costs: dict[str, list[float]] = {checked: [], free: []}
        for _ in range(settings.access_blocks):
            for url, found in costs.items():
                found.append(await _cost(server, url, QUESTION, settings.access_questions))
        beacons = await _beacon_costs(server, settings)
    finally:
        for runner in runners:
            await runner.cleanup()
        await server.stop()
    with_checks, without = (statistics.median(costs[url]) for url in (checked, free))
    beacon, unasked = map(statistics.median, beacons)
    return Result(
        benchmark="access",
        figures=[
            Figure(name="a question, with rights and audit", value=with_checks, unit="µs"),
            Figure(name="the same for everybody", value=without, unit="µs"),
            Figure(name="more", value=(with_checks / without - 1) * 100, unit="%", target=below(MOST_SHARE)),
            Figure(name=f"a visitor's beacon, beside {settings.access_tokens:,} tokens", value=beacon, unit="µs"),
            Figure(name="the same where asking for a token fails", value=unasked, unit="µs"),
            Figure(name="more for a beacon: the noise of the machine", value=(beacon / unasked - 1) * 100, unit="%"),
        ],
    )


async def _beacon_costs(server: Server, settings: Settings) -> tuple[list[float], list[float]]:
    """Microseconds of processor time for each beacon: with tokens, and where looking them up fails."""
    gate = server.access.gate
    for _ in range(settings.access_tokens):
        await gate.create(Role.READ)
    collector = server.collect.collector
    host, port = server.listener.address[:2]
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(settings.access_blocks):
        for tokens, found in zip((gate, Unasked()), costs, strict=True):
            collector._gate = tokens  # type: ignore[assignment]
            found.append(await _cost(server, f"http://{host}:{port}/track", BEACON, settings.access_beacons))
    collector._gate = gate
    return costs


async def _fill(server: Server) -> None:
    host, port = server.listener.address[:2]
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as client,
        client.post(f"http://{host}:{port}/track", json={"events": [BEACON] * 100}) as response,
    ):
        if response.status != 202:
            raise RuntimeError(await response.text())
    await server.ingest.flusher.drain(10.0)


async def _listen(routes: list[web.RouteDef], runners: list[web.AppRunner]) -> str:
    app = web.Application()
    app.router.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    runners.append(runner)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}/api/v1/query"


async def _cost(server: Server, url: str, body: object, requests: int) -> float:
    """Microseconds of processor time for each request."""
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.access", url, msgspec.json.encode(body), str(requests)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert client.stdout is not None
    assert client.stdin is not None
    await client.stdout.readline()  # it is ready
    began = time.process_time()
    client.stdin.write(b"\n")
    if await client.wait():
        raise RuntimeError("the questions were not answered")
    await server.audit.log.write()
    return (time.process_time() - began) / requests * 1e6


async def _ask(url: str, body: str, requests: int) -> None:
    is_question = not url.endswith("/track")
    headers = {"Authorization": f"Bearer {TOKEN}"} if is_question else {"User-Agent": AGENT}
    headers["Content-Type"] = "application/json"
    async with aiohttp.ClientSession(headers=headers) as client:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for _ in range(requests):
            async with client.post(url, data=body.encode()) as response:
                if response.status not in (200, 202):
                    raise RuntimeError(await response.text())
                await response.read()


if __name__ == "__main__":
    asyncio.run(_ask(sys.argv[1], sys.argv[2], int(sys.argv[3])))
