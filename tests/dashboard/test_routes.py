"""How the dashboard's page and files are served."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from analytics_server.dashboard.routes import endpoints
from analytics_server.errors import AnalyticsError
from tests.http.authorizer import public_routes

Client = TestClient[web.Request, web.Application]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC = resources.files("analytics_server.dashboard") / "static"
REFERENCE = re.compile(r'(?:href|src)="([^"#]+)"')


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    @web.middleware
    async def not_found(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except AnalyticsError as error:
            return web.Response(status=error.status)

    app = web.Application(middlewares=[not_found])
    app.add_routes(public_routes(endpoints(script_path='/x".js')))
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


async def page_of(client: Client) -> str:
    async with client.get("/dashboard", headers={"Accept-Encoding": "identity"}) as answer:
        assert answer.status == 200
        return await answer.text()


def our_files() -> dict[str, str]:
    """Every text file that is written for this project, by name."""
    return {
        f"{folder}/{entry.name}": entry.read_text() for folder in ("js", "css") for entry in (STATIC / folder).iterdir()
    } | {"index.html": (STATIC / "index.html").read_text()}


async def test_root_leads_to_the_dashboard(client: Client) -> None:
    async with client.get("/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "dashboard")
    async with client.get("/dashboard/") as answer:
        assert (answer.status, answer.url.path) == (200, "/dashboard")


async def test_every_file_the_page_names_is_served_for_ever(client: Client) -> None:
    names = REFERENCE.findall(await page_of(client))
    assert len(names) >= 7
    for name in names:
        async with client.get(f"/{name}") as answer:
            assert answer.status == 200, name
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_every_module_and_font_that_files_name_exists() -> None:
    for name, text in our_files().items():
        folder = name.rpartition("/")[0]
        for target in re.findall(r"from '\./([^']+)'", text) + re.findall(r'url\("([^"]+)"\)', text):
            path = STATIC
            for part in f"{folder}/{target}".split("/"):
                path = STATIC if part == ".." else path / part
            assert path.is_file(), f"{name} → {target}"


async def test_page_is_asked_for_each_time_and_not_sent_twice(client: Client) -> None:
    async with client.get("/dashboard") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        etag = answer.headers["ETag"]
    for told in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        async with client.get("/dashboard", headers={"If-None-Match": told}) as answer:
            assert answer.status == 304
            assert await answer.read() == b""
    for told in ('"other"', etag.strip('"'), f'"x{etag[1:]}'):
        async with client.get("/dashboard", headers={"If-None-Match": told}) as answer:
            assert answer.status == 200


async def test_text_is_compressed_for_those_who_take_it(client: Client) -> None:
    plain = (await page_of(client)).encode()
    async with client.get("/dashboard", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await answer.read()) == plain


@pytest.mark.parametrize(
    "path",
    [
        "x/js/main.js",
        "{version}/js/none.js",
        "{version}/../routes.py",
        "{version}/%2e%2e/routes.py",
        "{version}/index.html",
    ],
)
async def test_anything_else_is_not_there(client: Client, path: str) -> None:
    found = re.search(r"dashboard/static/([0-9a-f]{16})/", await page_of(client))
    assert found is not None
    async with client.get(f"/dashboard/static/{path.format(version=found[1])}") as answer:
        assert answer.status == 404


async def test_headers_forbid_everything_the_page_does_not_need(client: Client) -> None:
    async with client.get("/dashboard") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"


async def test_script_path_is_escaped_in_the_page(client: Client) -> None:
    assert 'data-script-path="/x&quot;.js"' in await page_of(client)


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    for name, text in our_files().items():
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), name
        assert "innerHTML" not in text, name
        assert "localStorage" not in text, name
    page = our_files()["index.html"]
    assert "<style" not in page
    assert "style=" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)


def test_vendored_code_names_its_version_and_licence() -> None:
    for folder in (STATIC / "vendor").iterdir():
        assert (folder / "LICENSE").read_text(), folder.name
        assert re.search(r"\d+\.\d+", (folder / "VERSION").read_text()), folder.name
