"""Event rows for the live tests: the defaults of every column but the named ones."""

from __future__ import annotations

from analytics_server.model import COLUMNS, Row

START = 1_800_000_000.0
"""Where the clock starts: the first second of a minute, in seconds since the epoch."""


class Clock:
    """A clock that moves when told."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def event_row(**values: object) -> Row:
    filled: dict[str, object] = {"site_id": "a.example", "ts": int(START * 1e6), "name": "pageview", "path": "/"}
    filled["visitor_id"] = 1
    filled.update(values)
    return tuple(filled.get(column.name, column.default) for column in COLUMNS)
