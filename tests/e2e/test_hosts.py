"""International hosts and hosts that a site allows: one name in every spelling, wherever a host is written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import msgspec
import pytest

from analytics_server.spelling.host_names import encoded_host
from tests.e2e.conftest import running
from tests.server import Client, RunningServer


@pytest.fixture
def shown() -> str:
    """A site with an international name that no other test uses, as people read it."""
    return f"mü{uuid4().hex[:12]}.example"


@pytest.fixture
def sent(shown: str) -> str:
    """The same as browsers send it."""
    return encoded_host(shown)


def view(site: str, url: str, **fields: object) -> dict[str, object]:
    return {"site": site, "name": "pageview", "url": url, **fields}


async def test_beacons_in_every_spelling_are_of_one_site(client: Client, shown: str, sent: str) -> None:
    spellings = [shown, sent, shown.upper(), sent.upper(), f"{shown}.", f" {sent} ", shown.replace(".", "．")]
    for spelling in spellings:
        reply = await client.send(view(spelling, f"https://{spelling.strip()}/"))
        assert (reply.status, reply.json["accepted"]) == (202, 1), reply.body
    for spelling in (shown, sent):
        pixel = f"/track/pixel.gif?site={quote(spelling)}&url={quote(f'https://{spelling}/', safe='')}"
        assert (await client.get(pixel)).status == 200
        called = {"appName": spelling, "pageUrl": f"https://{spelling}/"}
        assert (await client.send(called, path="/track/view")).json["accepted"] == 1

    await client.kept(shown, len(spellings) + 4)
    for spelling in (shown, sent, shown.upper(), f"{sent}."):
        assert await client.count(spelling) == len(spellings) + 4
    hosts = await client.query(sent, ["events"], ["event:hostname"])
    assert hosts == {(shown,): (len(spellings) + 4,)}
    sites = [site["site_id"] for site in (await client.call("GET", "/api/v1/sites")).json["sites"]]
    assert shown in sites
    assert sent not in sites


async def test_a_site_is_managed_in_every_spelling(client: Client, shown: str, sent: str) -> None:
    made = await client.call("POST", "/api/v1/sites", {"site_id": sent, "timezone": "Europe/Berlin"})
    again = await client.call("POST", "/api/v1/sites", {"site_id": shown})

    assert (made.status, made.json["site_id"]) == (201, shown)
    assert (again.status, again.code) == (409, "site_exists")
    for spelling in (shown, sent, shown.upper(), sent.upper()):
        path = f"/api/v1/sites/{quote(spelling)}"
        assert (await client.call("GET", path)).json["site_id"] == shown
        changed = await client.call("PUT", path, {"site_id": spelling, "timezone": "UTC"})
        assert (changed.status, changed.json["timezone"]) == (200, "UTC")
    assert (await client.call("DELETE", f"/api/v1/sites/{sent}")).status == 204
    assert (await client.call("GET", f"/api/v1/sites/{quote(shown)}")).status == 404
    assert (await client.send(view(shown, f"https://{shown}/"))).code == "unknown_site"


@pytest.mark.parametrize("by_shown", [True, False])
async def test_tokens_and_analyses_take_every_spelling(
    client: Client, server: RunningServer, shown: str, sent: str, by_shown: bool
) -> None:
    asked, other = (shown, sent) if by_shown else (sent, shown)
    await client.send(view(shown, f"https://{shown}/"))
    await client.kept(shown, 1)
    made = await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [asked]})
    token = made.json["token"]
    assert made.json["sites"] == [shown]

    async def call(method: str, path: str, value: object = None) -> dict[str, object]:
        reply = await client.call(method, path, value, token=token)
        assert reply.status in (200, 201), reply.body
        return dict(reply.json)

    for spelling in (asked, other):
        base = {"site_id": spelling, "date_range": "all"}
        answered = await call("POST", "/api/v1/query", {**base, "metrics": ["events"]})
        assert answered["results"] == [{"dimensions": [], "metrics": [1]}]
        await call("GET", f"/api/v1/trends?site_id={quote(spelling)}&metrics=events")
        rows = await call("POST", "/api/v1/sql", {"site_id": spelling, "query": "SELECT site_id FROM events"})
        assert rows["rows"] == [[shown]]
        step = {"filters": [["is", "event:name", ["pageview"]]]}
        funnel = await call("POST", "/api/v1/funnels", {**base, "steps": [step, step], "window": "1d"})
        assert funnel["steps"][0]["count"] == 1  # type: ignore[index]
        await call("POST", "/api/v1/paths", {**base, "start": "/"})
        await call("POST", "/api/v1/cohorts", {**base, "period": "day", "by": "session"})
        assert len((await call("POST", "/api/v1/sessions", base))["sessions"]) == 1  # type: ignore[arg-type]
        await call("POST", "/api/v1/goals", {"site_id": spelling, "name": f"g {spelling}", "event": "pageview"})
    for spelling in (asked, other):
        goals = (await call("GET", f"/api/v1/goals?site_id={quote(spelling)}"))["goals"]
        assert len(goals) == 2  # type: ignore[arg-type]
    foreign = await client.call(
        "POST", "/api/v1/query", {"site_id": f"www.{shown}", "metrics": ["events"], "date_range": "all"}, token=token
    )
    assert foreign.status == 403
    trusted = {"Authorization": f"Bearer {token}"}
    for spelling in (asked, other):
        assert (await client.send(view(spelling, f"https://{shown}/"), headers=trusted)).json["accepted"] == 1
    assert (await client.send(view(f"www.{shown}", "https://a.example/"), headers=trusted)).rejected == [
        (0, "forbidden_site")
    ]


async def test_the_live_view_takes_every_spelling(client: Client, server: RunningServer, shown: str, sent: str) -> None:
    await client.send(view(sent, f"https://{sent}/"))
    async with aiohttp.ClientSession() as session:
        for spelling in (shown, sent):
            url = f"{server.url}/api/v1/live?site_id={quote(spelling)}"
            headers = {"Authorization": f"Bearer {server.token}"}
            async with session.ws_connect(url, headers=headers) as socket, asyncio.timeout(20):
                assert msgspec.json.decode((await socket.receive()).data)["visitors"] == 1


async def test_filters_on_hosts_take_every_spelling(client: Client, shown: str, sent: str) -> None:
    pages = [f"https://{sent}/", f"https://shop.{sent}/", "https://elsewhere.example/"]
    referrers = [f"https://www.{sent[:-8]}.test/a/", "", ""]
    for number, (page, referrer) in enumerate(zip(pages, referrers, strict=True)):
        await client.send(view(shown, page, referrer=referrer, session_id=f"s{number}"))
    await client.kept(shown, 3)

    async def counted(item: list[object]) -> int:
        question = {"site_id": shown, "metrics": ["events"], "date_range": "all", "filters": [item]}
        reply = await client.call("POST", "/api/v1/query", question)
        assert reply.status == 200, reply.body
        return int(reply.json["results"][0]["metrics"][0])

    for spelling in (shown, sent, shown.upper(), f"{sent}:8080", f"{shown}."):
        assert await counted(["is", "event:hostname", [spelling]]) == 1
        assert await counted(["is_not", "event:hostname", [spelling]]) == 2
    for spelling in (shown, sent):
        assert await counted(["contains", "event:hostname", [spelling]]) == 2
        assert await counted(["matches_wildcard", "event:hostname", [f"*.{spelling}"]]) == 1
        assert await counted(["is", "visit:referrer", [f"{spelling[:-8]}.test/a"]]) == 1
        assert await counted(["is", "visit:source", [f"{spelling[:-8]}.test"]]) == 1


async def test_a_page_in_the_other_spelling_is_no_referrer(client: Client, shown: str, sent: str) -> None:
    await client.send(view(shown, f"https://{sent}/", referrer=f"https://www.{shown}:8443/a"))
    await client.flushed()

    assert await client.query(shown, ["events"], ["visit:source", "visit:referrer"]) == {("Direct", ""): (1,)}


# ---- allowed_hosts ---------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    ["https://{}", "https://{}/path", "{}:8080", "{}/", " {} ", "{}.", "http://{}:8080/a?b#c", "//{}", "www.{}"],
)
async def test_an_allowed_host_is_understood_however_it_is_written(client: Client, shown: str, entry: str) -> None:
    wanted = {"site_id": shown, "allowed_hosts": [entry.format(shown.upper()), entry.format(encoded_host(shown))]}
    made = await client.call("POST", "/api/v1/sites", wanted)

    assert (made.status, made.json["allowed_hosts"]) == (201, [f"www.{shown}" if "www." in entry else shown])
    for host in (shown, encoded_host(shown), f"www.{shown}", f"{shown}:3000"):
        assert (await client.send(view(shown, f"https://{host}/"))).json["accepted"] == 1
    for host in (f"shop.{shown}", f"evil-{shown}", "elsewhere.example"):
        assert (await client.send(view(shown, f"https://{host}/"))).json["dropped"] == {"hostname": 1}


async def test_subdomains_addresses_and_localhost_can_be_allowed(client: Client, site: str) -> None:
    hosts = [f"*.{site}", "192.0.2.7:80", "::1", "http://localhost:3000"]
    made = await client.call("POST", "/api/v1/sites", {"site_id": site, "allowed_hosts": hosts})

    assert made.json["allowed_hosts"] == [f"*.{site}", "192.0.2.7", "[::1]", "localhost"]
    for host in (f"a.{site}", f"a.b.{site}", f"www.{site}", "192.0.2.7:8080", "[::1]:8080", "localhost:5173"):
        assert (await client.send(view(site, f"http://{host}/"))).json["accepted"] == 1, host
    for host in (site, f"x{site}", "192.0.2.8", "[::2]"):
        assert (await client.send(view(site, f"http://{host}/"))).json["dropped"] == {"hostname": 1}, host


@pytest.mark.parametrize(
    "entry",
    ["*", "*.*", "exa mple", "", " ", "http://", "*example.com", "a..b", "user@a.example", "1.2.3", "*.1.2.3.4"],
)
async def test_an_allowed_host_that_can_match_no_page_is_refused(client: Client, site: str, entry: str) -> None:
    made = await client.call("POST", "/api/v1/sites", {"site_id": site, "allowed_hosts": ["a.example", entry]})
    assert (made.status, made.code) == (400, "bad_allowed_hosts")
    assert made.json["error"]["message"].startswith("allowed_hosts[1] is ")
    assert (await client.call("GET", f"/api/v1/sites/{site}")).status == 404

    await client.call("POST", "/api/v1/sites", {"site_id": site, "allowed_hosts": ["a.example"]})
    changed = await client.call("PUT", f"/api/v1/sites/{site}", {"allowed_hosts": [entry]})
    assert (changed.status, changed.code) == (400, "bad_allowed_hosts")
    assert (await client.call("GET", f"/api/v1/sites/{site}")).json["allowed_hosts"] == ["a.example"]


# ---- sites that older versions stored --------------------------------------

WRITE = """
import sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn="chdb://" + sys.argv[1], database="analytics")
client.command(sys.argv[2])
"""


def write(data_dir: Path, sql: str) -> None:
    subprocess.run([sys.executable, "-c", WRITE, str(data_dir / "clickhouse"), sql], check=True, timeout=120)


async def test_a_site_stored_in_punycode_keeps_its_id_and_its_data(tmp_path: Path) -> None:
    document = (
        '{"site_id":"xn--mller-kva.example","timezone":"UTC","allowed_hosts":["https://xn--mller-kva.example","*"],'
        '"retention_days":0,"created_at_ms":1}'
    )
    with running(tmp_path) as server:
        server.terminate()
        write(
            server.data_dir,
            "INSERT INTO sites (site_id, document, deleted, updated_at)"
            f" VALUES ('xn--mller-kva.example', '{document}', 0, now64(6))",
        )
        server.restart()
        async with Client(server) as client:
            for spelling in ("müller.example", "xn--mller-kva.example"):
                reply = await client.send(view(spelling, "https://müller.example/"))
                assert reply.json["accepted"] == 1, reply.body
                dropped = await client.send(view(spelling, "https://elsewhere.example/"))
                assert dropped.json["dropped"] == {"hostname": 1}
            await client.kept("müller.example", 2)
            made = await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": ["müller.example"]})
            token = made.json["token"]
            for spelling in ("müller.example", "xn--mller-kva.example"):
                base = {"site_id": spelling, "date_range": "all"}
                asked = [
                    ("query", {**base, "metrics": ["events", "visitors"], "filters": [["goal", "g"]]}),
                    ("paths", {**base, "start": "/"}),
                    ("cohorts", {**base, "period": "day", "by": "session"}),
                    ("sessions", base),
                    ("sql", {"site_id": spelling, "query": "SELECT count(), any(site_id) FROM events"}),
                ]
                goal = await client.call(
                    "POST", "/api/v1/goals", {"site_id": spelling, "name": "g", "event": "pageview"}, token=token
                )
                assert goal.status in (201, 409), goal.body
                answers = [await client.call("POST", f"/api/v1/{path}", body, token=token) for path, body in asked]
                assert [answer.status for answer in answers] == [200] * len(asked), [each.body for each in answers]
                assert answers[0].json["results"][0]["metrics"] == [2, 1]
                assert answers[4].json["rows"] == [[2, "xn--mller-kva.example"]]
                listed = await client.call("GET", f"/api/v1/goals?site_id={quote(spelling)}", token=token)
                assert len(listed.json["goals"]) == 1
                shown = await client.call("GET", f"/api/v1/sites/{quote(spelling)}", token=token)
                assert shown.json["site_id"] == "xn--mller-kva.example"
            listed = await client.call("GET", "/api/v1/sites", token=token)
            assert [each["site_id"] for each in listed.json["sites"]] == ["xn--mller-kva.example"]
