"""The rollups there are: materialized views over `events`, read from the database itself.

Used by the flush (a batch whose outcome was in doubt) and by doctor (comparison, repair). Views
come and go while servers run, so nothing is remembered between two uses, and code that works with a
rollup has to expect that it has been dropped meanwhile (`is_gone`). Back-filling a new one is its
creator's: the view first, then the events there were before it.

What a view must look like, so that both can be exact:

- `CREATE MATERIALIZED VIEW v TO target AS SELECT … FROM events AS e [WHERE …] GROUP BY keys`, beginning
  with SELECT, every column under the name it has in the target, columns of events written `e.column`.
  Nothing but `events`: no join, no other table, no `now()`, no order of the rows.
- The target is an AggregatingMergeTree whose ORDER BY is exactly the GROUP BY: columns only, `site_id`
  among them.
- One key, and one only, is a time: `e.ts` or `e.session_start`, or rounded down to at most a UTC day
  (`DAY_KEPT`). The target is partitioned by `toYYYYMM` of it. A target with idempotent columns only may
  do without: then it is kept up to date after a batch in doubt, but doctor can't compare it, and says so.
- Every other column is a `SimpleAggregateFunction` or `AggregateFunction` of one of these sorts:
  *sums* (`sum`; whole numbers or decimals, never floats): differences are made up by amount. If there are
  sums, one of them is `count()`, which is how a key that misses events shows itself; a view without one
  costs an insert more. *Idempotent* (`IDEMPOTENT`: `min`, `max`, `groupBitOr`, `groupUniqArray`, `uniq…`):
  what is inserted again changes nothing. `argMin` and `argMax` only with an argument that has no ties.
  `any(e.column)`: each event's value is right. Anything else (`quantile`, `groupArray`, `windowFunnel` …)
  would count an event twice that is inserted again.

A view that isn't so is left alone, and named by doctor and in the log (`Views.unfit`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.errors import StoreError
from analytics_server.store.error_codes import EngineCode
from analytics_server.store.protocol import Store

SITE = "site_id"
DAY_KEPT = (
    "toDate",
    "toDateTime",
    "toStartOfSecond",
    "toStartOfMinute",
    "toStartOfFiveMinutes",
    "toStartOfTenMinutes",
    "toStartOfFifteenMinutes",
    "toStartOfHour",
    "toStartOfDay",
)
"""Functions of `e.ts` or `e.session_start` (and 'UTC') that a time key may be."""

IDEMPOTENT = frozenset(
    {"min", "max", "any", "anyLast", "argMin", "argMax", "groupBitAnd", "groupBitOr", "groupBitmap", "groupUniqArray"}
    | {"uniq", "uniqExact", "uniqCombined", "uniqCombined64", "uniqHLL12", "uniqTheta"}
)
"""Aggregate functions, without the endings `If`, `Array`, `OrNull` and `OrDefault`, for which twice is once."""

_GONE = frozenset({EngineCode.UNKNOWN_TABLE, EngineCode.TABLE_IS_DROPPED})

_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_SOURCE = re.compile(r"\bFROM\s+(?:`?\w+`?\.)?`?events`?\s+AS\s+e\b")
_READS_EVENTS = re.compile(r"\b(?:FROM|JOIN)\s+(?:`?\w+`?\.)?`?events`?(?![\w.])")
_ANOTHER_TABLE = re.compile(r"\b(?:FROM|JOIN)\b")
_TARGET = re.compile(r" TO (?:`?\w+`?\.)?`?(\w+)`?[ (]")
_ANY = re.compile(r"any\((e\.\w+)\)")
_ROUNDED = re.compile(rf"(?:{'|'.join(DAY_KEPT)})\((.*?)(?:, 'UTC')?\)")
_SIMPLE = re.compile(r"SimpleAggregateFunction\((\w+), (.*)\)", re.DOTALL)
_STATE = re.compile(r"AggregateFunction\((\w+)(\([^()]*\))?(?:,.*)?\)", re.DOTALL)
_ENDING = re.compile(r"(?:If|Array|OrNull|OrDefault)$")


def is_gone(error: StoreError) -> bool:
    """Did this fail because a view or its target was dropped meanwhile?"""
    return error.engine_code in _GONE


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An idempotent column: `merged` joins the values the target has (over `t`), `finished` is that of a view's own
    row (over `x`), both so that they can be compared."""

    name: str
    merged: str
    finished: str


@dataclass(frozen=True, slots=True)
class Rollup:
    """One view and its target. `anys` are columns where any event's value is right, with the expression over `e`."""

    view: str
    target: str
    engine: str
    partition_key: str
    sorting_key: str
    head: str
    """The view's SELECT up to its FROM."""
    tail: str
    """What follows `FROM events AS e`."""
    events_columns: tuple[str, ...]
    keys: tuple[str, ...]
    time: str
    """The time key; "" if there is none."""
    sums: tuple[str, ...]
    counter: str
    """The sum that counts the events; "" if there is none."""
    aggregates: tuple[Aggregate, ...]
    anys: tuple[tuple[str, str], ...]
    texts: frozenset[str]
    """Those of `anys` that are text: a session's attributes, the same on all its events."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the target, keys first."""
        return (*self.keys, *self.sums, *self.others)

    @property
    def others(self) -> tuple[str, ...]:
        """All columns that are neither keys nor sums: to insert them again changes nothing."""
        return (*(one.name for one in self.aggregates), *(name for name, _ in self.anys))

    @property
    def counts_events(self) -> bool:
        """Has it a sum that shows when a key misses events?"""
        return bool(self.counter)

    @property
    def by_month(self) -> bool:
        """Can a month of the target be replaced as a whole?"""
        return bool(self.time) and self.partition_key == f"toYYYYMM({self.time})"

    def over(self, condition: str, extra: Sequence[str] = ()) -> str:
        """The view's SELECT over the events that meet a condition, with further expressions over `e`."""
        part = f"(SELECT {', '.join(self.events_columns)} FROM events WHERE {condition})"
        head = f"SELECT {', '.join(extra)}, {self.head[7:]}" if extra else self.head
        return f"{head}FROM {part} AS e{self.tail}"


@dataclass(frozen=True, slots=True)
class Views:
    """What reads `events`: the rollups, and why other views are none, by name."""

    rollups: list[Rollup]
    unfit: dict[str, str]


class _Unfit(Exception):
    """The view isn't as it must be; the message says why."""


async def read_views(store: Store, *, timeout_s: float = 30.0) -> Views:
    """All views over `events` as they are now. Raises a store error."""
    views = await store.query(
        "SELECT name, create_table_query, as_select FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView' ORDER BY name",
        timeout_s=timeout_s,
    )
    tables = await store.query(
        "SELECT name, engine, partition_key, sorting_key FROM system.tables WHERE database = currentDatabase()",
        timeout_s=timeout_s,
    )
    columns = await store.query(
        "SELECT table, name, type, is_in_sorting_key, default_kind FROM system.columns "
        "WHERE database = currentDatabase() ORDER BY table, position",
        timeout_s=timeout_s,
    )
    engines = {str(name): (str(engine), str(part), str(order)) for name, engine, part, order in tables.rows}
    by_table: dict[str, list[tuple[str, str, bool]]] = {}
    events = []
    for table, name, kind, is_key, default in columns.rows:
        if table == "events" and default not in ("ALIAS", "EPHEMERAL"):
            events.append(str(name))
        if default not in ("ALIAS", "EPHEMERAL", "MATERIALIZED"):
            by_table.setdefault(str(table), []).append((str(name), str(kind), bool(is_key)))
    found = Views([], {})
    for view, create, select in views.rows:
        bare = without_literals(str(select))
        if _READS_EVENTS.search(bare) is None:
            continue
        target = target_of(str(create))
        try:
            if not target:
                raise _Unfit("it has no target table of its own (TO …)")
            if target not in engines or target not in by_table:
                raise _Unfit(f"its target {target} is missing")
            definition = str(view), target, str(select), bare
            rollup = _rollup(*definition, engines[target], by_table[target], tuple(events))
        except _Unfit as error:
            found.unfit[str(view)] = str(error)
        else:
            found.rollups.append(rollup)
    return found


def target_of(create_query: str) -> str:
    """The table that a materialized view writes to, from its `create_table_query`; "" for one of its own inside."""
    found = _TARGET.search(create_query.partition("(")[0] + " ")
    return found[1] if found else ""


def without_literals(sql: str) -> str:
    """The same text with blanks for what stands in quotes (a path may read "FROM events AS e"); places stay."""
    return _LITERAL.sub(lambda match: f"'{' ' * (len(match[0]) - 2)}'", sql)


def _rollup(
    view: str,
    target: str,
    select: str,
    bare: str,
    table: tuple[str, str, str],
    columns: list[tuple[str, str, bool]],
    events: tuple[str, ...],
) -> Rollup:
    source = _SOURCE.search(bare)
    if source is None or not bare.startswith("SELECT ") or len(_ANOTHER_TABLE.findall(bare)) > 1:
        raise _Unfit("it is no plain SELECT … FROM events AS e")
    engine, partition_key, sorting_key = table
    if engine.removeprefix("Replicated") != "AggregatingMergeTree":
        raise _Unfit(f"its target {target} is no AggregatingMergeTree")
    keys = tuple(part.strip(" `") for part in sorting_key.split(","))
    if SITE not in keys or {name for name, _, is_key in columns if is_key} != set(keys):
        raise _Unfit(f"the sorting key of {target} has no {SITE}, or more than columns")
    given = _expressions(select[7 : source.start()], bare[7 : source.start()])
    if missing := [name for name, _, _ in columns if name not in given]:
        raise _Unfit(f"it doesn't give {target} its column {missing[0]}")
    times = [name for name, kind, is_key in columns if is_key and kind.startswith("Date")]
    if len(times) > 1 or not all(_keeps_the_day(given[name]) for name in times):
        raise _Unfit(f"the time among the keys of {target} is not ts or session_start, rounded to a day at most")
    sums, aggregates, anys, texts = [], [], [], set()
    for name, kind, is_key in columns:
        if is_key:
            continue
        simple = _SIMPLE.fullmatch(kind)
        if simple is not None and simple[1] in ("sum", "sumWithOverflow") and "Float" not in simple[2]:
            sums.append(name)
        elif simple is not None and simple[1] in ("any", "anyLast") and (one := _ANY.fullmatch(given[name])):
            anys.append((name, one[1]))
            if "String" in simple[2]:
                texts.add(name)
        else:
            aggregates.append(_aggregate(target, name, kind))
    if sums and not times:
        raise _Unfit(f"{target} has sums and no time among its keys")
    return Rollup(
        view=view,
        target=target,
        engine=engine,
        partition_key=partition_key,
        sorting_key=sorting_key,
        head=select[: source.start()],
        tail=select[source.end() :],
        events_columns=events,
        keys=keys,
        time=times[0] if times else "",
        sums=tuple(sums),
        counter=next((name for name in sums if given[name] == "count()"), ""),
        aggregates=tuple(aggregates),
        anys=tuple(anys),
        texts=frozenset(texts),
    )


def _expressions(columns: str, bare: str) -> dict[str, str]:
    """What stands between SELECT and FROM, by column."""
    found: dict[str, str] = {}
    depth = start = 0
    for at, sign in enumerate(bare + ","):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and not depth:
            expression, _, name = columns[start:at].strip().rpartition(" AS ")
            found[name.strip("`")] = expression
            start = at + 1
    return found


def _keeps_the_day(expression: str) -> bool:
    """Is it `ts` or `session_start`, or one of them rounded within the UTC day?"""
    while match := _ROUNDED.fullmatch(expression):
        expression = match[1]
    return expression in ("e.ts", "e.session_start")


def _aggregate(target: str, name: str, kind: str) -> Aggregate:
    if simple := _SIMPLE.fullmatch(kind):
        function, merged = simple[1], f"{simple[1]}(t.{name})"
        finished = f"CAST(x.{name} AS {simple[2]})"  # the view's own may be narrower, and hash to something else
    elif state := _STATE.fullmatch(kind):
        function, merged = state[1], f"{state[1]}Merge{state[2] or ''}(t.{name})"
        finished = f"finalizeAggregation(x.{name})"
    else:
        raise _Unfit(f"{target}.{name} is neither a key nor an aggregate")
    base = function
    while _ENDING.search(base) and base not in IDEMPOTENT:
        base = _ENDING.sub("", base)
    if base not in IDEMPOTENT:
        raise _Unfit(f"{target}.{name} is {function}, which counts an event twice that is inserted again")
    if base == "groupUniqArray":  # in no order
        merged, finished = f"arraySort({merged})", f"arraySort({finished})"
    return Aggregate(name, merged, finished)
