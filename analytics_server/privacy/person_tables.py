"""Which tables name a person, read from the database itself, so that none that is added later is forgotten.

A table names people by a column `user_id`, or is a build whose `subject` is declared in `rollups/registry.py`: that is
a user id in the rows of definitions by user.
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics_server.rollups.registry import DERIVED_TABLES, FUNNEL_FACTS
from analytics_server.store.protocol import Store

USER_COLUMN = "user_id"
SUBJECTS = "erasure_subjects"
"""Holds user ids on purpose, while an erasure runs (schema/0013)."""

_SUBJECTS = {table.name: table.subject for table in DERIVED_TABLES if table.subject}


@dataclass(frozen=True, slots=True)
class PersonTable:
    """`named_by`: the column that holds the user id; `where`: what must hold besides, in SQL; `order`: of its rows, so
    that the same data is always shown in the same order: as they are stored, which needs no sorting in memory."""

    name: str
    columns: tuple[str, ...]
    named_by: str
    merges: bool
    """Is a row complete only once it is merged?"""
    order: str
    where: str = "1"

    @property
    def is_build(self) -> bool:
        """Does it name people by the subject of a build, instead of a user id?"""
        return self.named_by != USER_COLUMN

    @property
    def source(self) -> str:
        """The table as a SELECT names it."""
        return f"{self.name} FINAL" if self.merges else self.name


async def person_tables(store: Store) -> list[PersonTable]:
    """All tables that name people, `events` first. Raises a store error."""
    answer = await store.query(
        "SELECT c.table AS name, groupArray((c.name, c.type)) AS columns, any(t.engine) AS engine, any(t.sorting_key) "
        "FROM (SELECT table, name, type FROM system.columns WHERE database = currentDatabase() "
        "AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') ORDER BY table, position) AS c "
        "INNER JOIN (SELECT name, engine, sorting_key FROM system.tables WHERE database = currentDatabase() "
        "AND engine != 'MaterializedView') AS t ON c.table = t.name GROUP BY name ORDER BY name != 'events', name"
    )
    found: list[PersonTable] = []
    by_user: list[str] = []
    builds: list[tuple[str, tuple[str, ...], bool, str]] = []
    for name, columns, engine, sorting_key in answer.rows:
        kinds = {str(column): str(kind) for column, kind in columns}  # type: ignore[attr-defined]
        order = f"{sorting_key}, event_id" if "event_id" in kinds else str(sorting_key)
        merges = "Aggregating" in str(engine) or "Replacing" in str(engine)
        if USER_COLUMN in kinds and "site_id" in kinds and name != SUBJECTS:
            found.append(PersonTable(str(name), tuple(kinds), USER_COLUMN, merges, order))
        if str(name).startswith(FUNNEL_FACTS.name) and kinds.get("subject") == "String" and USER_COLUMN in kinds:
            by_user.append(str(name).rpartition("_")[2])
        if name in _SUBJECTS:
            builds.append((str(name), tuple(kinds), merges, order))
    if by_user:
        definitions = ", ".join(f"'{definition}'" for definition in by_user)  # hexadecimal: made from a hash
        where = f"definition IN ({definitions})"
        found += [
            PersonTable(name, *(kinds, _SUBJECTS[name], merges, order), where) for name, kinds, merges, order in builds
        ]
    return found
