"""Tables of documents in memory, as ClickHouse keeps them: of a key's rows the newest counts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from analytics_server.store.protocol import Parameters, ResultSet

_TABLE = re.compile(r"\bFROM (\w+)")


class MemoryTables:
    """What `Documents` of several tables ask of a store; other tables are empty."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[str, ...], tuple[datetime, str, int]]] = {}

    async def query(self, sql: str, parameters: Parameters | None = None) -> ResultSet:
        found = _TABLE.search(sql)
        assert found is not None, sql
        rows: list[tuple[object, ...]] = [
            (*key, document, deleted, 1) for key, (_, document, deleted) in self.tables.get(found[1], {}).items()
        ]
        return ResultSet(columns=(), rows=rows)

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        if "document" not in columns:
            return
        newest = self.tables.setdefault(table, {})
        for *key, document, deleted, at in zip(*data, strict=True):
            if tuple(key) not in newest or at >= newest[tuple(key)][0]:
                newest[tuple(key)] = at, document, deleted

    async def command(self, sql: str) -> None:
        """Merges are not needed."""
