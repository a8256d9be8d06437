"""Event rows for the store's tests: every column filled, with what is hard to carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from analytics_server.model import COLUMNS

HARD_TEXTS = (
    "",
    "plain",
    'it\'s "quoted" `so` \\ and \\n',
    "line\nbreak\ttab\r",
    "nul\0byte",
    "Ünïcödé 日本語 🦊 \u202e",
    "{name:String} ${ON_CLUSTER} %s ; -- /* */",
)

NOON = datetime(2026, 11, 5, 12, 0, 0, 123456, tzinfo=UTC)
UUIDS = (UUID(int=0), UUID("018f8c1e-7b1a-7c3e-9d55-0123456789ab"), UUID(int=2**128 - 1))


def event(number: int, **given: object) -> dict[str, object]:
    """One event by column name; `number` chooses what its values look like."""
    text = HARD_TEXTS[number % len(HARD_TEXTS)]
    row: dict[str, object] = {column.name: text if "String" in column.type else column.default for column in COLUMNS}
    row |= {
        "site_id": "example.com",
        "ts": NOON,
        "name": "pageview",
        "event_id": UUIDS[number % len(UUIDS)],
        "session_id": f"session-{number}",
        "session_start": NOON,
        "visitor_id": 2**64 - 1 - number,
        "scroll_depth": number % 101,
        "engagement_ms": 4_000_000_000,
        "revenue_amount": Decimal("-12345678901234.5678") + number,
        "props": {f"key {text}": text, "n": str(number)},
    }
    return row | given


def as_columns(rows: Sequence[Mapping[str, object]], batch_id: int) -> tuple[list[str], list[list[object]]]:
    """What `Store.insert` takes: names, and values column by column."""
    names = [column.name for column in COLUMNS]
    return [*names, "batch_id"], [[row[name] for row in rows] for name in names] + [[batch_id] * len(rows)]
