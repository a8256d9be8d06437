"""Delivery of one batch to ClickHouse: made ready, sent month by month, verified where in doubt.

Preparing (reading, encoding) writes nothing and may run while another batch is being sent.
Sending is one INSERT per month, the newest first; of a batch of many months one for a dozen, which is atomic
for each of them but not for all. Anything but a clean first success is ambiguous: then that
insert has ended, and then `count() … WHERE batch_id = N` decides (`verification`) — all rows there:
done; none: send again; anything else: set aside, never guessed at; each month for itself. Rows that
ClickHouse refuses go to a dead letter, which is durable before the rest is sent: what a batch consists of
is its segment without the positions in its letter, before and after any crash.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

from analytics_server.errors import StoreBadRows, StoreError
from analytics_server.ingest.flush import dead_letters
from analytics_server.ingest.flush.batch import FEW_MONTHS, INSERT_COLUMNS, NO_MONTH, Batch, read, to_columns
from analytics_server.ingest.flush.dead_letters import Cause
from analytics_server.ingest.flush.poison import is_refusal, refused_rows
from analytics_server.ingest.flush.verification import Verification
from analytics_server.ingest.metrics import IngestMetrics
from analytics_server.ingest.wal.segment import SUFFIX, Sealed
from analytics_server.store.protocol import Encoded, Store

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE_S = 0.2
MONTHS_AT_ONCE = 12
"""In one insert of a batch of many months: it costs time for each, in which recent events wait, and once for all."""

MOST_REFUSALS = 3
"""So often an insert may be refused although none of its rows is by itself, before the segment is set aside."""

Outcome = Literal["inserted", "refused", "partly_stored", "stopped"]
Pause = Callable[[float], Awaitable[bool]]
"""Wait for about so many seconds; true when the server is stopping."""


@dataclass(slots=True)
class BatchPart:
    """One month of a batch, ready to be sent, or why it can't be; or several of a batch of many."""

    months: tuple[int, ...]
    encoded: Encoded | None
    error: StoreBadRows | None = None
    ambiguous: bool = False
    """Was an insert of it sent whose outcome is not known?"""

    @property
    def month(self) -> int:
        """The only one, or the newest."""
        return self.months[0]


@dataclass(slots=True)
class Prepared:
    """A batch that is ready to be sent. `refused` are the positions that its dead letter holds."""

    sealed: Sealed
    batch: Batch
    refused: dict[int, Cause]
    parts: list[BatchPart] = field(default_factory=list)
    doubtful: bool = False
    """Was the outcome of an insert ever in doubt, with something stored?"""
    stored: int = 0
    error: StoreError | None = None
    """What stood in the way last."""


class Delivery:
    """How batches get in; what comes before and after is the flusher's."""

    def __init__(
        self,
        store: Store,
        metrics: IngestMetrics,
        letters: Path,
        *,
        timeout_s: float,
        retry_max_s: float,
        jitter: random.Random,
        pause: Pause,
        insert_lock: asyncio.Lock,
        cluster: str = "",
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._letters = letters
        self._timeout_s = timeout_s
        self._retry_max_s = retry_max_s
        self._jitter = jitter
        self._pause = pause
        self._insert_lock = insert_lock
        self._verification = Verification(store, cluster=cluster, timeout_s=timeout_s)
        self.store_is_up = True

    # ---- before --------------------------------------------------------

    async def read(self, sealed: Sealed) -> Batch:
        """The batch of a segment."""
        return await _in_thread(read, sealed)

    async def prepare(self, sealed: Sealed, batch: Batch, *, rest_s: float) -> Prepared:
        """Encode a batch. Writes nothing."""
        refused: dict[int, Cause] = {}
        if sealed.verify_first and (letter := await _in_thread(dead_letters.find, self._letters, sealed.batch_id)):
            refused = {row.position: letter.causes[row.cause] for row in letter.rows}
        prepared = Prepared(sealed, batch, refused)
        for months in _grouped(batch.months):
            part = await self._part(prepared, months, rest_s)
            prepared.parts += [part] if part.error is None else await self._singly(prepared, months)
        return prepared

    async def _part(
        self, prepared: Prepared, months: tuple[int, ...], rest_s: float = 0.0, *, ambiguous: bool = False
    ) -> BatchPart:
        batch_id = prepared.sealed.batch_id
        if months == (NO_MONTH,):
            left = await _in_thread(prepared.batch.positions, NO_MONTH, prepared.refused)
            return BatchPart(months, None, StoreBadRows("The column ts holds no time.") if left else None)
        pieces = chain.from_iterable(prepared.batch.part(month, prepared.refused) for month in months)
        try:
            blocks = (to_columns(rows, batch_id) for rows in pieces)
            encoded = await self._store.encode("events", INSERT_COLUMNS, blocks, pause_s=rest_s)
        except StoreBadRows as error:
            return BatchPart(months, None, error)
        return BatchPart(months, encoded if encoded.rows else None, ambiguous=ambiguous)

    async def _singly(self, prepared: Prepared, months: tuple[int, ...], *, ambiguous: bool = False) -> list[BatchPart]:
        """Months of which something failed, each for itself: it succeeds, is verified or is refused by month."""
        return [await self._part(prepared, (month,), ambiguous=ambiguous) for month in months]

    # ---- sending -------------------------------------------------------

    async def deliver(self, prepared: Prepared) -> Outcome:
        """Send all months, one after the other; `prepared.stored` says how many rows are known to be in."""
        await self._complete_letter(prepared)
        at = 0
        while at < len(prepared.parts):
            if at and await self._pause(0.0):
                return "stopped"
            part = prepared.parts[at]
            if len(part.months) > 1 and not await self._deliver_together(prepared, part):
                singly = await self._singly(prepared, part.months, ambiguous=True)
                prepared.parts[at : at + 1] = singly
                continue
            if len(part.months) == 1 and (outcome := await self._deliver_month(prepared, at)) != "inserted":
                return outcome
            encoded = prepared.parts[at].encoded
            prepared.stored += encoded.rows if encoded is not None else 0
            at += 1
        return "inserted"

    async def _deliver_together(self, prepared: Prepared, part: BatchPart) -> bool:
        """Several months in one insert, which is atomic for each; False when they are to be looked at one by one."""
        try:
            if prepared.sealed.verify_first:
                missing = await self._missing(prepared, part.months)
                if missing is None:
                    return False
                sent = await self._part(prepared, missing) if missing != part.months else part
            else:
                sent = part
            if sent.encoded is not None:
                await self._insert(prepared, sent, attempt=1)
        except StoreError as error:
            self._note_failure(prepared, error)
            return False
        self.store_is_up = True
        self._metrics.flush_attempts.labels("ok").inc()
        return True

    async def _missing(self, prepared: Prepared, months: tuple[int, ...]) -> tuple[int, ...] | None:
        """The months of which nothing is stored; None when of one only a part is."""
        missing = []
        for month in months:
            expected = len(await _in_thread(prepared.batch.positions, month, prepared.refused))
            present = await self._stored(prepared, month, expected)
            if present not in (0, expected):
                return None
            if expected and not present:
                missing.append(month)
        return tuple(missing)

    async def _insert(self, prepared: Prepared, part: BatchPart, *, attempt: int) -> None:
        assert part.encoded is not None
        query_id = f"{prepared.sealed.batch_id}-{part.month}-{attempt}-{self._jitter.getrandbits(32):x}"
        async with self._insert_lock:
            await self._store.insert_encoded("events", part.encoded, timeout_s=self._timeout_s, query_id=query_id)

    def _note_failure(self, prepared: Prepared, error: StoreError) -> None:
        prepared.error = error
        prepared.doubtful = True
        self._metrics.flush_attempts.labels(type(error).__name__.removeprefix("Store").lower()).inc()

    async def _deliver_month(self, prepared: Prepared, at: int) -> Outcome:
        month = prepared.parts[at].month
        ambiguous = prepared.sealed.verify_first or prepared.parts[at].ambiguous
        refusal: StoreError | None = None
        refusals, attempt, delay = 0, 0, FIRST_PAUSE_S
        while True:
            part = prepared.parts[at]
            if part.encoded is None and part.error is None:  # all its rows are in the letter
                return "inserted"
            try:
                if ambiguous:
                    present = await self._count(prepared, part)
                    if part.encoded is not None and present == part.encoded.rows:
                        return "inserted"
                    if present:
                        self._partly_stored(prepared, part, present)
                        return "partly_stored"
                    ambiguous = False
                if refusal is not None or part.error is not None:
                    found = await self._set_bad_rows_aside(prepared, part, refusal)
                    refusals += found == 0
                    if found is None or refusals >= MOST_REFUSALS:
                        return "refused"
                    refusal = None
                    if found:
                        prepared.parts[at] = await self._part(prepared, (month,))
                    elif await self._pause(delay):
                        return "stopped"
                    continue
                attempt += 1
                await self._insert(prepared, part, attempt=attempt)
            except StoreError as error:
                self._note_failure(prepared, error)
                ambiguous = True
                if is_refusal(error):
                    log.error("batch refused", extra={"error": type(error).__name__, "engine_code": error.engine_code})
                    refusal = error
                    continue
                if self.store_is_up:
                    log.warning("flush failed, will try again", extra={"reason": error.message[:300]})
                self.store_is_up = False
                if await self._pause(delay):
                    return "stopped"
                delay = min(delay * 2, self._retry_max_s)
            else:
                if not self.store_is_up:
                    log.info("flush works again")
                self.store_is_up = True
                self._metrics.flush_attempts.labels("ok").inc()
                return "inserted"

    async def _count(self, prepared: Prepared, part: BatchPart) -> int:
        """How many rows of one month of the batch are stored."""
        return await self._stored(prepared, part.month, _expected(prepared, part))

    async def _stored(self, prepared: Prepared, month: int, expected: int) -> int:
        present = await self._verification.stored(prepared.sealed.batch_id, month, expected)
        self._metrics.flush_ambiguous.inc()
        prepared.doubtful = prepared.doubtful or present > 0
        return present

    def _partly_stored(self, prepared: Prepared, part: BatchPart, present: int) -> None:
        expected = _expected(prepared, part)
        log.error(
            "batch is partly stored, set aside",
            extra={"batch": prepared.sealed.batch_id, "expected": expected, "present": present},
        )
        prepared.stored += min(present, expected)
        self._metrics.flush_attempts.labels("partial").inc()

    # ---- refused rows --------------------------------------------------

    async def _complete_letter(self, prepared: Prepared) -> None:
        """The process may have died between a letter's note and its rows."""
        batch_id = prepared.sealed.batch_id
        file = self._letters / f"{dead_letters.letter_id(batch_id):020d}{SUFFIX}"
        if prepared.refused and not await _in_thread(file.exists):
            await self._write_letter(prepared, prepared.refused)

    async def _write_letter(self, prepared: Prepared, refused: dict[int, Cause]) -> None:
        batch, batch_id = prepared.batch, prepared.sealed.batch_id
        rows = await _in_thread(batch.rows_at, sorted(refused))
        await _in_thread(dead_letters.write_rows, self._letters, batch_id, batch.events, refused, rows, time.time())

    async def _set_bad_rows_aside(self, prepared: Prepared, part: BatchPart, refusal: StoreError | None) -> int | None:
        """Write the rows of a month that are refused by themselves to the dead letter; how many they are.

        None when that can't be found out.
        """
        batch, batch_id = prepared.batch, prepared.sealed.batch_id
        positions = await _in_thread(batch.positions, part.month, prepared.refused)
        if part.month == NO_MONTH:
            found: dict[int, Cause] | None = dict.fromkeys(
                positions, Cause(error="StoreBadRows", detail="The column ts holds no time.")
            )
        else:
            found = await refused_rows(
                self._store, batch, batch_id, positions, ask_engine=refusal is not None, timeout_s=self._timeout_s
            )
        if not found:
            return None if found is None else 0
        refused = {**prepared.refused, **found}
        await self._write_letter(prepared, refused)
        prepared.refused = refused
        self._metrics.dead_letter_events.inc(len(found))
        log.error(
            "rows refused, kept as a dead letter",
            extra={
                "letter": f"{dead_letters.letter_id(batch_id):020d}",
                "events": len(found),
                "of": batch.events,
                "errors": sorted({f"{cause.error} {cause.engine_code}".strip() for cause in found.values()}),
            },
        )
        return len(found)


def _grouped(months: Collection[int]) -> list[tuple[int, ...]]:
    """The months of each insert, the newest first."""
    ordered = sorted((month for month in months if month != NO_MONTH), reverse=True)
    at_once = MONTHS_AT_ONCE if len(ordered) > FEW_MONTHS else 1
    found = [tuple(ordered[start : start + at_once]) for start in range(0, len(ordered), at_once)]
    return [*found, (NO_MONTH,)] if NO_MONTH in months else found


def _expected(prepared: Prepared, part: BatchPart) -> int:
    return part.encoded.rows if part.encoded is not None else prepared.batch.months[part.month]


async def _in_thread(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, partial(call, *arguments, **named))
