"""Statements besides SELECT: what they list and describe is answered from a table of constant rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analytics_server.clickhouse.catalog import SYSTEM, statement_of
from analytics_server.clickhouse.formats import Word, words_of
from analytics_server.sql.catalog import EMPTY, Catalog, VirtualTable
from analytics_server.sql.printer.tables import TABLES
from analytics_server.sql.refusal import SqlRefused, shown
from analytics_server.store.literals import literal

FROM_ANSWER = f"SELECT * FROM {SYSTEM}.answer_of_statement"
ANSWER_TABLE = (SYSTEM, "answer_of_statement")
_DESCRIBED = dict.fromkeys(
    ("name", "type", "default_type", "default_expression", "comment", "codec_expression", "ttl_expression"), "String"
)
_KILLED = {"kill_status": "String", "query_id": "String", "user": "String", "query": "String"}
_EXPLAINED = ("AST", "SYNTAX", "QUERY", "TREE", "PLAN", "PIPELINE", "ESTIMATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStatement:
    """What is to be done: nothing (`is_empty`), run `query`, or answer with `table`.

    `explained`: the text whose guarded form is the answer.
    """

    query: str = ""
    table: VirtualTable | None = None
    explained: str = ""
    is_empty: bool = False


def read_statement(text: str, database: str, catalog: Catalog) -> ClientStatement:
    """Raises `SqlRefused`."""
    words = words_of(text)
    if not words:
        raise SqlRefused("The query is empty: write a SELECT.", code="bad_sql")
    first = words[0].text.upper()
    if first in ("USE", "SET"):
        _alone(words)
        return ClientStatement(is_empty=True)
    if first == "EXPLAIN":
        return ClientStatement(explained=_explained(text, words))
    if first not in ("SHOW", "DESC", "DESCRIBE", "EXISTS"):
        return ClientStatement(query=text)
    _alone(words)
    reader = _Reader(text, words[1:], database, catalog)
    if first == "SHOW":
        return reader.show()
    return reader.exists() if first == "EXISTS" else reader.describe()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """`KILL QUERY` of one's own question. `is_test`: only tell whether it runs."""

    query_id: str
    is_test: bool

    def answered(self, user: str, *, was_running: bool) -> VirtualTable:
        """What is told of it: a row, or none where nothing of that id was running."""
        return VirtualTable(_KILLED, [("waiting", self.query_id, user)] if was_running else [])


def read_kill(text: str) -> Kill | None:
    """None for another statement. Raises `SqlRefused` for other conditions than `query_id = '…'`."""
    words = words_of(text)
    if not words or words[0].text.upper() != "KILL":
        return None
    _alone(words)
    reader = _Reader(text, words[1:], "", EMPTY)
    if not reader.take("QUERY"):
        raise SqlRefused("KILL is followed by QUERY.", code="sql_not_allowed")
    return reader.kill()


def _alone(words: Sequence[Word]) -> None:
    if any(word.text == ";" for word in words):
        raise SqlRefused("Only one statement can be run at a time.")


def _explained(text: str, words: Sequence[Word]) -> str:
    behind = list(words[1:])
    while behind:
        word = behind.pop(0)
        if word.text.upper() in ("SELECT", "WITH", "("):
            return text[word.start :]
        if [each.text for each in behind[:1]] == ["="] and word.text.isidentifier():
            del behind[:2]  # a setting and its value
        elif word.text.upper() not in _EXPLAINED and word.text != ",":
            raise SqlRefused(f"{shown(word.text)} can't stand between EXPLAIN and its SELECT.", code="bad_sql")
    raise SqlRefused("EXPLAIN is followed by a SELECT.", code="bad_sql")


class _Reader:
    """Reads what stands behind the first word."""

    def __init__(self, text: str, words: Sequence[Word], database: str, catalog: Catalog) -> None:
        self._text = text
        self._words = list(words)
        self._database = database
        self._catalog = catalog

    def show(self) -> ClientStatement:
        while self.take("FULL", "TEMPORARY", "EXTENDED"):
            pass
        if self.take("DATABASES", "SCHEMAS"):
            return self._listed("databases", "")
        if self.take("TABLES"):
            database = self._name() if self.take("FROM", "IN") else self._database
            own = database in self._catalog.databases and database != SYSTEM  # one database, by two names
            return self._listed("tables", f"database = {literal(self._database if own else database)}")
        if self.take("COLUMNS", "FIELDS"):
            return self._columns()
        if self.take("FUNCTIONS"):
            return self._listed("functions", "")
        if self.take("SETTINGS"):
            return self._listed("settings", "")
        if self.take("CREATE"):
            return self._created()
        raise SqlRefused("SHOW is followed by DATABASES, TABLES, COLUMNS, FUNCTIONS, SETTINGS or CREATE TABLE.")

    def kill(self) -> Kill:
        """What stands behind KILL QUERY."""
        if self.take("ON"):
            if not self.take("CLUSTER"):
                raise SqlRefused("ON is followed by CLUSTER.", code="bad_sql")
            self._pop()
        named = [word.text for word in self._words[:3]]
        literal = self._words[3].text if len(self._words) > 3 else ""
        if [word.upper() for word in named] != ["WHERE", "QUERY_ID", "="] or literal[:1] != "'":
            raise SqlRefused("KILL QUERY is followed by WHERE query_id = '…', the id of one query of your own.")
        del self._words[:4]
        is_test = self.take("TEST")
        self.take("SYNC", "ASYNC")
        self._end()
        return Kill(query_id=literal[1:-1].replace("\\'", "'"), is_test=is_test)

    def describe(self) -> ClientStatement:
        self.take("TABLE")
        types = self._columns_of(*self._table())
        self._end()
        empty = ("", "")
        rows = [(name, type_, *empty, about, *empty) for name, (type_, about) in types.items()]
        return ClientStatement(table=VirtualTable(_DESCRIBED, rows))

    def exists(self) -> ClientStatement:
        self.take("TEMPORARY")
        if self.take("DATABASE"):
            there = self._name() in self._catalog.databases
        else:
            self.take("TABLE", "VIEW", "DICTIONARY")
            there = self._is_known(*self._table())
        self._end()
        return ClientStatement(table=VirtualTable({"result": "UInt8"}, [(int(there),)]))

    def _created(self) -> ClientStatement:
        if self.take("DATABASE"):
            database = self._name()
            text = f"CREATE DATABASE {database}\nENGINE = Atomic"
        else:
            self.take("TABLE", "VIEW")
            database, name = self._table()
            self._columns_of(database, name)
            text = statement_of(database, name) if name in TABLES else f"CREATE TABLE {SYSTEM}.{name}"
        self._end()
        return ClientStatement(table=VirtualTable({"statement": "String"}, [(text,)]))

    def _columns(self) -> ClientStatement:
        if not self.take("FROM", "IN"):
            raise SqlRefused("SHOW COLUMNS is followed by FROM and a table.", code="bad_sql")
        database, name = self._table()
        if self.take("FROM", "IN"):
            database = self._name()
        columns = self._columns_of(database, name)
        self._end()
        types = dict.fromkeys(("field", "type", "null", "key", "default", "extra"), "String")
        rows = [(field, type_, "YES" if "Nullable" in type_ else "NO") for field, (type_, _) in columns.items()]
        return ClientStatement(table=VirtualTable(types, rows))

    def _listed(self, table: str, condition: str) -> ClientStatement:
        """Names, with what may stand behind: LIKE, WHERE, LIMIT. The guard reads it."""
        conditions = [condition] if condition else []
        rest = ""
        if self._words:
            negated = "NOT " if self.take("NOT") else ""
            if self._words and self._words[0].text.upper() in ("LIKE", "ILIKE"):
                operator = self._words.pop(0).text
                conditions.append(f"name {negated}{operator} {self._pop()}")
            elif self.take("WHERE"):
                until = next((w.start for w in self._words if w.text.upper() == "LIMIT" and not w.depth), None)
                conditions.append(f"({self._text[self._words[0].start if self._words else 0 : until]})")
                self._words = [word for word in self._words if until is not None and word.start >= until]
            if self.take("LIMIT"):
                rest = f" LIMIT {self._pop()}"
        self._end()
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return ClientStatement(query=f"SELECT name FROM {SYSTEM}.{table}{where} ORDER BY name{rest}")

    def _columns_of(self, database: str, name: str) -> dict[str, tuple[str, str]]:
        """Type and sentence of each column. Raises `SqlRefused` (unknown_table)."""
        if not self._is_known(database, name):
            raise SqlRefused(
                f"There is no table {shown(f'{database}.{name}')} here. There are events and sessions.",
                code="unknown_table",
            )
        if (database, name) in self._catalog.tables:
            return {column: (type_, "") for column, type_ in self._catalog.tables[database, name].columns.items()}
        return {column.name: (column.type, column.about) for column in TABLES[name].columns}

    def _is_known(self, database: str, name: str) -> bool:
        own = SYSTEM if self._database != SYSTEM else ""  # a site of that name has the two tables too
        return (database, name) in self._catalog.tables or (
            database in self._catalog.databases and database != own and name in TABLES
        )

    # ---- words ---------------------------------------------------------------

    def take(self, *expected: str) -> bool:
        if self._words and self._words[0].text.upper() in expected:
            self._words.pop(0)
            return True
        return False

    def _pop(self) -> str:
        if not self._words:
            raise SqlRefused("The statement ends too early.", code="bad_sql")
        return self._words.pop(0).text

    def _name(self) -> str:
        word = self._pop()
        name = word[1:-1] if word[:1] in ("`", '"', "'") and len(word) > 1 else word
        if not name.replace("_", "").replace(".", "").replace("-", "").isalnum():
            raise SqlRefused(f"{shown(word)} is no name.", code="bad_sql")
        return name

    def _table(self) -> tuple[str, str]:
        name = self._name()
        return (name, self._name()) if self.take(".") else (self._database, name)

    def _end(self) -> None:
        if self._words and self._words[0].text.upper() != "SETTINGS":
            raise SqlRefused(f"{shown(self._words[0].text)} can't stand here.", code="bad_sql")
