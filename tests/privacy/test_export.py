"""Exports of a real server equal what was sent, row by row, what is not yet in ClickHouse included."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analytics_server.config import Config, ServerSection
from analytics_server.errors import StoreError
from analytics_server.privacy.export import PersonExport
from analytics_server.privacy.export_page import MOST_ROWS, ExportPage
from analytics_server.privacy.opt_outs import OptOuts
from analytics_server.privacy.person_tables import PersonTable, person_tables
from analytics_server.privacy.scope import SiteScope
from analytics_server.privacy.user_hashes import UserHashes
from analytics_server.store import Store, make_store, migrate
from tests.e2e.conftest import running
from tests.privacy.people import ANNA, PEOPLE, SITES, Traffic, exported
from tests.server import Client, RunningServer

EXPORT = "/api/v1/privacy/export"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("export"), {"ingest_flush_interval_ms": "60000"}) as server:
        yield server


def rows(lines: list[bytes], table: str) -> list[dict[str, Any]]:
    decoded: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
    return [row for row in decoded if row["table"] == table]


async def test_an_export_is_what_was_sent_of_that_person_although_nothing_was_flushed(server: RunningServer) -> None:
    traffic = Traffic(11)
    async with Client(server) as client:
        await traffic.send(client, 150)
        for person in filter(None, PEOPLE):
            lines = await exported(client, person)
            sent = {event["event_id"]: event for event in traffic.events if event.get("user_id") == person}
            found = {row["event_id"]: row for row in rows(lines, "events")}
            assert found.keys() == sent.keys()
            for event_id, row in found.items():
                event = sent[event_id]
                assert (row["site_id"], row["name"], row["user_id"]) == (event["site"], event["name"], person)
                assert f"https://{row['hostname']}{row['path']}" == event["url"]
                assert row["session_id"] == event["session_id"]
                assert row["ts"].startswith(event["timestamp"][:19])
            daily = rows(lines, "activity")
            assert sum(int(row["events"]) for row in daily if row["name"] == "") == len(sent)
            assert {row["user_id"] for row in daily} == {person}
        assert await exported(client, "nobody-of-that-name") == []


async def test_a_token_of_one_site_gets_that_sites_rows(server: RunningServer) -> None:
    traffic = Traffic(12)
    async with Client(server) as client:
        await traffic.send(client, 60, user_id="user-of-two-sites")
        made = await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [SITES[0]]})
        lines = await exported(client, "user-of-two-sites", token=made.json["token"])
        own = {event["event_id"] for event in traffic.events if event["site"] == SITES[0]}
        assert {row["event_id"] for row in rows(lines, "events")} == own
        assert {msgspec.json.decode(line)["site_id"] for line in lines} == {SITES[0]}


async def test_opt_outs_of_single_sites_are_in_it_and_each_call_names_the_user_in_the_audit_log(
    server: RunningServer,
) -> None:
    opt_outs, person, body = "/api/v1/privacy/opt-outs", "user-of-one-opt-out", {"user_id": "user-of-one-opt-out"}
    async with Client(server) as client:
        made = await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [SITES[0]]})
        added = await client.call("POST", opt_outs, body, token=made.json["token"])
        (entry,) = added.json["opt_outs"]
        for token in (None, made.json["token"]):
            lines = await exported(client, person, token=token)
            assert rows(lines, "opt_outs") == [{"table": "opt_outs", "site_id": SITES[0]}]
        assert (await client.call("DELETE", opt_outs, body)).status == 204
        assert await exported(client, person) == []
        listed = (await client.call("GET", "/api/v1/privacy/audit?limit=20")).json["entries"]
    hashes = {one["operation"]: one["details"].get("user_hash") for one in listed if "opt_out" in one["operation"]}
    assert hashes == {"add_opt_out": entry["user_hash"], "remove_opt_out": entry["user_hash"]}


async def test_a_zip_has_the_same_rows_and_a_page_that_escapes_them(server: RunningServer) -> None:
    person = "<script>alert(1)</script>&"
    event = {
        "site": "zip.example",
        "name": "x",
        "url": "https://zip.example/",
        "user_id": person,
        "props": {"<b>": "&"},
    }
    async with Client(server) as client:
        assert (await client.send([event] * 3)).json["accepted"] == 3
        lines = await exported(client, person)
        reply = await client.call("POST", EXPORT, {"user_id": person, "format": "zip"})
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert archive.testzip() is None
        assert archive.read("data.ndjson").splitlines() == lines
        page = archive.read("index.html").decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert "http" not in page.replace("https://zip.example", "")


async def test_what_is_wrong_with_a_request_is_said(server: RunningServer) -> None:
    async with Client(server) as client:
        for wrong in ({}, {"user_id": ""}, {"user_id": "u", "format": "pdf"}, {"user_id": "u", "site_id": "a"}):
            reply = await client.call("POST", EXPORT, wrong)
            assert (reply.status, reply.code) == (400, "bad_body"), reply.body


def test_a_page_shows_the_first_rows_and_how_many_there_are() -> None:
    page = ExportPage(ANNA)
    lines = b"".join(msgspec.json.encode({"table": "events", "n": number}) + b"\n" for number in range(MOST_ROWS + 5))
    for at in range(0, len(lines), 1_000):  # pieces may end anywhere
        page.add(lines[at : at + 1_000])
    html = page.html()
    assert f"Rows: {MOST_ROWS + 5:,}." in html
    assert html.count("<tr>") == MOST_ROWS + 1


async def test_a_saved_funnel_that_is_deleted_meanwhile_ends_no_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table is listed, and gone when its turn comes; any other table that is missing is an error."""

    class Delivered:
        def cut_off(self) -> int:
            return 0

        async def delivered(self, batch_id: int, timeout_s: float) -> bool:
            return True

    store = make_store(Config(server=ServerSection(data_dir=str(tmp_path))))
    await store.open()
    try:
        await migrate(store)
        known = (await person_tables(store))[0]

        async def listed(store: Store) -> list[PersonTable]:
            return [known, replace(known, name=missing)]

        monkeypatch.setattr("analytics_server.privacy.export.person_tables", listed)
        export = PersonExport(store, Delivered(), tmp_path, OptOuts(store, UserHashes(store)))
        missing = "funnel_0123456789ab_0123456789abcdef"
        assert [piece async for piece in export.ndjson("u", SiteScope())] == []
        missing = "sessions_of_before"
        with pytest.raises(StoreError, match="Unknown table"):
            [piece async for piece in export.ndjson("u", SiteScope())]
    finally:
        await store.close()
