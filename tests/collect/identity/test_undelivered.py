"""What the log alone knows after a restart: read fast and in part, and exactly what a plain reading finds."""

from __future__ import annotations

import logging
import shutil
import tempfile
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.batch_ids import created_ms, new_batch_id
from analytics_server.collect.identity import duplicates as duplicates_module
from analytics_server.collect.identity import undelivered as undelivered_module
from analytics_server.collect.identity.duplicates import Duplicates
from analytics_server.collect.identity.id_set import IdSet
from analytics_server.collect.identity.session import Sessions
from analytics_server.collect.identity.undelivered import Undelivered
from analytics_server.config import CollectSection
from analytics_server.ingest.wal import segment
from analytics_server.ingest.wal.segment import Sealed
from analytics_server.model import COLUMN_NAMES, SESSION_ATTRIBUTES
from tests.collect.identity.test_session import Clock
from tests.ingest.rows import row

NOW = 1_800_000_000.0
DAY, HOUR, MINUTE = 86_400, 3_600, 60
OWN = "s00000000000000{:02x}"

Row = tuple[object, ...]
Frames = list[list[Row]]


def event(number: int, *, site: str = "a.example", session: str = "tab", at_s: float = NOW, **values: object) -> Row:
    """An event whose session began at `NOW` minus a day; `number` is its id, and its visitor's."""
    filled: dict[str, object] = {"visitor_id": number + 1, "session_start": int((NOW - DAY) * 1e6), **values}
    return row(site_id=site, event_id=number.to_bytes(16, "big"), session_id=session, ts=int(at_s * 1e6), **filled)


def write(directory: Path, ages_s: Sequence[float], contents: Sequence[Frames]) -> list[Sealed]:
    """Segments opened so long before NOW, oldest first."""
    found: list[Sealed] = []
    for age_s, frames in zip(ages_s, contents, strict=True):
        batch_id = new_batch_id(NOW - age_s, found[-1].batch_id if found else 0)
        found.append(write_segment(directory, batch_id, frames))
    return found


def write_segment(directory: Path, batch_id: int, frames: Frames) -> Sealed:
    """A sealed segment of these frames."""
    path = directory / f"{batch_id:020d}{segment.SUFFIX}"
    payloads = [b"".join([segment.array_head(len(rows)), *map(msgspec.msgpack.encode, rows)]) for rows in frames]
    pieces = [segment.head_bytes(batch_id, created_ms(batch_id))]
    for sequence, payload in enumerate(payloads, 1):
        pieces += [segment.frame_head(sequence, [payload]), payload]
    path.write_bytes(b"".join(pieces))
    return Sealed(path, batch_id, sum(map(len, frames)), path.stat().st_size, None)


def known(capacity: int = 1_000, window_s: int = DAY) -> Duplicates:
    return Duplicates(window_s=window_s, capacity=capacity, clock=Clock())


def open_sessions() -> Sessions:
    return Sessions(timeout_s=30 * MINUTE, client_timeout_s=DAY, capacity=1_000, clock=Clock())


def reading(
    segments: Sequence[Sealed], duplicates: Duplicates | None = None, settings: CollectSection | None = None
) -> Undelivered:
    """What was found in segments."""
    found = Undelivered(known() if duplicates is None else duplicates, settings or CollectSection(), lambda: NOW)
    found.read(segments)
    return found


def has(duplicates: Duplicates, number: int, site: str = "a.example") -> bool:
    key = (site, number.to_bytes(16, "big"))
    return hash(key) & duplicates_module._MASK in duplicates._ids  # `seen` would remember it


# ---- event ids -------------------------------------------------------------


@given(
    contents=st.lists(st.lists(st.lists(st.integers(0, 60), max_size=5), max_size=4), min_size=1, max_size=6),
    half=st.integers(1, 30),
    chunk=st.integers(1, 10),
)
def test_the_newest_ids_are_known_up_to_half_the_capacity(
    contents: list[list[list[int]]], half: int, chunk: int
) -> None:
    directory = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates_module, "CHUNK_IDS", chunk)
        segments = write(
            directory,
            [MINUTE * len(contents) - MINUTE * at for at in range(len(contents))],
            [[[event(number) for number in frame] for frame in frames] for frames in contents],
        )
        duplicates = known(capacity=2 * half)
        reading(segments, duplicates)
        duplicates.settle()
    shutil.rmtree(directory)

    newest_first = [number for frames in reversed(contents) for frame in reversed(frames) for number in reversed(frame)]
    remembered = {number for number in range(61) if has(duplicates, number)}
    assert remembered == set(newest_first[:half])
    assert len(duplicates) == len(remembered)


@given(
    before=st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 300), max_size=80),
    chunks=st.lists(st.lists(st.integers(0, (1 << 64) - 1) | st.integers(0, 300), max_size=40), max_size=5),
)
def test_many_numbers_at_once_are_the_same_as_one_after_the_other(before: list[int], chunks: list[list[int]]) -> None:
    at_once, one_by_one = IdSet(), IdSet()
    for number in before:
        at_once.add(number)
        one_by_one.add(number)
    at_once.add_sorted([array("Q", sorted(chunk)) for chunk in chunks])
    for chunk in chunks:
        for number in chunk:
            one_by_one.add(number)

    assert at_once._shards == one_by_one._shards
    assert at_once.count == one_by_one.count
    numbers = {*before, *(number for chunk in chunks for number in chunk)}
    assert at_once.count == len(numbers)
    assert all(number in at_once for number in numbers)


def test_restored_ids_are_found_again_and_no_others(tmp_path: Path) -> None:
    duplicates = known()
    reading(write(tmp_path, [0], [[[event(1), event(2, site="b.example")]]]), duplicates)
    duplicates.settle()

    assert duplicates.seen(("a.example", (1).to_bytes(16, "big")))
    assert duplicates.seen(("b.example", (2).to_bytes(16, "big")))
    assert not duplicates.seen(("a.example", (2).to_bytes(16, "big")))


def test_as_many_new_ids_as_half_the_capacity_push_no_restored_one_out(tmp_path: Path) -> None:
    duplicates = known(capacity=20)
    reading(write(tmp_path, [0], [[[event(number) for number in range(10)]]]), duplicates)
    duplicates.settle()
    for number in range(100, 110):
        assert not duplicates.seen(("a.example", number.to_bytes(16, "big")))

    assert all(has(duplicates, number) for number in range(10))


def test_ids_that_arrived_before_the_window_are_left_out(tmp_path: Path) -> None:
    """A segment takes events until the next is opened: what counts is when that was."""
    duplicates = known(window_s=HOUR)
    segments = write(tmp_path, [3 * HOUR, 2 * HOUR, 59 * MINUTE], [[[event(number)]] for number in range(3)])
    reading(segments, duplicates, CollectSection(duplicate_window_s=HOUR))
    duplicates.settle()

    assert [has(duplicates, number) for number in range(3)] == [False, True, True]


def test_with_repeats_switched_off_nothing_is_kept(tmp_path: Path) -> None:
    duplicates = known(window_s=0)
    reading(write(tmp_path, [0], [[[event(1)]]]), duplicates, CollectSection(duplicate_window_s=0))
    duplicates.settle()

    assert len(duplicates) == 0


# ---- sites -----------------------------------------------------------------


def test_sites_are_known_from_the_oldest_segment_too(tmp_path: Path) -> None:
    """Nothing else of it matters any more."""
    segments = write(tmp_path, [90 * DAY, 80 * DAY, 0], [[[event(n, site=f"{n}.example")]] for n in range(3)])
    found = reading(segments)

    assert found.sites == {"0.example", "1.example", "2.example"}


# ---- sessions --------------------------------------------------------------


def test_a_session_goes_on_with_its_times_visitors_and_first_touch(tmp_path: Path) -> None:
    own = OWN.format(1)
    touch = {name: f"of {name}" for name in SESSION_ATTRIBUTES}
    began: dict[str, Any] = {"session_start": int((NOW - 50) * 1e6), **touch}
    segments = write(
        tmp_path,
        [60, 30],
        [
            [[event(1, session=own, at_s=NOW - 50, **began), event(2, session="tab", at_s=NOW - 45, **began)]],
            [[event(3, session=own, at_s=NOW - 70, **began)], [event(4, session=own, at_s=NOW - 20, **began)]],
        ],
    )
    sessions = open_sessions()
    assert reading(segments).apply(sessions) == 2

    found = sessions.of_visitor("a.example", 2, int(NOW * 1000))
    assert found is not None
    assert found is sessions.of_visitor("a.example", 4, int(NOW * 1000))
    assert found is sessions.of_visitor("a.example", 5, int(NOW * 1000))
    times = [int((NOW - seconds) * 1e6) for seconds in (50, 70, 20)]
    assert [found.start_us, found.first_us, found.last_us] == times
    assert found.attributes == tuple(touch.values())
    tab = sessions.of_client("a.example", "tab")
    assert tab is not None
    assert (tab.start_us, tab.attributes) == (times[0], tuple(touch.values()))
    assert sessions.of_client("b.example", "tab") is None


def test_sessions_that_can_not_go_on_are_left_out(tmp_path: Path) -> None:
    """Both may take events for a day after their last one, by its arrival: a server's own passive ones."""
    ages = [25 * HOUR, 24.5 * HOUR, 23 * HOUR, 31 * MINUTE, 29 * MINUTE]
    contents = [
        [[event(number, session=f"tab-{number}"), event(10 + number, session=OWN.format(number))]]
        for number in range(5)
    ]
    sessions = open_sessions()
    reading(write(tmp_path, ages, contents)).apply(sessions)

    by_client = [sessions.of_client("a.example", f"tab-{number}") is not None for number in range(5)]
    by_visitor = [sessions.before_passive("a.example", 11 + number, int(NOW * 1000)) is not None for number in range(5)]
    assert by_client == [False, True, True, True, True]
    assert by_visitor == [False, True, True, True, True]


@given(
    frames=st.lists(st.lists(st.integers(0, 12), max_size=6), min_size=1, max_size=8),
    per_segment=st.integers(1, 3),
    most=st.integers(1, 8),
)
def test_the_sessions_used_last_are_kept(frames: list[list[int]], per_segment: int, most: int) -> None:
    """Even numbers stand for a server's own sessions, odd ones for a client's."""
    directory = Path(tempfile.mkdtemp())
    names = [OWN.format(number) if number % 2 else f"tab-{number}" for number in range(13)]
    numbered = iter(range(10_000))
    made = [
        [event(next(numbered), session=names[number], at_s=NOW - 60 + at) for number in frame]
        for at, frame in enumerate(frames)
    ]
    contents = [made[start : start + per_segment] for start in range(0, len(made), per_segment)]
    segments = write(directory, [60 - at / 100 for at in range(len(contents))], contents)
    found = reading(segments, settings=CollectSection(max_sessions=most))
    shutil.rmtree(directory)

    rows = [row for frame in made for row in frame]
    session, visitor, ts = (COLUMN_NAMES.index(name) for name in ("session_id", "visitor_id", "ts"))
    newest_first = list(dict.fromkeys(row[session] for row in reversed(rows)))
    assert [key[1] for key in found._parts] == newest_first[:most]
    for (_, name), part in found._parts.items():
        own = [row for row in rows if row[session] == name]
        assert part.last_us == max(row[ts] for row in own)  # type: ignore[type-var]
        if part.visitor_ids is not None:
            assert part.visitor_ids == {row[visitor] for row in own}


# ---- damage, old columns, long readings ------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"site_id": 7},
        {"ts": "yesterday"},
        {"event_id": None},
        {"session_id": None},
        {"visitor_id": -1 << 63, "ts": None},
    ],
)
def test_a_row_that_can_not_be_read_spoils_no_other(tmp_path: Path, bad: dict[str, object]) -> None:
    good, poison = event(1), dict(zip(COLUMN_NAMES, event(2, session="bad"), strict=True))
    rows = [good, tuple({**poison, **bad}.values()), event(3)[:4], event(4)]
    duplicates, sessions = known(), open_sessions()
    found = reading(write(tmp_path, [0], [[rows]]), duplicates)
    duplicates.settle()
    found.apply(sessions)

    assert found.sites == {"a.example"}
    assert [has(duplicates, number) for number in range(1, 5)] == [True, False, False, True]
    assert sessions.of_client("a.example", "bad") is None
    assert sessions.of_client("a.example", "tab") is not None


@pytest.mark.parametrize("payload", [b"\xdd\x00\x00\x00\x02\xc1", b"\xdd\x00\x00\x00\x01\x91\xa2\xff\xfe"])
def test_a_frame_of_rubbish_is_passed_over(tmp_path: Path, payload: bytes) -> None:
    (sealed,) = write(tmp_path, [0], [[[event(1)]]])
    with sealed.path.open("ab") as file:
        file.write(segment.frame_head(2, [payload]) + payload)
    duplicates = known()
    reading([sealed], duplicates)
    duplicates.settle()

    assert has(duplicates, 1)


def test_a_row_with_odd_attributes_keeps_its_session(tmp_path: Path) -> None:
    sessions = open_sessions()
    reading(write(tmp_path, [0], [[[event(1, country=None)]]])).apply(sessions)

    tab = sessions.of_client("a.example", "tab")
    assert tab is not None
    assert set(tab.attributes) == {""}


def test_a_segment_with_other_columns_is_read_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an older program wrote it: another order, and without a column that is new."""
    columns = tuple(name for name in reversed(COLUMN_NAMES) if name != "city")
    values = dict(zip(COLUMN_NAMES, event(1, country="SE"), strict=True))
    with monkeypatch.context() as patch:
        patch.setattr(segment, "COLUMN_NAMES", columns)
        segments = write(tmp_path, [0], [[[tuple(values[name] for name in columns)]]])
    duplicates, sessions = known(), open_sessions()
    found = reading(segments, duplicates)
    duplicates.settle()
    found.apply(sessions)

    tab = sessions.of_client("a.example", "tab")
    assert has(duplicates, 1)
    assert tab is not None
    assert dict(zip(SESSION_ATTRIBUTES, tab.attributes, strict=True))["country"] == "SE"


def test_a_damaged_or_missing_segment_is_passed_over(tmp_path: Path) -> None:
    segments = write(tmp_path, [30, 20, 10, 0], [[[event(number)]] for number in range(4)])
    segments[1].path.unlink()
    segments[2].path.write_bytes(b"AWAL and no more")
    duplicates = known()
    reading(segments, duplicates)
    duplicates.settle()

    assert [has(duplicates, number) for number in range(4)] == [True, False, False, True]


def test_a_long_reading_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(undelivered_module, "PROGRESS_S", 0.0)
    with caplog.at_level(logging.INFO):
        reading(write(tmp_path, [20, 10, 0], [[[event(number)] * 5] for number in range(3)]))

    told = [(record.segments_left, record.events_left) for record in caplog.records]  # type: ignore[attr-defined]
    assert told == [(2, 10), (1, 5), (0, 0)]


def test_it_can_be_broken_off(tmp_path: Path) -> None:
    found = Undelivered(known(), CollectSection(), lambda: NOW)
    found.stop = True
    found.read(write(tmp_path, [0], [[[event(1)]]]))

    assert found.sites == set()
