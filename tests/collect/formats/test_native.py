"""The decoder: what it takes, how it names what it doesn't, and that nothing makes it fail otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.collect.formats.beacon import Beacon, parse_event_id, parse_timestamp
from analytics_server.collect.formats.client_sdk import decode_client_batch, decode_interaction, decode_view
from analytics_server.collect.formats.native import decode_track
from analytics_server.collect.formats.wire import Decoded
from analytics_server.config import LimitsSection
from analytics_server.errors import RequestError, TooLarge

LIMITS = LimitsSection()
SIMPLE = {"site": "a.example", "name": "x"}


def track(body: bytes) -> Decoded:
    return decode_track(body, LIMITS, max_events=LIMITS.batch_events)


DECODERS: list[Callable[[bytes], Decoded]] = [
    track,
    lambda body: decode_view(body, LIMITS),
    lambda body: decode_interaction(body, LIMITS),
    lambda body: decode_client_batch(body, LIMITS, max_events=LIMITS.batch_events),
]

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.sampled_from([*Beacon.__struct_fields__, "events", "kind", "appName", "type", "data", "pageUrl", "other"])
NEARLY = st.dictionaries(FIELDS, JSON_VALUES, max_size=8).map(lambda fields: {**SIMPLE, **fields})
ANYTHING = st.one_of(
    st.binary(max_size=200),
    (
        JSON_VALUES | NEARLY | st.lists(NEARLY, max_size=4) | st.lists(NEARLY, max_size=4).map(lambda e: {"events": e})
    ).map(lambda value: json.dumps(value).encode()),
)


@given(body=ANYTHING)
def test_any_bytes_are_decoded_or_refused_in_an_orderly_way(body: bytes) -> None:
    refusals: set[tuple[int, str]] = set()
    for decode in DECODERS:
        try:
            good, bad, sent, _ = decode(body)
        except RequestError as error:
            refusals.add((error.status, error.code))
            continue
        indices = sorted([index for index, _ in good] + [rejection.index for rejection in bad])
        assert indices == list(range(sent))
        assert all(rejection.code and rejection.message for rejection in bad)
        assert all(len(rejection.message) < 400 for rejection in bad)
    assert refusals <= {(400, "bad_json"), (400, "bad_body"), (413, "too_large")}


@pytest.mark.parametrize("body", [b'{"events":3}', b'{"events":null}', b'{"site":5,"events":"x"}'])
def test_json_that_holds_no_events_is_not_called_unreadable(body: bytes) -> None:
    for decode in (track, lambda body: decode_client_batch(body, LIMITS, max_events=10)):
        with pytest.raises(RequestError) as refused:
            decode(body)
        assert refused.value.code == "bad_body"


def test_a_batch_of_the_client_library_is_an_object() -> None:
    with pytest.raises(RequestError) as refused:
        decode_client_batch(b'[{"kind":"view"}]', LIMITS, max_events=10)
    assert refused.value.code == "bad_body"


@given(events=st.lists(st.sampled_from([SIMPLE, {"site": 1, "name": "x"}, {"name": "x"}, 7, None]), max_size=20))
def test_each_event_is_judged_alone(events: list[object]) -> None:
    for shape in (events, {"events": events}):
        good, bad, sent, _ = track(json.dumps(shape).encode())

        assert sent == len(events)
        assert [index for index, _ in good] == [i for i, event in enumerate(events) if event == SIMPLE]
        codes = {json.dumps({"site": 1, "name": "x"}): "bad_site", json.dumps({"name": "x"}): "missing_site"}
        assert [(r.index, r.code) for r in bad] == [
            (i, codes.get(json.dumps(event), "bad_event")) for i, event in enumerate(events) if event != SIMPLE
        ]


@given(text=st.text(st.characters(), max_size=20))
def test_halves_of_surrogate_pairs_become_replacement_characters(text: str) -> None:
    body = json.dumps({**SIMPLE, "title": text}).encode()  # escapes halves, as JSON.stringify does

    ((_, beacon),), bad, _, _ = track(body)

    whole = json.loads(body)["title"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert bad == []
    assert beacon.title is not None
    beacon.title.encode()  # can be stored
    if not any("\ud800" <= character <= "\udfff" for character in text):
        assert beacon.title == text
    else:
        assert beacon.title.replace("\ufffd", "") == "".join(c for c in whole if c != "\ufffd")


@pytest.mark.parametrize(
    ("title", "read"),
    [
        (r"\ud83d", "\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\ud83d\ude00\ud83d", "😀\ufffd"),
        (r"\\ud83d", r"\ud83d"),
        (r"\\\ud83d", "\\\ufffd"),
        (r"\uD83D\uDE00", "😀"),
        (r"\ud83d\n", "\ufffd\n"),
    ],
)
def test_only_halves_are_replaced(title: str, read: str) -> None:
    ((_, beacon),), _, _, _ = track(rb'{"site":"a","name":"x","title":"%b"}' % title.encode())

    assert beacon.title == read


def test_one_event_may_be_larger_inside_a_batch() -> None:
    large = {**SIMPLE, "title": "t" * LIMITS.event_bytes}

    with pytest.raises(TooLarge):
        track(msgspec.json.encode(large))
    assert len(track(msgspec.json.encode([large]))[0]) == 1
    assert len(track(msgspec.json.encode({"events": [large]}))[0]) == 1


@pytest.mark.parametrize("decode", DECODERS)
def test_nesting_is_bounded(decode: Callable[[bytes], Decoded]) -> None:
    for body in (b"[" * 1_000_000, b'{"events":' * 300_000, b'{"a":' * 300_000 + b"1" + b"}" * 300_000):
        with pytest.raises(RequestError):
            decode(body)


def test_an_envelope_with_an_event_s_keys_is_an_event() -> None:
    good, bad, sent, _ = track(b'{"site":"a","name":"x","events":[{"site":"b","name":"y"}]}')

    assert [beacon.site for _, beacon in good] == ["a"]
    assert (bad, sent) == ([], 1)


def test_interaction_data_finds_its_columns_and_the_rest_become_props() -> None:
    data = {"elementId": "i", "elementText": 5, "scrollDepth": 40, "engagementMs": True, "colour": "red", "n": 1}

    ((_, beacon),), _, _, _ = decode_interaction(
        msgspec.json.encode({"appName": "a", "type": "click", "data": data}), LIMITS
    )

    assert beacon.element is not None
    assert (beacon.element.id, beacon.element.text, beacon.scroll_depth, beacon.engagement_ms) == ("i", "5", 40, None)
    assert beacon.props == {"colour": "red", "n": 1}


@pytest.mark.parametrize(
    ("value", "epoch_ms"),
    [
        (1_700_000_000_000, 1_700_000_000_000),
        (1_700_000_000_000.75, 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
        ("2023-11-14", 1_699_920_000_000),
        ("", None),
        ("1700000000000", 1_700_000_000_000),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.25", 1_700_000_000_250),
        (1_764_000_000, 1_764_000_000_000),
        (1_764_000_000.5, 1_764_000_000_500),
        (1_764_000_000_123_456, 1_764_000_000_123),
        (0, 0),
        (1.5, 1),
        (946_684_799, 946_684_799),
        (946_684_800, 946_684_800_000),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
        (99_999_999_999_999, 99_999_999_999_999),
        (100_000_000_000_000, 100_000_000_000),
        (-5_000_000_000, -5_000_000_000_000),
        ("20231114", 1_699_920_000_000),
        ("tomorrow", None),
        (2**53, None),
        (-(2**53), None),
        (float("inf"), None),
        (float("nan"), None),
        (1e300, None),
    ],
)
def test_times_are_read_as_utc_milliseconds(value: str | float, epoch_ms: int | None) -> None:
    assert parse_timestamp(value) == epoch_ms


@given(value=st.text(max_size=40) | st.integers() | st.floats())
def test_any_time_is_read_or_none(value: str | float) -> None:
    read = parse_timestamp(value)

    assert read is None or abs(read) < 1 << 60


@pytest.mark.parametrize("text", ["6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "6F9619FF8B864D01B42D00CF4FC964FF"])
def test_event_ids_are_uuids_in_either_spelling(text: str) -> None:
    assert parse_event_id(text) == bytes.fromhex("6f9619ff8b864d01b42d00cf4fc964ff")


@given(text=st.text(max_size=40))
def test_any_other_text_is_no_event_id(text: str) -> None:
    read = parse_event_id(text)

    assert read is None or len(read) == 16
