"""The dashboard's page and files: `/dashboard`, `/dashboard/static/…`, and `/` leads there.

Owns how they are served: read once at start, compressed once, kept in memory.
Constraint: a file's address contains the hash of the whole set, so browsers may keep
files without asking again and never mix two versions; the page itself is asked for each time. No
request reaches the file system, so no path can climb out of the folder. The headers
allow what the page needs and nothing else: its own scripts, styles and fonts, and
connections to its own origin.
"""

from __future__ import annotations

import gzip
import hashlib
import html
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web

from analytics_server.errors import NotFound
from analytics_server.http.declaration import Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.entity_tag import entity_tag, is_unchanged
from analytics_server.http.pages import page
from analytics_server.http.security.headers import page_headers

PAGE_PATH = "/dashboard"
STATIC_PATH = "/dashboard/static"
SHARE_PATH = "/share"
HASH_CHARS = 16
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"
_ETAG = {"ETag": "For `If-None-Match`."}

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    "": "text/plain; charset=utf-8",
}
COMPRESSED = (".css", ".html", ".js", ".svg")

_POLICY = {
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
_HEADERS = page_headers(_POLICY)


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent. `packed` is its gzip form, empty where that gains nothing."""

    body: bytes
    packed: bytes
    content_type: str
    etag: str


def endpoints(
    *,
    script_path: str = "/a.js",
    query_rows: int = 10_000,
    framed_by: Callable[[str], Awaitable[tuple[str, ...]]] | None = None,
) -> list[Endpoint]:
    """The dashboard's page and files.

    `script_path`: where the tracker lies, for the tag it shows. `query_rows`: how many rows one query may ask for.
    `framed_by`: the hosts whose pages may frame a share link's page.
    """
    files = _read_files()
    version = _version(files)
    text = files.pop("index.html").decode()
    text = text.replace("{{static}}", f"{STATIC_PATH.removeprefix('/')}/{version}")
    text = text.replace("{{script_path}}", html.escape(script_path, quote=True))
    text = text.replace("{{query_rows}}", str(query_rows))
    page_asset = _asset("index.html", text.encode())
    share_asset = _asset("index.html", text.replace('="dashboard/static', '="../dashboard/static').encode())
    assets = {name: _asset(name, body) for name, body in files.items()}

    async def show_page(request: web.Request) -> web.StreamResponse:
        return _respond(request, page_asset, REVALIDATED)

    async def show_share(request: web.Request) -> web.StreamResponse:
        hosts = await framed_by(request.match_info["secret"]) if framed_by else ()
        response = _respond(request, share_asset, REVALIDATED)
        response.headers["X-Robots-Tag"] = "noindex, nofollow"
        if hosts:
            response.headers.update(page_headers({**_POLICY, "frame-ancestors": " ".join(hosts)}))
            del response.headers["X-Frame-Options"]
        return response

    async def show_file(request: web.Request) -> web.StreamResponse:
        asset = assets.get(request.match_info["name"])
        if asset is None or request.match_info["version"] != version:
            raise NotFound("There is no such file of the dashboard; reload the page.")
        return _respond(request, asset, IMMUTABLE)

    unchanged = Reply(status=304, about="The browser has it already (`If-None-Match`).")
    kinds = tuple(sorted({kind.partition(";")[0] for kind in CONTENT_TYPES.values()}))
    return [
        page("GET", "/", _redirect, "Leads to the dashboard", Reply(status=302, about="To `dashboard`.")),
        page(
            "GET",
            PAGE_PATH,
            show_page,
            "The dashboard",
            Reply(about="The page.", formats=("text/html",), headers=_ETAG),
            unchanged,
        ),
        page(
            "GET", PAGE_PATH + "/", _redirect_up, "Leads to the dashboard", Reply(status=302, about="To `/dashboard`.")
        ),
        page(
            "GET",
            SHARE_PATH + "/{secret}",
            show_share,
            "The dashboard of a share link",
            Reply(about="The page.", formats=("text/html",), headers=_ETAG),
            unchanged,
        ),
        page(
            "GET",
            STATIC_PATH + "/{version}/{name:.+}",
            show_file,
            "A file of the dashboard",
            Reply(about="The file; it never changes.", formats=kinds, headers=_ETAG),
            unchanged,
        ),
    ]


async def _redirect(request: web.Request) -> web.StreamResponse:
    """Relative, so that a path prefix added by a proxy survives."""
    return web.Response(status=302, headers={"Location": "dashboard"})


async def _redirect_up(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": "../dashboard"})


def _respond(request: web.Request, asset: Asset, caching: str) -> web.Response:
    headers = {
        **_HEADERS,
        "Cache-Control": caching,
        "ETag": asset.etag,
        "Vary": "Accept-Encoding",
        "Content-Type": asset.content_type,
    }
    if is_unchanged(request.headers.getall("If-None-Match", ()), asset.etag):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    if asset.packed and "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.packed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=asset.body, headers=headers)


def _asset(name: str, body: bytes) -> Asset:
    suffix = name[name.rfind(".") :] if "." in name.rpartition("/")[2] else ""
    return Asset(
        body=body,
        packed=gzip.compress(body, mtime=0) if suffix in COMPRESSED else b"",
        content_type=CONTENT_TYPES[suffix],
        etag=entity_tag(body),
    )


def _version(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return digest.hexdigest()[:HASH_CHARS]


def _read_files() -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry.read_bytes()

    walk(resources.files("analytics_server.dashboard") / "static", "")
    return found
