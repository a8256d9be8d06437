"""The report over HTTP and from the command line, with its hash in the audit log."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Iterator

import msgspec
import pytest

from tests.privacy.people import certificate
from tests.server import Client, RunningServer, wait_for

SITE, HERE, GONE = "report.example", "here.example", "gone.example"
PATH = f"/api/v1/privacy/report?site_id={SITE}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("report")) as server:
        yield server


async def test_the_report_comes_in_three_formats_and_its_hash_is_in_the_audit_log(server: RunningServer) -> None:
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": SITE, "profile": "fr-exempt"})
        report = (await client.call("GET", PATH)).json
        page = await client.call("GET", f"{PATH}&format=html")
        archive = await client.call("GET", f"{PATH}&format=zip")
        entries = (await client.call("GET", f"/api/v1/privacy/audit?site_id={SITE}")).json["entries"]

    assert report["report"]["profile"]["name"] == "fr-exempt"
    assert b"Privacy report of report.example" in page.body
    assert page.headers["Content-Type"].startswith("text/html")
    with zipfile.ZipFile(io.BytesIO(archive.body)) as files:
        names = {"report.json", "report.html", "privacy-notice.txt", "record-of-processing.txt"}
        assert set(files.namelist()) == names
        inside = msgspec.json.decode(files.read("report.json"))
    hashes = [entry["details"]["sha256"] for entry in entries if entry["action"] == "view_privacy_report"]
    assert len(hashes) == 3
    assert {report["sha256"], inside["sha256"]} <= set(hashes)


async def test_share_links_that_can_be_opened_are_told_over_http_and_by_the_command(server: RunningServer) -> None:
    site = "shared.example"
    path = PATH.replace(SITE, site)
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": site, "public": True})
        for wanted in ({"password": "long enough", "threshold": 10}, {"name": "For Anna"}, {}):
            made = await client.call("POST", "/api/v1/share-links", {"site_id": site, **wanted})
            assert made.status == 201
        assert (await client.call("DELETE", f"/api/v1/share-links/{made.json['link_id']}")).status == 204
        told = (await client.call("GET", path)).json["report"]
        assert (await client.call("PUT", f"/api/v1/sites/{site}", {"profile": "uk-statistics"})).status == 200
        closed = (await client.call("GET", path)).json["report"]
        assert (await client.call("PUT", f"/api/v1/sites/{site}", {"profile": "standard"})).status == 200
        await client.call("POST", "/api/v1/share-links", {"site_id": site, "threshold": 3})
        reopened = (await client.call("GET", path)).json["report"]
    assert server.terminate() == 0
    done = await asyncio.to_thread(server.command, "privacy-report", site)
    server.restart()

    assert [(link["has_password"], link["threshold"]) for link in told["share_links"]] == [(True, 10), (False, None)]
    assert len(told["readers"]) == len(told["findings"]) == 2
    assert "Anna" not in msgspec.json.encode(told).decode()
    assert (closed["readers"], closed["share_links"]) == ([], [])
    assert [link["threshold"] for link in reopened["share_links"]] == [3]
    assert done.returncode == 0, done.stderr
    assert msgspec.json.decode(done.stdout)["report"]["share_links"] == reopened["share_links"]


async def test_what_can_not_be_asked_is_refused(server: RunningServer) -> None:
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": SITE})
        reader = (await client.call("POST", "/api/v1/tokens", {"role": "read"})).json["token"]
        wrong = await client.call("GET", f"{PATH}&format=pdf")
        missing = await client.call("GET", "/api/v1/privacy/report")
        unknown = await client.call("GET", "/api/v1/privacy/report?site_id=nowhere.example")
        forbidden = await client.call("GET", PATH, token=reader)

    assert (wrong.status, wrong.code) == (400, "bad_format")
    assert (missing.status, missing.code) == (400, "bad_request")
    assert (unknown.status, unknown.code) == (404, "unknown_site")
    assert (forbidden.status, forbidden.code) == (403, "forbidden")


async def test_the_command_makes_the_same_report(server: RunningServer) -> None:
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": SITE})
        told = (await client.call("GET", PATH)).json
    assert server.terminate() == 0
    done = await asyncio.to_thread(server.command, "privacy-report", SITE)
    unknown = await asyncio.to_thread(server.command, "privacy-report", "nowhere.example")
    server.restart()

    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout)
    assert {**report["report"], "made_at": ""} == {**told["report"], "made_at": ""}
    assert unknown.returncode == 1
    assert "There is no site 'nowhere.example'" in unknown.stderr
    async with Client(server) as client:
        entries = (await client.call("GET", f"/api/v1/privacy/audit?site_id={SITE}")).json["entries"]
    assert report["sha256"] in {entry["details"].get("sha256") for entry in entries}


async def test_it_tells_what_was_removed_on_the_site_and_not_what_was_elsewhere(server: RunningServer) -> None:
    async with Client(server) as client:
        for site in (HERE, "other.example"):
            await client.call("POST", "/api/v1/sites", {"site_id": site})
        only_other = {"role": "admin", "sites": ["other.example"]}
        token = (await client.call("POST", "/api/v1/tokens", only_other)).json["token"]
        event = {"site": HERE, "name": "signup", "url": f"https://{HERE}/", "user_id": "u-report"}
        assert (await client.send([event, event])).json["accepted"] == 2
        for credential in (token, None):
            body = {"user_id": "u-report", "confirm": True}
            begun = await client.call("POST", "/api/v1/privacy/erase", body, token=credential)
            erased = sum((await certificate(client, begun.json["id"]))["removed"].values())
        here = (await client.call("GET", PATH.replace(SITE, HERE))).json["report"]
        there = (await client.call("GET", PATH.replace(SITE, "other.example"))).json["report"]
        await client.call("POST", "/api/v1/sites", {"site_id": GONE})
        await client.call("DELETE", f"/api/v1/sites/{GONE}?data=erase")

        async def is_back() -> bool:
            return (await client.call("POST", "/api/v1/sites", {"site_id": GONE})).status == 201

        await wait_for(is_back, 60, "the removal of the site")
        gone = (await client.call("GET", PATH.replace(SITE, GONE))).json["report"]

    assert [(one["action"], one["rows"]) for one in here["last_erasures"]] == [("erase_person", erased)]
    assert [one["rows"] for one in there["last_erasures"]] == [0]
    assert erased >= 2
    assert here["last_expiries"] == []
    assert [(one["action"], one["rows"]) for one in gone["last_expiries"]] == [("erase_site", 0)]
