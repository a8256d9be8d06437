"""The store's interface: what the rest of the program may ask of ClickHouse, whichever way it runs.

One contract, two engines: `embedded` (chdb, in this process) and `server`
(ClickHouse over HTTP). All calls are coroutines; the blocking client runs in the
store's own threads, so nothing here ever blocks the event loop. Values reach SQL
only as `{name:Type}` parameters.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

Parameters = Mapping[str, object]
Settings = Mapping[str, str | int]


class ResultSet(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a query as Python values (DateTime64 → aware UTC datetime, UInt64 → int)."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    rows_read: int = 0
    bytes_read: int = 0
    elapsed_ms: float = 0.0


class StoreInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which engine answers, to be shown: `kind` is "embedded" or "server", `version` its own.

    What follows from it is asked of `Capabilities`.
    """

    kind: str
    version: str
    location: str


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a store's engine can do, and what this process has to do for it: asked instead of which engine it is.

    `owns_files`: the engine's files belong to this process alone, so its data parts can be recorded and set aside, and
    merges are started here at quiet moments.

    `inserts_outlive_calls`: an insert may go on in the engine after its call has failed, so it is given an id by which
    it can be ended.

    `compresses_inserts`: blocks are compressed on their way. `keeps_query_log`: the engine logs each statement, which
    inserts turn off.

    `spoils_failed_handles`: after a failed statement the connection's next answer is wrong; it has to be replaced.
    """

    owns_files: bool
    inserts_outlive_calls: bool
    compresses_inserts: bool
    keeps_query_log: bool
    spoils_failed_handles: bool


IN_PROCESS = Capabilities(
    owns_files=True,
    inserts_outlive_calls=False,
    compresses_inserts=False,
    keeps_query_log=False,
    spoils_failed_handles=True,
)
OVER_HTTP = Capabilities(
    owns_files=False,
    inserts_outlive_calls=True,
    compresses_inserts=True,
    keeps_query_log=True,
    spoils_failed_handles=False,
)


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """Rows ready to be sent: ClickHouse's Native format in pieces, each compressed by itself if at all."""

    columns: tuple[str, ...]
    rows: int
    pieces: list[bytes]
    compression: str = ""


class Store(Protocol):
    """The only way to ClickHouse.

    Raises `StoreRetryable`, `StoreAmbiguous`, `StoreFatal` or `StoreTimeout`.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do; known before it is opened."""

    async def open(self) -> StoreInfo:
        """Connect (creating the database if need be); raises `StoreRetryable`."""

    @property
    def is_left(self) -> bool:
        """After `close`: does a question still run that could not be waited for? Then only the process can end."""

    async def close(self) -> None:
        """Wait a moment for running questions and until inserts have ended, then let go of the engine."""

    async def ping(self) -> bool:
        """Does the engine answer `SELECT 1`? Never raises."""

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        """Run one DDL or other statement that returns nothing."""

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        timeout_s: float = 30.0,
        tenant: str = "",
    ) -> ResultSet:
        """Run one SELECT and return all its rows.

        `tenant`: the site that asks. Sites take turns, and none has all threads; `TooManyRequests` is raised for one
        with too many questions waiting. The server's own questions have none.
        """

    async def insert(
        self,
        table: str,
        columns: Sequence[str],
        data: Sequence[Sequence[object]],
        *,
        settings: Settings | None = None,
        timeout_s: float = 60.0,
        query_id: str = "",
    ) -> None:
        """Insert one block, column-oriented: `data[i]` are the values of `columns[i]`.

        At most one attempt. A failure whose effect is unknown raises `StoreAmbiguous`.
        """

    async def encode(
        self,
        table: str,
        columns: Sequence[str],
        blocks: Iterable[Sequence[Sequence[object]]],
        *,
        pause_s: float = 0.0,
    ) -> Encoded:
        """Make ready what `insert_encoded` sends: one block that is given in pieces, column-oriented.

        The pieces are taken and encoded in a thread of the store's; between them it rests for `pause_s`, so that
        it does not hold the interpreter while beacons wait. Raises `StoreBadRows` for values that don't fit.
        """

    async def insert_encoded(
        self,
        table: str,
        encoded: Encoded,
        *,
        settings: Settings | None = None,
        timeout_s: float = 60.0,
        query_id: str = "",
    ) -> None:
        """`insert` of what was encoded before; the engine joins the pieces to one part.

        `query_id` is the insert's name on a server, unique while it runs (see `end_inserts`).
        """

    async def end_inserts(self, id_prefix: str, *, timeout_s: float = 60.0) -> None:
        """Return when no query whose id begins so runs any more; those that do are asked to stop.

        What they have written can be counted from then on. On a cluster that is so on every replica. Raises
        `StoreRetryable` when they go on for too long, or a replica doesn't answer.
        """

    async def catch_up(self, tables: Sequence[str], *, timeout_s: float = 60.0) -> None:
        """Return when every replica holds what was committed to these tables; at once where there is no cluster."""

    def stream(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        format: str,
        settings: Settings | None = None,
        has_settings: bool = False,
        timeout_s: float = 60.0,
    ) -> AsyncGenerator[bytes, None]:
        """Run one SELECT and yield its answer in one of ClickHouse's formats, piece by piece.

        No more of it is in memory than a few pieces, but for the engine in process in formats other than Native, CSV,
        TabSeparated, RowBinary, JSONEachRow, Parquet and Arrow. `has_settings`: the statement ends with SETTINGS of
        its own, its time limit among them; of `settings`, those of the format and of a server's response count then.
        """
