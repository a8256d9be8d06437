"""The opt-out list, on the real engine: keyed hashes only, known to other servers, asked without cost while empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analytics_server.config import ClickhouseSection, Config
from analytics_server.privacy import opt_outs as opt_outs_module
from analytics_server.privacy.opt_outs import OptOuts
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store import Store, make_store, migrate
from tests.collect.world import World, answered
from tests.privacy.engine_bytes import files_with
from tests.server import wait_for

USER = "user-who-opted-out"


@pytest.fixture
async def store(embedded_path: Path) -> AsyncIterator[Store]:
    made = make_store(Config(clickhouse=ClickhouseSection(url=f"chdb://{embedded_path}", database="opt_outs_test")))
    await made.open()
    await migrate(made)
    yield made
    await made.command("DROP DATABASE opt_outs_test")
    await made.close()


async def a_server(store: Store) -> OptOuts:
    """The list as one server knows it."""
    hashes = UserHashes(store)
    await hashes.load()
    opt_outs = OptOuts(store, hashes)
    await opt_outs.load()
    return opt_outs


async def test_a_user_on_the_list_is_known_on_all_sites_and_no_other_user_is(store: Store) -> None:
    opt_outs = await a_server(store)
    assert not opt_outs.has("a.example", USER)

    (entry,) = await opt_outs.add(USER, ())

    assert opt_outs.has("a.example", USER)
    assert opt_outs.has("b.example", USER)
    assert not opt_outs.has("a.example", f"{USER}2")
    assert await opt_outs.add(USER, ()) == [entry]


async def test_an_entry_of_single_sites_counts_there_alone(store: Store) -> None:
    opt_outs = await a_server(store)
    await opt_outs.add(USER, ("a.example",))

    assert (opt_outs.has("a.example", USER), opt_outs.has("b.example", USER)) == (True, False)
    assert [entry.site_id for entry in opt_outs.of_sites(lambda site: site == "a.example", all_sites=False)]
    assert not opt_outs.of_sites(lambda site: site == "b.example", all_sites=False)
    assert await opt_outs.remove(USER, ("b.example",)) == []
    assert await opt_outs.remove(USER, ("a.example",)) == ["a.example"]
    assert not opt_outs.has("a.example", USER)


async def test_servers_that_start_together_share_one_key_and_learn_of_changes(store: Store) -> None:
    left, right = await asyncio.gather(a_server(store), a_server(store))
    await left.add(USER, ())
    await right.load()
    assert right.has("a.example", USER)

    await right.remove(USER, ())
    await left.load()
    assert not left.has("a.example", USER)


async def test_a_server_that_keeps_a_later_key_takes_over_the_oldest_with_a_refresh(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs_module, "REFRESH_S", 0.01)
    left = await a_server(store)
    older = datetime.now(UTC) - timedelta(minutes=1)  # of one that read nothing either, and whose clock is behind
    await store.insert("privacy_keys", ("key", "created_at"), [["11" * 32], [older]])
    right = await a_server(store)
    await right.add(USER, ())
    assert not left.has("a.example", USER)

    task = asyncio.create_task(left.run())

    async def known() -> bool:
        return left.has("a.example", USER)

    await wait_for(known, 30, "the key that counts")
    assert left.hash_of(USER) == right.hash_of(USER)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_of_servers_that_start_together_one_makes_the_key(store: Store) -> None:
    servers = [UserHashes(store) for _ in range(4)]
    await asyncio.gather(*(server.load() for server in servers))
    assert (await store.query("SELECT count() FROM privacy_keys")).rows == [(1,)]
    assert len({server.of(USER) for server in servers}) == 1


async def test_the_user_id_is_in_no_file(store: Store, embedded_path: Path) -> None:
    opt_outs = await a_server(store)
    await opt_outs.add(USER, ())

    assert not files_with(embedded_path, USER.encode())


async def test_events_of_the_user_are_dropped_with_the_reason_and_leave_nothing_behind() -> None:
    world = World(opted_out={("a.example", USER)})
    event = {"site": "a.example", "name": "x", "url": "https://a.example/", "session_id": "s"}

    first = answered(await world.send({**event, "user_id": USER}))
    assert (first["accepted"], first["dropped"]) == (0, {"opted_out": 1})
    assert len(world.sessions) == 0

    second = answered(await world.send({**event, "user_id": "other"}))
    assert (second["accepted"], [row["user_id"] for row in world.events]) == (1, ["other"])
    assert world.sample("ingest_step_events_total", step="opt_out", outcome="dropped") == 1
