"""The wire formats: under which path each comes, how it is decoded, and what answers it.

The routes, the fast front and the collector ask this table; another product's protocol is one entry more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from analytics_server.collect.formats.client_sdk import decode_client_batch, decode_interaction, decode_view
from analytics_server.collect.formats.native import decode_track, pixel_body
from analytics_server.collect.formats.wire import Decoded
from analytics_server.config import LimitsSection

_GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")


class Decode(Protocol):
    """Reads a body of at most `max_events` events. Raises `RequestError` or `TooLarge` when nothing can be read."""

    def __call__(self, body: bytes, limits: LimitsSection, *, max_events: int) -> Decoded:
        """Good events and rejections, each with its index."""
        ...


class FixedReply(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent whatever became of the events, unless the request failed as a whole."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One wire format. `suffix`: its path below `[tracker] collect_path`."""

    name: str
    suffix: str
    decode: Decode
    method: str = "POST"
    query_to_body: Callable[[Mapping[str, str], str], bytes] | None = None
    """For requests without a body: makes one of the query string and the `Referer`. Raises `RequestError`."""
    reply: FixedReply | None = None
    """None: JSON that says what became of the events."""
    fast: bool = False
    """May an ordinary request be answered without the web framework?"""


TRACK = Format(name="track", suffix="", decode=decode_track, fast=True)
FORMATS = (
    TRACK,
    Format(name="view", suffix="/view", decode=decode_view),
    Format(name="interaction", suffix="/interaction", decode=decode_interaction),
    Format(name="batch", suffix="/batch", decode=decode_client_batch),
    Format(
        name="pixel",
        suffix="/pixel.gif",
        decode=decode_track,
        method="GET",
        query_to_body=pixel_body,
        reply=FixedReply(
            body=_GIF,
            content_type="image/gif",
            headers={"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"},
        ),
    ),
)
