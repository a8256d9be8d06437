"""The demo site: a small made-up coffee roastery with the tracker on every page.

Owns the pages under `/demo` (rendered once, when the routes are made) and the
strict Content-Security-Policy that shows the tracker needs no exception. Stores
nothing that visitors type, sets no cookie, loads nothing from elsewhere.
"""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from analytics_server.http.body import MOST_BYTES, read_within
from analytics_server.http.declaration import Reply
from analytics_server.http.endpoint import Endpoint
from analytics_server.http.entity_tag import entity_tag, is_unchanged
from analytics_server.http.pages import page
from analytics_server.http.security.headers import page_headers

DEMO_SITE_ID = "demo.example"
"""The site the demo's events belong to."""
MADE_UP_SITE_ID = "demo"
"""What the command `demo` fills unless told otherwise: no site to send real events to."""

Handler = Callable[[web.Request], Awaitable[web.Response]]

_HEADERS = {
    **page_headers(
        {
            "script-src": "'self'",
            "connect-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self'",
            "form-action": "'self'",
        }
    ),
    "Referrer-Policy": "strict-origin-when-cross-origin",  # as most sites have it: what the tracker sees is real
    "Cache-Control": "no-cache",
}

_STATIC = {
    "/demo/static/site.css": "text/css",
    "/demo/static/site.js": "text/javascript",
    "/demo/static/app.js": "text/javascript",
    "/demo/static/favicon.svg": "image/svg+xml",
    "/demo/downloads/brew-guide.pdf": "application/pdf",
}

_BAG = (
    '<svg viewBox="0 0 120 170" aria-hidden="true"><path class="body" d="M20 34h80l8 132H12Z"/>'
    '<path class="fold" d="m20 34 6-26h68l6 26Z"/><rect class="paper" x="32" y="66" width="56" height="62" rx="5"/>'
    '<path class="mark" d="M60 76c9 8 15 14 15 23a15 15 0 0 1-30 0c0-9 6-15 15-23Z"/>'
    '<path class="vein" d="M60 82c-4 10 4 17 0 30"/></svg>'
)

_PLANS = frozenset({"taster", "household", "office"})

_META = re.compile(r"^<!-- (\w+): (.*) -->\n", re.MULTILINE)


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One coffee of the made-up shop; `price` in euros."""

    slug: str
    name: str
    tone: str
    origin: str
    summary: str
    notes: str
    roast: str
    altitude: str
    price: str


def endpoints(script_path: str) -> list[Endpoint]:
    """All pages of the demo site; the tracker is loaded from `script_path`.

    Reads the pages from the package: call it at start.
    """
    pages = files(__package__).joinpath("pages")
    render = _Renderer(pages, script_path)
    products = msgspec.json.decode(pages.joinpath("products.json").read_bytes(), type=tuple[Product, ...])
    app = _page(render("app"))
    found = {
        "/demo": render("home", {"featured": _cards(products[:3])}),
        "/demo/products": render("products", {"products": _cards(products)}),
        "/demo/pricing": render("pricing"),
        "/demo/blog/first-crack": render("first-crack"),
        "/demo/signup": render("signup"),
        "/demo/welcome": render("welcome"),
    }
    for index, product in enumerate(products):
        found[f"/demo/products/{product.slug}"] = render(
            "product",
            {
                "bag": _BAG,
                "others": _cards((products[index + 1 :] + products[:index])[:3]),
                **{key: html.escape(str(value)) for key, value in msgspec.structs.asdict(product).items()},
            },
        )
    about = "A page of the demo site"
    return [
        *(page("GET", path, _page(body), about) for path, body in found.items()),
        *(
            page("GET", path, _static(pages, path, kind), about, Reply(about="The file.", formats=(kind,)))
            for path, kind in _STATIC.items()
        ),
        page("GET", "/demo/", _to_home, about, Reply(status=308, about="To `/demo`.")),
        page("GET", "/demo/app", app, about),
        page("GET", "/demo/app/{view:.*}", app, about),
        page("POST", "/demo/signup", _signed_up, "Forgets the form", Reply(status=303, about="To `/demo/welcome`.")),
        page(
            "GET",
            "/demo/{path:.*}",
            _page(render("not_found", status=404), status=404),
            about,
            Reply(status=404, about="A page that says so.", formats=("text/html",)),
        ),
    ]


class _Renderer:
    """Puts a page into the layout. `{{name}}` is replaced; the head of a page names its title and more."""

    def __init__(self, pages: Traversable, script_path: str) -> None:
        self._pages = pages
        self._layout = pages.joinpath("layout.html").read_text(encoding="utf-8")
        self._tracker = (
            f'<script defer src="{html.escape(script_path)}" data-site="{DEMO_SITE_ID}"'
            " data-outbound data-downloads data-forms data-404 data-vitals></script>"
        )

    def __call__(self, page: str, values: Mapping[str, str] | None = None, status: int = 200) -> bytes:
        text = _fill(self._pages.joinpath(f"{page}.html").read_text(encoding="utf-8"), values or {})
        head = dict(_META.findall(text))
        script = f'\n  <script defer src="{head["script"]}"></script>' if "script" in head else ""
        return _fill(
            self._layout,
            {
                "title": head["title"],
                "description": head["description"],
                "status": "" if status == 200 else f' data-status="{status}"',
                "body": f' data-event="{head["event"]}"' if "event" in head else "",
                "tracker": self._tracker + script,
                "main": _META.sub("", text),
            },
        ).encode()


def _fill(template: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _cards(products: tuple[Product, ...]) -> str:
    return "\n".join(
        f'<a class="coffee" href="/demo/products/{product.slug}"><div class="plate {product.tone}">{_BAG}</div>'
        f"<div><h3>{html.escape(product.name)}</h3><p>{html.escape(product.notes)}</p>"
        f'<p class="cost">€{product.price}</p></div></a>'
        for product in products
    )


def _page(body: bytes, status: int = 200) -> Handler:
    tag = entity_tag(body)
    headers = {**_HEADERS, "ETag": tag} if status == 200 else _HEADERS

    async def handle(request: web.Request) -> web.Response:
        if status == 200 and is_unchanged(request.headers.getall("If-None-Match", ()), tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8", headers=headers)

    return handle


def _static(pages: Traversable, path: str, kind: str) -> Handler:
    body = pages.joinpath(path.removeprefix("/demo/")).read_bytes()
    charset = "utf-8" if kind.startswith("text/") else None
    tag = entity_tag(body)
    headers = {**_HEADERS, "ETag": tag}

    async def handle(request: web.Request) -> web.Response:
        if is_unchanged(request.headers.getall("If-None-Match", ()), tag):
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=kind, charset=charset, headers=headers)

    return handle


async def _to_home(request: web.Request) -> web.Response:
    raise web.HTTPPermanentRedirect("/demo")


async def _signed_up(request: web.Request) -> web.Response:
    """Forgets the form but for the plan, which the next page tells the tracker."""
    plans: list[str] = []
    if request.content_type == "application/x-www-form-urlencoded":  # Anything else might bring files.
        form = await read_within(request, MOST_BYTES, f"The form may have {MOST_BYTES} bytes.")
        plans = parse_qs(form.decode(errors="replace")).get("plan", [])
    chosen = plans[0] if plans and plans[0] in _PLANS else "household"
    raise web.HTTPSeeOther(f"/demo/welcome?plan={chosen}")
