"""Finds the rows of a batch that ClickHouse refuses, without storing any.

By halves: what is accepted as a whole needs no further look, what is refused is divided, so
that one bad row among n costs about 2·log2(n) tries. A try is encoded like an insert (that
alone finds values that don't fit their column's type) and, when it was the engine that
refused, sent to a table of the engine `Null` with the columns and constraints of `events`:
the engine checks the rows as it would, and keeps nothing. So trying can be broken off and
repeated at any time, and `events` sees each accepted row in one insert only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from analytics_server.errors import StoreBadRows, StoreError, StoreFatal
from analytics_server.ingest.flush.batch import BLOCK_ROWS, INSERT_COLUMNS, Batch, Rows, to_columns
from analytics_server.ingest.flush.dead_letters import DETAIL_CHARS, Cause
from analytics_server.store.error_codes import EngineCode
from analytics_server.store.protocol import Store

REFUSAL_CODES = frozenset(
    {
        EngineCode.CANNOT_PARSE_TEXT,
        EngineCode.CANNOT_PARSE_QUOTED_STRING,
        EngineCode.CANNOT_PARSE_INPUT_ASSERTION_FAILED,
        EngineCode.CANNOT_PARSE_DATE,
        EngineCode.CANNOT_PARSE_DATETIME,
        EngineCode.TYPE_MISMATCH,
        EngineCode.ARGUMENT_OUT_OF_BOUND,
        EngineCode.CANNOT_CONVERT_TYPE,
        EngineCode.CANNOT_PARSE_NUMBER,
        EngineCode.INCORRECT_DATA,
        EngineCode.CANNOT_READ_ARRAY_FROM_TEXT,
        EngineCode.TOO_LARGE_STRING_SIZE,
        EngineCode.VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE,
        EngineCode.CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
        EngineCode.DECIMAL_OVERFLOW,
        EngineCode.VIOLATED_CONSTRAINT,
    }
)
"""The rows themselves can't be stored."""

MOST_TRIES = 2_000
"""Beyond, the rows are no exceptions: the whole segment is set aside."""


def is_refusal(error: StoreError) -> bool:
    """Do the rows themselves stand in the way?"""
    return isinstance(error, StoreBadRows) or error.engine_code in REFUSAL_CODES


async def refused_rows(
    store: Store, batch: Batch, batch_id: int, positions: Sequence[int], *, ask_engine: bool, timeout_s: float
) -> dict[int, Cause] | None:
    """Those of the positions that are refused by themselves; None when that can't be found out.

    Raises the store's errors that may pass.
    """
    if not ask_engine:
        return await _divide(store, batch, batch_id, positions, "", timeout_s)
    table = f"dead_letter_probe_{batch_id}"
    try:
        await store.command(f"CREATE TABLE IF NOT EXISTS {table} AS events ENGINE = Null")
    except StoreFatal:  # no right to
        return None
    try:
        return await _divide(store, batch, batch_id, positions, table, timeout_s)
    finally:
        with contextlib.suppress(StoreError):
            await store.command(f"DROP TABLE IF EXISTS {table}")


async def _divide(
    store: Store, batch: Batch, batch_id: int, positions: Sequence[int], table: str, timeout_s: float
) -> dict[int, Cause] | None:
    found: dict[int, Cause] = {}
    waiting = [positions]
    tries = 0
    while waiting:
        some = waiting.pop()
        tries += 1
        if tries > MOST_TRIES:
            return None
        error = await _try(store, batch, batch_id, some, table, timeout_s)
        if error is None:
            continue
        if len(some) == 1:
            found[some[0]] = Cause(
                error=type(error).__name__, engine_code=error.engine_code, detail=error.message[:DETAIL_CHARS]
            )
            continue
        half = len(some) // 2
        waiting += [some[half:], some[:half]]
    return found


async def _try(
    store: Store, batch: Batch, batch_id: int, positions: Sequence[int], table: str, timeout_s: float
) -> StoreError | None:
    """Would these rows be refused? Raises the store's other errors."""
    rows: Rows = await asyncio.get_running_loop().run_in_executor(None, batch.rows_at, positions)
    pieces = (rows[start : start + BLOCK_ROWS] for start in range(0, len(rows), BLOCK_ROWS))
    try:
        encoded = await store.encode("events", INSERT_COLUMNS, (to_columns(piece, batch_id) for piece in pieces))
        if table:
            await store.insert_encoded(table, encoded, timeout_s=timeout_s)
    except StoreError as error:
        if is_refusal(error):
            return error
        raise
    return None
