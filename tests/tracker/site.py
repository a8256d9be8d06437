"""A web site to visit and an endpoint that remembers: what the tracker's tests talk to.

Serves the tracker as the real server does, the demo site, and pages a test makes
up; keeps every request to the endpoint and answers as told. Waiting is always for
a condition, with a time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from aiohttp import web
from playwright.async_api import Page

from analytics_server.collect.tracker import load_extras, load_script
from analytics_server.demo.routes import endpoints
from tests.http.authorizer import public_routes

COLLECT_PATH = "/track"
SCRIPT_PATH = "/a.js"
WAIT_S = 60.0
START_S = 1_800_000_000
STOPPED_S = START_S + 1_000

Event = dict[str, Any]


async def stop_clock(page: Page) -> None:
    """The page's clock shows `STOPPED_S` and stands still from the next document on, until the test lets it run."""
    await page.clock.install(time=START_S)
    await page.clock.pause_at(STOPPED_S)  # Far ahead: until here the clock runs in real time.


class Beacon(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the endpoint as it arrived."""

    method: str
    path: str
    content_type: str
    cookie: str
    fetch_mode: str
    events: tuple[Event, ...]
    batch: bool
    size: int


class Site:
    """Owns a server on a free port. Statuses in `answers` are used up by the next beacons; then it is 202."""

    def __init__(self) -> None:
        self.beacons: list[Beacon] = []
        self.answers: list[int] = []
        self.retry_after = ""
        """What those of `answers` say beside their status."""
        self.slow = ""
        """The first request with an event of this name gets no answer before the page gives it up."""
        self.begun = 0
        self.visited: list[str] = []
        self.scripts: list[str] = []
        self.released = asyncio.Event()
        self._pages: dict[str, str] = {}
        self._copies: set[str] = set()
        self._files: Path | None = None
        self._changed = asyncio.Condition()
        app = web.Application()
        app.add_routes(
            [
                web.get("/a.js", self._script),
                web.get("/prefix/a.js", self._script),
                web.route("*", "/track", self._track),
                web.route("*", "/prefix/track", self._track),
                web.route("*", "/elsewhere", self._track),
                *public_routes(endpoints(SCRIPT_PATH)),
                web.get("/hold", self._hold),
                web.get("/files/{path:.*}", self._file),
                web.get("/{path:.*}", self._page),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.origin = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def events(self) -> list[Event]:
        """The events that arrived, in order; one that arrived twice counts once by its id, as it does at the server.

        Where the page has taken away what makes ids, each counts.
        """
        found: dict[object, Event] = {}
        for event in self.arrived:
            found.setdefault(event.get("event_id", id(event)), event)
        return list(found.values())

    @property
    def arrived(self) -> list[Event]:
        """All that arrived, repeats too."""
        return [event for beacon in self.beacons for event in beacon.events]

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event["name"] == name]

    def add(self, path: str, body: str = "", *, attributes: str = "", head: str = "", tags: int = 1) -> str:
        """Makes up a page with the tracker in it; returns its address."""
        tag = f'<script defer src="/a.js" data-site="shop.example" {attributes}></script>'
        self._pages[path] = (
            f'<!doctype html><html lang="en"><head><title>{path}</title>{head}{tag * tags}</head>'
            f"<body>{body}</body></html>"
        )
        return self.origin + path

    def add_raw(self, path: str, text: str) -> str:
        self._pages[path] = text
        return self.origin + path

    @property
    def script(self) -> str:
        """The tracker's text."""
        return load_script(COLLECT_PATH, SCRIPT_PATH).decode()

    def add_script(self, path: str) -> None:
        """Serves the tracker under another name."""
        self._copies.add(path)

    def serve_files(self, folder: Path) -> None:
        """Serves the JavaScript files of a folder below `/files/`."""
        self._files = folder

    async def wait(self, condition: Callable[[Site], object]) -> None:
        """Until the condition holds; fails with what has arrived instead."""
        try:
            async with asyncio.timeout(WAIT_S), self._changed:
                await self._changed.wait_for(lambda: bool(condition(self)))
        except TimeoutError:
            raise AssertionError(f"It did not come; these events did: {self.events}") from None

    async def wait_names(self, *names: str) -> None:
        """Until exactly these events, in this order, have arrived."""
        await self.wait(lambda site: [event["name"] for event in site.events] == list(names))

    async def _script(self, request: web.Request) -> web.Response:
        body = load_extras() if "more" in request.query else load_script(COLLECT_PATH, SCRIPT_PATH)
        self.scripts.append(request.path_qs)
        headers = {"Access-Control-Allow-Origin": "*"}
        return web.Response(body=body, content_type="text/javascript", headers=headers)

    async def _track(self, request: web.Request) -> web.Response:
        raw = await request.read() if request.can_read_body else b"[]"
        body = msgspec.json.decode(raw)
        events = body if isinstance(body, list) else [body]
        async with self._changed:
            self.begun += 1
            self._changed.notify_all()
        if self.slow and self.slow in {event["name"] for event in events}:
            self.slow = ""
            async with asyncio.timeout(WAIT_S):
                await self.released.wait()
        beacon = Beacon(
            method=request.method,
            path=request.path,
            content_type=request.content_type,
            cookie=request.headers.get("Cookie", ""),
            fetch_mode=request.headers.get("Sec-Fetch-Mode", ""),
            events=tuple(events),
            batch=isinstance(body, list),
            size=len(raw),
        )
        async with self._changed:
            self.beacons.append(beacon)
            self._changed.notify_all()
        status = self.answers.pop(0) if self.answers else 202
        headers = {"Access-Control-Allow-Origin": "*"}
        if status != 202 and self.retry_after:
            headers |= {"Retry-After": self.retry_after, "Access-Control-Expose-Headers": "Retry-After"}
        return web.json_response({}, status=status, headers=headers)

    async def _hold(self, request: web.Request) -> web.Response:
        """Answers when the test releases it: how a page without a driver waits for the test."""
        async with asyncio.timeout(WAIT_S):
            await self.released.wait()
        return web.Response()

    async def _file(self, request: web.Request) -> web.Response:
        assert self._files is not None
        path = self._files / request.match_info["path"]
        headers = {"Access-Control-Allow-Origin": "*"}  # for pages that are files
        return web.Response(body=path.read_bytes(), content_type="text/javascript", headers=headers)

    async def _page(self, request: web.Request) -> web.Response:
        async with self._changed:
            self.visited.append(request.path)
            self._changed.notify_all()
        if request.path in self._copies:
            return web.Response(text=self.script, content_type="text/javascript")
        text = self._pages.get(request.path)
        if text is None:
            return web.Response(status=404, text="Not found.")
        return web.Response(text=text, content_type="text/html")
