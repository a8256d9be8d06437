"""Batches of 100 events over several connections, until the last one can be queried.

Two kinds: from a server-side application (many visitors; each event brings its own
address and user agent), and from one browser. The clock runs from the first request
until the query API counts every event that was acknowledged.
"""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec

from benchmarks import geo
from benchmarks.count import count_stored
from benchmarks.process import TOKEN, server
from benchmarks.report import Figure, Result, at_least, exactly
from benchmarks.settings import Settings
from benchmarks.traffic import SITE, batches

POLL_S = 0.05
QUERYABLE_TIMEOUT_S = 120.0


class _Answer(msgspec.Struct):
    accepted: int


class _Counted(msgspec.Struct):
    rows: list[list[int]]


def run(settings: Settings) -> Result:
    """Both kinds, each with a fresh server."""
    figures = []
    for kind, server_side in (("server-side", True), ("one browser", False)):
        figures += _measure(settings, kind, server_side=server_side)
    return Result(benchmark="batches", figures=figures, details={"batch_events": settings.batch_events})


def _measure(settings: Settings, kind: str, *, server_side: bool) -> list[Figure]:
    bodies = batches(settings.batches, settings.batch_events, server_side=server_side)
    data_dir = settings.directory / f"batches-{'server' if server_side else 'browser'}"
    with server(data_dir, {"ANALYTICS_GEO_DATABASE": str(geo.database(settings.directory))}) as running:
        accepted, acknowledged_s, queryable_s = asyncio.run(
            _send(running.url, bodies, settings.batch_connections, trusted=server_side)
        )
    stored = count_stored(data_dir)
    sent = settings.batches * settings.batch_events
    return [
        Figure(name=f"{kind}: acknowledged", value=accepted / acknowledged_s, unit="events/s"),
        Figure(
            name=f"{kind}: acknowledged and queryable",
            value=accepted / queryable_s,
            unit="events/s",
            target=at_least(40_000),
        ),
        Figure(name=f"{kind}: refused", value=sent - accepted, unit="events", target=exactly(0)),
        Figure(name=f"{kind}: lost", value=accepted - stored.rows, unit="events", target=exactly(0)),
        Figure(name=f"{kind}: stored twice", value=stored.rows - stored.event_ids, unit="events", target=exactly(0)),
    ]


async def _send(
    url: str, bodies: list[tuple[str, bytes]], connections: int, *, trusted: bool
) -> tuple[int, float, float]:
    """Events accepted, seconds until the last was acknowledged, seconds until all could be queried."""
    waiting = list(reversed(bodies))
    accepted = 0
    token = {"Authorization": f"Bearer {TOKEN}"}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=timeout) as client:

        async def work() -> None:
            nonlocal accepted
            while waiting:
                user_agent, body = waiting.pop()
                headers = {"User-Agent": user_agent, "Content-Type": "application/json", **(token if trusted else {})}
                async with client.post(f"{url}/track", data=body, headers=headers) as response:
                    answer = await response.read()
                    if response.status == 202:
                        accepted += msgspec.json.decode(answer, type=_Answer).accepted

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        acknowledged = time.perf_counter() - started
        while await _count(client, url, token) != accepted:
            if time.perf_counter() - started > acknowledged + QUERYABLE_TIMEOUT_S:
                raise RuntimeError("Acknowledged events never became queryable.")
            await asyncio.sleep(POLL_S)
        return accepted, acknowledged, time.perf_counter() - started


async def _count(client: aiohttp.ClientSession, url: str, token: dict[str, str]) -> int:
    query = {"site_id": SITE, "query": "SELECT count() FROM events"}  # also passive ones, which the metric leaves out
    async with client.post(f"{url}/api/v1/sql", json=query, headers=token) as response:
        if response.status != 200:
            return -1
        return msgspec.json.decode(await response.read(), type=_Counted).rows[0][0]
