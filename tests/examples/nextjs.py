"""The Next.js example as a real process, and what stands between it and the analytics server in tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.web.workspace import ROOT, WEB, find_node

EXAMPLE = ROOT / "examples" / "nextjs"
START_TIMEOUT_S = 120.0


def prepare(modules: Path) -> None:
    """Gives the example the package as it is built now; skips where the example's packages are not installed."""
    if not (EXAMPLE / "node_modules" / "installed").is_file():
        pytest.skip("the packages of examples/nextjs are not installed: `make test` does it where npm is there")
    package = EXAMPLE / "node_modules" / "@analytics" / "client"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(modules, package / "dist")
    shutil.copy(WEB / "client" / "package.json", package)


class Upstream:
    """Passes all requests on to the analytics server, and remembers what came."""

    def __init__(self, server: str) -> None:
        self.headers: list[dict[str, str]] = []
        self.arrived: list[dict[str, Any]] = []
        self._server = server
        app = web.Application()
        app.add_routes([web.route("*", "/{path:.*}", self._pass)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.url = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What came, repeats once."""
        return list({event["event_id"]: event for event in self.arrived}.values())

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        asked = {name: value for name, value in request.headers.items() if name != "Host"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._server + request.path_qs, data=body, headers=asked) as answer,
        ):
            text = await answer.read()
            if request.method == "POST" and answer.status == web.HTTPAccepted.status_code:
                told = msgspec.json.decode(body)
                self.arrived += told["events"] if isinstance(told, dict) and "events" in told else told
            kept = {name: answer.headers[name] for name in ("Content-Type", "ETag") if name in answer.headers}
            return web.Response(body=text, status=answer.status, headers=kept)


class NextProcess:
    """`next start` or `next dev` on the example; use it as an async context, which ends it."""

    def __init__(self, command: str, upstream: str, token: str, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._command = command
        self._environment = {
            **os.environ,
            "ANALYTICS_URL": upstream,
            "TOKEN": token,
            "NEXT_TELEMETRY_DISABLED": "1",
            **environment,
        }
        self._process: asyncio.subprocess.Process | None = None
        self._output: list[bytes] = []
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            find_node(),
            str(EXAMPLE / "node_modules" / "next" / "dist" / "bin" / "next"),
            *(self._command, "-H", "127.0.0.1", "-p", str(self.port)),
            cwd=EXAMPLE,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read(self._process, ready))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ready.wait()
            assert self._process.returncode is None, self.output
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        await self._reader

    async def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(START_TIMEOUT_S):
            return await self._process.wait()

    @property
    def output(self) -> str:
        return b"".join(self._output).decode()

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._output.append(line)
            if b"Ready in" in line:
                ready.set()
        ready.set()
