"""The client library's calls: `/track/view`, `/track/interaction` and `/track/batch` → beacons.

Each is the same event as one sent to `/track`, under other names. As there, the typed decoder is tried first,
and an event that has other types than it should is read leniently, by the names of `/track`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType, field

from analytics_server.collect.formats.beacon import Beacon, Element, Number, PropValue, Rejection, Screen
from analytics_server.collect.formats.leniency import read_event
from analytics_server.collect.formats.names import NO_NAMES, FieldNames
from analytics_server.collect.formats.warnings import Warnings
from analytics_server.collect.formats.wire import (
    UNREADABLE,
    Decoded,
    bad_event,
    check_count,
    check_single,
    decode_raw,
    mended,
    read,
    read_any,
    read_mended,
    set_sent_at,
    sort_in,
    unreadable,
)
from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError


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
    sent_at: str | Number | None = None
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
    sent_at: str | Number | None = None
    language: str | None = None
    interactive: bool | None = None


class _Kind(msgspec.Struct, gc=False):
    kind: Raw | UnsetType = UNSET


class _ClientEnvelope(msgspec.Struct, gc=False):
    events: list[Raw] | UnsetType = UNSET
    sent_at: Raw | UnsetType = UNSET
    sent_at_camel: Raw | UnsetType = field(default=UNSET, name="sentAt")


_decode_view = msgspec.json.Decoder(ClientView).decode
_decode_interaction = msgspec.json.Decoder(ClientInteraction).decode
_decode_envelope = msgspec.json.Decoder(_ClientEnvelope).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode

_OURS = {
    "appName": "site",
    "sessionId": "session_id",
    "userId": "user_id",
    "eventId": "event_id",
    "timestamp": "timestamp",
    "sentAt": "sent_at",
    "language": "language",
}
_VIEW = {**_OURS, "pageUrl": "url", "pageTitle": "title", "referrer": "referrer", "screen": "screen", "props": "props"}
_INTERACTION = {**_OURS, "type": "name", "interactive": "interactive"}
_DATA_TEXTS = {"pageUrl": "url", "pageTitle": "title"}
_DATA_NUMBERS = {"scrollDepth": "scroll_depth", "engagementMs": "engagement_ms"}
_DATA_ELEMENT = {"elementId": "id", "elementTag": "tag", "elementText": "text", "href": "href"}
_DATA_KEYS = frozenset({*_DATA_TEXTS, *_DATA_NUMBERS, *_DATA_ELEMENT})
_VIEW_NAMES: FieldNames = {ours: theirs for theirs, ours in _VIEW.items()}
_INTERACTION_NAMES: FieldNames = {
    **{ours: theirs for theirs, ours in _INTERACTION.items()},
    **{ours: f"data.{theirs}" for theirs, ours in (_DATA_TEXTS | _DATA_NUMBERS).items()},
    **{f"element.{ours}": f"data.{theirs}" for theirs, ours in _DATA_ELEMENT.items()},
    "props": "data",
}
"""What is told of an event names its fields as the client library does."""


def decode_view(body: bytes, limits: LimitsSection, *, max_events: int = 1) -> Decoded:
    """`POST /track/view`: one event."""
    check_single(body, limits)
    return _decode_one(body, limits, _read_view, _VIEW_NAMES)


def decode_interaction(body: bytes, limits: LimitsSection, *, max_events: int = 1) -> Decoded:
    """`POST /track/interaction`: one event."""
    check_single(body, limits)
    return _decode_one(body, limits, _read_interaction, _INTERACTION_NAMES)


def decode_client_batch(body: bytes, limits: LimitsSection, *, max_events: int) -> Decoded:
    """`POST /track/batch`: `{"events": [{"kind": "view" | "interaction", …}]}`."""
    envelope = read_mended(body, _decode_envelope)
    if envelope.events is UNSET:
        raise RequestError("The body must be an object with the key events.", code="bad_body")
    check_count(len(envelope.events), max_events)
    good: list[tuple[int, Beacon]] = []
    bad: list[Rejection] = []
    warnings = Warnings(limits.warnings)
    names = warnings.names = [NO_NAMES] * max(1, len(envelope.events))  # what lies beside none is told of the first
    for index, raw in enumerate(envelope.events):
        try:
            names[index], read_as = _read_call(raw, index, warnings)
            sort_in(index, read_as, good, bad)
        except UNREADABLE as error:
            bad.append(bad_event(index, error))
    decoded = good, bad, len(envelope.events), warnings
    for sent_at in (envelope.sent_at, envelope.sent_at_camel):
        if sent_at is not UNSET:
            set_sent_at(decoded, sent_at)
    return decoded


def _read_call(raw: Raw, index: int, warnings: Warnings) -> tuple[FieldNames, Beacon | Rejection]:
    """One event of a batch, and what its fields are called there. Raises `UNREADABLE`."""
    try:
        named = _decode_kind(raw).kind
    except msgspec.ValidationError:
        return NO_NAMES, read_event(read_any(raw), index, warnings)  # it is no object, which is what will be said
    if named is UNSET:
        return NO_NAMES, Rejection(index, "missing_kind", "The event has no kind: view or interaction.")
    kind = read_any(named)
    if kind == "view":
        return _VIEW_NAMES, _read_view(raw, index, warnings)
    if kind == "interaction":
        return _INTERACTION_NAMES, _read_interaction(raw, index, warnings)
    return NO_NAMES, Rejection(index, "bad_kind", f"kind is {str(kind)[:40]!r}: it must be view or interaction.")


def _read_view(raw: bytes, index: int, warnings: Warnings) -> Beacon | Rejection:
    """Raises `UNREADABLE`."""
    try:
        return view_to_beacon(_decode_view(raw))
    except msgspec.ValidationError:
        return read_event(_view_fields(read_any(raw)), index, warnings, _VIEW_NAMES)


def _read_interaction(raw: bytes, index: int, warnings: Warnings) -> Beacon | Rejection:
    """Raises `UNREADABLE`."""
    try:
        beacon = interaction_to_beacon(_decode_interaction(raw))
    except msgspec.ValidationError:
        beacon = None
    if beacon is not None:
        return beacon
    return read_event(_interaction_fields(read_any(raw)), index, warnings, _INTERACTION_NAMES)


def view_to_beacon(view: ClientView) -> Beacon:
    """The same event by the names of `/track`."""
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
        sent_at=view.sent_at,
        screen=view.screen,
        language=view.language,
        props=view.props,
    )


def interaction_to_beacon(interaction: ClientInteraction) -> Beacon | None:
    """The event; None when a detail has another type than it should."""
    data: Mapping[str, PropValue] = interaction.data or {}
    texts: dict[str, str | None] = {}
    for key in (*_DATA_TEXTS, *_DATA_ELEMENT):
        value = data.get(key)
        if value is not None and not isinstance(value, str):
            return None
        texts[key] = value
    numbers: dict[str, Number | None] = {}
    for key in _DATA_NUMBERS:
        value = data.get(key)
        if isinstance(value, bool | str):
            return None
        numbers[key] = value
    return Beacon(
        site=interaction.app_name,
        name=interaction.type,
        url=texts["pageUrl"],
        title=texts["pageTitle"],
        event_id=interaction.event_id,
        session_id=interaction.session_id,
        user_id=interaction.user_id,
        timestamp=interaction.timestamp,
        sent_at=interaction.sent_at,
        language=interaction.language,
        scroll_depth=numbers["scrollDepth"],
        engagement_ms=numbers["engagementMs"],
        element=Element(**{ours: texts[theirs] for theirs, ours in _DATA_ELEMENT.items()})
        if any(key in data for key in _DATA_ELEMENT)
        else None,
        props={key: value for key, value in data.items() if key not in _DATA_KEYS} or None,
        interactive=interaction.interactive,
    )


def _renamed(value: dict[str, object], names: Mapping[str, str]) -> dict[str, object]:
    return {ours: value[theirs] for theirs, ours in names.items() if theirs in value}


def _view_fields(value: object) -> object:
    """The event by the names of `/track`; what is no object is left as it is."""
    return {**_renamed(value, _VIEW), "name": "pageview"} if isinstance(value, dict) else value


def _interaction_fields(value: object) -> object:
    """The event by the names of `/track`; what is no object is left as it is."""
    if not isinstance(value, dict):
        return value
    fields = _renamed(value, _INTERACTION)
    data = value.get("data")
    if not isinstance(data, dict):
        return {**fields, "props": data}
    return {
        **fields,
        **_renamed(data, _DATA_TEXTS),
        **_renamed(data, _DATA_NUMBERS),
        "element": _renamed(data, _DATA_ELEMENT) or None,
        "props": {key: one for key, one in data.items() if key not in _DATA_KEYS} or None,
    }


def _decode_one(
    body: bytes,
    limits: LimitsSection,
    read_call: Callable[[bytes, int, Warnings], Beacon | Rejection],
    names: FieldNames,
) -> Decoded:
    warnings = Warnings(limits.warnings)
    warnings.names = [names]
    good: list[tuple[int, Beacon]] = []
    bad: list[Rejection] = []
    try:
        read_as = read_call(body, 0, warnings)
    except UNREADABLE as error:
        better = mended(body)
        if better is None:
            raise unreadable(error) from error
        return _decode_one(better, limits, read_call, names)
    if isinstance(read_as, Rejection) and not bytes(read(body, decode_raw)).lstrip().startswith(b"{"):
        raise RequestError("The body must be an object.", code="bad_body")
    sort_in(0, read_as, good, bad)
    return good, bad, 1, warnings
