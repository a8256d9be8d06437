"""Erasure by a real server: nothing of the person is left anywhere, and all numbers are those of the other events."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.config import ClickhouseSection, Config, PrivacySection
from analytics_server.errors import StoreRetryable
from analytics_server.model import Site
from analytics_server.privacy.certificate import Certificate, hash_of
from analytics_server.privacy.expiry import site_tables
from analytics_server.privacy.expiry.purge import Expiry
from analytics_server.privacy.report.history import ERASURE_DONE
from analytics_server.store import make_store
from tests.e2e.load import SITE, Load
from tests.faults.conftest import MakePlace, make_place
from tests.faults.event_counts import assert_every_event_stored_once_everywhere
from tests.privacy.engine_bytes import files_with
from tests.privacy.erasing import SETTINGS, assert_erased, filled
from tests.privacy.people import ANNA, FIRST, PEOPLE, SITES, Traffic, certificate, erased, exported
from tests.privacy.test_expiry import Noted
from tests.server import Client, RunningServer, wait_for

__all__ = ["make_place"]

pytestmark = pytest.mark.timeout(400)
"""Each starts a server or two, and waits until ClickHouse has deleted its old files."""


async def test_nothing_of_the_person_is_left_and_the_others_numbers_are_theirs(tmp_path: Path) -> None:
    with RunningServer(tmp_path, SETTINGS) as server:
        traffic = await filled(server, 1, funnels=True)
        async with Client(server) as client:
            assert {msgspec.json.decode(line)["table"][:6] for line in await exported(client, ANNA)} >= {
                *("events", "sessio", "activi", "funnel")
            }
            lines = await exported(client, ANNA)
            assert await exported(client, ANNA) == lines
            found = await erased(client, ANNA)
            assert found["named_in"] == []
            entries = (await client.call("GET", "/api/v1/privacy/audit")).json["entries"]
            done = [entry for entry in entries if entry["operation"] == ERASURE_DONE]
            assert {entry["site_id"] for entry in done} == set(SITES)
            assert {entry["details"]["certificate_hash"] for entry in done} == {found["hash"]}
            assert ANNA not in str(done)
        assert found["verified"]
        assert found["files_removed"]
        assert found["removed"]["events"] == len(traffic.of(ANNA))
        assert found["removed"]["activity"] > 0
        assert found["rebuilt"]["traffic"] > 0
        assert ANNA not in str(found)
        assert hash_of(msgspec.convert(found, Certificate)) == found["hash"]
        await assert_erased(server, traffic)


async def test_a_site_at_a_time_then_everywhere_and_again_when_new_events_come(tmp_path: Path) -> None:
    with RunningServer(tmp_path, SETTINGS) as server:
        traffic = await filled(server, 3)
        body = {"user_id": ANNA, "confirm": True}
        async with Client(server) as client:
            await assert_refused(client)
            made = await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [SITES[0]]})
            begun = await client.call("POST", "/api/v1/privacy/erase", body, token=made.json["token"])
            found = await certificate(client, begun.json["id"])
            assert found["sites"] == [SITES[0]]
            lines = [msgspec.json.decode(line) for line in await exported(client, ANNA)]
            assert {line["site_id"] for line in lines} == {SITES[1]}
            assert {line["event_id"] for line in lines if line["table"] == "events"} == traffic.of(ANNA, SITES[1])
        assert server.terminate() == 0
        left = {event["event_id"] for event in traffic.events} - traffic.of(ANNA, SITES[0])
        await assert_every_event_stored_once_everywhere(server, left, left)

        server.restart()
        async with Client(server) as client:
            first = await erased(client, ANNA)
            assert first["removed"]["events"] == len(traffic.of(ANNA, SITES[1]))
            again = await client.call("POST", "/api/v1/privacy/erase", body)
            assert (again.status, again.json["certificate"]) == (200, first)
            traffic.seed = 4
            event = traffic.make(1, user_id=ANNA, name="signup")[0]
            assert (await client.send([event], trusted=True)).json["accepted"] == 1
            second = await erased(client, ANNA)
            assert (second["erasure_id"] != first["erasure_id"], second["removed"]["events"]) == (True, 1)
            listed = await client.call("GET", "/api/v1/privacy/erasures")
            assert [one["state"] for one in listed.json["erasures"]] == ["done"] * 4
        await assert_erased(server, traffic)


async def assert_refused(client: Client) -> None:
    """An erasure wants a confirmation, a user id, and knows only its own ids; of an unknown user it removes nothing."""
    refused = await client.call("POST", "/api/v1/privacy/erase", {"user_id": ANNA})
    assert (refused.status, refused.code) == (400, "not_confirmed")
    unknown = await client.call("GET", f"/api/v1/privacy/erasures/{'0' * 32}")
    assert (unknown.status, unknown.code) == (404, "unknown_erasure")
    for wrong in ({"user_id": "", "confirm": True}, {"user_id": "u" * 257, "confirm": True}, {"confirm": True}):
        reply = await client.call("POST", "/api/v1/privacy/erase", wrong)
        assert (reply.status, reply.code) == (400, "bad_body"), reply.body
    nobody = await erased(client, "nobody-is-called-so")
    assert (nobody["removed"], nobody["rebuilt"]) == ({}, {})


async def test_beside_full_ingestion_no_other_event_is_lost_or_counted_twice(tmp_path: Path) -> None:
    with RunningServer(tmp_path) as server:
        traffic = await filled(server, 8)
        async with Load(server, workers=4) as load, Client(server) as client:
            await load.until_acknowledged(500)
            ours = [{"site": SITE, "name": "signup", "url": f"https://{SITE}/", "user_id": ANNA} for _ in range(50)]
            assert (await client.send(ours)).json["accepted"] == 50
            found = await erased(client, ANNA, opt_out=True)
            assert found["removed"]["events"] == len(traffic.of(ANNA)) + 50
            dropped = await client.send(ours)
            assert dropped.json["dropped"] == {"opted_out": 50}
            await load.until_acknowledged(len(load.acknowledged) + 500)
        async with Client(server) as client:
            await client.flushed(120)
            assert not [line for line in await exported(client, ANNA) if b'"opt_outs"' not in line]
        assert server.terminate() == 0
        others = {event["event_id"] for event in traffic.events} - traffic.of(ANNA)
        await assert_every_event_stored_once_everywhere(server, others | load.acknowledged, others | load.sent)
        assert not await asyncio.to_thread(files_with, server.data_dir, ANNA.encode())


async def test_with_two_servers_on_one_clickhouse_what_the_other_holds_is_erased_too(make_place: MakePlace) -> None:
    place = make_place("server")
    left = place.server
    right = RunningServer(
        left.data_dir.parent / "right",
        {**SETTINGS, "clickhouse_url": place.front.url, "clickhouse_database": place.database},
    )
    left.start()
    with right:
        sent = Counter[str]()
        async with Client(left) as one, Client(right) as other:
            for number, client in enumerate((one, other) * 3):
                person = PEOPLE[number % 2]
                event = {"site": SITES[0], "name": "signup", "url": f"https://{SITES[0]}/", "user_id": person}
                assert (await client.send([event] * 10)).json["accepted"] == 10
                sent[person] += 10
            names = {"site_id": SITES[0], "name": "one person", "filters": [["is", "event:props:owner", [ANNA]]]}
            made = await one.call("POST", "/api/v1/segments", names)
            assert made.status == 201, made.body
            for method, body in (("PUT", {"filters": [["is", "event:props:owner", ["nobody"]]]}), ("PUT", names)):
                changed = await one.call(method, f"/api/v1/segments/{made.json['id']}", body)
                assert changed.status == 200, changed.body
            found = await erased(one, ANNA)
            assert found["named_in"] == [f"segment {made.json['id']} of {SITES[0]}"]
            assert found["removed"]["events"] <= sent[ANNA]
            await one.flushed()
            await other.flushed()

            async def all_done() -> bool:
                listed = (await other.call("GET", "/api/v1/privacy/erasures")).json["erasures"]
                return all(each["state"] == "done" for each in listed) and not await exported(one, ANNA)

            await wait_for(all_done, 60, "the end of all erasures")
            assert await one.count(SITES[0]) == sum(sent.values()) - sent[ANNA]
            assert (await other.send([{"site": SITES[0], "name": "x", "user_id": ANNA}])).json["accepted"] == 1
        assert left.terminate() == 0
        assert right.terminate() == 0
    await assert_every_event_stored_once_everywhere(place.front.url, [], database=place.database)


async def test_an_erasure_of_one_server_and_an_expiry_of_another_at_once(
    make_place: MakePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one ClickHouse no lock is between the two: each makes its keys again until they are right."""
    monkeypatch.setattr(site_tables, "SETTLED_S", -5e8)  # what has just come expires, too
    place = make_place("server")
    place.server.start()
    traffic, days = Traffic(11), 30
    section = ClickhouseSection(url=place.front.url, database=place.database, threads=2)
    sites = [Site(site_id=SITES[0], retention_days=days), Site(site_id=SITES[1])]
    cuts = [FIRST.date() + timedelta(days=after) for after in (1, 2, 3)]
    async with Client(place.server) as client:
        await traffic.send(client, 400)
        await client.flushed()
        store = make_store(Config(clickhouse=section))
        await store.open()

        async def expire() -> None:
            for cut in cuts:
                now = datetime.combine(cut, time(12), UTC) + timedelta(days=days)
                expiry = Expiry(
                    store,
                    lambda: sites,
                    settings=PrivacySection(),
                    letters=tmp_path,
                    quarantine=tmp_path,
                    cluster="",
                    recorder=Noted(),
                    holder="the other server",
                    clock=lambda now=now: now,  # type: ignore[misc]
                )
                for _ in range(3):
                    with contextlib.suppress(StoreRetryable):  # a server tries again later
                        assert await expiry.purge() is not None
                        break

        async def erase() -> None:
            for person in (ANNA, PEOPLE[1]):
                assert (await erased(client, person))["verified"]

        await asyncio.gather(expire(), erase())
        await store.close()
        assert place.server.terminate() == 0

    def is_left(event: dict[str, Any]) -> bool:
        is_kept = event["site"] == SITES[1] or datetime.fromisoformat(event["timestamp"]).date() >= cuts[-1]
        return is_kept and event.get("user_id") not in (ANNA, PEOPLE[1])

    left = {event["event_id"] for event in traffic.events if is_left(event)}
    assert 0 < len(left) < len(traffic.events) / 2
    await assert_every_event_stored_once_everywhere(place.front.url, left, left, database=place.database)
