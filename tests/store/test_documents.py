"""One versioned-document store: the order of versions, the cache, and documents that can't be read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from analytics_server.errors import StoreRetryable
from analytics_server.store import Store
from analytics_server.store.documents import Documents, DocumentTable, Key
from analytics_server.store.protocol import ResultSet
from analytics_server.store.unreadable import UnreadableDocuments

NUMBERS = DocumentTable(name="numbers", key_columns=("place", "id"))
RETURNING = DocumentTable(name="numbers", key_columns=("place", "id"), keys_return=True)
A, B, C = ("x", "a"), ("x", "b"), ("y", "a")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Table:
    """A ReplacingMergeTree. `before_answer` happens while an answer is on its way."""

    def __init__(self) -> None:
        self.versions: dict[Key, list[tuple[int, str, int]]] = {}
        self.before_answer: Callable[[], Awaitable[object]] | None = None
        self.is_away = False

    async def query(self, sql: str) -> ResultSet:
        if self.is_away:
            raise StoreRetryable("connection refused")
        newest = {key: max(versions, key=lambda one: one[0]) for key, versions in sorted(self.versions.items())}
        rows: list[tuple[object, ...]] = [
            (*key, text, deleted, changed_us)
            for key, (changed_us, text, deleted) in newest.items()
            if not deleted or "deleted = 0" not in sql
        ]
        if self.before_answer is not None:
            happening, self.before_answer = self.before_answer, None
            await happening()
        return ResultSet(columns=(), rows=rows)

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        assert tuple(columns) == NUMBERS.columns
        for place, id_, text, deleted, at in zip(*data, strict=True):
            self.versions.setdefault((place, id_), []).append(
                ((at - EPOCH) // timedelta(microseconds=1), text, deleted)
            )


def documents(
    table: Table,
    *,
    at: float = 1_000.0,
    of: DocumentTable = NUMBERS,
    unreadable: UnreadableDocuments | None = None,
) -> Documents[int]:
    return Documents(
        cast(Store, table),
        of,
        decode=lambda key, text: int(text),
        encode=str,
        label=lambda key: (key[0], key[1]),
        clock=lambda: at,
        unreadable=unreadable,
    )


def known(of: Documents[int]) -> dict[Key, int]:
    return dict(of.items())


@pytest.mark.parametrize("table", [NUMBERS, RETURNING])
async def test_a_server_whose_clock_is_behind_changes_and_deletes_what_another_made(table: DocumentTable) -> None:
    stored = Table()
    ahead, behind = documents(stored, at=9_000.0, of=table), documents(stored, of=table)
    await ahead.put(A, 1)
    await behind.load()
    await behind.put(A, 2)
    await ahead.load()
    assert known(ahead) == known(behind) == {A: 2}
    await behind.delete(A, 2)
    await ahead.load()
    assert known(ahead) == {}


async def test_a_deletion_wins_over_a_change_that_had_begun_before() -> None:
    stored = Table()
    one, other = documents(stored), documents(stored, at=9_000.0)
    await one.put(A, 1)
    await one.delete(A, 1)
    await other.put(A, 2)
    for each in (one, other):
        await each.load()
        assert known(each) == {}


async def test_a_key_that_returns_is_newer_than_its_deletion_by_a_server_ahead() -> None:
    stored = Table()
    ahead, behind = documents(stored, at=9_000.0, of=RETURNING), documents(stored, of=RETURNING)
    await ahead.put(A, 1)
    await ahead.delete(A, 1)
    await behind.load()
    assert behind.deleted == {A}
    await behind.put(A, 2)
    for each in (ahead, behind):
        await each.load()
        assert (known(each), each.deleted) == ({A: 2}, frozenset())


async def test_an_answer_older_than_a_change_made_here_is_not_taken_over() -> None:
    stored = Table()
    one = documents(stored)
    await one.put(A, 1)
    stored.before_answer = lambda: one.put(A, 2)
    await one.load()
    assert known(one) == {A: 2}
    stored.before_answer = lambda: one.delete(A, 2)
    await one.load()
    assert known(one) == {}


async def test_an_answer_older_than_a_later_one_is_not_taken_over() -> None:
    stored = Table()
    one, other = documents(stored), documents(stored)

    async def later() -> None:
        await other.put(A, 1)
        await one.load()

    stored.before_answer = later
    await one.load()
    assert known(one) == {A: 1}


async def test_the_revision_changes_with_the_documents_only() -> None:
    stored = Table()
    one, other = documents(stored), documents(stored)
    await other.put_all({A: 1, B: 2})
    seen = []
    for happening in (one.load, one.load, lambda: other.put(C, 3), one.load, one.load, lambda: one.delete(A, 1)):
        await happening()
        seen.append(one.revision)
    assert seen == [1, 1, 1, 2, 2, 3]


async def test_an_unreadable_document_is_counted_until_it_changes() -> None:
    stored, unreadable = Table(), UnreadableDocuments()
    one, other = documents(stored, unreadable=unreadable), documents(stored)
    await other.put_all({A: 1, B: 2, C: 3})
    stored.versions[B][0] = (1, "two", 0)
    await one.load()
    assert known(one) == {A: 1, C: 3}
    assert one.unreadable == {B}
    one.skip(A, "inner part")
    one.skip(("x", "none"), "inner part")
    await one.load()
    assert unreadable.ids() == {"x": ("a", "b")}
    await one.put(A, 7)
    assert unreadable.ids() == {"x": ("b",)}
    await one.delete(B, 0)
    assert (unreadable.ids(), one.unreadable) == ({}, frozenset())
    assert stored.versions[B][-1][1:] == ("two", 1)  # what could not be read is kept as it was


async def test_memory_answers_while_clickhouse_is_away() -> None:
    stored = Table()
    one = documents(stored)
    await one.put(A, 1)
    stored.is_away = True
    await one.refresh(0.0)
    assert known(one) == {A: 1}
    with pytest.raises(StoreRetryable):
        await one.load()


async def test_of_many_refreshes_at_once_one_asks() -> None:
    stored = Table()
    asked = 0

    async def count() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)

    stored.before_answer = count
    one = documents(stored)
    await asyncio.gather(*(one.refresh(60.0) for _ in range(5)))
    stored.before_answer = count
    await one.refresh(60.0)
    one.refresh_soon(60.0)
    assert asked == 1
