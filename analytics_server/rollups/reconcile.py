"""Makes the rollups agree with `events` again after a batch whose outcome was in doubt.

ClickHouse commits an insert into `events` and what its materialized views write in
separate steps, so a process that dies between them leaves rollups that miss the batch.
For the keys that the batch touches, each view's own SELECT is computed anew from
`events` and compared with what its target holds. Where a sum differs, one row is
added that makes up the difference (sums wrap, so a surplus is taken back too); all
other aggregates (`min`, `max`, `any`, `uniq…`) may be repeated without harm. A rollup in
which no count shows that a key misses events gets the batch's own rows again, with
nothing in its sums, and needs no comparison for it.

Other servers may flush the same keys meanwhile, and between their two commits a
comparison would lie. So a difference counts only if it was seen at a moment without inserts: no insert
into `events` or a rollup ran before it or after it, and no batch arrived between (and on a
cluster, every replica had got what the others have). Such a difference stays true whatever is
flushed later, because a flush adds the same to both sides. The statement that makes it up
computes it once more and writes only if it is still the very same one (by fingerprint). Then all
is compared again, and the work is done when nothing differs: that catches an insert of unknown
outcome, and two servers that made up the same difference at the same time.

A rollup that counts more events than there are is evidence that `events` lost some, so nothing is
taken back from it here: `doctor` reports it, and needs consent to lower it. There are two exceptions, which
explain the surplus to the last event: what the same call has added before (two servers did), and
the batch itself, as often as its views committed without it, unless a loss of events is known.

Rollups come and go (`views`): they are read anew in every round, and one that was dropped
in the middle of a round only makes another round.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from analytics_server.batch_ids import OF_BATCH
from analytics_server.errors import StoreFatal, StoreRetryable
from analytics_server.rollups.between_inserts import InsertWatch
from analytics_server.rollups.materialized_views import Rollup, is_gone, read_views
from analytics_server.store.protocol import ResultSet, Store
from analytics_server.store.settings import READ_NOW

log = logging.getLogger(__name__)

MARGIN_DAYS = 1
"""Keys may be rounded down in time; more than any rollup rounds."""

ROUNDS = 12
"""So often a moment without inserts is looked for, then the caller has to come again; each wait is longer."""

WAIT_S = 0.05

MOST_REPEATS = 3
"""A batch that was sent more often while its views committed without it: less likely than a loss of events."""


class Reconciler:
    """Reconciles the rollups with `events`, batch by batch.

    `cluster` names the cluster whose replicas are all asked what they are inserting; "" for one server.
    `has_loss` tells whether `events` is known to have lost some.
    """

    def __init__(
        self,
        store: Store,
        *,
        timeout_s: float,
        cluster: str = "",
        jitter: random.Random | None = None,
        has_loss: Callable[[], bool] = lambda: False,
    ) -> None:
        self._has_loss = has_loss
        self._store = store
        self._timeout_s = timeout_s
        self._watch = InsertWatch(store, cluster=cluster, timeout_s=timeout_s, settings=READ_NOW)
        self._jitter = jitter or random.Random()

    async def reconcile(self, batch_id: int) -> None:
        """Bring all rollups into line for the keys of this batch.

        Raises a store error; `StoreRetryable` also when other servers were inserting all the time.
        """
        await self._store.catch_up(["events"], timeout_s=self._timeout_s)
        scope = await self._query(
            "SELECT min(least(ts, session_start)), count() FROM events WHERE " + OF_BATCH, batch_id
        )
        since, events = scope.rows[0]
        if not events:
            return
        restated: set[str] = set()
        raised: set[str] = set()
        for attempt in range(ROUNDS):
            if attempt:
                await asyncio.sleep(WAIT_S * attempt * (0.5 + self._jitter.random()))
            try:
                if await self._round(batch_id, since, restated, raised):
                    return
            except StoreFatal as error:
                if not is_gone(error):
                    raise
        raise StoreRetryable("The rollups can't be compared with events while other servers are inserting.")

    async def _round(self, batch_id: int, since: object, restated: set[str], raised: set[str]) -> bool:
        """Compare once, and make up what differs; true when nothing does. `raised`: the rollups that were added to."""
        views = await read_views(self._store, timeout_s=self._timeout_s)
        for rollup in views.rollups:
            if not rollup.counts_events and rollup.others and rollup.view not in restated:
                await self._store.command(repetition(rollup), {"batch": batch_id})
                restated.add(rollup.view)
        compared = [rollup for rollup in views.rollups if rollup.sums]
        if not compared:
            return True
        # In this order: an insert that begins after the first look at what runs is not among the batches
        # seen before it, and one that has ended by the last look is among those seen after it.
        tables = ["events", *(rollup.target for rollup in compared)]
        before = await self._batches(batch_id, since)
        if await self._watch.is_inserting(tables):
            return False
        await self._store.catch_up(tables, timeout_s=self._timeout_s)
        found = [
            (rollup, await self._difference(rollup, batch_id, since, lower=rollup.view in raised))
            for rollup in compared
        ]
        if await self._watch.is_inserting(tables) or await self._batches(batch_id, since) != before:
            return False
        differing = [(rollup, fingerprint) for rollup, (keys, fingerprint, _) in found if keys]
        for rollup, fingerprint in differing:
            parameters = {"batch": batch_id, "since": since, "fingerprint": fingerprint}
            await self._store.command(statement(rollup, lower=rollup.view in raised), parameters)
            raised.add(rollup.view)
        doubled = [
            rollup.view
            for rollup, (_, _, surplus) in found
            if surplus and not differing and await self._is_doubled(rollup, batch_id, since)
        ]
        raised.update(doubled)
        if doubled:
            return False
        if not differing and (surplus := {rollup.target: keys for rollup, (_, _, keys) in found if keys}):
            log.error(
                "rollups count more events than there are, they are left as they are",
                extra={"batch": batch_id, "keys": surplus, "remedy": "Run analytics-server doctor."},
            )
        if not differing and views.unfit:
            log.error("views over events that can't be reconciled", extra={"batch": batch_id, "views": views.unfit})
        return not differing

    async def _batches(self, batch_id: int, since: object) -> tuple[object, ...]:
        """What changes when a batch arrives for the sites of this one."""
        return await self._watch.batches(_SCOPE, {"batch": batch_id, "since": since})

    async def _difference(self, rollup: Rollup, batch_id: int, since: object, *, lower: bool) -> tuple[int, int, int]:
        """How many keys of one rollup are to be made up, their fingerprint, and how many are left with a surplus."""
        chosen = _chosen(lower)
        answer = await self._query(
            f"SELECT countIf({chosen}), sumIf(row_fingerprint, {chosen}), countIf(NOT {chosen}) "
            f"FROM ({differences(rollup)})",
            batch_id,
            since,
        )
        keys, fingerprint, surplus = answer.rows[0]
        return int(str(keys)), int(str(fingerprint)), int(str(surplus))

    async def _is_doubled(self, rollup: Rollup, batch_id: int, since: object) -> bool:
        """Is all that the rollup counts too much this batch, or what one of its inserts held, once or more?"""
        if self._has_loss():
            return False
        answer = await self._query(f"SELECT DISTINCT toYYYYMM(ts) AS month FROM events WHERE {OF_BATCH}", batch_id)
        months = [int(str(month)) for (month,) in answer.rows]
        for chosen in [months, *([month] for month in months if len(months) > 1)]:
            answer = await self._query(multiples(rollup, chosen), batch_id, since)
            other, least, most = (int(str(number)) for number in answer.rows[0])
            if not other and 0 < least == most <= MOST_REPEATS:
                return True
        return False

    async def _query(self, sql: str, batch_id: int | None = None, since: object = None) -> ResultSet:
        given = {"batch": batch_id, "since": since}
        parameters = {name: value for name, value in given.items() if value is not None}
        return await self._store.query(sql, parameters, settings=READ_NOW, timeout_s=self._timeout_s)


_SINCE = f"subtractDays({{since:DateTime64(6, 'UTC')}}, {MARGIN_DAYS})"
_SCOPE = (
    f"site_id IN (SELECT DISTINCT site_id FROM events WHERE {OF_BATCH}) "
    f"AND (ts >= {_SINCE} OR session_start >= {_SINCE})"
)
"""All events that may share a key with the batch: an event may be years older than its session's start (an import)."""


def differences(rollup: Rollup) -> str:
    """The SELECT of what one rollup lacks for the keys of a batch: a row per key, with its fingerprint.

    `has_surplus`: the rollup counts more events for that key than there are.
    """
    keys = ", ".join(rollup.keys)
    affected = f"({keys}) IN (SELECT {keys} FROM ({rollup.over(OF_BATCH)}))"
    sums = ", ".join(f"sum({name}) AS {name}" for name in rollup.sums)
    lacking = [f"expected.{name} - present.{name}" for name in rollup.sums]
    chosen = [f"expected.{name} AS {name}" for name in (*rollup.keys, *rollup.others)]
    chosen += [f"{lack} AS {name}" for lack, name in zip(lacking, rollup.sums, strict=True)]
    surplus = f"expected.{rollup.counter} < present.{rollup.counter}" if rollup.counter else "0"
    identity = ", ".join([*(f"expected.{name}" for name in rollup.keys), *lacking])
    differs = " OR ".join(f"expected.{name} != present.{name}" for name in rollup.sums)
    return (
        f"SELECT {', '.join(chosen)}, sipHash64({identity}) AS row_fingerprint, {surplus} AS has_surplus "
        f"FROM (SELECT {_list(rollup.keys, rollup.sums, rollup.others)} "
        f"FROM ({rollup.over(_SCOPE)}) WHERE {affected}) AS expected "
        f"LEFT JOIN (SELECT {keys}, {sums} FROM {rollup.target} WHERE {affected} GROUP BY {keys}) AS present "
        f"USING ({keys}) WHERE {differs}"
    )


def statement(rollup: Rollup, *, lower: bool) -> str:
    """The INSERT that makes up the differences of one rollup if they are those of the fingerprint, else nothing.

    `lower`: also where the rollup counts too many events.
    """
    columns = _list(rollup.keys, rollup.sums, rollup.others)
    return (
        f"INSERT INTO {rollup.target} ({columns}) "
        "SETTINGS async_insert = 0, insert_deduplicate = 0, join_use_nulls = 0 "
        f"SELECT {columns} FROM (SELECT {columns}, sum(row_fingerprint) OVER () AS fingerprint "
        f"FROM ({differences(rollup)}) WHERE {_chosen(lower)}) WHERE fingerprint = {{fingerprint:UInt64}}"
    )


def multiples(rollup: Rollup, months: Sequence[int]) -> str:
    """The SELECT of how a surplus relates to the batch's events of some months, over the keys of either.

    Keys whose surplus is no multiple of what the batch gave them; the least and the greatest multiple.
    """
    keys, counter = ", ".join(rollup.keys), rollup.counter
    given = rollup.over(f"{OF_BATCH} AND toYYYYMM(ts) IN ({', '.join(map(str, months))})")
    return (
        "SELECT countIf(NOT given OR surplus % given), min(intDiv(surplus, greatest(given, 1))), "
        "max(intDiv(surplus, greatest(given, 1))) FROM ("
        f"SELECT toInt64(batch.{counter}) AS given, -toInt64(differing.{counter}) AS surplus "
        f"FROM (SELECT {keys}, {counter} FROM ({given})) AS batch "
        f"FULL JOIN ({differences(rollup)}) AS differing USING ({keys})) SETTINGS join_use_nulls = 0"
    )


def _chosen(lower: bool) -> str:
    return "1" if lower else "(NOT has_surplus)"


def repetition(rollup: Rollup) -> str:
    """The INSERT of a batch's own rows once more, with nothing in the sums: of no effect if they were there."""
    chosen = [*rollup.keys, *rollup.others]
    given = [f"x.{name} AS {name}" for name in chosen]
    return (
        f"INSERT INTO {rollup.target} ({', '.join(chosen)}) SETTINGS async_insert = 0, insert_deduplicate = 0 "
        f"SELECT {', '.join(given)} FROM ({rollup.over(OF_BATCH)}) AS x"
    )


def _list(*groups: Sequence[str]) -> str:
    return ", ".join(name for group in groups for name in group)
