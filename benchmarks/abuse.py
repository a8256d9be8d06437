"""What strangers can take: memory by forged addresses, and other clients' time by connections that never finish.

Memory: 100,000 beacons, each with an address of its own in X-Forwarded-For. Once the server trusts no proxy, so the
header is forged and must have no effect; once it trusts this client, so that each is another visitor, whose session is
remembered (at most `[collect] max_sessions`): that has a price and no target. The growth counts
after as many beacons of few visitors, when caches, pools and the engine have their size.

Slow connections: they open, begin a head, a body or a request whose answer they never read, send a byte now and
then, and come back when thrown out. Good traffic is measured with and without them, in turns. Linux only: /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.process import ROOT, Running, server
from benchmarks.report import Figure, Result, below
from benchmarks.settings import Settings
from benchmarks.visitors import CONNECTIONS, beacon, client, p99_ms

MOST_GROWTH_MB = 20.0
MOST_RATIO = 2.0
FEW_VISITORS = 100
RECEIVED_BYTES = 4_096
"""What a client that reads no answer lets wait at its own side."""
OPENED_S = 3.0
"""Opening two thousand connections at once is a flood; what is measured is that they stay."""


def run(settings: Settings) -> Result:
    """Both measurements."""
    if not Path("/proc/self/stat").exists():
        return Result(benchmark="abuse", figures=[], details={"left_out": "needs /proc"})
    figures = [
        *_forged("forged, no proxy trusted", settings, {}),
        *_forged("visitors behind a trusted proxy", settings, {"ANALYTICS_SERVER_TRUSTED_PROXIES": "127.0.0.1"}),
        *_slow(settings),
    ]
    sizes: dict[str, object] = {"requests": settings.abuse_requests, "slow_connections": settings.slow_connections}
    return Result(benchmark="abuse", figures=figures, details=sizes)


def _forged(name: str, settings: Settings, environment: dict[str, str]) -> list[Figure]:
    directory = settings.directory / name.partition(" ")[0].strip(",")
    count = settings.abuse_requests
    with server(directory, environment) as running:
        asyncio.run(_send(running, count, FEW_VISITORS))
        before = _settled_mb(running)
        errors = asyncio.run(_send(running, count, count))
        after = _settled_mb(running)
    return [
        Figure(
            name=f"{name}: memory grows by",
            value=after - before,
            unit="MiB",
            target=None if environment else below(MOST_GROWTH_MB),
        ),
        Figure(name=f"{name}: errors", value=errors, unit="", target=below(1)),
    ]


def _settled_mb(running: Running) -> float:
    """Resident memory once it has not grown for two seconds: flushes and merges are through."""
    least, unchanged = running.resident_mb(), 0
    for _ in range(60):
        time.sleep(0.5)
        now = running.resident_mb()
        unchanged = unchanged + 1 if abs(now - least) < 0.5 else 0
        least = now
        if unchanged == 4:
            break
    return least


async def _send(running: Running, count: int, addresses: int) -> int:
    """Send so many beacons from so many addresses; returns how many were not accepted."""
    numbers, errors = iter(range(count)), 0

    async def visitor() -> None:
        nonlocal errors
        async with client(running.url) as connection:
            for number in numbers:
                errors += not await connection.ask(beacon(number % addresses))

    await asyncio.gather(*(visitor() for _ in range(CONNECTIONS)))
    return errors


def _slow(settings: Settings) -> list[Figure]:
    alone: list[float] = []
    beside: list[float] = []
    with server(settings.directory / "slow") as running:
        asyncio.run(p99_ms(running.url, settings.slow_seconds / 2))
        for _ in range(settings.rounds):
            alone.append(asyncio.run(p99_ms(running.url, settings.slow_seconds)))
            with _slow_clients(running.url, settings.slow_connections):
                beside.append(asyncio.run(p99_ms(running.url, settings.slow_seconds)))
    normal, slowed = statistics.median(alone), statistics.median(beside)
    return [
        Figure(name="good beacons alone: p99", value=normal, unit="ms"),
        Figure(name="beside slow connections: p99", value=slowed, unit="ms"),
        Figure(name="beside slow connections: ratio of p99", value=slowed / normal, unit="", target=below(MOST_RATIO)),
    ]


@contextlib.contextmanager
def _slow_clients(url: str, count: int) -> Iterator[None]:
    """So many slow connections, from a process of their own, all open."""
    command = [sys.executable, "-m", "benchmarks.abuse", url, str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(OPENED_S)
            yield
        finally:
            process.kill()


async def _be_slow(url: str, count: int) -> None:
    """Open them all, say so, and go on until the process is ended."""
    parts = urlsplit(url)
    head = b"POST /track HTTP/1.1\r\nHost: a\r\nX-Slow: "
    body = b"POST /track HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{"
    unread = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    opened = asyncio.Semaphore(0)

    async def connection(number: int) -> None:
        first = True
        while True:
            with contextlib.suppress(OSError):
                receiver = socket.socket()
                receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVED_BYTES)
                receiver.setblocking(False)
                await asyncio.get_running_loop().sock_connect(receiver, (parts.hostname, parts.port))
                _, writer = await asyncio.open_connection(sock=receiver, limit=1)
                writer.write((head, body, unread)[number % 3])
                if first:
                    first = False
                    opened.release()
                while not writer.is_closing():
                    await asyncio.sleep(2 + number % 7)
                    if number % 3 < 2:
                        writer.write(b"a")
            await asyncio.sleep(1)

    tasks = [asyncio.create_task(connection(number)) for number in range(count)]
    for _ in range(count):
        await opened.acquire()
    print("open", flush=True)
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(_be_slow(sys.argv[1], int(sys.argv[2])))
