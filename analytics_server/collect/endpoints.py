"""The declarations of the beacon endpoints: what each wire format takes and gives, for the API description.

Their handlers authenticate by themselves, since a token is optional and errors are readable from any page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from analytics_server.access.actions import COLLECT
from analytics_server.collect.answer import Accepted
from analytics_server.collect.formats.beacon import Beacon
from analytics_server.collect.formats.client_sdk import ClientInteraction, ClientView
from analytics_server.collect.formats.table import Format
from analytics_server.http.authorization import PUBLIC
from analytics_server.http.declaration import Body, Parameter, Reply
from analytics_server.http.endpoint import Endpoint, RawHandler


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What the API description tells of a format: a summary, more about it, its bodies and examples of them."""

    summary: str
    about: str = ""
    types: tuple[Any, ...] = ()
    examples: Mapping[str, object] = field(default_factory=dict)


_TEXTS: Mapping[str, _Text] = {
    "track": _Text(
        summary="Send events",
        about="One event, an array of events, or an object with the key `events`. Any content type will do; gzip and "
        "deflate are understood. A bad event is rejected by its index and spoils no other. A fault "
        "in a side field costs no event: the field is mended or left out, and `warnings` says so.",
        types=(Beacon, list[Beacon], Beacons),
        examples={"pageview": _PAGEVIEW, "array": [_PAGEVIEW]},
    ),
    "view": _Text(
        summary="Send a page view, as the client library does", types=(ClientView,), examples={"view": _VIEW}
    ),
    "interaction": _Text(
        summary="Send an interaction, as the client library does",
        types=(ClientInteraction,),
        examples={"click": _CLICK},
    ),
    "batch": _Text(
        summary="Send several calls of the client library together",
        types=(ClientBatch,),
        examples={"both": {"events": [{"kind": "view", **_VIEW}, {"kind": "interaction", **_CLICK}]}},
    ),
    "pixel": _Text(
        summary="Send an event by loading an image",
        about="For pages without script. An image whatever became of the event, unless the request as a whole fails.",
    ),
}
"""By the format's name."""


def endpoints(
    formats: Iterable[Format],
    handler_of: Callable[[Format], RawHandler],
    *,
    preflight: RawHandler,
    script: RawHandler,
    collect_path: str,
    script_path: str,
) -> list[Endpoint]:
    """Beacons in every format, their preflights, and the script. Raises `KeyError` for a format without texts."""
    found = []
    for format in formats:
        path = collect_path + format.suffix
        declare = _send if format.query_to_body is None else _get
        found += [declare(format, path, handler_of(format)), _preflight(format, path, preflight)]
    return [*found, _script(script_path, script)]


def _send(format: Format, path: str, serve: RawHandler) -> Endpoint:
    text = _TEXTS[format.name]
    return Endpoint(
        method=format.method,
        path=path,
        name=f"send_{format.name}",
        summary=text.summary,
        tag="collect",
        about=text.about,
        action=COLLECT,
        serve=serve,
        body=Body(types=text.types, examples=text.examples),
        replies=(_TAKEN,),
        errors=_ERRORS,
    )


def _get(format: Format, path: str, serve: RawHandler) -> Endpoint:
    """A format whose events stand in the query string. HEAD sends none."""
    text, reply = _TEXTS[format.name], format.reply
    return Endpoint(
        method=format.method,
        path=path,
        name=f"get_{format.name}",
        summary=text.summary,
        tag="collect",
        about=text.about,
        action=COLLECT,
        serve=serve,
        allow_head=False,
        parameters=tuple(
            Parameter(name=name, about=about, required=required, example=example)
            for name, about, required, example in _PIXEL
        ),
        replies=(_TAKEN if reply is None else Reply(about="A transparent image.", formats=(reply.content_type,)),),
        errors={status: codes for status, codes in _ERRORS.items() if status not in (408, 415)}
        | {400: (*_ERRORS[400], "missing_site")},
    )


def _preflight(format: Format, path: str, serve: RawHandler) -> Endpoint:
    return Endpoint(
        method="OPTIONS",
        path=path,
        name=f"preflight_{format.name}",
        summary="A browser asks whether it may send",
        tag="collect",
        action=PUBLIC,
        serve=serve,
        replies=(Reply(status=204, about="Any origin may, without credentials."),),
    )


def _script(path: str, serve: RawHandler) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        name="get_script",
        summary="The tracker script",
        tag="collect",
        action=PUBLIC,
        serve=serve,
        replies=(
            Reply(about="The script.", formats=("text/javascript",), headers={"ETag": "For `If-None-Match`."}),
            Reply(status=304, about="The browser has it already (`If-None-Match`)."),
        ),
    )
