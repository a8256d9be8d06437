"""The table `audit`: how entries are inserted, found again after an insert in doubt, and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from analytics_server.audit.chain import ChainHead, ChainRow, moment
from analytics_server.store.protocol import ResultSet, Store

TABLE = "audit"
_COLUMNS = ("server", "sequence", "at", "action", "site_id", "entry", "hash")
_READ = "server, sequence, toUnixTimestamp64Micro(at), action, site_id, entry, hash"
READ_TIMEOUT_S = 60.0
WRITE_TIMEOUT_S = 30.0


async def insert_rows(store: Store, rows: Sequence[ChainRow], query_id: str) -> None:
    """Insert rows of one month, as one part. Raises a store error."""
    await store.insert(
        TABLE,
        _COLUMNS,
        [
            [row.server for row in rows],
            [row.sequence for row in rows],
            [moment(row.at_us) for row in rows],
            [row.action for row in rows],
            [row.site_id for row in rows],
            [row.text for row in rows],
            [row.hash for row in rows],
        ],
        timeout_s=WRITE_TIMEOUT_S,
        query_id=query_id,
    )


async def stored_sequences(store: Store, rows: Sequence[ChainRow], query_id: str) -> set[int]:
    """Which of the rows are stored, after an insert of that id whose outcome isn't known. Raises a store error."""
    await store.end_inserts(query_id, timeout_s=WRITE_TIMEOUT_S)
    await store.catch_up([TABLE], timeout_s=WRITE_TIMEOUT_S)
    answer = await store.query(
        "SELECT sequence FROM audit WHERE server = {server:String} AND sequence BETWEEN {first:UInt64} AND"
        " {last:UInt64}",
        {"server": rows[0].server, "first": rows[0].sequence, "last": rows[-1].sequence},
    )
    return {int(str(sequence)) for (sequence,) in answer.rows}


async def rows_after(store: Store, server: str, sequence: int, *, until: int, limit: int) -> list[ChainRow]:
    """A chain's entries behind a number, as far as `until`, in order. Raises a store error."""
    answer = await store.query(
        f"SELECT {_READ} FROM audit WHERE server = {{server:String}} AND sequence > {{after:UInt64}}"
        " AND sequence <= {until:UInt64} ORDER BY sequence LIMIT {limit:UInt32}",
        {"server": server, "after": sequence, "until": until, "limit": limit},
        timeout_s=READ_TIMEOUT_S,
    )
    return _rows(answer)


async def newest_sequence(store: Store, server: str) -> int:
    """The greatest number of a chain, 0 where there is none. Raises a store error."""
    answer = await store.query("SELECT max(sequence) FROM audit WHERE server = {server:String}", {"server": server})
    return int(str(answer.rows[0][0]))


async def newest_of_action(store: Store, server: str, action: str) -> ChainRow | None:
    """The newest entry of an action in a chain. Raises a store error."""
    answer = await store.query(
        f"SELECT {_READ} FROM audit WHERE server = {{server:String}} AND action = {{action:String}}"
        " ORDER BY sequence DESC LIMIT 1",
        {"server": server, "action": action},
    )
    return next(iter(_rows(answer)), None)


async def rows_of_action(store: Store, action: str) -> list[ChainRow]:
    """All entries of an action, of all chains. Raises a store error."""
    answer = await store.query(
        f"SELECT {_READ} FROM audit WHERE action = {{action:String}} ORDER BY server, sequence",
        {"action": action},
        timeout_s=READ_TIMEOUT_S,
    )
    return _rows(answer)


async def newest_of_actions(store: Store, actions: Sequence[str], site_id: str, limit: int) -> list[ChainRow]:
    """Entries of these actions about a site, or "" for entries about none, of all chains, the newest first.

    Raises a store error.
    """
    answer = await store.query(
        f"SELECT {_READ} FROM audit WHERE action IN {{actions:Array(String)}} AND site_id = {{site:String}}"
        " ORDER BY at DESC, server DESC, sequence DESC LIMIT {limit:UInt32}",
        {"actions": list(actions), "site": site_id, "limit": limit},
        timeout_s=READ_TIMEOUT_S,
    )
    return _rows(answer)


async def chain_sizes(store: Store) -> list[tuple[str, int, int]]:
    """Of every chain: the server, how many rows are stored, the greatest number. Raises a store error."""
    answer = await store.query(
        "SELECT server, count(), max(sequence) FROM audit GROUP BY server ORDER BY server", timeout_s=READ_TIMEOUT_S
    )
    return [(str(server), int(str(rows)), int(str(newest))) for server, rows, newest in answer.rows]


async def newest_rows(
    store: Store,
    *,
    start: datetime,
    end: datetime,
    sites: Sequence[str] | None,
    before: tuple[int, str, int] | None,
    limit: int,
) -> list[ChainRow]:
    """Entries of a range of time, the newest first: those about `sites`, or all; behind the one at `before`.

    Raises a store error.
    """
    at_us, server, sequence = before or (0, "", 0)
    answer = await store.query(
        f"SELECT {_READ} FROM audit WHERE at >= {{start:DateTime64(6, 'UTC')}} AND at < {{end:DateTime64(6, 'UTC')}}"
        " AND ({all_sites:UInt8} = 1 OR site_id IN {sites:Array(String)})"
        " AND ({from_start:UInt8} = 1 OR (toUnixTimestamp64Micro(at), server, sequence) < ({at_us:Int64},"
        " {server:String}, {sequence:UInt64}))"
        " ORDER BY at DESC, server DESC, sequence DESC LIMIT {limit:UInt32}",
        {
            "start": start,
            "end": end,
            "all_sites": int(sites is None),
            "sites": list(sites or ()),
            "from_start": int(before is None),
            "at_us": at_us,
            "server": server,
            "sequence": sequence,
            "limit": limit,
        },
        timeout_s=READ_TIMEOUT_S,
    )
    return _rows(answer)


async def old_ends(store: Store, before: datetime) -> list[ChainHead]:
    """Of every chain that has entries older than `before`: the last one in front of the first that isn't.

    By the columns alone, which may have been changed by hand. A clock that once was wrong makes less old, never more.
    Raises a store error.
    """
    answer = await store.query(
        "SELECT server, max(sequence) AS last, argMax(hash, sequence) FROM audit AS a"
        " LEFT JOIN (SELECT server, min(sequence) AS kept FROM audit WHERE at >= {before:DateTime64(6, 'UTC')}"
        " GROUP BY server) AS b ON a.server = b.server"
        " WHERE b.kept = 0 OR a.sequence < b.kept GROUP BY server ORDER BY server",
        {"before": before},
        timeout_s=READ_TIMEOUT_S,
    )
    return [
        ChainHead(server=str(server), sequence=int(str(last)), hash=str(digest)) for server, last, digest in answer.rows
    ]


async def delete_until(store: Store, end: ChainHead) -> None:
    """Remove a chain's entries as far as that one. Raises a store error."""
    await store.command(
        "ALTER TABLE audit DELETE WHERE server = {server:String} AND sequence <= {last:UInt64}"
        " SETTINGS mutations_sync = 2",
        {"server": end.server, "last": end.sequence},
    )


def _rows(answer: ResultSet) -> list[ChainRow]:
    rows = cast("list[tuple[str, int, int, str, str, str, str]]", answer.rows)
    return [
        ChainRow(server=server, sequence=sequence, at_us=at_us, action=action, site_id=site_id, text=text, hash=digest)
        for server, sequence, at_us, action, site_id, text, digest in rows
    ]
