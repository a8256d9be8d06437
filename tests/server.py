"""A real server process for tests, and a client that speaks to it.

`RunningServer` starts `python -m analytics_server serve` on a directory and a port of
its own (forked from a process that has imported it, see `tests.preloaded`, on tables that are
made already, see `tests.migrated`, unless the test is about a first start) and knows when it
is ready by the greeting on its standard output. Its log is kept, so that a test can say what
must never stand in it. Nothing here sleeps to wait for something to have happened: `wait_for`
asks for a condition, with a time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from tests import preloaded
from tests.migrated import lay_tables
from tests.preloaded import Running

T = TypeVar("T")

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
COMMAND_TIMEOUT_S = 100.0
REQUEST_TIMEOUT_S = 30.0
LARGE_BODY = 1_000_000
ADMIN_TOKEN = "ast_the-admin-token-of-the-tests"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
_PROGRAM = [sys.executable, "-W", "default", "-m", "analytics_server"]
_READY = re.compile(r"is running at (\S+)")
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw"))
_ports = itertools.count(11_000 + _worker % 5 * 4_000 + os.getpid() % 100 * 10)


def own_port() -> int:
    """A free port that no other process is given by chance, so that a server which is started again finds it free.

    It lies below those that the kernel gives to connections and to port 0 (32768 and more), in a range of this worker's
    own.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


class RunningServer:
    """One server process at a time on one directory; `settings` are `{"section_key": "text"}`."""

    def __init__(self, directory: Path, settings: Mapping[str, str] | None = None, *, executed: bool = False) -> None:
        """`executed`: as a new program with its own command line, on a directory where nothing is."""
        self.data_dir = directory / "data"
        self._log_path = directory / "log"
        self._settings = dict(settings or {})
        self._executed = executed
        self._process: Running | None = None
        self.greeting = ""
        self.url = ""
        self.token = ADMIN_TOKEN
        self.under: list[str] = []
        """A command that the next start runs the server under (`strace -D …`)."""
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What all runs have written to standard error."""
        return self._log_path.read_text(encoding="utf-8", errors="replace") if self._log_path.exists() else ""

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ANALYTICS_")}
        wanted = {
            "server_data_dir": str(self.data_dir),
            "server_host": "127.0.0.1",
            "admin_token": self.token,
            **self._settings,
        }
        return clean | {f"ANALYTICS_{name.upper()}": value for name, value in wanted.items() if value}

    def command(self, *arguments: str, typed: str = "", **changes: str) -> subprocess.CompletedProcess[str]:
        """`analytics-server ARGUMENTS` with this server's settings; `changes` are variables of the environment."""
        environment = self.environment() | changes
        return preloaded.run("analytics_server", arguments, typed=typed, env=environment, timeout=COMMAND_TIMEOUT_S)

    def start(self) -> Self:
        """Start and wait for the greeting."""
        assert self._process is None
        if not (self._executed or self.under or self.data_dir.exists() or "clickhouse_url" in self._settings):
            lay_tables(self.data_dir)
        with self._log_path.open("ab") as log:
            arguments = ["serve", "--port", str(self.port or own_port())]
            if self.under or self._executed:
                self._process = subprocess.Popen(
                    [*self.under, *_PROGRAM, *arguments],
                    env=self.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
            else:
                self._process = preloaded.start("analytics_server", arguments, stderr=log, env=self.environment())
        self.greeting = self._read_greeting(self._process)
        found = _READY.search(self.greeting)
        if found is None:
            self.kill()
            raise AssertionError(f"The server did not start:\n{self.greeting}\n{self.log}")
        self.url = found[1]
        return self

    def restart(self) -> Self:
        """Start again after `kill` or `terminate`: same directory, same port."""
        return self.start()

    def kill(self) -> None:
        """SIGKILL: what the process had not made durable is gone."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for the process to end by itself; returns the exit code."""
        assert self._process is not None
        code = self._process.wait(timeout_s)
        self._close()
        return code

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._close()
            raise

    def _close(self) -> None:
        assert self._process is not None
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None

    def _read_greeting(self, process: Running) -> str:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        deadline = time.monotonic() + START_TIMEOUT_S
        seen = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"ClickHouse" not in seen and (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    piece = os.read(pipe, 65_536)
                    if not piece:
                        break
                    seen += piece
        return seen.decode()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])

    @property
    def rejected(self) -> list[tuple[int, str]]:
        """Index and code of every rejected event."""
        return [(rejection["index"], rejection["code"]) for rejection in self.json["rejected"]]


class Client:
    """One visitor's browser, or a server with a token; use it as an async context."""

    def __init__(self, server: RunningServer, *, headers: Mapping[str, str] | None = None) -> None:
        self._server = server
        self._headers = {"User-Agent": USER_AGENT, **(headers or {})}
        self._session: aiohttp.ClientSession | None = None
        self._sockets: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=self._new_socket),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
            headers=self._headers,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):  # it is closed already
                each.shutdown(socket.SHUT_RDWR)  # the rest of a body that was refused waits to be sent

        await asyncio.sleep(0)  # most are closed in the loop's next turn

        async def are_closed() -> bool:
            return all(each.fileno() == -1 for each in self._sockets)

        await wait_for(are_closed, what="the end of the client's connections")

    def _new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setblocking(False)
        self._sockets.append(made)
        return made

    async def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        assert self._session is not None
        async with self._session.request(
            method,
            self._server.url + path,
            data=BytesIO(body) if body and len(body) > LARGE_BODY else body,
            headers=headers,
            allow_redirects=False,
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.request("GET", path, headers=headers)

    async def send(
        self, beacon: object, *, path: str = "/track", headers: Mapping[str, str] | None = None, trusted: bool = False
    ) -> Reply:
        """POST a beacon: bytes as they are, anything else as JSON."""
        body = beacon if isinstance(beacon, bytes) else msgspec.json.encode(beacon)
        sent = {"Content-Type": "text/plain;charset=UTF-8", **(headers or {})}
        if trusted:
            sent["Authorization"] = f"Bearer {self._server.token}"
        return await self.request("POST", path, body, sent)

    async def call(self, method: str, path: str, value: object = None, *, token: str | None = None) -> Reply:
        """An API call with the admin's token (or another)."""
        body = None if value is None else msgspec.json.encode(value)
        headers = {"Authorization": f"Bearer {self._server.token if token is None else token}"}
        return await self.request(method, path, body, headers)

    async def query(
        self, site: str, metrics: Sequence[str], dimensions: Sequence[str] = (), *, date_range: object = "all"
    ) -> dict[tuple[str, ...], tuple[float, ...]]:
        """`POST /api/v1/query`: metrics by dimension values (one row with key `()` without dimensions)."""
        question = {
            "site_id": site,
            "metrics": list(metrics),
            "dimensions": list(dimensions),
            "date_range": date_range,
            "pagination": {"limit": 10_000, "offset": 0},
        }
        reply = await self.call("POST", "/api/v1/query", question)
        assert reply.status == 200, reply.body
        return {tuple(row["dimensions"]): tuple(row["metrics"]) for row in reply.json["results"]}

    async def count(self, site: str, metric: str = "events") -> int:
        """One metric of a site over all time; 0 while the site does not exist."""
        reply = await self.call("POST", "/api/v1/query", {"site_id": site, "metrics": [metric], "date_range": "all"})
        if reply.status == 404:
            return 0
        assert reply.status == 200, reply.body
        return int(reply.json["results"][0]["metrics"][0])

    async def flushed(self, timeout_s: float = 60.0) -> None:
        """Until the log is empty: all that was acknowledged can be queried, from every table."""

        async def empty() -> bool:
            return await self.metric("wal_segments") == 0

        try:
            await wait_for(empty, timeout_s, "an empty log")
        except AssertionError as error:
            metrics = (await self.get("/metrics")).body.decode().splitlines()
            shown = [line for line in metrics if line.startswith(("wal_", "flush_attempts", "clickhouse_up"))]
            raise AssertionError("\n".join([str(error), *shown, self._server.log[-2_000:]])) from error

    async def kept(self, site: str, events: int) -> None:
        """Wait for the flush; then the site has exactly so many events."""
        await self.flushed()
        assert await self.count(site) == events

    async def metric(self, name: str) -> float:
        """A sample of `/metrics` by its full name with labels; 0 when it is not there."""
        for line in (await self.get("/metrics")).body.decode().splitlines():
            sample, _, value = line.rpartition(" ")
            if sample == name:
                return float(value)
        return 0.0


async def wait_for(condition: Callable[[], Awaitable[T]], timeout_s: float = 60.0, what: str = "the condition") -> T:
    """Ask until the answer is true, and return it. Raises `AssertionError` when the time runs out."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {timeout_s:.0f} s")
        await asyncio.sleep(0.05)


async def raw(server: RunningServer, request: bytes, *, timeout_s: float = 15.0, enough: bytes = b"}}") -> bytes:
    """Send bytes as they are; read until `enough` was read, the server closes, or `timeout_s` is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    received = b""
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(timeout_s):
            while enough not in received and (piece := await reader.read(65_536)):
                received += piece
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return received


def stored(data_dir: Path, *questions: str) -> list[list[list[Any]]]:
    """The rows of SQL questions on a stopped server's embedded engine, one list per question."""
    done = preloaded.run("tests.stored", [str(data_dir / "clickhouse"), *questions], timeout=60)
    assert done.returncode == 0, done.stderr
    return [msgspec.json.decode(line) for line in done.stdout.splitlines()]


def files_containing(directory: Path, needles: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """Files under a directory in which one of the byte strings stands, with that string."""
    return [
        (str(path.relative_to(directory)), needle)
        for path in directory.rglob("*")
        if path.is_file()
        for content in [path.read_bytes()]
        for needle in needles
        if needle in content
    ]
