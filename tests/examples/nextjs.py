"""What the test of the Next.js example puts between it and the analytics server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.web.workspace import ROOT, WEB

EXAMPLE = ROOT / "examples" / "nextjs"


def prepare(modules: Path) -> None:
    """Gives the example the package as it is built now; skips where the example's packages are not installed."""
    if not (EXAMPLE / "node_modules" / "installed").is_file():
        pytest.skip("the packages of examples/nextjs are not installed: `make test` does it where npm is there")
    shutil.rmtree(EXAMPLE / ".next", ignore_errors=True)  # Types of routes that are there no more.
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
