"""A store without an engine: what the flush sends, asks and is told, month by month."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from analytics_server.errors import StoreBadRows, StoreFatal
from analytics_server.store.protocol import Encoded, Parameters, ResultSet, Settings

UNFIT, POISON = "unfit", "poison"


class FakeStore:
    """Keeps how many rows came per month, does what `fail` says before that, and has no rollups.

    A cluster has one replica here.

    Rows with the title UNFIT can't be encoded, those with the title POISON the engine refuses.
    """

    def __init__(self) -> None:
        self.kept: dict[int, int] = {}
        self.fail: Callable[[int], None] = lambda month: None
        self.calls: list[str] = []
        self.commands: list[str] = []
        self.asked: list[str] = []
        self.titles: list[str] = []

    def stored(self, batch_id: int, month: int) -> int:
        """The answer to "how many rows are there?"."""
        return self.kept.get(month, 0)

    def keep(self, batch_id: int, month: int, titles: list[str]) -> None:
        """An insert's rows have arrived."""
        self.kept[month] = self.kept.get(month, 0) + len(titles)
        self.titles += titles

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        self.calls.append("close")

    async def query(
        self,
        sql: str,
        parameters: Parameters | None = None,
        *,
        settings: Settings | None = None,
        timeout_s: float = 30.0,
    ) -> ResultSet:
        asked = dict(parameters or {})
        self.asked.append(sql)
        if "system.clusters" in sql:
            return ResultSet(columns=("own", "all"), rows=[(1, 1)])
        if "month" not in asked:
            return ResultSet(columns=("sites", "since"), rows=[([], 0)] if "batch" in asked else [])
        self.calls.append("count")
        batch_id, month = int(str(asked["batch"])), int(str(asked["month"]))
        stored = self.stored(batch_id, month)
        if "clusterAllReplicas" in sql:
            return ResultSet(columns=("host", "port", "count"), rows=[("a", 9000, stored)] if stored else [])
        return ResultSet(columns=("count",), rows=[(stored,)])

    async def encode(
        self,
        table: str,
        columns: Sequence[str],
        blocks: Iterable[Sequence[Sequence[object]]],
        *,
        pause_s: float = 0.0,
    ) -> Encoded:
        title = columns.index("title")
        titles = [str(value) for block in blocks for value in block[title]]
        if UNFIT in titles:
            raise StoreBadRows("A value of the column title can't be stored.")
        return Encoded(columns=tuple(columns), rows=len(titles), pieces=[title.encode() for title in titles])

    async def insert_encoded(
        self,
        table: str,
        encoded: Encoded,
        *,
        settings: Settings | None = None,
        timeout_s: float = 60.0,
        query_id: str = "",
    ) -> None:
        self.calls.append("insert" if table == "events" else "probe")
        titles = [piece.decode() for piece in encoded.pieces]
        if table == "events":
            batch_id, month = map(int, query_id.split("-")[:2])
            self.fail(month)
        if POISON in titles:
            raise StoreFatal(f"constraint violated by {POISON}", engine_code=469)
        if table == "events":
            self.keep(batch_id, month, titles)

    async def command(self, sql: str, parameters: Parameters | None = None) -> None:
        self.commands.append(sql)

    async def end_inserts(self, id_prefix: str, *, timeout_s: float = 60.0) -> None:
        self.calls.append("end")

    async def catch_up(self, tables: Sequence[str], *, timeout_s: float = 60.0) -> None:
        """One replica has nothing to catch up with."""
