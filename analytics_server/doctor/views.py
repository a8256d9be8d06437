"""The rollups there are: materialized views over `events`, read from the database itself.

Keys, sums and the other aggregates come from the target's sorting key and column types, so
a view that is added later is checked like those that are shipped. A rollup's rows have one
time key, whose UTC day is that of `ts` or of `session_start`: that is how the events that
concern a day are found without reading all others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.model import COLUMN_NAMES
from analytics_server.store.protocol import Store

_SOURCE = re.compile(r"FROM (?:`?\w+`?\.)?events AS e\b")
_TARGET = re.compile(r" TO (?:`?\w+`?\.)?`?(\w+)`?[ (]")
_ANY = re.compile(r"\bany\((e\.\w+)\) AS (\w+)")
_SIMPLE = re.compile(r"SimpleAggregateFunction\((\w+),")
_STATE = re.compile(r"AggregateFunction\((\w+),")

SITE = "site_id"


@dataclass(frozen=True, slots=True)
class Rollup:
    """One view and its target. `aggregates` are the target's other columns with their merging expression over `t`.

    `anys` are columns where any event's value is right, with the expression over `e` it is taken from.
    """

    view: str
    target: str
    select: str
    engine: str
    partition_key: str
    sorting_key: str
    keys: tuple[str, ...]
    time: str
    sums: tuple[str, ...]
    aggregates: tuple[tuple[str, str], ...]
    anys: tuple[tuple[str, str], ...]
    texts: frozenset[str]
    """Those of `anys` that are text: a session's attributes, the same on all its events."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the target, keys first."""
        return (*self.keys, *self.sums, *(name for name, _ in self.aggregates), *(name for name, _ in self.anys))

    def over(self, condition: str, extra: Sequence[str] = ()) -> str:
        """The view's SELECT over the events that meet a condition, with further expressions over `e`."""
        part = f"FROM (SELECT {', '.join(COLUMN_NAMES)} FROM events WHERE {condition}) AS e"
        select = _SOURCE.sub(lambda _: part, self.select, count=1)
        return f"SELECT {', '.join(extra)}, {select[7:]}" if extra else select


async def read_rollups(store: Store) -> list[Rollup]:
    """All views over `events` whose target is keyed by site and time. Raises a store error."""
    views = await store.query(
        "SELECT name, create_table_query, as_select FROM system.tables "
        "WHERE database = currentDatabase() AND engine = 'MaterializedView' ORDER BY name"
    )
    tables = await store.query(
        "SELECT name, engine, partition_key, sorting_key FROM system.tables WHERE database = currentDatabase()"
    )
    columns = await store.query(
        "SELECT table, name, type, is_in_sorting_key FROM system.columns "
        "WHERE database = currentDatabase() ORDER BY table, position"
    )
    by_name = {str(name): (str(engine), str(part), str(order)) for name, engine, part, order in tables.rows}
    found = []
    for view, create, select in views.rows:
        target = _TARGET.search(str(create).partition("(")[0] + " ")
        text = " ".join(str(select).split())
        if target is None or target[1] not in by_name or _SOURCE.search(text) is None:
            continue
        own = [(str(name), str(kind), bool(key)) for table, name, kind, key in columns.rows if table == target[1]]
        rollup = _rollup(str(view), target[1], text, by_name[target[1]], own)
        if rollup is not None:
            found.append(rollup)
    return found


def _rollup(
    view: str, target: str, select: str, table: tuple[str, str, str], own: list[tuple[str, str, bool]]
) -> Rollup | None:
    keys = tuple(name for name, _, key in own if key)
    times = [name for name, kind, key in own if key and kind.startswith("DateTime")]
    if SITE not in keys or len(times) != 1:
        return None
    sources = {name: source for source, name in _ANY.findall(select)}
    sums, aggregates, anys, texts = [], [], [], set()
    for name, kind, key in own:
        if key:
            continue
        if simple := _SIMPLE.match(kind):
            function = simple[1]
            if function == "sum":
                sums.append(name)
            elif function in ("any", "anyLast") and name in sources:
                anys.append((name, sources[name]))
                if "String" in kind:
                    texts.add(name)
            elif function.startswith("groupUniqArray"):
                aggregates.append((name, f"arraySort({function}(t.{name}))"))
            else:
                aggregates.append((name, f"{function}(t.{name})"))
        elif state := _STATE.match(kind):
            aggregates.append((name, f"{state[1]}Merge(t.{name})"))
        else:
            aggregates.append((name, f"any(t.{name})"))
    return Rollup(
        view, target, select, *table, keys, times[0], tuple(sums), tuple(aggregates), tuple(anys), frozenset(texts)
    )


def finished(name: str, expression: str) -> str:
    """The value of a view's own column `name`, comparable with what `expression` merges."""
    if "Merge(" in expression:
        return f"finalizeAggregation(x.{name})"
    return f"arraySort(x.{name})" if expression.startswith("arraySort(") else f"x.{name}"
