"""JSON from clients: read within bounds, mended where browsers are known to send what is no Unicode.

Shared by the wire formats. Everything here ends in a value or in one of `UNREADABLE`, whatever the bytes.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from analytics_server.collect.formats.beacon import Beacon, Rejection, parse_timestamp
from analytics_server.collect.formats.warnings import WarningCode, Warnings
from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError, TooLarge

_Value = TypeVar("_Value")
Decoded = tuple[list[tuple[int, Beacon]], list[Rejection], int, Warnings | None]
"""Good events with their index, rejections, how many events were sent, and warnings."""

UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)
"""What reading bytes may raise: no JSON, of other types, not in UTF-8, nested too deeply."""

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape in JSON; the group is set for half of a surrogate pair."""
_MOST_DIGITS = 4_000

_decode_any = msgspec.json.Decoder().decode
decode_raw: Callable[[bytes], Raw] = msgspec.json.Decoder(Raw).decode


def read(body: bytes, decode: Callable[[bytes], _Value]) -> _Value:
    """What the body holds. Raises `RequestError`."""
    try:
        return decode(body)
    except UNREADABLE as error:
        raise unreadable(error) from error


def read_mended(body: bytes, decode: Callable[[bytes], _Value]) -> _Value:
    """The same, with a second try for a body that can be mended."""
    try:
        return read(body, decode)
    except RequestError:
        better = mended(body)
        if better is None:
            raise
        return read(better, decode)


def read_any(raw: bytes | Raw) -> object:
    """The JSON value, also one with numbers that no type of ours can hold: they are infinite. Raises `UNREADABLE`."""
    whole = bytes(raw)
    whole = mended(whole) or whole
    try:
        return _decode_any(whole)
    except msgspec.ValidationError:
        return json.loads(whole.decode(), parse_int=_integer, parse_constant=_no_constant)


def mended(body: bytes) -> bytes | None:
    """The body without a byte order mark and with halves of surrogate pairs replaced; None if it has neither.

    Browsers send halves: JSON.stringify escapes what is left of an emoji that a script has cut in two.
    """
    better = _ESCAPE.sub(_whole, body.removeprefix(codecs.BOM_UTF8))
    return better if better != body else None


def check_count(count: int, max_events: int) -> None:
    """Raises `TooLarge` for a batch of too many events."""
    if count > max_events:
        raise TooLarge(f"A batch may hold {max_events} events; this one holds {count}. Send several batches.")


def check_single(body: bytes, limits: LimitsSection) -> None:
    """Raises `TooLarge` for one event of too many bytes."""
    if len(body) > limits.event_bytes:
        raise TooLarge(f"One event may have {limits.event_bytes} bytes; this one has {len(body)}.")


def unreadable(error: Exception) -> RequestError:
    """The error for a body of which nothing can be read."""
    if isinstance(error, msgspec.ValidationError):
        return RequestError(
            f"The body is neither an event nor an object with an array of events: {str(error)[:200]}.", code="bad_body"
        )
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
    return RequestError(f"The body is not valid JSON in UTF-8: {reason}.", code="bad_json")


def bad_event(index: int, error: Exception) -> Rejection:
    """The rejection of one event of which nothing can be read."""
    if isinstance(error, RecursionError):
        return Rejection(index, "bad_event", "The event is nested too deeply.")
    return Rejection(index, "bad_event", f"The event can't be read: {str(error)[:200]}.")


def sort_in(index: int, read_as: Beacon | Rejection, good: list[tuple[int, Beacon]], bad: list[Rejection]) -> None:
    """Put one event where it belongs."""
    if isinstance(read_as, Rejection):
        bad.append(read_as)
    else:
        good.append((index, read_as))


def set_sent_at(decoded: Decoded, raw: Raw) -> None:
    """Give the time at which the whole batch was sent to its events that carry none of their own."""
    good, _, _, warnings = decoded
    try:
        sent_at = read_any(raw)
    except UNREADABLE:
        sent_at = False
    if sent_at is None:
        return
    if (
        isinstance(sent_at, str | int | float)
        and not isinstance(sent_at, bool)
        and parse_timestamp(sent_at) is not None
    ):
        for _, beacon in good:
            if beacon.sent_at is None:
                beacon.sent_at = sent_at
    elif warnings is not None:
        warnings.index = 0
        warnings.warn("sent_at", WarningCode.LEFT_OUT)


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
