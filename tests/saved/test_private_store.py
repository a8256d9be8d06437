"""Private things in the store: names and bounds of each person's own, what others get, and what removal leaves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from analytics_server.access.people.accounts import PEOPLE, Accounts, Rights
from analytics_server.access.principals import Role
from analytics_server.errors import Conflict, NotFound, RequestError
from analytics_server.saved.owners import OwnerWatch
from analytics_server.saved.store import SAVED, Kind, Saved, SavedThing
from analytics_server.store import Store
from tests.saved.api import Api
from tests.saved.test_store import Table, servers

SITE, ANNA, BEN = "a.example", "aaaaaaaaaaaa", "bbbbbbbbbbbb"
CHANGED = ("document", "deleted", "updated_at")


class Body(msgspec.Struct):
    n: int = 0


async def put(saved: Saved, name: str, owner: str = "", **more: Any) -> SavedThing:
    return await saved.put(Kind.QUERY, SITE, name, Body(), owner=owner, **more)


async def test_a_private_thing_is_found_by_who_asks_for_the_owner_s_alone() -> None:
    one, other = servers(Table())
    shared, thing = await put(one, "Week"), await put(one, "Week", ANNA)
    await other.load()

    for saved in (one, other):
        assert saved.by_id(Kind.QUERY, thing.id, ANNA) == saved.get(Kind.QUERY, SITE, thing.id, ANNA) == thing
        assert saved.all(Kind.QUERY, SITE, ANNA) == [thing]
        assert saved.place(Kind.QUERY, thing.id, ANNA) == (SITE, ANNA)
        assert saved.by_id(Kind.QUERY, shared.id, ANNA) == shared
        for owner in ("", BEN):
            assert saved.by_id(Kind.QUERY, thing.id, owner) is None
            assert saved.get(Kind.QUERY, SITE, thing.id, owner) is None
            assert saved.place(Kind.QUERY, thing.id, owner) is None
        assert saved.all(Kind.QUERY, SITE) == saved.of_kind(Kind.QUERY) == [shared]
        assert saved.find(Kind.QUERY, SITE, thing.id) is None
        assert saved.find(Kind.QUERY, SITE, "Week") == shared
        assert saved.owners() == {ANNA}


async def test_only_the_owner_deletes_it_and_a_change_keeps_the_day_of_birth() -> None:
    one, _ = servers(Table())
    thing = await put(one, "Week", ANNA)

    for owner in ("", BEN):
        assert not await one.delete(Kind.QUERY, SITE, thing.id, owner)
    assert one.all(Kind.QUERY, SITE, ANNA) == [thing]
    assert (await put(one, "Month", ANNA, id_=thing.id)).created_at_ms == thing.created_at_ms
    assert await one.delete(Kind.QUERY, SITE, thing.id, ANNA)
    assert one.all(Kind.QUERY, SITE, ANNA) == []


async def test_a_name_is_each_person_s_own() -> None:
    one, other = servers(Table())
    for owner in ("", ANNA, BEN):
        await put(one, "Week", owner)
    for owner in ("", ANNA, BEN):
        with pytest.raises(Conflict):
            await put(other, "Week", owner)


async def test_what_another_server_has_deleted_does_not_come_back() -> None:
    one, other = servers(Table())
    thing = await put(one, "Week", ANNA)
    await other.load()
    await one.delete(Kind.QUERY, SITE, thing.id, ANNA)

    with pytest.raises(NotFound) as refused:
        await put(other, "Month", ANNA, id_=thing.id)
    assert refused.value.code == "unknown_query"


async def test_the_bound_is_each_person_s_own_and_the_site_s_is_another() -> None:
    one, _ = servers(Table())
    for owner in ("", ANNA, BEN):
        for number in range(2):
            await put(one, str(number), owner, most=2)
        with pytest.raises(RequestError) as refused:
            await put(one, "2", owner, most=2)
        assert refused.value.code == "too_many"
        assert ("private" in refused.value.message) == bool(owner)
    await one.put(Kind.QUERY, "b.example", "2", Body(), owner=ANNA, most=2)


async def test_earlier_versions_know_no_such_kind_and_leave_it_out() -> None:
    table = Table()
    one, _ = servers(table)
    thing = await put(one, "Week", ANNA)

    assert list(table.rows) == [("private_query", SITE, f"{ANNA}/{thing.id}")]
    with pytest.raises(ValueError, match="private_query"):
        Kind("private_query")


async def test_what_has_no_owner_or_an_unknown_kind_is_left_out() -> None:
    table = Table()
    one, _ = servers(table)
    text = '{"name":"x","body":{},"created_at_ms":0,"updated_at_ms":0}'
    for kind, id_ in (("private_query", "x"), ("private_query", "/x"), ("private_alert", f"{ANNA}/x")):
        table.rows[kind, SITE, id_] = [(1, text, 0)]
    await one.load()

    assert one.everything() == []


async def test_what_can_not_be_read_is_deleted_by_its_owner_or_with_them() -> None:
    table = Table()
    one, _ = servers(table)
    for id_ in ("0a", "0b"):
        table.rows["private_query", SITE, f"{ANNA}/{id_}"] = [(1, "{", 0)]
    await one.load()

    assert one.owners() == {ANNA}
    assert one.place(Kind.QUERY, "0a") is one.place(Kind.QUERY, "0a", BEN) is None
    assert one.place(Kind.QUERY, "0a", ANNA) == (SITE, ANNA)
    assert await one.delete(Kind.QUERY, SITE, "0a", ANNA)
    assert await one.delete_private([BEN]) == 0
    assert await one.delete_private([ANNA]) == 1
    assert one.owners() == frozenset()


# ---- a real ClickHouse -------------------------------------------------


async def kept(store: Store) -> list[tuple[str, str, str]]:
    """Kind, id and text of everything in the table, versions and deleted ones included."""
    answer = await store.query("SELECT kind, id, document FROM saved WHERE document != ''")
    return [(str(kind), str(id_), str(text)) for kind, id_, text in answer.rows]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_removed_person_s_private_things_leave_no_text(api: Api) -> None:
    store = api.service.context.store
    people, saved = Accounts(store, refresh_s=0.0), Saved(store)
    rights = Rights(roles={SITE: Role.VIEWER})
    anna, ben = [await people.add(f"{name}@example.org", name="", rights=rights, password_hash="x") for name in "ab"]
    await store.insert("people", (*PEOPLE.key_columns, *CHANGED), [["person"], ["cc"], ["{"], [0], [datetime.now(UTC)]])
    for owner in (anna.id, ben.id, "cc", ""):
        await put(saved, f"of {owner or 'all'}", owner)
    broken = ("private_query", SITE, f"{anna.id}/0a", "{", 0, datetime.now(UTC))
    await store.insert("saved", (*SAVED.key_columns, *CHANGED), [[value] for value in broken])
    lost: set[str] = set()
    watch = OwnerWatch(saved, people, lost.__contains__)

    assert await watch.clean() == 0
    await Accounts(store).remove(anna.id)  # by another server
    lost.add("people")
    assert await watch.clean() == 0
    lost.clear()
    await saved.load()
    assert await watch.clean() == 2
    assert await watch.clean() == 0
    assert saved.owners() == {ben.id, "cc"}  # one who can't be read is not gone
    assert [id_ for _, id_, _ in await kept(store) if anna.id in id_] == []
    assert [thing.name for thing in saved.all(Kind.QUERY, SITE)] == ["of all"]
    await saved.delete_private([ben.id, "cc"])


@pytest.mark.asyncio(loop_scope="module")
async def test_who_loses_the_last_role_is_removed_with_what_is_theirs(api: Api) -> None:
    store = api.service.context.store
    people, saved = Accounts(store, refresh_s=0.0), Saved(store)
    rights = Rights(roles={SITE: Role.VIEWER})
    anna = await people.add("anna@example.org", name="", rights=rights, password_hash="x")
    await put(saved, "Week", anna.id)

    await people.change(anna.id, lambda each: msgspec.structs.replace(each, rights=Rights()))
    assert await OwnerWatch(saved, people, lambda table: False).clean() == 1
    assert saved.owners() == frozenset()
