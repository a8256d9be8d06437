"""Event counts: what was acknowledged, against `events`, and every rollup against its recomputation from `events`.

Owns no list of rollups: whatever materialized view reads `events` is found in
`system.tables`, its own SELECT is computed anew over all events, and each column is merged
as its type says. Sums, `min`, `max` and finalised states must be equal per key; `any` must
be one of the values the events have. Works on a server over HTTP and, in a process of its
own, on the directory of a stopped embedded engine (a directory belongs to one process).
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Collection
from typing import Any

import clickhouse_connect
import msgspec

from tests import preloaded
from tests.server import RunningServer

READ_TIMEOUT_S = 90.0
SHOWN = 20

_TARGET = re.compile(r" TO (?:`?\w+`?\.)?`?(\w+)`?[ \n(]")
_EVENTS = re.compile(r"\bFROM (?:`?\w+`?\.)?`?events`?\b")
_SIMPLE = re.compile(r"SimpleAggregateFunction\((\w+), ?(.*)\)$", re.DOTALL)
_STATE = re.compile(r"AggregateFunction\((\w+)")


class EventCounts(msgspec.Struct, kw_only=True):
    """`events` by id and by user, how many keys each rollup has, and what is wrong with the rollups, a line per key."""

    events: dict[str, int]
    users: dict[str, int]
    rollups: dict[str, int]
    wrong: list[str]


def read_counts(url: str, database: str = "analytics") -> EventCounts:
    """Read the counts at `url`: `http://…` of a running server, or `chdb:///path` of a stopped one. Blocking."""
    if not url.startswith("chdb:"):
        return _read(url, database)
    done = preloaded.run("tests.faults.event_counts", [url, database], timeout=READ_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=EventCounts)


def counts_of(server: RunningServer) -> EventCounts:
    """The counts of the ClickHouse that a server works on; embedded, the server must have ended."""
    environment = server.environment()
    url = environment.get("ANALYTICS_CLICKHOUSE_URL") or f"chdb://{server.data_dir / 'clickhouse'}"
    return read_counts(url, environment.get("ANALYTICS_CLICKHOUSE_DATABASE") or "analytics")


def assert_stored_once(counts: EventCounts, acknowledged: Collection[str], sent: Collection[str] | None = None) -> None:
    """Every acknowledged event once, no other twice, none that was not sent, and all rollups agree with the events."""
    assert counts.rollups, "no rollup was found"
    lost = set(acknowledged) - counts.events.keys()
    doubled = [event_id for event_id, times in counts.events.items() if times > 1]
    assert not lost, f"{len(lost)} of {len(acknowledged)} acknowledged events are lost"
    assert not doubled, f"{len(doubled)} of {len(counts.events)} events are stored more than once"
    if sent is not None:
        foreign = counts.events.keys() - set(sent)
        assert not foreign, f"{len(foreign)} events are stored that were not sent"
    assert not counts.wrong, "rollups differ from events:\n" + "\n".join(counts.wrong)


async def assert_every_event_stored_once_everywhere(
    where: RunningServer | str,
    acknowledged: Collection[str],
    sent: Collection[str] | None = None,
    *,
    database: str = "analytics",
) -> EventCounts:
    """`assert_stored_once` on the ClickHouse of a server, or at a URL; returns the counts for further checks."""
    if isinstance(where, RunningServer):
        counts = await asyncio.to_thread(counts_of, where)
    else:
        counts = await asyncio.to_thread(read_counts, where, database)
    assert_stored_once(counts, acknowledged, sent)
    return counts


# ---- reading -----------------------------------------------------------


def _read(url: str, database: str) -> EventCounts:
    client: Any = clickhouse_connect.get_client(dsn=url, database=database)
    try:
        counted = client.query("SELECT toString(event_id), count() FROM events GROUP BY event_id").result_rows
        users = client.query("SELECT user_id, count() FROM events GROUP BY user_id").result_rows
        counts = EventCounts(events=dict(counted), users=dict(users), rollups={}, wrong=[])
        views = client.query(
            "SELECT create_table_query, as_select FROM system.tables "
            "WHERE database = currentDatabase() AND engine = 'MaterializedView' ORDER BY name"
        ).result_rows
        for create, select in views:
            target = _TARGET.search(create)
            if target is not None and _EVENTS.search(select):
                _compare(client, target[1], select, counts)
        return counts
    finally:
        client.close()


def _compare(client: Any, target: str, select: str, counts: EventCounts) -> None:
    """Add one rollup to the counts: its keys counted, its differences described."""
    columns = client.query(
        "SELECT name, type, is_in_sorting_key FROM system.columns "
        "WHERE database = currentDatabase() AND table = {target:String} ORDER BY position",
        parameters={"target": target},
    ).result_rows
    keys = [name for name, _, is_key in columns if is_key]
    values = {name: kind for name, kind, is_key in columns if not is_key}
    loose = [name for name, kind in values.items() if kind.startswith("SimpleAggregateFunction(any,")]
    # `any` may pick another of several values: compare with all that the events have.
    for name in loose:
        select, replaced = re.subn(rf"\bany\(([^()]+)\) AS {name}\b", rf"groupUniqArray(\1) AS {name}", select)
        assert replaced == 1, f"{target}.{name}: the view's SELECT has no any(…) AS {name}"
    key_list = ", ".join(keys)
    expected = ", ".join(
        f"{f'groupUniqArrayArray({name})' if name in loose else _merged(name, kind)} AS e_{name}"
        for name, kind in values.items()
    )
    present = ", ".join(
        f"{f'groupUniqArray({name})' if name in loose else _merged(name, kind)} AS p_{name}"
        for name, kind in values.items()
    )
    # The engine picks which of several stored values an `any` shows: each of them must be one the events have.
    equal = [
        f"hasAll(e_{name}, p_{name}) AND notEmpty(p_{name})"
        if name in loose
        else f"toString(e_{name}) = toString(p_{name})"
        for name in values
    ]
    values, equal = {"rows": "", **values}, ["e_rows = p_rows", *equal]
    told = ", ".join(
        f"if({same}, '', concat('{name}: ', toString(p_{name}), ' instead of ', toString(e_{name})))"
        for name, same in zip(values, equal, strict=True)
    )
    rows = client.query(
        f"SELECT toString(tuple({key_list})), arrayFilter(line -> line != '', [{told}]) AS wrong "
        f"FROM (SELECT {key_list}, 1 AS e_rows, {expected} FROM ({select}) GROUP BY {key_list}) AS expected "
        f"FULL OUTER JOIN (SELECT {key_list}, 1 AS p_rows, {present} FROM {target} GROUP BY {key_list}) AS present "
        f"USING ({key_list})",
        settings={"join_use_nulls": 0},
    ).result_rows
    counts.rollups[target] = len(rows)
    differing = [(key, wrong) for key, wrong in rows if wrong]
    counts.wrong += [f"{target} {key}: {'; '.join(wrong)}" for key, wrong in differing[:SHOWN]]
    if len(differing) > SHOWN:
        counts.wrong.append(f"{target}: {len(differing) - SHOWN} more keys")


def _merged(name: str, kind: str) -> str:
    """The expression that joins a column's values of one key to the value a reader sees."""
    if simple := _SIMPLE.match(kind):
        merged = f"{simple[1]}({name})"
        return f"arraySort({merged})" if simple[1] == "groupUniqArrayArray" else merged
    if state := _STATE.match(kind):
        merged = f"{state[1]}Merge({name})"
        return f"arraySort({merged})" if state[1] == "groupUniqArray" else merged
    raise AssertionError(f"{name} is of type {kind}: neither a key nor an aggregate")


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_read(sys.argv[1], sys.argv[2])))
