"""Versioned small documents: what sites, tokens and saved things are stored as.

Owns the cache of one such table, its refresh and the order of versions. Every row is a version of a document, JSON
text under a key; the newest by `updated_at` counts (a ReplacingMergeTree, read with FINAL), and the last version of a
deleted document says so. Look-ups are in memory and never wait. What another server changed is known after the next
`load`.

Revision rule, the same for all tables:
- A version is later than every version that was read or written here, whatever the clock says, so that a server
  whose clock is behind can change what another one made.
- The deletion of a document whose key never comes back is later than any change made elsewhere at the same moment.
- An answer of ClickHouse that may be older than what the cache holds (a change was made here, or a later question was
  answered, while it was on its way) is not taken over.

A document that this version can't read is left out, named in the log and counted (see `unreadable`). It never hides
its neighbours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, ItemsView, Mapping
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from analytics_server.errors import StoreError
from analytics_server.store.protocol import Store
from analytics_server.store.unreadable import NOT_READABLE, UnreadableDocuments

log = logging.getLogger(__name__)

T = TypeVar("T")

Key = tuple[str, ...]
"""The values of a table's key columns."""

DELETED_FOR_GOOD = datetime(2200, 1, 1, tzinfo=UTC)
"""`updated_at` of a final deletion."""

READ_ALL_S = 600.0
CLOCKS_S = 3600.0
"""A server whose clock is behind another's by less than that has its changes read at once, in a table that grows."""


class DocumentTable(msgspec.Struct, frozen=True, kw_only=True):
    """Where documents of one sort are stored.

    `key_columns`: what makes a row a version of another. `keys_return`: may a deleted document's key be used again?
    Then the keys of deleted documents are read too. `grows`: are documents kept, so that there may be many (keys
    don't return)? Then a reading takes in what has changed since the last one, and all of them once in `READ_ALL_S`.
    `forgets`: is the text of a deleted document to be gone (keys don't return)? Then its last version holds none, and
    the versions before are merged away.
    """

    name: str
    key_columns: tuple[str, ...]
    keys_return: bool = False
    grows: bool = False
    forgets: bool = False

    @property
    def select(self) -> str:
        """The statement that reads the newest versions: key columns, document, deleted, microseconds since 1970."""
        keys = ", ".join(self.key_columns)
        where = "" if self.keys_return else " WHERE deleted = 0"
        return (
            f"SELECT {keys}, document, deleted, toUnixTimestamp64Micro(updated_at) FROM {self.name} FINAL{where}"
            f" ORDER BY {keys}"
        )

    @property
    def select_changes(self) -> str:
        """The same of versions since a moment, microseconds since 1970; without FINAL, which would read all."""
        keys = ", ".join(self.key_columns)
        return (
            f"SELECT {keys}, argMax(document, updated_at), argMax(deleted, updated_at),"
            f" toUnixTimestamp64Micro(max(updated_at)) FROM {self.name}"
            f" WHERE updated_at >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') GROUP BY {keys} ORDER BY {keys}"
        )

    @property
    def select_state(self) -> str:
        """What is another row whenever a version was written: cheap, for those who look often."""
        return f"SELECT count(), toUnixTimestamp64Micro(max(updated_at)) FROM {self.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of an insert."""
        return (*self.key_columns, "document", "deleted", "updated_at")


class Documents(Generic[T]):
    """The documents of one table, decoded.

    `decode` makes a value of a key and a text, and raises one of `NOT_READABLE` for a text it can't read; `encode` is
    its inverse. `label`: kind and id of a key, as logs and metrics name it.
    """

    def __init__(
        self,
        store: Store,
        table: DocumentTable,
        *,
        decode: Callable[[Key, str], T],
        encode: Callable[[T], str],
        label: Callable[[Key], tuple[str, str]],
        clock: Callable[[], float] = time.time,
        unreadable: UnreadableDocuments | None = None,
    ) -> None:
        self._store = store
        self._table = table
        self._decode = decode
        self._encode = encode
        self._label = label
        self._clock = clock
        self._unreadable = unreadable or UnreadableDocuments()
        self._noted: set[str] = set()
        self._texts: dict[Key, str] = {}
        self._values: dict[Key, T] = {}
        self._deleted_texts: dict[Key, str] = {}
        """What deleted documents were, of a table whose keys return."""
        self._skipped: dict[Key, str] = {}
        self._newest_us = 0
        self._changes = 0
        self._asked = 0
        self._answered = 0
        self._loaded_at = 0.0
        self._read_all_at = 0.0
        self._refreshing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._task_began = 0.0
        self.changing = asyncio.Lock()
        """Held by the owner while it reads, decides and writes."""
        self.deleted: frozenset[Key] = frozenset()
        """The keys of deleted documents, of a table whose keys return."""
        self.unreadable: frozenset[Key] = frozenset()
        """The keys of documents that could not be decoded."""
        self.revision = 0
        """Another number whenever a document has changed: for those who keep what they derived from the documents."""

    # ---- what is known -------------------------------------------------

    def get(self, key: Key) -> T | None:
        """The document of that key."""
        return self._values.get(key)

    def items(self) -> ItemsView[Key, T]:
        """All documents that can be read, in the order of their keys, those changed here since the last load behind."""
        return self._values.items()

    def deleted_value(self, key: Key) -> T | None:
        """What a deleted document was, of a table whose keys return; None where that can't be read."""
        try:
            return self._decode(key, self._deleted_texts.get(key, ""))
        except NOT_READABLE:
            return None

    def skip(self, key: Key, reason: str) -> None:
        """Count a document as unreadable although it was decoded: its inner part can't be read. Until it changes."""
        if key in self._texts:
            self._skipped[key] = self._texts[key]
            self._note(key, reason)

    # ---- reading -------------------------------------------------------

    async def load(self) -> None:
        """Read all documents again, or what has changed (`grows`). Raises a store error."""
        changes, self._asked = self._changes, self._asked + 1
        asked, now_s = self._asked, time.monotonic()
        reads_all = not self._table.grows or not self._answered or now_s - self._read_all_at >= READ_ALL_S
        if reads_all:
            answer = await self._store.query(self._table.select)
        else:
            since_us = self._newest_us - int(CLOCKS_S * 1_000_000)
            answer = await self._store.query(self._table.select_changes, {"since": since_us})
        if changes != self._changes or asked < self._answered:  # the cache is newer than this answer
            return
        self._answered = asked
        texts: dict[Key, str] = {} if reads_all else dict(self._texts)
        deleted: dict[Key, str] = {}
        for *columns, text, is_deleted, changed_us in answer.rows:
            key = tuple(map(str, columns))
            if not is_deleted or self._table.keys_return:
                self._newest_us = max(self._newest_us, int(str(changed_us)))  # another server's clock may be ahead
            if is_deleted:
                texts.pop(key, None)
                deleted[key] = str(text)
            else:
                texts[key] = str(text)
        if reads_all:
            self._read_all_at = now_s
        if reads_all or texts != self._texts:
            self._take_over(texts, deleted if self._table.keys_return else {})
        self._loaded_at = time.monotonic()

    def _take_over(self, texts: dict[Key, str], deleted_texts: dict[Key, str]) -> None:
        values: dict[Key, T] = {}
        unreadable = set()
        for key, text in texts.items():
            if key in self._values and self._texts[key] == text:
                values[key] = self._values[key]
                continue
            try:
                values[key] = self._decode(key, text)
            except NOT_READABLE as error:
                unreadable.add(key)
                self._note(key, type(error).__name__)
        deleted = frozenset(deleted_texts)
        has_changed = texts != self._texts or deleted != self.deleted
        self._texts, self._values, self._deleted_texts = texts, values, deleted_texts
        self.deleted, self.unreadable = deleted, frozenset(unreadable)
        self.revision += has_changed
        self._count_unreadable()

    def _note(self, key: Key, reason: str) -> None:
        kind, id_ = self._label(key)
        self._noted.add(kind)
        self._unreadable.note(kind, id_, reason)

    def _count_unreadable(self) -> None:
        """Forget those that can be read by now, or are gone."""
        self._skipped = {key: text for key, text in self._skipped.items() if self._texts.get(key) == text}
        now: dict[str, set[str]] = {kind: set() for kind in self._noted}
        for kind, id_ in map(self._label, (*self.unreadable, *self._skipped)):
            now[kind].add(id_)
        for kind, ids in now.items():
            self._unreadable.keep_only(kind, ids)

    async def state(self) -> tuple[object, ...]:
        """Another one after each write of a document. Raises a store error."""
        settings = {"log_queries": 0} if self._store.capabilities.keeps_query_log else {}
        return tuple((await self._store.query(self._table.select_state, settings=settings)).rows[0])

    async def catch_up(self) -> None:
        """Read all again once this replica has what others wrote until now: within a turn of several servers.

        Raises a store error.
        """
        await self._store.catch_up([self._table.name])
        await self.load()

    # ---- keeping the cache fresh ---------------------------------------

    async def refresh(self, older_than_s: float) -> None:
        """Read again if the last reading is older; while ClickHouse is away, memory answers."""
        if time.monotonic() - self._loaded_at < older_than_s or self._refreshing.locked():
            return
        async with self._refreshing:
            try:
                await self.load()
            except StoreError as error:
                self._loaded_at = time.monotonic()
                log.debug("documents not refreshed", extra={"table": self._table.name, "reason": type(error).__name__})

    def is_older(self, than_s: float) -> bool:
        """Was it longer ago that all documents were read?"""
        return time.monotonic() - self._loaded_at >= than_s

    def refresh_soon(self, older_than_s: float) -> None:
        """`refresh` in the background: for callers who must not wait for ClickHouse."""
        if self.is_older(older_than_s) and (self._task is None or self._task.done()):
            self._task_began = time.monotonic()
            self._task = asyncio.create_task(self.refresh(older_than_s), name=self._table.name)

    async def refresh_within(self, older_than_s: float, patience_s: float) -> None:
        """`refresh`, but go on with what is known when it has been under way for so long: ClickHouse may hang."""
        self.refresh_soon(older_than_s)
        if self._task is not None and not self._task.done():
            left_s = self._task_began + patience_s - time.monotonic()
            if left_s > 0:
                await asyncio.wait({self._task}, timeout=left_s)

    async def run(self, interval_s: float) -> None:
        """Refresh at intervals until cancelled: a task to own."""
        while True:
            await asyncio.sleep(interval_s)
            await self.refresh(0.0)

    # ---- writing -------------------------------------------------------

    async def put(self, key: Key, value: T) -> None:
        """Write the next version of a document. Raises a store error."""
        await self.put_all({key: value})

    async def put_all(self, values: Mapping[Key, T]) -> None:
        """Write the next version of several documents in one block. Raises a store error."""
        texts = {key: self._encode(value) for key, value in values.items()}
        await self._write(texts, is_deleted=False)
        self._texts.update(texts)
        self._values.update(values)
        self.deleted -= values.keys()
        for key in values:
            self._deleted_texts.pop(key, None)
        self.unreadable -= values.keys()
        self._changed()

    async def delete(self, key: Key, value: T | None = None, *, last: T | None = None) -> None:
        """Write that a document is deleted. Raises a store error.

        `value`: what it was, in case it was never stored; not needed for one that can't be read. `last`: as what it is
        remembered, where its keys return.
        """
        text = self._texts.get(key) or ("" if value is None else self._encode(value))
        await self._delete({key: text if last is None else self._encode(last)})

    async def delete_all(self, keys: Collection[Key]) -> None:
        """Write in one block that several documents are deleted. Raises a store error."""
        if keys:
            await self._delete({key: self._texts.get(key, "") for key in keys})

    async def _delete(self, texts: Mapping[Key, str]) -> None:
        await self._write(dict.fromkeys(texts, "") if self._table.forgets else texts, is_deleted=True)
        await self._merge_away()
        for key in texts:
            self._texts.pop(key, None)
            self._values.pop(key, None)
        self.unreadable -= texts.keys()
        if self._table.keys_return:
            self.deleted |= texts.keys()
            self._deleted_texts.update(texts)
        self._changed()

    async def _merge_away(self) -> None:
        """Old versions: where that fails, ClickHouse's own merges do it some time."""
        if not self._table.forgets:
            return
        try:
            await self._store.command(f"OPTIMIZE TABLE {self._table.name} FINAL")
        except StoreError as error:
            log.warning(
                "old versions are not merged away now",
                extra={"table": self._table.name, "reason": error.message[:200]},
            )

    def _changed(self) -> None:
        self._changes += 1
        self.revision += 1
        self._count_unreadable()

    async def _write(self, texts: Mapping[Key, str], *, is_deleted: bool) -> None:
        self._newest_us = max(int(self._clock() * 1_000_000), self._newest_us + 1)
        at = datetime.fromtimestamp(self._newest_us / 1_000_000, UTC)
        if is_deleted and not self._table.keys_return:
            at = DELETED_FOR_GOOD
        await self._store.insert(
            self._table.name,
            self._table.columns,
            [
                *(list(column) for column in zip(*texts, strict=True)),
                list(texts.values()),
                [int(is_deleted)] * len(texts),
                [at] * len(texts),
            ],
        )
