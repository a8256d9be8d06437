"""The erasures of two servers on one ClickHouse, on the real engine: who carries one out, and what each looks after."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from analytics_server.ingest.wal.rewriting import encoded
from analytics_server.privacy import erasure, erasures
from analytics_server.privacy.erasure_jobs import ERASURES, ErasureJob, ErasureJobs
from analytics_server.privacy.erasure_tables import ErasureTables
from analytics_server.privacy.erasures import TAKE_OVER_S
from analytics_server.privacy.scope import SiteScope
from analytics_server.store import Store, documents
from analytics_server.store.lease import TABLE
from tests.ingest.flush.test_letter_removal import ANNA, BATCH, BEN, NOW, row, write_segment
from tests.privacy.erasing_servers import OneServer, engine, servers, store
from tests.server import wait_for
from tests.store.rows import as_columns, event

__all__ = ["engine", "servers", "store"]


@pytest.fixture(autouse=True)
def _promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "LATE_DELIVERY_S", 0.0)


async def stored(store: Store, id_: str) -> tuple[str, str, bool]:
    """An erasure as it stands in the table: phase, server, and has it a certificate?"""
    jobs = ErasureJobs(store)
    await jobs.documents.load()
    job = jobs.get(id_)
    assert job is not None
    return job.phase, job.server, job.certificate is not None


async def test_an_erasure_that_was_done_elsewhere_meanwhile_is_not_written_again(
    store: Store, servers: tuple[OneServer, OneServer]
) -> None:
    left, right = servers
    job = await left.erasures.request(ANNA, SiteScope(), opted_out=False)
    await right.erasures.jobs.documents.load()
    old = right.erasures.jobs.get(job.id)
    assert old is not None
    async with left.running():
        assert (await left.erasures.wait(job, 60)).is_done

    right.now += TAKE_OVER_S + 1  # it was busy with an erasure of its own since it has read the list
    await right.erasures._look_after(old)

    assert await stored(store, job.id) == ("done", job.server, True)
    assert (len(left.certificates), len(right.certificates)) == (1, 0)


async def test_a_server_at_work_keeps_its_erasure_and_one_that_lost_it_writes_nothing_more(
    store: Store, servers: tuple[OneServer, OneServer]
) -> None:
    left, right = servers
    left.log.may_go.clear()
    right.now += TAKE_OVER_S + 1
    async with left.running():
        job = await left.erasures.request(ANNA, SiteScope(), opted_out=False)
        await left.log.is_held.wait()

        await right.erasures.jobs.documents.load()
        mine = right.erasures.jobs.get(job.id)
        assert mine is not None
        await right.erasures._look_after(mine)  # silent for long by its clock, but the lease says otherwise
        assert await stored(store, job.id) == ("deliver", job.server, False)

        await store.command(f"TRUNCATE TABLE {TABLE}")  # as if it had stalled until the lease was over
        await right.erasures._look_after(mine)
        after = await stored(store, job.id)
        assert (after[0], after[2]) == ("done", True)
        assert after[1] != job.server

        left.log.may_go.set()

        async def given_up() -> bool:
            return not left.erasures.working.locked()

        await wait_for(given_up, 60, "the end of the work of the one that lost it")
        assert await stored(store, job.id) == after
    assert (len(left.certificates), len(right.certificates)) == (0, 1)


async def test_the_work_on_an_erasure_ends_when_its_lease_is_lost(
    store: Store, servers: tuple[OneServer, OneServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BEAT_S", 0.05)
    left, _ = servers
    left.log.may_go.clear()
    async with left.running():
        job = await left.erasures.request(ANNA, SiteScope(), opted_out=False)
        await left.log.is_held.wait()
        assert left.erasures.working.locked()
        await store.command(
            f"INSERT INTO {TABLE} (name, claim, step, holder, ends_at, at) SELECT 'erasure-{job.id}', 'another', 1, "
            "'another', now64(6, 'UTC') + INTERVAL 1 HOUR, now64(6, 'UTC')"
        )

        async def given_up() -> bool:
            return not left.erasures.working.locked()

        await wait_for(given_up, 60, "the end of the work, although its log is never delivered")
    assert (await stored(store, job.id))[0] == "deliver"


async def subjects(store: Store) -> list[str]:
    """The erasures whose user ids are stored."""
    return [str(id_) for (id_,) in (await store.query("SELECT id FROM erasure_subjects ORDER BY id")).rows]


async def test_a_user_id_is_not_written_again_under_an_erasure_that_ends(
    store: Store, servers: tuple[OneServer, OneServer], tmp_path: Path
) -> None:
    alone, (left, right) = OneServer(store, tmp_path / "c", has_other_servers=False), servers
    await alone.hashes.load()
    alone.may_end.clear()
    async with alone.running():
        first = await alone.erasures.request(ANNA, SiteScope(), opted_out=False)
        await alone.is_ending.wait()
        alone.log.is_delivered = False
        alone.log.may_go.clear()
        alone.log.is_held.clear()
        asking = asyncio.create_task(alone.erasures.request(ANNA, SiteScope(), opted_out=False))
        await alone.log.is_held.wait()  # it has read the list: the first one is not done
        alone.may_end.set()
        for _ in range(6):  # statements come one after the other: its end would be among them
            await store.command("TRUNCATE TABLE erasure_keys")
        alone.log.may_go.set()
        await asking
        alone.log.is_delivered = True
        assert (await alone.erasures.wait(first, 60)).is_done
        assert (await alone.erasures.wait(await asking, 60)).is_done
        assert await subjects(store) == []

    left.may_end.clear()
    put = right.erasures.jobs.put_subject
    async with left.running():
        second = await left.erasures.request(BEN, SiteScope(), opted_out=False)
        await left.is_ending.wait()
        right.log.is_delivered = False

        async def put_late(job: ErasureJob, user_id: str) -> None:
            if job.id == second.id:  # it ends elsewhere between the look at the list and this
                left.may_end.set()
                assert (await left.erasures.wait(second, 60)).is_done
            await put(job, user_id)

        right.erasures.jobs.put_subject = put_late  # type: ignore[method-assign]
        third = await right.erasures.request(BEN, SiteScope(), opted_out=False)
        assert (third.id != second.id, await subjects(store)) == (True, [third.id])

    await store.insert("erasure_subjects", ("id", "user_id"), [[second.id], [BEN]])  # a crash just after writing it
    right.log.is_delivered = True
    async with right.running():
        assert (await right.erasures.wait(third, 60)).is_done

        async def forgotten() -> bool:
            return not await subjects(store)

        await wait_for(forgotten, 60, "the end of the user id")


async def test_asked_again_it_begins_anew_for_rows_in_letters_and_wherever_other_servers_may_hold_some(
    store: Store, servers: tuple[OneServer, OneServer], tmp_path: Path
) -> None:
    alone, (left, _) = OneServer(store, tmp_path / "c", has_other_servers=False), servers
    await alone.hashes.load()
    letters, quarantine = alone.directory / "letters", alone.directory / "quarantine"

    async def asked(server: OneServer) -> ErasureJob:
        server.now += 1
        job = await server.erasures.request(ANNA, SiteScope(), opted_out=False)
        return await server.erasures.wait(job, 60)

    async with alone.running(), left.running():
        first = await asked(alone)
        write_segment(letters / f"{BATCH:020d}.wal", [row(1, BEN)])
        assert await asked(alone) == first

        write_segment(letters / f"{BATCH:020d}.wal", [row(0, ANNA), row(1, BEN)])
        second = await asked(alone)
        assert second.certificate is not None
        assert (second.id != first.id, second.certificate.removed) == (True, {"dead letters": 1})
        assert await asked(alone) == second

        (quarantine / "damaged").write_bytes(b"no segment" + encoded(ANNA))
        third = await asked(alone)
        assert third.certificate is not None
        assert (third.id != second.id, third.certificate.removed) == (True, {"quarantined segments": 1})
        assert ANNA.encode() not in (quarantine / "damaged").read_bytes()
        assert await asked(alone) == third

        left.now = alone.now
        assert (await asked(left)).id != third.id


async def test_with_an_opt_out_the_cut_off_is_fixed_when_all_servers_know_of_it(
    store: Store, servers: tuple[OneServer, OneServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "BEAT_S", 0.05)
    monkeypatch.setattr(erasure, "OPT_OUT_KNOWN_S", 3600.0)
    left, _ = servers
    without = await left.erasures.request(ANNA, SiteScope(), opted_out=False)
    left.now += 1
    job = await left.erasures.request(ANNA, SiteScope(), opted_out=True)
    assert (job.id != without.id, job.opted_out) == (True, True)
    left.now += 1
    async with left.running():
        assert (await left.erasures.wait(without, 60)).is_done

        async def beats() -> bool:
            found = left.erasures.jobs.get(job.id)
            assert found is not None
            assert found.cut_off == 0
            return found.beat_ms > job.beat_ms

        await wait_for(beats, 60, "a sign of the erasure at work")
    monkeypatch.setattr(erasure, "OPT_OUT_KNOWN_S", 0.0)
    async with left.running():
        assert (await left.erasures.wait(job, 60)).cut_off == BATCH


async def test_a_file_that_cannot_be_read_holds_up_its_own_erasure_alone(
    servers: tuple[OneServer, OneServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "RETRY_S", 0.05)
    left, right = servers
    broken = left.directory / "letters" / f"{BATCH:020d}.wal"
    broken.mkdir()  # opening it fails, as that of another user's file would
    async with left.running():
        first = await left.erasures.request(ANNA, SiteScope(), opted_out=False)
        left.now += 1
        broken_late = await left.erasures.request(BEN, SiteScope(), opted_out=False)

        async def both_wait() -> bool:
            found = [left.erasures.jobs.get(job.id) for job in (first, broken_late)]
            return [job.phase for job in found if job] == ["letters", "letters"]

        await wait_for(both_wait, 60, "the second one, although the first is held up")
        broken.rmdir()
        assert (await left.erasures.wait(first, 60)).is_done
        assert (await left.erasures.wait(broken_late, 60)).is_done

    (right.directory / "letters" / broken.name).mkdir()
    await right.erasures.jobs.documents.load()
    await right.erasures.clean([])  # a start isn't held up either
    (right.directory / "letters" / broken.name).rmdir()
    write_segment(right.directory / "letters" / broken.name, [row(0, ANNA)])
    async with right.running():

        async def gone() -> bool:
            return not (right.directory / "letters" / broken.name).exists()

        await wait_for(gone, 60, "the letter's end by the running server")


async def test_a_server_follows_erasures_of_another_while_it_is_busy_with_its_own(
    servers: tuple[OneServer, OneServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "LOOK_S", 0.05)
    left, right = servers
    letter = right.directory / "letters" / f"{BATCH:020d}.wal"
    write_segment(letter, [row(0, ANNA)])
    segment = write_segment(right.directory / "wal" / f"{BATCH:020d}.wal", [row(2, ANNA), row(3, BEN)])
    right.log.may_go.clear()
    async with right.running(), left.running():
        busy = await right.erasures.request(BEN, SiteScope(), opted_out=False)
        await right.log.is_held.wait()
        job = await left.erasures.request(ANNA, SiteScope(), opted_out=False)
        assert (await left.erasures.wait(job, 60)).is_done

        async def followed() -> bool:
            follows = [one.follows for one in right.erasures.jobs.all()]
            return job.id in follows and not letter.exists()

        await wait_for(followed, 60, "an erasure of what the other server holds")
        assert not (await right.erasures.wait(busy, 0)).is_done  # its log is not delivered, so that is not waited for
        segment.unlink()
        right.log.may_go.set()

        async def all_done() -> bool:
            return all(one.is_done for one in right.erasures.jobs.all())

        await wait_for(all_done, 60, "the end of all erasures")
    assert [one.follows for one in right.erasures.jobs.all()].count(job.id) == 1


async def test_a_rollup_that_still_names_the_person_is_seen_beside_new_events(store: Store) -> None:
    for table in ("events", "sessions", "activity", "traffic", "openings"):
        await store.command(f"TRUNCATE TABLE {table}")
    await store.insert("erasure_subjects", ("id", "user_id"), [["e1"], [ANNA]])
    for scope in (SiteScope(), SiteScope(sites=("example.com",))):
        tables = ErasureTables(store, "e1", scope, cluster="")
        assert not await tables.left(BATCH)

        await store.insert("events", *as_columns([event(1, user_id=ANNA)], BATCH + 1))
        assert not await tables.left(BATCH)
        assert await tables.left(BATCH + 1)

        old = "INSERT INTO activity SELECT * REPLACE (toDate('2020-01-01') AS day) FROM activity LIMIT 1"
        await store.command(old)
        assert await tables.left(BATCH)
        for table in ("events", "activity", "sessions"):
            await store.command(f"TRUNCATE TABLE {table}")


async def test_a_server_reads_what_has_changed_of_the_list_and_all_of_it_now_and_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = ErasureJobs(store, lambda: NOW), ErasureJobs(store, lambda: NOW)
    first, second = [await writer.create(name, SiteScope(), "w", opted_out=False, follows="") for name in ("a", "b")]
    await reader.documents.load()
    third = await writer.create("c", SiteScope(), "w", opted_out=False, follows="")
    first = await writer.change(first, rounds=1)
    early = datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=documents.CLOCKS_S + 1)
    text = msgspec.json.encode(msgspec.structs.replace(first, id="early")).decode()
    await store.insert("erasures", ERASURES.columns, [["early"], [text], [0], [early]])
    await writer.documents.delete((second.id,))

    await reader.documents.load()
    assert {job.id: job.rounds for job in reader.all()} == {first.id: 1, third.id: 0}
    late = await reader.change(third, rounds=2)
    await writer.documents.load()
    assert writer.get(third.id) == late

    monkeypatch.setattr(documents, "READ_ALL_S", 0.0)
    await reader.documents.load()
    assert {job.id for job in reader.all()} == {first.id, third.id, "early"}
