"""Clients that ask ClickHouse's interface without a pause: `python -m benchmarks.wire_clients URL COUNT`.

Each asks the next question when it has its answer, and half a second later when it was told that the server has enough
to do. It says "asking" when each was answered once, and goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator

import aiohttp

from benchmarks.process import ROOT, TOKEN
from benchmarks.traffic import SITE

QUESTIONS = (
    "SELECT toDate(ts) AS day, count() AS events, uniq(visitor_id) AS visitors FROM events GROUP BY day ORDER BY day",
    "SELECT path, count() AS n FROM events WHERE name = 'pageview' GROUP BY path ORDER BY n DESC LIMIT 10",
    "SELECT source, uniq(session_id) AS n FROM events GROUP BY source ORDER BY n DESC LIMIT 10",
    "SELECT country, avg(duration_s) AS s FROM sessions GROUP BY country ORDER BY s DESC LIMIT 10",
    "SELECT ts, name, path, visitor_id FROM events LIMIT 100000",
)
BUSY = (429, 503)
PAUSE_S = 0.5


@contextlib.asynccontextmanager
async def clients(url: str, count: int) -> AsyncIterator[None]:
    """So many clients, in a process of their own, each answered once."""
    command = (sys.executable, "-m", "benchmarks.wire_clients", url, str(count))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise RuntimeError("The clients gave up.")
        yield
        if process.returncode is not None:
            raise RuntimeError("The clients gave up.")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _ask(url: str, count: int) -> None:
    answered = asyncio.Semaphore(0)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:

        async def one(number: int) -> None:
            params = {"database": SITE, "default_format": "Native"}
            for question in itertools.islice(itertools.cycle(QUESTIONS), number, None):
                async with session.post(f"{url}/clickhouse/", params=params, data=question) as response:
                    if response.status not in BUSY:
                        response.raise_for_status()
                    async for _ in response.content.iter_any():
                        pass
                answered.release()
                if response.status in BUSY:
                    await asyncio.sleep(PAUSE_S)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
            for _ in range(count):
                await answered.acquire()
            print("asking", flush=True)


if __name__ == "__main__":
    asyncio.run(_ask(sys.argv[1], int(sys.argv[2])))
