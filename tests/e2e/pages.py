"""Pages of a site on an origin of its own, with the tracker of a real server in them."""

from __future__ import annotations

from typing import Self

from aiohttp import web


class Pages:
    """Owns a server on a free port. `localhost` is another origin than the analytics server's `127.0.0.1`."""

    def __init__(self) -> None:
        self._pages: dict[str, str] = {}
        app = web.Application()
        app.add_routes([web.get("/{path:.*}", self._page)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.origin = ""

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "localhost", 0).start()
        self.origin = f"http://localhost:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def add(self, path: str, tag: str, *, head: str = "", body: str = "") -> str:
        """Makes up a page; returns its address."""
        self._pages[path] = f"<!doctype html><title>{path}</title>{head}{tag}<body>{body}</body>"
        return self.origin + path

    async def _page(self, request: web.Request) -> web.Response:
        text = self._pages.get(request.path, "<!doctype html><title>Empty</title>")
        return web.Response(text=text, content_type="text/html")
