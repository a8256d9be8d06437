"""Recorded beacons, replayed through the collecting core: requests in, answer and rows out.

`UPDATE_GOLDEN=1` rewrites the outcomes in `tests/golden/beacons.json`; the requests are written by hand.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.model import COLUMN_INDEX, COLUMNS, Row
from tests.collect.world import World

GOLDEN = Path(__file__).parent.parent / "golden" / "beacons.json"
UPDATE = os.environ.get("UPDATE_GOLDEN", "") not in ("", "0")
OPAQUE = frozenset({"event_id", "visitor_id"})
"""Checked elsewhere; here they would only be noise."""


class Recording(msgspec.Struct, kw_only=True):
    """One visitor's requests to a fresh server, and what became of them."""

    name: str
    kind: str = "track"
    headers: dict[str, str] = {}
    token: str = ""
    requests: list[msgspec.Raw]
    answers: list[Any] = []
    rows: list[dict[str, Any]] = []


def recordings() -> list[Recording]:
    return msgspec.json.decode(GOLDEN.read_bytes(), type=list[Recording])


def shown(row: Row) -> dict[str, Any]:
    """What of a row is not a default."""
    return {
        column.name: row[COLUMN_INDEX[column.name]]
        for column in COLUMNS
        if column.name not in OPAQUE and row[COLUMN_INDEX[column.name]] != column.default
    }


async def replay(recording: Recording) -> tuple[list[Any], list[dict[str, Any]]]:
    world = World()
    answers = []
    for request in recording.requests:
        answer = await world.send(bytes(request), kind=recording.kind, headers=recording.headers, token=recording.token)
        answers.append({"status": answer.status, **msgspec.json.decode(answer.body)})
        world.now += 10
    return answers, [shown(row) for row in world.wal.rows]


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
async def test_a_recorded_beacon_has_the_recorded_outcome(recording: Recording) -> None:
    answers, rows = await replay(recording)
    if UPDATE:
        all_of_them = recordings()
        (stored,) = (one for one in all_of_them if one.name == recording.name)
        stored.answers, stored.rows = answers, rows
        GOLDEN.write_bytes(msgspec.json.format(msgspec.json.encode(all_of_them), indent=2) + b"\n")
        return

    assert answers == recording.answers, "look at the difference, then run with UPDATE_GOLDEN=1"
    assert rows == recording.rows, "look at the difference, then run with UPDATE_GOLDEN=1"


def test_names_are_unique() -> None:
    names = [recording.name for recording in recordings()]

    assert len(names) == len(set(names))
