"""The files of the engine in process, looked at before it opens them.

The engine makes an empty database where its metadata is gone, although the data still lies beside
it, and tells of other faults in its own C++ words. So what can go wrong is looked for first, and said in one
sentence with path and remedy. Nothing is changed here but by `set_database_aside`.

    metadata/<database>.sql           ATTACH DATABASE _ UUID '…'
    store/<3 digits>/<its UUID>/*.sql ATTACH TABLE _ UUID '…', one file per table
    store/<3 digits>/<UUID>/          the table's parts
    data/<database>/<table>           a link to that directory
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from analytics_server.errors import AnalyticsError

_UUID = re.compile(r"UUID '([0-9a-f-]{36})'")
_PART = re.compile(r"\w+_\d+_\d+_\d+(_\d+)?")
_RESTORE = "Restore the data directory from a backup"


class EngineFilesError(AnalyticsError):
    """The engine's directory can't be used as it is."""

    code = "engine_files"


class DatabaseLost(EngineFilesError):
    """There is data of a database whose metadata is gone."""

    code = "database_lost"


def examine(directory: Path, database: str) -> None:
    """Raises `EngineFilesError` for what the engine could not open, or would silently replace. Blocking."""
    try:
        _examine(directory, database)
    except OSError as error:
        path = error.filename or directory
        raise EngineFilesError(
            f"The database's files can't be read ({path}: {error.strerror}). {_owner(Path(os.fsdecode(path)))}"
        ) from error


def _examine(directory: Path, database: str) -> None:
    if not os.path.lexists(directory):
        return
    _usable(directory)
    for name in ("metadata", "store", "data", "tmp"):
        if os.path.lexists(directory / name):
            _usable(directory / name)
    definition = directory / "metadata" / f"{database}.sql"
    if not definition.exists():
        if lost := next(_unowned(directory), None):
            raise DatabaseLost(
                f"{definition} is missing, but {directory} holds data ({lost}): opening it would begin an empty "
                f"database beside it. {_RESTORE}; or, to begin anew, run analytics-server doctor --repair "
                "--accept-loss, which moves the old files aside."
            )
        return
    own = _uuids(_definition(definition))
    for one in own:
        tables = _table_directory(directory, one)
        for path in sorted(tables.glob("*.sql")) if tables.is_dir() else ():
            _definition(path)
        _tables_are_defined(directory / "data" / database, tables)


def _usable(path: Path) -> None:
    if not path.is_dir():
        raise EngineFilesError(
            f"{path} is no directory: move it away, or choose another place with [server] data_dir or [clickhouse] url."
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise EngineFilesError(f"{path} can't be read and written by this server. {_owner(path)}")


def _owner(path: Path) -> str:
    """What to do about files that belong to another user."""
    user = os.geteuid()
    try:
        owner = path.stat().st_uid
    except OSError:
        owner = -1
    if user and owner >= 0 and owner != user:
        return f"It belongs to user {owner}, and the server runs as user {user}: chown -R it, or run as that user."
    return "Make it readable and writable for the server's user, on a disk that is not read-only."


def _definition(path: Path) -> str:
    """The text of a metadata file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("ATTACH "):
        what = "empty" if not text.strip("\0 \n") else "damaged"
        raise EngineFilesError(f"The definition {path} is {what}. {_RESTORE}; the data itself is still there.")
    return text


def _uuids(text: str) -> list[str]:
    return _UUID.findall(text)[:1]


def _table_directory(directory: Path, uuid: str) -> Path:
    return directory / "store" / uuid[:3] / uuid


def _tables_are_defined(links: Path, tables: Path) -> None:
    """Each table that has a link to its data must have its definition."""
    for link in sorted(links.iterdir()) if links.is_dir() else ():
        definition = tables / f"{link.name}.sql"
        if not definition.exists() and link.is_dir() and _has_parts(link):
            raise EngineFilesError(
                f"The definition of the table {link.name} is missing ({definition}), while its data is there. "
                f"{_RESTORE}."
            )


def _unowned(directory: Path) -> Iterator[Path]:
    """Directories with a table's parts that no database here owns."""
    owned: set[str] = set()
    for database in (directory / "metadata").glob("*.sql"):
        for uuid in _uuids(database.read_text(encoding="utf-8", errors="replace")):
            for table in _table_directory(directory, uuid).glob("*.sql"):
                owned.update(_uuids(table.read_text(encoding="utf-8", errors="replace")))
    for dropped in (directory / "metadata_dropped").glob("*.sql"):
        owned.update(_uuids(dropped.read_text(encoding="utf-8", errors="replace")))
    for path in sorted((directory / "store").glob("*/*")):
        if path.name not in owned and path.is_dir() and _has_parts(path):
            yield path
    for path in sorted((directory / "data").glob("*/*")):
        if not path.is_symlink() and path.is_dir() and _has_parts(path):
            yield path


def _has_parts(path: Path) -> bool:
    with os.scandir(path) as entries:
        return any(_PART.fullmatch(entry.name) and entry.is_dir() for entry in entries)


def set_database_aside(directory: Path) -> Path:
    """Rename the engine's directory; returns its new name. Raises `OSError`."""
    target = directory.with_name(f"{directory.name}.lost-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    directory.rename(target)
    return target
