"""Saved things: names, ids and bounds, and two servers that change them on one ClickHouse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.config import ClickhouseSection, Config
from analytics_server.errors import Conflict, NotFound, RequestError
from analytics_server.saved import store as module
from analytics_server.saved.store import SAVED, Kind, Saved, SavedThing, body_of
from analytics_server.store import Store, make_store, migrate
from analytics_server.store.protocol import ResultSet
from tests.server import wait_for

SITE = "a.example"


class Body(msgspec.Struct):
    n: int = 0


class Table:
    """The table `saved` as ClickHouse keeps it, without ClickHouse. `before_insert` may let others go first."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], list[tuple[int, str, int]]] = {}
        self.before_insert: Callable[[], Awaitable[None]] | None = None

    async def query(self, sql: str) -> ResultSet:
        assert sql == SAVED.select
        newest = {key: max(versions, key=lambda version: version[0]) for key, versions in self.rows.items()}
        rows: list[tuple[object, ...]] = [
            (*key, text, 0, changed_us) for key, (changed_us, text, deleted) in newest.items() if not deleted
        ]
        return ResultSet(columns=(), rows=rows)

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]]) -> None:
        if self.before_insert is not None:
            await self.before_insert()
        (kind,), (site,), (id_,), (text,), (deleted,), (at,) = data
        changed_us = (at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000
        self.rows.setdefault((kind, site, id_), []).append((round(changed_us), text, deleted))

    async def command(self, sql: str) -> None:
        assert sql == "OPTIMIZE TABLE saved FINAL"


def servers(table: Table, *clocks: Callable[[], float]) -> list[Saved]:
    return [Saved(cast(Store, table), clock) for clock in clocks or (lambda: 1_000.0, lambda: 1_000.0)]


def names(saved: Saved, kind: Kind = Kind.GOAL, site: str = SITE) -> list[str]:
    return [thing.name for thing in saved.all(kind, site)]


async def put(saved: Saved, name: str, n: int = 0, **more: Any) -> SavedThing:
    return await saved.put(Kind.GOAL, SITE, name, Body(n), **more)


# ---- one server --------------------------------------------------------


async def test_a_thing_is_found_by_id_and_by_name_until_it_is_deleted() -> None:
    one, _ = servers(Table())
    thing = await put(one, "Signup", 7)

    assert one.get(Kind.GOAL, SITE, thing.id) == one.by_id(Kind.GOAL, thing.id) == thing
    assert one.find(Kind.GOAL, SITE, "Signup") == one.find(Kind.GOAL, SITE, thing.id) == thing
    assert body_of(thing, Body) == Body(7)
    assert one.by_id(Kind.SEGMENT, thing.id) is None
    assert one.find(Kind.GOAL, "b.example", "Signup") is None
    assert await one.delete(Kind.GOAL, SITE, thing.id)
    assert not await one.delete(Kind.GOAL, SITE, thing.id)
    assert one.all(Kind.GOAL, SITE) == one.of_kind(Kind.GOAL) == []


async def test_a_change_keeps_the_id_and_the_day_of_birth() -> None:
    now = [1_000.0]
    one, other = servers(Table(), lambda: now[0], lambda: now[0])
    thing = await put(one, "Signup")
    now[0] = 2_000.0
    changed = await put(one, "Signed up", 1, id_=thing.id)
    await other.load()

    assert (changed.id, changed.created_at_ms, changed.updated_at_ms) == (thing.id, 1_000_000, 2_000_000)
    assert other.all(Kind.GOAL, SITE) == [changed]


async def test_names_are_unique_per_kind_and_site() -> None:
    one, _ = servers(Table())
    thing = await put(one, "Signup")
    with pytest.raises(Conflict) as refused:
        await put(one, "Signup")
    assert (refused.value.code, refused.value.status) == ("name_taken", 409)
    other = await put(one, "signup")
    with pytest.raises(Conflict):
        await put(one, "Signup", id_=other.id)

    await one.put(Kind.SEGMENT, SITE, "Signup", Body())
    await one.put(Kind.GOAL, "b.example", "Signup", Body())
    await put(one, "Signup", 2, id_=thing.id)
    assert names(one) == ["Signup", "signup"]


async def test_annotations_may_share_a_name() -> None:
    one, _ = servers(Table())
    for _ in range(2):
        await one.put(Kind.ANNOTATION, SITE, "Deploy", Body())

    assert names(one, Kind.ANNOTATION) == ["Deploy", "Deploy"]


@pytest.mark.parametrize("name", ["x", "x" * 120, "Käufe > 10 €", "👨‍👩‍👧", "a b", "e\u0301", "\u200b"])
async def test_what_can_be_a_name(name: str) -> None:
    one, _ = servers(Table())
    await put(one, name)

    assert names(one) == [name]


@pytest.mark.parametrize("name", ["", " ", "x" * 121, " x", "x ", "x\n", "a\nb", "a\x00b", "\x7f", "a\x85b", "\u2028"])
async def test_what_can_not_be_a_name(name: str) -> None:
    one, _ = servers(Table())
    with pytest.raises(RequestError) as refused:
        await put(one, name)

    assert refused.value.code == "bad_name"
    assert names(one) == []


async def test_a_site_may_have_so_many_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_SITE", 3)
    one, _ = servers(Table())
    things = [await put(one, str(number)) for number in range(3)]
    with pytest.raises(RequestError) as refused:
        await put(one, "3")
    assert refused.value.code == "too_many"
    await one.put(Kind.SEGMENT, SITE, "3", Body())
    await put(one, "changed", id_=things[0].id)
    await one.delete(Kind.GOAL, SITE, things[1].id)

    await put(one, "3")
    assert names(one) == ["2", "3", "changed"]


async def test_what_a_newer_version_has_saved_is_left_out() -> None:
    table = Table()
    one, _ = servers(table)
    await put(one, "Signup")
    table.rows["alert", SITE, "x"] = [(1, '{"name":"x","body":{},"created_at_ms":0,"updated_at_ms":0}', 0)]
    table.rows["goal", SITE, "y"] = [(1, '{"title":"x"}', 0)]
    await one.load()

    assert names(one) == ["Signup"]


async def test_a_body_that_can_not_be_read_is_named() -> None:
    one, _ = servers(Table())
    thing = await one.put(Kind.GOAL, SITE, "Signup", {"n": "many"})
    with pytest.raises(RequestError, match=f"Signup.*{thing.id}") as refused:
        body_of(thing, Body)

    assert refused.value.code == "bad_saved"


# ---- two servers -------------------------------------------------------


async def test_what_another_server_has_saved_counts_before_it_is_known_here() -> None:
    one, other = servers(Table())
    thing = await put(one, "Signup")

    with pytest.raises(Conflict):
        await put(other, "Signup")
    await one.delete(Kind.GOAL, SITE, thing.id)
    assert (await put(other, "Signup")).id != thing.id


async def test_what_another_server_has_deleted_does_not_come_back_by_a_change() -> None:
    one, other = servers(Table())
    thing = await put(one, "Signup")
    await other.load()
    await one.delete(Kind.GOAL, SITE, thing.id)

    with pytest.raises(NotFound):
        await put(other, "Signup", 1, id_=thing.id)
    assert names(other) == []


async def test_of_two_that_give_one_name_at_the_same_moment_none_or_one_stays() -> None:
    table = Table()
    one, other = servers(table)
    both_have_looked = asyncio.Barrier(2)
    inserts = 0

    async def together() -> None:
        nonlocal inserts
        inserts += 1
        if inserts <= 2:
            await both_have_looked.wait()

    table.before_insert = together
    answers = await asyncio.gather(put(one, "Signup"), put(other, "Signup"), return_exceptions=True)

    for saved in (one, other):
        await saved.load()
    stayed = [answer for answer in answers if isinstance(answer, SavedThing)]
    assert [answer for answer in answers if not isinstance(answer, Conflict)] == stayed
    assert len(stayed) <= 1
    assert one.all(Kind.GOAL, SITE) == other.all(Kind.GOAL, SITE) == stayed
    await put(one, "Signup again")


async def test_a_name_given_away_meanwhile_leaves_the_old_one() -> None:
    table = Table()
    one, other = servers(table)
    thing = await put(one, "Signup")

    async def other_is_faster() -> None:
        table.before_insert = None
        await put(other, "Signed up")

    table.before_insert = other_is_faster
    with pytest.raises(Conflict):
        await put(one, "Signed up", 5, id_=thing.id)

    for saved in (one, other):
        await saved.load()
        assert names(saved) == ["Signed up", "Signup"]
        assert saved.get(Kind.GOAL, SITE, thing.id) is not None
        assert body_of(cast(SavedThing, saved.get(Kind.GOAL, SITE, thing.id)), Body) == Body(0)


async def test_a_server_whose_clock_is_behind_can_change_what_another_made() -> None:
    one, other = servers(Table(), lambda: 10_000.0, lambda: 1_000.0)
    thing = await put(one, "Signup")
    await put(other, "Signed up", 1, id_=thing.id)
    await one.load()
    assert names(one) == ["Signed up"]

    await other.delete(Kind.GOAL, SITE, thing.id)
    await one.load()
    assert names(one) == []


Change = tuple[int, str, str, int]
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["put", "change", "delete", "load"]),
        st.sampled_from("abc"),
        st.integers(0, 9),
    ),
    max_size=30,
)


@given(changes=CHANGES, skew=st.integers(-3, 3))
def test_servers_that_take_turns_agree_with_a_dictionary(changes: list[Change], skew: int) -> None:
    async def play() -> None:
        time = [100.0]
        both = servers(Table(), lambda: time[0], lambda: time[0] + skew)
        expected: dict[str, int] = {}
        ids: dict[str, str] = {}
        for server, what, name, n in changes:
            time[0] += 0.000_001 * n
            saved = both[server]
            if what == "load":
                await saved.load()
            elif what == "put":
                try:
                    ids[name] = (await put(saved, name, n)).id
                    assert name not in expected
                    expected[name] = n
                except Conflict:
                    assert name in expected
            elif name in expected:
                await saved.load()
                if what == "delete":
                    assert await saved.delete(Kind.GOAL, SITE, ids[name])
                    del expected[name]
                else:
                    await put(saved, name, n, id_=ids[name])
                    expected[name] = n
        for saved in both:
            await saved.load()
            assert {thing.name: body_of(thing, Body).n for thing in saved.all(Kind.GOAL, SITE)} == expected

    asyncio.run(play())


# ---- a real ClickHouse -------------------------------------------------


@pytest_asyncio.fixture
async def stores(clickhouse_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """Two servers' connections to one database."""
    url, _, database = clickhouse_url.rpartition("/")
    config = Config(clickhouse=ClickhouseSection(url=url, database=database, threads=2))
    one, other = make_store(config), make_store(config)
    for store in (one, other):
        await store.open()
    await migrate(one)
    yield one, other
    await one.close()
    await other.close()


async def test_a_change_is_known_to_the_other_server_within_the_refresh(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.05)
    one, other = (Saved(store) for store in stores)
    refreshing = asyncio.create_task(other.run())

    async def until(expected: list[str]) -> None:
        async def there() -> bool:
            return names(other) == expected

        await wait_for(there, what=f"{expected} on the other server")

    thing = await put(one, "Signup")
    await until(["Signup"])
    await put(one, "Ünterschrift 👍", id_=thing.id)
    await until(["Ünterschrift 👍"])
    await one.delete(Kind.GOAL, SITE, thing.id)
    await until([])
    refreshing.cancel()
    await asyncio.gather(refreshing, return_exceptions=True)


async def test_of_many_that_save_one_name_at_once_at_most_one_stays(stores: tuple[Store, Store]) -> None:
    both = [Saved(store) for store in stores]
    for number in range(5):
        site = f"race-{number}.example"
        answers = await asyncio.gather(
            *(saved.put(Kind.SEGMENT, site, "Same", Body()) for saved in both), return_exceptions=True
        )
        for saved in both:
            await saved.load()
        stayed = [answer for answer in answers if isinstance(answer, SavedThing)]
        assert all(isinstance(answer, SavedThing | Conflict) for answer in answers)
        assert len(stayed) <= 1
        assert both[0].all(Kind.SEGMENT, site) == both[1].all(Kind.SEGMENT, site) == stayed
