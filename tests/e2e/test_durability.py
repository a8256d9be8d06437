"""What was acknowledged is there exactly once, however the process ends."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from uuid import uuid4

from tests.e2e.conftest import assert_clean
from tests.e2e.load import SITE, Load, assert_every_event_stored_once
from tests.server import ADMIN_TOKEN, Client, RunningServer, files_containing

OFTEN = {"ingest_flush_interval_ms": "50"}


async def test_kill_before_the_first_flush_loses_nothing(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"ingest_flush_interval_ms": "60000"})
    load = Load(server)
    await asyncio.to_thread(server.start)
    async with load:
        await load.until_acknowledged(500)
        server.kill()
    segments = list((server.data_dir / "wal").glob("*.wal"))

    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        at_once = await client.count(SITE)
    assert server.terminate() == 0

    assert len(segments) == 1
    assert at_once >= len(load.acknowledged)
    assert_every_event_stored_once(server, load)


async def test_sigterm_under_load_answers_and_keeps_what_it_accepted(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, OFTEN)
    load = Load(server, workers=16)
    await asyncio.to_thread(server.start)
    async with load:
        await load.until_acknowledged(1_000)
        code = await asyncio.to_thread(server.terminate)

    assert code == 0
    assert set(load.statuses) <= {202, 503}
    assert not list((server.data_dir / "wal").glob("*.wal")), "the log was not drained"
    assert_every_event_stored_once(server, load)
    assert_clean(server.log)


async def test_sessions_and_first_touch_survive_a_kill(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, OFTEN)
    site = "touch.example"

    def page(name: str, query: str = "", **fields: object) -> dict[str, object]:
        return {"site": site, "name": "pageview", "url": f"https://{site}/{name}{query}", **fields}

    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.send(page("in", "?utm_source=letter&utm_campaign=may"))
        await client.send(page("tab-in", "?utm_source=ad", session_id="tab", referrer="https://www.bing.com/"))
        server.kill()
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        await client.send(page("out", "?utm_source=other", referrer="https://duckduckgo.com/"))
        await client.send(page("tab-out", "?utm_source=other", session_id="tab"))
        await client.flushed()
        sources = await client.query(
            site, ["sessions", "pageviews", "visitors"], ["visit:source", "visit:utm_campaign"]
        )
        pages = await client.query(site, ["sessions"], ["visit:entry_page", "visit:exit_page"])
        by_page = await client.query(site, ["events"], ["event:page", "visit:source"])
    server.kill()

    assert sources == {("letter", "may"): (1, 2, 1), ("ad", ""): (1, 2, 1)}
    assert pages == {("/in", "/out"): (1,), ("/tab-in", "/tab-out"): (1,)}
    assert {("/out", "letter"), ("/tab-out", "ad")} <= set(by_page)


async def test_repeated_event_ids_are_counted_once_across_a_kill(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, OFTEN)
    site = "repeat.example"
    events = [{"site": site, "name": "x", "event_id": str(uuid4())} for _ in range(50)]
    imported = [{**event, "event_id": str(uuid4()), "timestamp": "2015-06-30", "user_id": "u"} for event in events]
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        before = [await client.send(events), await client.send(imported, trusted=True)]
        server.kill()
    await asyncio.to_thread(server.start)
    async with Client(server) as client:
        after = [await client.send(events), await client.send(imported, trusted=True)]
        await client.kept(site, 100)
    server.kill()

    assert [reply.json["accepted"] for reply in before + after] == [50] * 4


def run_serve(server: RunningServer) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself, with the settings of another."""
    return server.command("serve", ANALYTICS_SERVER_PORT="0")


async def test_a_second_server_on_the_same_data_is_refused_in_one_line(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, OFTEN)
    await asyncio.to_thread(server.start)
    second = await asyncio.to_thread(run_serve, server)
    async with Client(server) as client:
        still = await client.send({"site": "a.example", "name": "x"})
    server.kill()

    assert second.returncode == 1
    assert second.stdout == ""
    complaint = second.stderr.strip().splitlines()
    assert len(complaint) == 1, second.stderr
    assert "Another server is using" in complaint[0]
    assert str(server.data_dir) in complaint[0]
    assert still.status == 202


ADDRESS = "203.0.113.99"
USER_AGENT_MARK = "Gecko/20990101"


async def test_no_file_ever_holds_an_address_or_a_user_agent(tmp_path: Path) -> None:
    server = RunningServer(tmp_path, {"server_trusted_proxies": "127.0.0.1", "log_level": "debug"})
    agent = f"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) {USER_AGENT_MARK} Firefox/142.0"
    needles = [ADDRESS.encode(), USER_AGENT_MARK.encode(), b"Mozilla/5.0", ADMIN_TOKEN.encode()]
    await asyncio.to_thread(server.start)
    async with Client(server, headers={"User-Agent": agent, "X-Forwarded-For": ADDRESS}) as client:
        for number in range(20):
            beacon = {"site": "private.example", "name": f"n{number}"}
            await client.send(beacon)
            await client.send({**beacon, "ip": ADDRESS, "user_agent": agent}, trusted=True)
        open_log = files_containing(tmp_path, needles)
        control = files_containing(server.data_dir / "wal", [b"private.example"])
        await client.flushed()
    assert server.terminate() == 0

    assert control, "the control did not find what must be in the log"
    assert open_log == []
    assert files_containing(tmp_path, needles) == []
