"""Two servers, each with its own log, on one ClickHouse: the same salts, sites and tokens, each event once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import clickhouse_connect
import msgspec
import pytest

from tests.clickhouse import ClickHouseFront
from tests.clickhouse_front.faults import Fault
from tests.e2e.conftest import assert_clean
from tests.e2e.load import Load
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.server import Client, RunningServer, wait_for

DATABASE = "several"
SETTINGS = {"ingest_flush_interval_ms": "500", "clickhouse_database": DATABASE}
LEARNED_S = 15.0
"""A server looks for the others' changes at least so often. What ends or is forbidden is asked for anew within half a
second: `tests/access/test_revocation.py`, `test_sites.py`."""
OF_TWO_SERVERS = (
    "SELECT count() FROM (SELECT uniqExact(startsWith(session_id, 'left')) AS servers "
    "FROM events WHERE site_id = 'load.example' GROUP BY batch_id) WHERE servers > 1"
)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseFront]:
    front = ClickHouseFront(tmp_path_factory.mktemp("clickhouse"))
    front.start()
    yield front
    front.stop()


@pytest.fixture(scope="module")
def servers(
    front: ClickHouseFront, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningServer, RunningServer]]:
    """Both start at the same moment on an empty ClickHouse: they make schema and salts together."""
    directory = tmp_path_factory.mktemp("servers")
    left, right = (RunningServer(directory / name, {**SETTINGS, "clickhouse_url": front.url}) for name in ("l", "r"))
    with ThreadPoolExecutor(2) as pool:
        for started in [pool.submit(server.start) for server in (left, right)]:
            started.result()
    yield left, right
    front.faults.clear()
    assert [left.terminate(), right.terminate()] == [0, 0]
    for server in (left, right):
        assert_clean(server.log)


def event(site: str, **fields: object) -> dict[str, object]:
    return {"site": site, "name": "x", "url": f"https://{site}/", **fields}


async def both_flushed(*servers: RunningServer) -> None:
    for server in servers:
        async with Client(server) as client:
            await client.flushed()


def ask(front: ClickHouseFront, sql: str) -> Any:
    client: Any = clickhouse_connect.get_client(dsn=front.url, database=DATABASE)
    try:
        return client.query(sql).result_rows[0][0]
    finally:
        client.close()


async def test_one_visitor_of_both_servers_is_one_visitor(servers: tuple[RunningServer, RunningServer]) -> None:
    left, right = servers
    site = f"visitor-{uuid4().hex[:8]}.example"
    async with Client(left) as one, Client(right) as other:
        await one.send(event(site))
        await other.send(event(site))
        await other.send(event(site), headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko Firefox/142.0"})
        await both_flushed(left, right)
        assert await one.count(site, "visitors") == await other.count(site, "visitors") == 2


async def test_a_site_made_on_one_server_is_known_to_the_other(servers: tuple[RunningServer, RunningServer]) -> None:
    left, right = servers
    site = f"shared-{uuid4().hex[:8]}.example"
    async with Client(left) as one, Client(right) as other:
        made = await one.call("POST", "/api/v1/sites", {"site_id": site, "allowed_hosts": [f"shop.{site}"]})
        assert made.status == 201

        async def known() -> bool:
            listed = (await other.call("GET", "/api/v1/sites")).json["sites"]
            return any(each["site_id"] == site and each["allowed_hosts"] == [f"shop.{site}"] for each in listed)

        await wait_for(known, LEARNED_S, "the site on the other server")
        reply = await other.send(event(site))
        assert reply.json["dropped"] == {"hostname": 1}


async def test_a_token_of_one_server_holds_on_the_other_until_it_is_revoked(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    left, right = servers
    async with Client(left) as one, Client(right) as other:
        made = (await one.call("POST", "/api/v1/tokens", {"role": "admin", "name": "shared"})).json

        async def taken() -> bool:
            return (await other.call("GET", "/api/v1/sites", token=made["token"])).status == 200

        await wait_for(taken, LEARNED_S, "the token on the other server")
        assert (await one.call("DELETE", f"/api/v1/tokens/{made['token_id']}")).status in (200, 204)

        async def refused() -> bool:
            return (await other.call("GET", "/api/v1/sites", token=made["token"])).status == 401

        await wait_for(refused, LEARNED_S, "the token's end on the other server")


async def test_a_session_and_a_share_link_of_one_server_hold_on_the_other_until_they_end(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    left, right = servers
    site = f"ended-{uuid4().hex[:8]}.example"
    person = {"email": f"anna@{site}", "password": "seven green umbrellas"}
    async with Client(left) as one, Client(right) as other:
        await one.call("POST", "/api/v1/sites", {"site_id": site})
        assert (await one.call("POST", "/api/v1/people", {**person, "roles": {site: "viewer"}})).status == 201
        entered = await one.request("POST", "/api/v1/session", msgspec.json.encode(person))
        cookie = {"Cookie": entered.headers["Set-Cookie"].partition(";")[0]}
        made = (await one.call("POST", "/api/v1/share-links", {"site_id": site})).json
        opening = msgspec.json.encode({"secret": made["link"].rpartition("/")[2]})
        opened = await one.request("POST", "/api/v1/share/open", opening, {"Authorization": ""})
        token = {"Authorization": f"Bearer {opened.json['token']}"}

        async def statuses() -> list[int]:
            return [(await other.get("/api/v1/session", headers)).status for headers in (cookie, token)]

        async def both(status: int) -> bool:
            return await statuses() == [status, status]

        await wait_for(lambda: both(200), LEARNED_S, "the session and the link on the other server")
        ended = await one.request("DELETE", "/api/v1/session", None, {**cookie, "Origin": left.url})
        revoked = await one.call("DELETE", f"/api/v1/share-links/{made['link_id']}")
        assert (ended.status, revoked.status) == (204, 204)
        await wait_for(lambda: both(401), LEARNED_S, "their end on the other server")


async def test_a_profile_set_on_one_server_is_in_effect_on_the_other(
    front: ClickHouseFront, servers: tuple[RunningServer, RunningServer]
) -> None:
    left, right = servers
    site = f"profile-{uuid4().hex[:8]}.example"
    question = {"site_id": site, "metrics": ["events"], "dimensions": ["visit:source"], "date_range": "all"}
    async with Client(left) as one, Client(right) as other:
        await one.call("POST", "/api/v1/sites", {"site_id": site})

        async def answers(status: int) -> bool:
            return (await other.call("POST", "/api/v1/query", question)).status == status

        await wait_for(lambda: answers(200), LEARNED_S, "the site on the other server")
        changed = await one.call("PUT", f"/api/v1/sites/{site}", {"profile": "fr-exempt"})
        assert changed.status == 200
        await wait_for(lambda: answers(400), LEARNED_S, "the profile on the other server")
        await other.send(event(site, referrer="https://search.example/"))
        await both_flushed(left, right)
    assert ask(front, f"SELECT source FROM events WHERE site_id = '{site}'") == ""


async def test_a_goal_saved_on_one_server_is_known_to_questions_of_the_other(
    servers: tuple[RunningServer, RunningServer],
) -> None:
    left, right = servers
    site = f"goal-{uuid4().hex[:8]}.example"
    question = {"site_id": site, "metrics": ["events"], "date_range": "all", "filters": [["goal", "Joined"]]}
    async with Client(left) as one, Client(right) as other:
        await one.send([event(site), event(site, name="signup")])
        await both_flushed(left, right)
        made = await one.call("POST", "/api/v1/goals", {"site_id": site, "name": "Joined", "event": "signup"})
        assert made.status == 201

        async def events(status: int, code: str) -> bool:
            reply = await other.call("POST", "/api/v1/query", question)
            if reply.status != status:
                return False
            return reply.code == code if code else reply.json["results"][0]["metrics"] == [1]

        await wait_for(lambda: events(200, ""), LEARNED_S, "the goal on the other server")
        assert (await other.call("DELETE", f"/api/v1/goals/{made.json['id']}")).status == 204
        assert await events(400, "unknown_goal")


async def test_both_servers_give_a_name_once(servers: tuple[RunningServer, RunningServer]) -> None:
    left, right = servers
    site = f"name-{uuid4().hex[:8]}.example"
    goal = {"site_id": site, "name": "Joined", "event": "signup"}
    async with Client(left) as one, Client(right) as other:
        for client in (one, other):
            await client.send(event(site))
        replies = await asyncio.gather(*(client.call("POST", "/api/v1/goals", goal) for client in (one, other)))

        made = [reply for reply in replies if reply.status == 201]
        assert {reply.status for reply in replies} <= {201, 409}
        assert len(made) <= 1
        for client in (one, other):
            listed = [(await client.call("GET", f"/api/v1/goals/{reply.json['id']}")).json for reply in made]
            assert listed == [reply.json for reply in made]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_every_event_is_stored_once_when_one_is_killed_in_the_middle_of_a_flush(
    servers: tuple[RunningServer, RunningServer], front: ClickHouseFront, when: str
) -> None:
    """Both flush into the same hour of one site; one dies before or after ClickHouse's commit, and comes back."""
    left, right = servers
    loads = [Load(left, workers=3, session=f"left-{when}"), Load(right, workers=3, session=f"right-{when}")]
    async with loads[0], loads[1]:
        for load in loads:
            await load.until_acknowledged(500)
    await both_flushed(left, right)
    front.faults.add(Fault(kind="stall", statement="insert", contains="INTO events", when=when))  # type: ignore[arg-type]
    async with loads[0]:
        await asyncio.to_thread(front.faults.wait_stalled)
        async with loads[1]:
            await loads[0].until_acknowledged(len(loads[0].acknowledged) + 200)
            left.kill()
            await loads[1].until_acknowledged(len(loads[1].acknowledged) + 500)
            await asyncio.to_thread(left.restart)
            front.faults.clear()
            await loads[1].until_acknowledged(len(loads[1].acknowledged) + 500)
    async with loads[0], loads[1]:
        for load in loads:
            await load.until_acknowledged(len(load.acknowledged) + 200)
    await both_flushed(left, right)

    everything: set[str] = set().union(*(load.acknowledged for load in loads))
    await assert_every_event_stored_once_everywhere(front.url, everything, database=DATABASE)
    assert await asyncio.to_thread(ask, front, OF_TWO_SERVERS) == 0
    assert not [path for server in (left, right) for path in (server.data_dir / "dead-letters").glob("*")]


async def test_every_event_is_stored_once_when_one_is_killed_again_and_again(
    servers: tuple[RunningServer, RunningServer], front: ClickHouseFront
) -> None:
    """What the killed one left in doubt is made good while the other flushes without pause."""
    left, right = servers
    loads = [Load(left, workers=3, session="left-again"), Load(right, workers=3, session="right-again")]
    async with loads[1]:
        for _ in range(2):
            async with loads[0]:
                await loads[0].until_acknowledged(len(loads[0].acknowledged) + 300)
                left.kill()
            await asyncio.to_thread(left.restart)
    await both_flushed(left, right)

    everything: set[str] = set().union(*(load.acknowledged for load in loads))
    await assert_every_event_stored_once_everywhere(front.url, everything, database=DATABASE)
    assert await asyncio.to_thread(ask, front, OF_TWO_SERVERS) == 0
