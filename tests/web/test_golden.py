"""What the client library and the server must agree on to the byte: recorded bodies, and who is shown which variant.

The library's own tests write the bodies and compare with them; here the server reads the same files.
`UPDATE_GOLDEN=1` rewrites the assignments and the rows.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.analyses.experiments.assignment import assign
from tests.collect.test_golden import shown
from tests.collect.world import World
from tests.web.workspace import WEB

GOLDEN = WEB / "client" / "tests" / "golden"
ROWS = Path(__file__).parent.parent / "golden"
UPDATE = os.environ.get("UPDATE_GOLDEN", "") not in ("", "0")
VARIANTS: dict[str, list[tuple[str, float]]] = {
    "cta": [("control", 1.0), ("b", 1.0)],
    "weighted": [("a", 1.0), ("b", 2.5), ("c", 0.01)],
    "Überschrift ✓": [("größer", 3.0), ("🎉", 1.0)],
    "old": [("a", 0.0), ("b", 1.0)],
    "off": [("a", 0.0)],
}
SUBJECTS = [
    "u-1",
    "0",
    "größe ✓ 🎉",
    "a b\n\t",
    "x" * 55,
    "x" * 56,
    "y" * 256,
    *(f"u-{number}" for number in range(2, 60)),
]


def agree(path: Path, value: object) -> None:
    """The file holds this value; rewrites it when asked to."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    if UPDATE:
        path.write_bytes(text)
    assert path.read_bytes() == text, "look at the difference, then run with UPDATE_GOLDEN=1"


def test_assignments_are_those_that_the_library_is_held_to() -> None:
    assigned = [
        {
            "key": key,
            "variants": variants,
            "subjects": {subject: assign(key, subject, variants) for subject in SUBJECTS},
        }
        for key, variants in VARIANTS.items()
    ]
    agree(GOLDEN / "assignments.json", assigned)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("name", "token"), [("page", ""), ("server", "collect")])
async def test_recorded_bodies_are_understood_to_the_last_field(name: str, token: str) -> None:
    world = World()
    bodies = (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()
    assert len(bodies) >= 3
    for body in bodies:
        sent: Any = msgspec.json.decode(body)
        events = sent["events"] if "events" in sent else sent if isinstance(sent, list) else [sent]
        answer = msgspec.json.decode((await world.send(body, token=token)).body)
        warned = {warning["field"] for warning in answer.pop("warnings", [])}
        assert answer == {"accepted": len(events), "dropped": {}, "rejected": []}
        # Only what a page's own property holds may have to be mended.
        assert all(field.startswith("props.") or field == "user_id" for field in warned), warned
    assert len({row["event_id"] for row in world.events}) == len(world.events)
    agree(ROWS / f"client_{name}.json", [shown(row) for row in world.wal.rows])
