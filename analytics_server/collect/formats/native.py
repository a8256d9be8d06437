"""`POST /track` and the pixel: bytes → beacons, each event read and judged on its own.

One bad event never spoils its neighbours: the whole array is decoded at once, and
only when that fails event by event, so that the bad one is named by its index and
the rest lives. An event that has other types than it should is read again leniently
(leniency.py). Unknown keys are tolerated (an old server meets a newer tracker).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Raw, UnsetType

from analytics_server.collect.formats.beacon import Beacon, Rejection
from analytics_server.collect.formats.leniency import read_event
from analytics_server.collect.formats.warnings import Warnings
from analytics_server.collect.formats.wire import (
    UNREADABLE,
    Decoded,
    bad_event,
    check_count,
    check_single,
    mended,
    read,
    read_any,
    set_sent_at,
    sort_in,
    unreadable,
)
from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError


class _Envelope(msgspec.Struct, gc=False):
    events: Raw | UnsetType = UNSET
    sent_at: Raw | UnsetType = UNSET
    site: Raw | UnsetType = UNSET
    name: Raw | UnsetType = UNSET


_decode_beacon = msgspec.json.Decoder(Beacon).decode
_decode_beacons = msgspec.json.Decoder(list[Beacon]).decode
_decode_raws = msgspec.json.Decoder(list[Raw]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def decode_track(body: bytes, limits: LimitsSection, *, max_events: int) -> Decoded:
    """One event, an array, or `{"events": […]}`.

    Raises `RequestError` (nothing could be read) or `TooLarge`.
    """
    try:
        return _decode_track(body, limits, max_events)
    except RequestError as error:
        better = mended(body)
        if error.code != "bad_json" or better is None:
            raise
        return _decode_track(better, limits, max_events)


def pixel_body(query: Mapping[str, str], referer: str | None) -> bytes:
    """The event a pixel's query string stands for, as JSON. Raises `RequestError`."""
    site = query.get("site")
    if not site:
        raise RequestError("The pixel needs ?site=… in its address.", code="missing_site")
    event: dict[str, str] = {"site": site, "name": query.get("name") or "pageview"}
    url = query.get("url") or referer
    if url:
        event["url"] = url
    for key in ("referrer", "title", "session_id", "user_id", "event_id", "interactive"):
        if value := query.get(key):
            event[key] = value
    return msgspec.json.encode(event)


def _decode_track(body: bytes, limits: LimitsSection, max_events: int) -> Decoded:
    first = body.lstrip(b" \t\r\n")[:1]
    if first == b"{":
        try:
            beacon = _decode_beacon(body)
        except msgspec.ValidationError:
            return _decode_object(body, limits, max_events)
        except UNREADABLE as error:
            raise unreadable(error) from error
        check_single(body, limits)
        return [(0, beacon)], [], 1, None
    if first == b"[":
        try:
            beacons = _decode_beacons(body)
        except UNREADABLE:
            return _decode_each(read(body, _decode_raws), limits, max_events)
        check_count(len(beacons), max_events)
        return list(enumerate(beacons)), [], len(beacons), None
    if first == b"\xef":
        raise RequestError("The body begins with a byte order mark.", code="bad_json")
    raise RequestError(
        "The body must be one event, an array of events, or an object with the key events.", code="bad_body"
    )


def _decode_object(body: bytes, limits: LimitsSection, max_events: int) -> Decoded:
    """Several events in an envelope, or one event that the typed decoder can't read."""
    envelope = read(body, _decode_envelope)
    if envelope.events is not UNSET and (envelope.site is UNSET or envelope.name is UNSET):
        decoded = _decode_each(read(envelope.events, _decode_raws), limits, max_events)
        if envelope.sent_at is not UNSET:
            set_sent_at(decoded, envelope.sent_at)
        return decoded
    check_single(body, limits)
    return _decode_each([Raw(body)], limits, max_events)


def _decode_each(raws: list[Raw], limits: LimitsSection, max_events: int) -> Decoded:
    check_count(len(raws), max_events)
    good: list[tuple[int, Beacon]] = []
    bad: list[Rejection] = []
    warnings = Warnings(limits.warnings)
    for index, raw in enumerate(raws):
        try:
            good.append((index, _decode_beacon(raw)))
        except msgspec.ValidationError:
            sort_in(index, _read_leniently(raw, index, warnings), good, bad)
        except UNREADABLE as error:
            bad.append(bad_event(index, error))
    return good, bad, len(raws), warnings


def _read_leniently(raw: Raw, index: int, warnings: Warnings) -> Beacon | Rejection:
    try:
        value = read_any(raw)
    except UNREADABLE as error:
        return bad_event(index, error)
    return read_event(value, index, warnings)
