"""One event as a client sends it, whatever the wire format, and how its ids and times are read.

Shapes only: what the values mean is the pipeline's business.
"""

from __future__ import annotations

import math
import re
from binascii import unhexlify
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

PropValue = str | int | float | bool | None
Number = int | float


class Screen(msgspec.Struct, gc=False):
    """The screen's size in CSS pixels, and how many fingers it feels at once (`navigator.maxTouchPoints`)."""

    width: Number | None = None
    height: Number | None = None
    touch: Number | None = None


class Element(msgspec.Struct, gc=False):
    """The element of the page that was used."""

    id: str | None = None
    tag: str | None = None
    text: str | None = None
    href: str | None = None


class Revenue(msgspec.Struct, gc=False):
    """An amount in the currency's own unit; `currency` is an ISO 4217 code."""

    amount: Number | str
    currency: str


class Exposure(msgspec.Struct, gc=False):
    """The variant of an experiment that was shown."""

    id: str
    variant: str


class Beacon(msgspec.Struct, gc=False):
    """One event as a client sends it."""

    site: str
    name: Annotated[str, Meta(min_length=1)]
    url: str | None = None
    referrer: str | None = None
    title: str | None = None
    event_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    timestamp: str | Number | None = None
    sent_at: str | Number | None = None
    screen: Screen | None = None
    language: str | None = None
    scroll_depth: Number | None = None
    engagement_ms: Number | None = None
    element: Element | None = None
    revenue: Revenue | None = None
    experiment: Exposure | None = None
    props: dict[str, PropValue] | None = None
    interactive: bool | None = None
    ip: str | None = None
    user_agent: str | None = None


class Rejection(msgspec.Struct, frozen=True):
    """One event that could not be taken, and why."""

    index: int
    code: str
    message: str


class MisreadEvent(Rejection, frozen=True):
    """One that a decoder could not read, or whose sender may not send it: with the site that it named, if it did."""

    site: str = ""


_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")
UUID_CHARS, UUID_DIGITS = 36, 32

FIRST_SECONDS, FIRST_MS, FIRST_US, END_US = 946_684_800, 10**11, 10**14, 1 << 53
"""The unit of an epoch number is told by its size: seconds from 2000 on, milliseconds from 1973 on (and below
what seconds can be), microseconds from 1973 on. The ranges of 2000 to 5138 do not meet."""
_ISO_8601 = re.compile(r"[0-9][0-9W-]{7,9}(?:[Tt ][0-9:.,]{2,20}(?:[Zz]|[+-][0-9:.]{2,15})?)?")
_EPOCH_TEXT = re.compile(r"[0-9]{9,16}(?:\.[0-9]{1,9})?")


def parse_timestamp(value: str | Number) -> int | None:
    """Epoch milliseconds of an ISO 8601 text (UTC when it has no offset) or an epoch number; None for all else."""
    if isinstance(value, str):
        if _EPOCH_TEXT.fullmatch(value):
            return parse_timestamp(float(value))
        if _ISO_8601.fullmatch(value) is None:  # fromisoformat takes any character between day and time
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        try:
            return int(moment.timestamp() * 1000)
        except (OverflowError, ValueError):
            return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    size = abs(value)
    if FIRST_MS <= size < FIRST_US or size < FIRST_SECONDS:
        return int(value)
    if size >= END_US:
        return None
    return int(value * 1000) if size < FIRST_MS else int(value) // 1000


def parse_event_id(text: str) -> bytes | None:
    """The 16 bytes of a UUID in its usual spellings, or None."""
    # The usual spellings, of which the tracker's has no hyphens.
    digits = text.replace("-", "") if len(text) == UUID_CHARS and text[8:24:5] == "----" else text
    if len(digits) == UUID_DIGITS:
        try:
            return unhexlify(digits)
        except ValueError:
            return None
    return unhexlify(text.replace("-", "")) if _UUID.fullmatch(text) else None
