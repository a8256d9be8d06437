"""Schema migrations: numbered files, forward only, checksummed.

`schema/NNNN_verb_noun.sql` are applied in order, each statement on its own, and
recorded in `schema_migrations`. A file that was changed after it was applied, or a
database newer than the program, stops the start with a clear error. Placeholders:
`${ON_CLUSTER}` and `${ENGINE:X}`, filled in from the config, so that the same files
serve one engine and a cluster (Replicated engines there).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import msgspec

from analytics_server.errors import AnalyticsError
from analytics_server.store.protocol import Store

LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations ${ON_CLUSTER}
(
    number     UInt32,
    name       String,
    checksum   String,
    applied_at DateTime('UTC')
)
ENGINE = ${ENGINE:ReplacingMergeTree}
ORDER BY number
"""


HOSTS_OF_SESSIONS = "hosts_of_sessions"
_DEFERRED = {10: ("INSERT INTO sessions", HOSTS_OF_SESSIONS)}
"""By migration: a statement that takes long on existing data, and the backfill that does its work later."""
_BACKFILLS = "create_backfills"
"""The migration whose table says what has to be done; it may be younger than the one with the statement."""

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")


class MigrationError(AnalyticsError):
    """The database and the schema files don't belong together."""

    code = "migration_failed"


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """A schema file: its number, name and text."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text, hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def schema_migrations() -> list[Migration]:
    """The files, in order: from the installed package, or from the checkout beside it."""
    packed = files("analytics_server") / "_schema"
    root = packed if packed.is_dir() else Path(__file__).resolve().parent.parent.parent / "schema"
    found = []
    for entry in root.iterdir():
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", entry.name)
        if match:
            found.append(Migration(number=int(match[1]), name=match[2], text=entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    if not found:
        raise MigrationError("No schema files were found beside the program: the installation is incomplete.")
    return found


def render(text: str, cluster: str) -> str:
    """Fill in the placeholders for one engine (`cluster` empty) or for a cluster."""
    text = text.replace(" ${ON_CLUSTER}", f" ON CLUSTER `{cluster}`" if cluster else "")

    def engine(match: re.Match[str]) -> str:
        name, arguments = match[1], match[2] or ""
        if not cluster:
            return f"{name}{arguments or '()'}"
        path = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"
        inner = arguments.strip("()")
        return f"Replicated{name}({path}{', ' + inner if inner else ''})"

    return re.sub(r"\$\{ENGINE:(\w+)(\([^)]*\))?\}", engine, text)


def statements(text: str) -> Iterator[str]:
    """The statements of a file: separated by a semicolon at a line's end, comment lines dropped."""
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    for part in re.split(r";\s*(?:\n|$)", bare):
        if part.strip():
            yield part.strip()


async def _tables_exist(store: Store, applied: Sequence[Migration]) -> None:
    """A table that a migration made can't be gone: its data may lie where the engine no longer looks."""
    answer = await store.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    there = {str(name) for (name,) in answer.rows}
    for migration in applied:
        for statement in statements(migration.text):
            made = _TABLE.match(statement)
            if made is not None and made[1] not in there:
                raise MigrationError(
                    f"The table {made[1]} is missing from ClickHouse, although schema/{migration.number:04d}_"
                    f"{migration.name}.sql was applied: its definition was lost or it was dropped. "
                    "Restore ClickHouse's files from a backup."
                )


async def _defer(store: Store, backfill: str, wanted: Sequence[Migration], cluster: str) -> None:
    """Note that a backfill is to be done, unless there is nothing to do it for. Raises a store error."""
    if not (await store.query("SELECT 1 FROM events LIMIT 1")).rows:
        return
    for text in (migration.text for migration in wanted if migration.name == _BACKFILLS):
        for statement in statements(render(text, cluster)):
            await store.command(statement)
    await store.command(
        "INSERT INTO backfills (name, is_done, at) SELECT {name:String}, 0, now64(6, 'UTC')", {"name": backfill}
    )


async def migrate(store: Store, *, cluster: str = "", migrations: list[Migration] | None = None) -> list[Migration]:
    """Apply what is missing and return it. Raises `MigrationError` or a store error.

    What would take long on existing data is left to `rollups/backfill.py`.
    """
    wanted = schema_migrations() if migrations is None else migrations
    await store.command(render(LEDGER, cluster).strip())
    answer = await store.query("SELECT number, name, checksum FROM schema_migrations FINAL ORDER BY number")
    applied = {int(str(number)): (str(name), str(checksum)) for number, name, checksum in answer.rows}
    newest = wanted[-1].number
    if applied and max(applied) > newest:
        raise MigrationError(
            f"The database is at schema {max(applied)}, this program knows only up to {newest}: run the newer program."
        )
    await _tables_exist(store, [migration for migration in wanted if migration.number in applied])
    done = []
    for migration in wanted:
        if migration.number in applied:
            if applied[migration.number][1] != migration.checksum:
                raise MigrationError(
                    f"schema/{migration.number:04d}_{migration.name}.sql was changed after it was applied: "
                    "restore the released file, and put changes into a new one."
                )
            continue
        beginning, backfill = _DEFERRED.get(migration.number, ("", ""))
        for statement in statements(render(migration.text, cluster)):
            if backfill and statement.startswith(beginning):
                await _defer(store, backfill, wanted, cluster)
            else:
                await store.command(statement)
        await store.insert(
            "schema_migrations",
            ("number", "name", "checksum", "applied_at"),
            [[migration.number], [migration.name], [migration.checksum], [datetime.now(UTC)]],
        )
        done.append(migration)
    return done
