"""Checks of ClickHouse's tables: migrations applied against shipped, and every view as shipped.

A view is compared by the text of its SELECT without white space and database name, which is
how the engine keeps it. Repair runs `migrate`'s own code, and the shipped statement for a
view that is missing or different (in place, so that no insert meanwhile passes it by).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from analytics_server.doctor.report import BaseCheck, Facts, Finding, count
from analytics_server.errors import AnalyticsError
from analytics_server.rollups.materialized_views import target_of
from analytics_server.store import Store, migrate
from analytics_server.store.migrate import render, schema_migrations, statements

_VIEW = re.compile(
    r"(CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+)(?: ON CLUSTER `\w+`)? TO (\w+) AS\s+)(SELECT.*)", re.S
)
_CHANGED = re.compile(r"ALTER TABLE (\w+)(?: ON CLUSTER `\w+`)? MODIFY QUERY\s+(SELECT.*)", re.S)


@dataclass(frozen=True, slots=True)
class ShippedView:
    """A materialized view as the schema files define it. `head`: of its statement, before the SELECT."""

    name: str
    target: str
    head: str
    select: str

    @property
    def create(self) -> str:
        """The whole statement."""
        return self.head + self.select


def shipped_views(cluster: str) -> list[ShippedView]:
    """The newest definition of every materialized view in the schema files."""
    found: dict[str, ShippedView] = {}
    for migration in schema_migrations():
        for statement in statements(render(migration.text, cluster)):
            if match := _VIEW.match(statement):
                found[match[2]] = ShippedView(match[2], match[3], match[1], match[4])
            elif match := _CHANGED.match(statement):
                found[match[1]] = replace(found[match[1]], select=match[2])
    return list(found.values())


async def has_tables(store: Store) -> bool:
    """Was the schema ever applied here?"""
    answer = await store.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'"
    )
    return bool(answer.rows[0][0])


class SchemaCheck(BaseCheck):
    """Is each schema file applied, unchanged, and none that this program doesn't know?"""

    name = "schema"

    def __init__(self, store: Store, cluster: str) -> None:
        self._store = store
        self._cluster = cluster

    async def examine(self) -> Finding:
        """Compare the schema files with those that were applied."""
        shipped = schema_migrations()
        applied: dict[int, str] = {}
        if await has_tables(self._store):
            answer = await self._store.query("SELECT number, checksum FROM schema_migrations FINAL")
            applied = {int(str(number)): str(checksum) for number, checksum in answer.rows}
        newest = shipped[-1].number
        missing = [f"{one.number:04d}_{one.name}" for one in shipped if one.number not in applied]
        changed = [
            f"{one.number:04d}_{one.name}" for one in shipped if applied.get(one.number, one.checksum) != one.checksum
        ]
        facts: Facts = {"applied": max(applied, default=0), "shipped": newest, "missing": missing, "changed": changed}
        if max(applied, default=0) > newest:
            return self.error(
                f"The database is at schema {max(applied)}, this program knows only up to {newest}.",
                "Run the newer program.",
                **facts,
            )
        if changed:
            return self.error(
                f"{', '.join(changed)} differs from the file that was applied.",
                "Restore the released schema files; changes belong into a new one.",
                **facts,
            )
        if missing:
            return self.error(
                f"{count(len(missing), 'schema file is', 'schema files are')} not applied: {', '.join(missing)}.",
                "Run analytics-server migrate, start the server, or run doctor --repair.",
                **facts,
            )
        return self.ok(f"All {len(shipped)} schema files are applied.", **facts)

    async def repair(self) -> str:
        """Apply what is missing."""
        try:
            done = await migrate(self._store, cluster=self._cluster)
        except AnalyticsError:
            return ""  # the finding says why
        return f"applied {count(len(done), 'schema file')}" if done else ""


class ViewsCheck(BaseCheck):
    """Is each materialized view there, with the shipped SELECT and target?"""

    name = "views"

    def __init__(self, store: Store, cluster: str) -> None:
        self._store = store
        self._cluster = cluster

    async def examine(self) -> Finding:
        """Compare names, targets and SELECTs."""
        missing, different, misled = await self._compare()
        wrong = [*missing, *different, *misled]
        names = [view.name for view in wrong]
        facts: Facts = {
            "missing": [view.name for view in missing],
            "different": [view.name for view in (*different, *misled)],
        }
        if wrong:
            what = " and ".join(
                part
                for part in (
                    f"{count(len(missing), 'view is', 'views are')} missing" if missing else "",
                    f"{count(len(wrong) - len(missing), 'view differs', 'views differ')} from what is shipped"
                    if len(wrong) > len(missing)
                    else "",
                )
                if part
            )
            return self.error(
                f"{what}: {', '.join(names)}. New events are not counted in their tables, or wrongly.",
                "Run doctor --repair: it defines them again and rebuilds their tables.",
                **facts,
            )
        return self.ok(
            f"{count(len(shipped_views('')), 'materialized view is', 'materialized views are')} as shipped.", **facts
        )

    async def repair(self) -> str:
        """Define views again that are missing or differ."""
        missing, different, misled = await self._compare()
        for view in misled:
            await self._store.command(f"DROP VIEW IF EXISTS {view.name}{self._on_cluster()}")
        for view in (*missing, *misled):
            await self._store.command(view.create)
        for view in different:
            await self._store.command(f"ALTER TABLE {view.name}{self._on_cluster()} MODIFY QUERY {view.select}")
        done = len(missing) + len(different) + len(misled)
        return f"defined {count(done, 'view')} again" if done else ""

    async def _compare(self) -> tuple[list[ShippedView], list[ShippedView], list[ShippedView]]:
        """Views that are missing, that have another SELECT, and that write to another table."""
        answer = await self._store.query(
            "SELECT name, create_table_query, as_select, database FROM system.tables "
            "WHERE database = currentDatabase() AND engine = 'MaterializedView'"
        )
        there = {str(name): (str(create), str(select), str(database)) for name, create, select, database in answer.rows}
        missing, different, misled = [], [], []
        for view in shipped_views(self._cluster):
            if view.name not in there:
                missing.append(view)
                continue
            create, select, database = there[view.name]
            if target_of(create) != view.target:
                misled.append(view)
            elif _bare(select, database) != _bare(view.select, database):
                different.append(view)
        return missing, different, misled

    def _on_cluster(self) -> str:
        return f" ON CLUSTER `{self._cluster}`" if self._cluster else ""


def _bare(select: str, database: str) -> str:
    return re.sub(r"\s+", "", select).replace(f"`{database}`.", "").replace(f"FROM{database}.", "FROM")
