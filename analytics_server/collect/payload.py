"""The wire formats: bytes → beacons, each event read and judged on its own.

One bad event never spoils its neighbours: the whole array is decoded at once, and
only when that fails event by event, so that the bad one is named by its index and
the rest lives. Unknown keys are tolerated (an old server meets a newer tracker).
Shapes only; what the values mean is the pipeline's business.
"""

from __future__ import annotations

import codecs
import math
import re
from binascii import unhexlify
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError, TooLarge

PropValue = str | int | float | bool | None
Number = int | float


class Screen(msgspec.Struct, gc=False):
    width: Number | None = None
    height: Number | None = None


class Element(msgspec.Struct, gc=False):
    id: str | None = None
    tag: str | None = None
    text: str | None = None
    href: str | None = None


class Revenue(msgspec.Struct, gc=False):
    amount: Number | str
    currency: str


class Exposure(msgspec.Struct, gc=False):
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
    screen: Screen | None = None
    language: str | None = None
    scroll_depth: Number | None = None
    engagement_ms: Number | None = None
    element: Element | None = None
    revenue: Revenue | None = None
    experiment: Exposure | None = None
    props: dict[str, PropValue] | None = None
    ip: str | None = None
    user_agent: str | None = None


class Rejection(msgspec.Struct, frozen=True):
    """One event that could not be taken, and why."""

    index: int
    code: str
    message: str


class _Envelope(msgspec.Struct, gc=False):
    events: list[Raw] | UnsetType = UNSET


class ClientView(msgspec.Struct, gc=False, rename="camel"):
    """`POST /track/view`: the client SDK's page view."""

    app_name: str
    page_url: str | None = None
    page_title: str | None = None
    referrer: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    event_id: str | None = None
    timestamp: str | Number | None = None
    screen: Screen | None = None
    language: str | None = None
    props: dict[str, PropValue] | None = None


class ClientInteraction(msgspec.Struct, gc=False, rename="camel"):
    """`POST /track/interaction`: a click, scroll or other event; `data` holds its details."""

    app_name: str
    type: Annotated[str, Meta(min_length=1)]
    data: dict[str, PropValue] | None = None
    session_id: str | None = None
    user_id: str | None = None
    event_id: str | None = None
    timestamp: str | Number | None = None
    language: str | None = None


_decode_beacon = msgspec.json.Decoder(Beacon).decode
_decode_beacons = msgspec.json.Decoder(list[Beacon]).decode
_decode_raw = msgspec.json.Decoder(Raw).decode
_decode_raws = msgspec.json.Decoder(list[Raw]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_view = msgspec.json.Decoder(ClientView).decode
_decode_interaction = msgspec.json.Decoder(ClientInteraction).decode

_FIELD = re.compile(r"at `\$\.?([A-Za-z_]+)?")
_REQUIRED = re.compile(r"missing required field `([A-Za-z]+)`")
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""An escape in JSON; the group is set for half of a surrogate pair."""
_ISO_8601 = re.compile(r"[0-9][0-9W-]{7,9}(?:[Tt ][0-9:.,]{2,20}(?:[Zz]|[+-][0-9:.]{2,15})?)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?)[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{4}\1[0-9a-fA-F]{12}")
UUID_CHARS, UUID_DIGITS = 36, 32
_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")

Decoded = tuple[list[tuple[int, Beacon]], list[Rejection], int]
"""Good events with their index, rejections, and how many events were sent."""


def decode_track(body: bytes, limits: LimitsSection, *, max_events: int) -> Decoded:
    """`POST /track`: one event, an array, or `{"events": […]}`.

    Raises `RequestError` (nothing could be read) or `TooLarge`.
    """
    try:
        return _decode_track(body, limits, max_events)
    except RequestError as error:
        mended = _mended(body)
        if error.code != "bad_json" or mended is None:
            raise
        return _decode_track(mended, limits, max_events)


def _decode_track(body: bytes, limits: LimitsSection, max_events: int) -> Decoded:
    first = body.lstrip(b" \t\r\n")[:1]
    if first == b"{":
        try:
            beacon = _decode_beacon(body)
        except msgspec.ValidationError as error:
            envelope = _read(body, _decode_envelope)
            if envelope.events is UNSET:
                _check_single(body, limits)
                return [], [_rejection(0, error)], 1
            return _decode_each(envelope.events, max_events)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _unreadable(error) from error
        _check_single(body, limits)
        return [(0, beacon)], [], 1
    if first == b"[":
        try:
            beacons = _decode_beacons(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _decode_each(_read(body, _decode_raws), max_events)
        _check_count(len(beacons), max_events)
        return list(enumerate(beacons)), [], len(beacons)
    if first == b"\xef":
        raise RequestError("The body begins with a byte order mark.", code="bad_json")
    raise RequestError(
        "The body must be one event, an array of events, or an object with the key events.", code="bad_body"
    )


def decode_view(body: bytes) -> Decoded:
    """`POST /track/view`."""
    return _decode_one(body, _decode_view, view_to_beacon)


def decode_interaction(body: bytes) -> Decoded:
    """`POST /track/interaction`."""
    return _decode_one(body, _decode_interaction, interaction_to_beacon)


class _Kind(msgspec.Struct, gc=False):
    kind: str


_decode_kind = msgspec.json.Decoder(_Kind).decode


def decode_client_batch(body: bytes, *, max_events: int) -> Decoded:
    """`POST /track/batch`: `{"events": [{"kind": "view" | "interaction", …}]}`."""
    envelope = _read_mended(body, _decode_envelope)
    if envelope.events is UNSET:
        raise RequestError("The body must be an object with the key events.", code="bad_body")
    _check_count(len(envelope.events), max_events)
    good: list[tuple[int, Beacon]] = []
    bad: list[Rejection] = []
    for index, raw in enumerate(envelope.events):
        try:
            kind = _decode_kind(raw).kind
            if kind == "view":
                good.append((index, view_to_beacon(_decode_view(raw))))
            elif kind == "interaction":
                good.append((index, interaction_to_beacon(_decode_interaction(raw))))
            else:
                bad.append(Rejection(index, "bad_kind", f"kind is {kind[:40]!r}: it must be view or interaction."))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            bad.append(_rejection(index, error))
    return good, bad, len(envelope.events)


def view_to_beacon(view: ClientView) -> Beacon:
    return Beacon(
        site=view.app_name,
        name="pageview",
        url=view.page_url,
        referrer=view.referrer,
        title=view.page_title,
        event_id=view.event_id,
        session_id=view.session_id,
        user_id=view.user_id,
        timestamp=view.timestamp,
        screen=view.screen,
        language=view.language,
        props=view.props,
    )


_DATA_KEYS = frozenset(
    {"pageUrl", "pageTitle", "elementId", "elementTag", "elementText", "href", "scrollDepth", "engagementMs"}
)


def interaction_to_beacon(interaction: ClientInteraction) -> Beacon:
    data: Mapping[str, PropValue] = interaction.data or {}

    def text(key: str) -> str | None:
        value = data.get(key)
        return value if isinstance(value, str) else None

    def number(key: str) -> Number | None:
        value = data.get(key)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    element = None
    if any(key in data for key in ("elementId", "elementTag", "elementText", "href")):
        element = Element(id=text("elementId"), tag=text("elementTag"), text=text("elementText"), href=text("href"))
    rest = {key: value for key, value in data.items() if key not in _DATA_KEYS}
    return Beacon(
        site=interaction.app_name,
        name=interaction.type,
        url=text("pageUrl"),
        title=text("pageTitle"),
        event_id=interaction.event_id,
        session_id=interaction.session_id,
        user_id=interaction.user_id,
        timestamp=interaction.timestamp,
        language=interaction.language,
        scroll_depth=number("scrollDepth"),
        engagement_ms=number("engagementMs"),
        element=element,
        props=rest or None,
    )


def parse_timestamp(value: str | Number) -> int | None:
    """Epoch milliseconds of an ISO 8601 text (UTC when it has no offset) or a number; None if it is neither."""
    if isinstance(value, str):
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
    number = int(value)
    return number if abs(number) < 1 << 53 else None


def parse_event_id(text: str) -> bytes | None:
    """The 16 bytes of a UUID in its usual spellings, or None."""
    if len(text) == UUID_CHARS and text[8] == text[13] == text[18] == text[23] == "-":  # the usual spelling
        digits = text.replace("-", "")
        if len(digits) == UUID_DIGITS:
            try:
                return unhexlify(digits)
            except ValueError:
                return None
    return unhexlify(text.replace("-", "")) if _UUID.fullmatch(text) else None


def _decode_one(body: bytes, decode, convert) -> Decoded:  # type: ignore[no-untyped-def]
    try:
        return [(0, convert(decode(body)))], [], 1
    except msgspec.ValidationError as error:
        if not bytes(_read(body, _decode_raw)).lstrip().startswith(b"{"):
            raise RequestError("The body must be an object.", code="bad_body") from error
        return [], [_rejection(0, error)], 1
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        mended = _mended(body)
        if mended is None:
            raise _unreadable(error) from error
        return _decode_one(mended, decode, convert)


def _mended(body: bytes) -> bytes | None:
    """The body without a byte order mark and with halves of surrogate pairs replaced; None if it has neither.

    Browsers send halves: JSON.stringify escapes what is left of an emoji that a script has cut in two.
    """
    mended = _ESCAPE.sub(_whole, body.removeprefix(codecs.BOM_UTF8))
    return mended if mended != body else None


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]


def _decode_each(raws: list[Raw], max_events: int) -> Decoded:
    _check_count(len(raws), max_events)
    good: list[tuple[int, Beacon]] = []
    bad: list[Rejection] = []
    for index, raw in enumerate(raws):
        try:
            good.append((index, _decode_beacon(raw)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            bad.append(_rejection(index, error))
    return good, bad, len(raws)


def _read(body: bytes, decode):  # type: ignore[no-untyped-def]
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def _read_mended(body: bytes, decode):  # type: ignore[no-untyped-def]
    try:
        return _read(body, decode)
    except RequestError:
        mended = _mended(body)
        if mended is None:
            raise
        return _read(mended, decode)


def _check_single(body: bytes, limits: LimitsSection) -> None:
    if len(body) > limits.event_bytes:
        raise TooLarge(f"One event may have {limits.event_bytes} bytes; this one has {len(body)}.")


def _check_count(count: int, max_events: int) -> None:
    if count > max_events:
        raise TooLarge(f"A batch may hold {max_events} events; this one holds {count}. Send several batches.")


def _unreadable(error: Exception) -> RequestError:
    if isinstance(error, msgspec.ValidationError):
        return RequestError(
            f"The body is neither an event nor an object with an array of events: {str(error)[:200]}.", code="bad_body"
        )
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
    return RequestError(f"The body is not valid JSON in UTF-8: {reason}.", code="bad_json")


def _rejection(index: int, error: Exception) -> Rejection:
    """The rejection for a decoding error: `missing_<field>` or `bad_<field>`."""
    text = str(error)
    if isinstance(error, RecursionError):
        return Rejection(index, "bad_event", "The event is nested too deeply.")
    if missing := _REQUIRED.search(text):
        inside = _FIELD.search(text)
        parent = inside[1] if inside and inside[1] else ""
        field = _snake(missing[1])
        code = f"bad_{parent}" if parent else f"missing_{field}"
        return Rejection(index, code, f"The event has no {parent + '.' if parent else ''}{field}.")
    if not isinstance(error, msgspec.ValidationError):
        return Rejection(index, "bad_event", f"The event can't be read: {text[:200]}.")
    place = _FIELD.search(text)
    if place and place[1]:
        return Rejection(index, f"bad_{_snake(place[1])}", f"{text[:200]}.")
    return Rejection(index, "bad_event", f"An event must be an object: {text[:200]}.")


def _snake(name: str) -> str:
    return _SNAKE.sub("_", name).lower()
