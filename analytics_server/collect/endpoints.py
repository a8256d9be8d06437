"""The beacon endpoints' declarations: each route of `CollectRoutes` joined to what it takes and gives.

Their handlers authenticate by themselves, since a token is optional and errors are readable from any page.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from aiohttp import web

from analytics_server.access.actions import COLLECT
from analytics_server.collect.answer import Accepted
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.collect.formats.client_sdk import ClientInteraction, ClientView
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Endpoint


class Beacons(msgspec.Struct):
    """Several events; `sent_at`: when they were sent by the sender's clock."""

    events: list[Beacon]
    sent_at: str | int | float | None = None


class BatchView(ClientView, rename="camel", tag_field="kind", tag="view"):
    """A page view among others."""


class BatchInteraction(ClientInteraction, rename="camel", tag_field="kind", tag="interaction"):
    """An interaction among others."""


class ClientBatch(msgspec.Struct):
    """Several calls of the client library together."""

    events: list[BatchView | BatchInteraction]
    sent_at: str | int | float | None = None


_ERRORS = {
    400: ("bad_json", "bad_body", "bad_encoding"),
    404: ("unknown_site",),
    408: ("request_timeout",),
    415: ("unsupported_media_type",),
    429: ("too_many_requests",),
    503: ("wal_unavailable", "busy"),
}
_TAKEN = Reply(
    status=202,
    about="What became of the events: they are on disk.",
    type=Accepted,
    example={
        "accepted": 2,
        "dropped": {"bot": 1},
        "rejected": [{"index": 3, "code": "bad_url", "message": "url must be an http or https address."}],
        "warnings": [{"index": 0, "field": "props.tags", "code": "made_text"}],
    },
)
_PAGEVIEW = {"site": "example.com", "name": "pageview", "url": "https://example.com/pricing?utm_source=newsletter"}
_VIEW = {"appName": "example.com", "pageUrl": "https://example.com/pricing"}
_CLICK = {
    "appName": "example.com",
    "type": "click",
    "data": {"pageUrl": "https://example.com/pricing", "elementId": "signup"},
}
_PIXEL = (
    ("site", "What the event belongs to.", True, "example.com"),
    ("name", "The event's name; `pageview` if left out.", False, "pageview"),
    ("url", "The page; the `Referer` header if left out.", False, "https://example.com/newsletter"),
    ("referrer", "Where the session came from.", False, None),
    ("title", "The page's title.", False, None),
    ("session_id", "The session, at most 64 characters.", False, None),
    ("user_id", "Your application's id of a person.", False, None),
    ("event_id", "A UUID; a repeated one is counted once.", False, None),
)


def endpoints(routes: Iterable[web.RouteDef], collect_path: str, script_path: str) -> list[Endpoint]:
    """Beacons, pixel, preflights and the script, answered by `routes`: those of `CollectRoutes`.

    Raises `KeyError` where there is no such route.
    """
    found = {(route.method, route.path): route for route in routes}
    path = collect_path.rstrip("/")
    taking = (
        ("", "track", "Send events", (Beacon, list[Beacon], Beacons), {"pageview": _PAGEVIEW, "array": [_PAGEVIEW]},
         "One event, an array of events, or an object with the key `events`. Any content type will do; gzip and "
         "deflate are understood. A bad event is rejected by its index and spoils no other. A fault "
         "in a side field costs no event: the field is mended or left out, and `warnings` says so."),
        ("/view", "view", "Send a page view, as the client library does", (ClientView,), {"view": _VIEW}, ""),
        ("/interaction", "interaction", "Send an interaction, as the client library does", (ClientInteraction,),
         {"click": _CLICK}, ""),
        ("/batch", "batch", "Send several calls of the client library together", (ClientBatch, ),
         {"both": {"events": [{"kind": "view", **_VIEW}, {"kind": "interaction", **_CLICK}]}}, ""),
    )  # fmt: skip
    declared = []
    for suffix, name, summary, types, examples, about in taking:
        declared += [
            Endpoint(
                method="POST",
                path=path + suffix,
                name=f"send_{name}",
                summary=summary,
                tag="collect",
                about=about,
                action=COLLECT,
                serve=found["POST", path + suffix].handler,
                body=Body(types=types, examples=examples),
                replies=(_TAKEN,),
                errors=_ERRORS,
            ),
            _preflight(found["OPTIONS", path + suffix], name),
        ]
    pixel = f"{path}/pixel.gif"
    return [
        *declared,
        _pixel(found["GET", pixel]),
        _preflight(found["OPTIONS", pixel], "pixel"),
        _script(found["GET", script_path]),
    ]


def _preflight(route: web.RouteDef, name: str) -> Endpoint:
    return Endpoint(
        method="OPTIONS",
        path=route.path,
        name=f"preflight_{name}",
        summary="A browser asks whether it may send",
        tag="collect",
        action=PUBLIC,
        serve=route.handler,
        replies=(Reply(status=204, about="Any origin may, without credentials."),),
    )


def _pixel(route: web.RouteDef) -> Endpoint:
    return Endpoint(
        method="GET",
        path=route.path,
        name="get_pixel",
        summary="Send an event by loading an image",
        tag="collect",
        about="For pages without script. An image whatever became of the event, unless the request as a whole fails.",
        action=COLLECT,
        serve=route.handler,
        allow_head=False,
        parameters=tuple(
            Parameter(name=name, about=about, required=required, example=example)
            for name, about, required, example in _PIXEL
        ),
        replies=(Reply(about="A transparent image.", formats=("image/gif",)),),
        errors={status: codes for status, codes in _ERRORS.items() if status not in (408, 415)}
        | {400: (*_ERRORS[400], "missing_site")},
    )


def _script(route: web.RouteDef) -> Endpoint:
    return Endpoint(
        method="GET",
        path=route.path,
        name="get_script",
        summary="The tracker script",
        tag="collect",
        action=PUBLIC,
        serve=route.handler,
        replies=(
            Reply(about="The script.", formats=("text/javascript",), headers={"ETag": "For `If-None-Match`."}),
            Reply(status=304, about="The browser has it already (`If-None-Match`)."),
        ),
    )
