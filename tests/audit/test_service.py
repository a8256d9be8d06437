"""What stands in the log of a real server: an entry of every call, and nothing that must not be there."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from aiohttp.test_utils import make_mocked_request

from analytics_server.audit.chain import SERVER_CHAIN
from analytics_server.audit.log import AuditLog
from analytics_server.audit.moments import LATEST
from analytics_server.audit.routes import endpoints
from analytics_server.audit.service import config_digest
from analytics_server.config import ClickhouseSection, Config, LimitsSection
from analytics_server.http.authorization import Action
from analytics_server.http.endpoint import Endpoint
from analytics_server.store import Store
from tests.e2e.conftest import running
from tests.server import Client, RunningServer, files_containing, wait_for
from tests.whole import complete_server

in_one_loop = pytest.mark.asyncio(loop_scope="module")
SITE = "own.example"
AUDITED = [one for one in complete_server().endpoints() if isinstance(one.action, Action) and one.handle is not None]
CHANGES = {
    *(f"{verb}_{thing}" for verb in ("create", "change", "delete") for thing in ("site", "goal", "segment")),
    *(
        f"{verb}_{thing}"
        for verb in ("create", "change", "delete")
        for thing in ("annotation", "saved_query", "funnel")
    ),
    *("create_experiment", "change_experiment", "delete_experiment", "create_token", "change_token", "revoke_token"),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("audit")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        assert (await client.call("POST", "/api/v1/sites", {"site_id": SITE})).status == 201
        yield client


async def entries(client: Client, query: str = "?limit=1000") -> list[dict[str, Any]]:
    """The log, the newest first."""
    reply = await client.call("GET", f"/api/v1/privacy/audit{query}")
    assert reply.status == 200, reply.body
    return list(reply.json["entries"])


async def newest(client: Client, operation: str) -> dict[str, Any]:
    return next(entry for entry in await entries(client) if entry["operation"] == operation)


def address_of(endpoint: Endpoint) -> str:
    path, query = endpoint.route[1], []
    for parameter in endpoint.parameters:
        value = SITE if parameter.example == "example.com" else str(parameter.example or "x")
        if f"{{{parameter.name}}}" in path:
            path = path.replace(f"{{{parameter.name}}}", value)
        elif parameter.required:
            query.append(f"{parameter.name}={value}")
    return path + ("?" + "&".join(query) if query else "")


NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("", NOW - timedelta(days=30), LATEST),
        ("?to=2026-05-31", datetime(2026, 5, 2, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        ("?to=2030-01-01", NOW - timedelta(days=30), datetime(2030, 1, 2, tzinfo=UTC)),
        ("?from=2020-01-01", datetime(2020, 1, 1, tzinfo=UTC), LATEST),
    ],
)
def test_the_last_days_are_read_where_no_beginning_is_given(query: str, start: datetime, end: datetime) -> None:
    store = cast(Store, None)
    (endpoint,) = endpoints(store, AuditLog(store, Path(), SERVER_CHAIN), lambda: NOW)
    assert endpoint.parse is not None

    asked = endpoint.parse(make_mocked_request("GET", f"/api/v1/privacy/audit{query}"))

    assert (asked.start, asked.end) == (start, end)


def test_what_is_a_change_is_written_before_it_is_answered() -> None:
    changes = {one.name for one in AUDITED if one.changes}
    assert changes >= CHANGES
    assert not {"query", "sql", "trends", "funnel", "cohorts", "paths", "sessions", "experiment_results"} & changes


@in_one_loop
@pytest.mark.parametrize("endpoint", AUDITED, ids=lambda one: one.name)
async def test_every_guarded_call_leaves_an_entry_with_its_action(client: Client, endpoint: Endpoint) -> None:
    assert isinstance(endpoint.action, Action)
    example = None if endpoint.body is None else next(iter(endpoint.body.examples.values()))
    body = None if example is None else msgspec.json.encode(example).replace(b"example.com", SITE.encode())
    token = {"Authorization": f"Bearer {client._server.token}"}
    reply = await client.request(endpoint.method, address_of(endpoint), body, token)

    entry = await newest(client, endpoint.name)

    assert entry["action"] == endpoint.action.name
    assert entry["outcome"] == (reply.code if reply.status >= 400 else "ok")
    assert (entry["principal_kind"], entry["principal_name"]) == ("token", "ANALYTICS_ADMIN_TOKEN")
    if body is not None and not endpoint.changes:
        assert entry["query_hash"] == hashlib.sha256(body).hexdigest()
    if endpoint.name == "delete_site":
        assert (await client.call("POST", "/api/v1/sites", {"site_id": SITE})).status == 201


@in_one_loop
async def test_an_entry_says_on_what_and_how_many(client: Client) -> None:
    made = (await client.call("POST", "/api/v1/tokens", {"role": "read", "name": "Anna"})).json
    await client.query(SITE, ["visitors"])

    created, asked = await newest(client, "create_token"), await newest(client, "query")

    assert created["resource"] == made["token_id"]
    assert (asked["site_id"], asked["rows"]) == (SITE, 1)


@in_one_loop
async def test_refusals_are_entries(client: Client) -> None:
    made = (await client.call("POST", "/api/v1/tokens", {"role": "read", "name": "Ben", "sites": ["a.example"]})).json
    question = {"site_id": SITE, "metrics": ["visitors"], "date_range": "day"}
    assert (await client.call("POST", "/api/v1/query", question, token=made["token"])).status == 403
    forbidden = await newest(client, "query")
    assert (await client.call("POST", "/api/v1/query", question, token="ast_wrong")).status == 401
    unknown = await newest(client, "query")

    assert (forbidden["outcome"], forbidden["principal_id"], forbidden["site_id"]) == (
        "forbidden",
        made["token_id"],
        SITE,
    )
    assert (unknown["outcome"], unknown["principal_kind"], unknown["site_id"]) == ("unauthorized", "", "")


@in_one_loop
async def test_opening_the_live_socket_is_an_entry_and_being_refused_too(client: Client) -> None:
    url = f"{client._server.url}/api/v1/live?site_id={SITE}"
    outcomes = {}
    for token in (client._server.token, "ast_wrong"):
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
            await socket.receive(timeout=10)
        outcomes[token] = (await newest(client, "watch_live"))["outcome"]

    assert list(outcomes.values()) == ["ok", "unauthorized"]


@in_one_loop
async def test_an_admin_of_single_sites_sees_the_entries_about_those(client: Client) -> None:
    wanted = {"role": "admin", "name": "Cleo", "sites": [SITE]}
    token = (await client.call("POST", "/api/v1/tokens", wanted)).json["token"]
    await client.query(SITE, ["visitors"])

    own = await client.call("GET", "/api/v1/privacy/audit", token=token)
    named = await client.call("GET", f"/api/v1/privacy/audit?site_id={SITE}", token=token)
    foreign = await client.call("GET", "/api/v1/privacy/audit?site_id=foreign.example", token=token)

    assert {entry["site_id"] for entry in own.json["entries"]} == {SITE}
    assert {entry["site_id"] for entry in named.json["entries"]} == {SITE}
    assert foreign.status == 403
    assert (await newest(client, "get_audit"))["principal_name"] == "Cleo"


@in_one_loop
async def test_pages_follow_each_other_without_gap_or_repetition(client: Client) -> None:
    start = (await entries(client))[0]["at"]
    for _ in range(7):
        await client.query(SITE, ["visitors"])
    found: list[int] = []
    following = ""
    while True:
        reply = await client.call("GET", f"/api/v1/privacy/audit?limit=3&from={start}{following}")
        found += [entry["sequence"] for entry in reply.json["entries"] if entry["operation"] == "query"]
        if reply.json["next"] is None:
            break
        following = f"&before={reply.json['next']}"

    assert len(found) == 7
    assert found == sorted(set(found), reverse=True)


@in_one_loop
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?from=yesterday", "bad_date_range"),
        ("?to=2026-W05-5", "bad_date_range"),
        ("?to=20261101T00", "bad_date_range"),
        ("?from=2026-11-02&to=2026-11-01", "bad_date_range"),
        ("?to=99999999999999999999", "bad_date_range"),
        ("?limit=0", "bad_request"),
        ("?limit=1001", "bad_request"),
        ("?limit=x", "bad_request"),
        ("?before=1", "bad_request"),
        ("?size=1", "unknown_key"),
    ],
)
async def test_what_cannot_be_asked_is_refused(client: Client, query: str, code: str) -> None:
    reply = await client.call("GET", f"/api/v1/privacy/audit{query}")
    assert (reply.status, reply.code) == (400, code)


def first_chain(server: RunningServer) -> str:
    return str(verified(server)["chains"][0]["server"])


def verified(server: RunningServer) -> Any:
    done = server.command("audit", "verify", "--json")
    report = msgspec.json.decode(done.stdout)
    assert (done.returncode == 0) == report["ok"], done.stderr
    return report


@pytest.mark.timeout(300)
async def test_a_chain_outlives_restarts_kills_and_commands_and_holds_no_secret(tmp_path: Path) -> None:
    marks = ["198.51.100.77", "MarkedAgent/1.0", "ast_marked-token-of-this-test", "SELECT 'marked text'"]
    server = RunningServer(tmp_path, {"server_trusted_proxies": "127.0.0.1"})
    server.token = "ast_the-marked-admin-token"
    server.start()
    headers = {"X-Forwarded-For": marks[0], "User-Agent": marks[1]}
    async with Client(server, headers=headers) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": SITE})
        await client.call("POST", "/api/v1/sql", {"site_id": SITE, "query": marks[3]})
        await client.call("DELETE", f"/api/v1/tokens/{marks[2]}")
        await client.call("GET", f"/api/v1/sites/{marks[2]}")
        await client.call("GET", "/api/v1/tokens", token=marks[2])
        before = await entries(client)
    assert server.terminate() == 0
    server._settings["ingest_flush_interval_ms"] = "900"
    server.restart()
    async with Client(server) as client:
        tasks = [asyncio.create_task(client.call("GET", "/api/v1/sites")) for _ in range(50)]
        made = await client.call("POST", "/api/v1/tokens", {"role": "read", "name": "durable"})
        server.kill()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert made.status == 201

    assert server.command("site", "create", "cli.example").returncode == 0
    for chain, why in (("nobody", "There is no chain nobody"), (first_chain(server), "of this data directory")):
        refused = server.command("audit", "retire", chain, "--yes")
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
    assert "gone for good" in server.command("audit", "retire", "nobody", typed="n\n").stdout
    report = verified(server)
    exported = server.command("audit", "export").stdout

    assert report["ok"], report
    assert len(report["chains"]) == 2
    lines = [msgspec.json.decode(line) for line in exported.splitlines()]
    (kept,) = [line for line in lines if line.get("resource") == made.json["token_id"]]
    assert kept["operation"] == "create_token"
    assert [line["action"] for line in lines if line["action"].startswith("server_")] == [
        "server_start",
        "server_stop",
        "server_start",
    ]
    changed = [line["details"]["config_changed"] for line in lines if line["action"] == "server_start"]
    assert changed == ["unknown", "yes"]
    assert {line["principal_kind"] for line in lines if line.get("operation") == "site create"} == {"internal"}
    assert len(before) > 5
    for mark in (*marks, server.token):
        assert mark not in exported
    assert files_containing(server.data_dir / "audit", [mark.encode() for mark in (*marks, server.token)]) == []


TAMPER = """
import sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn="chdb://" + sys.argv[1], database="analytics")
client.command(
    "ALTER TABLE audit UPDATE entry = replaceOne(entry, 'create_token', 'revoke_token') WHERE sequence = 3"
    " SETTINGS mutations_sync = 2"
)
"""


def tamper(engine: Path) -> None:
    subprocess.run([sys.executable, "-c", TAMPER, str(engine)], check=True, timeout=60)


@pytest.mark.timeout(300)
async def test_a_tampered_log_is_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    server.start()
    async with Client(server) as client:
        for _ in range(3):
            await client.call("POST", "/api/v1/tokens", {"role": "read"})
    assert server.terminate() == 0
    tamper(server.data_dir / "clickhouse")

    done = server.command("audit", "verify")

    assert done.returncode == 1
    assert "BROKEN at entry 3" in done.stdout


def damage(engine: Path) -> None:
    for file in Path(os.path.realpath(engine / "data" / "analytics" / "audit")).rglob("data.bin"):
        os.truncate(file, 20)


async def test_a_damaged_log_does_not_stop_the_start_and_is_named(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    server.start()
    async with Client(server) as client:
        await client.call("POST", "/api/v1/tokens", {"role": "read"})
    assert server.terminate() == 0
    damage(server.data_dir / "clickhouse")

    server.restart()
    async with Client(server) as client:
        assert (await client.send({"site": SITE, "name": "pageview", "url": f"https://{SITE}/"})).status == 202
        assert (await client.call("POST", "/api/v1/tokens", {"role": "read"})).status == 201
    assert server.terminate() == 0

    assert not verified(server)["ok"]


async def test_a_flood_of_wrong_tokens_makes_few_entries(client_free_server: RunningServer) -> None:
    async with Client(client_free_server) as client:
        for _ in range(20):
            await asyncio.gather(*(client.call("GET", "/api/v1/tokens", token="ast_x") for _ in range(20)))

        async def counted() -> bool:
            return bool(await client.metric('audit_entries_total{outcome="written"}'))

        await wait_for(counted)
        found = [entry for entry in await entries(client) if entry["outcome"] == "unauthorized"]

    assert len(found) <= 22


@pytest.fixture
def client_free_server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path) as server:
        yield server


def test_the_digest_of_the_settings_knows_no_password_and_changes_with_a_setting() -> None:
    def of(url: str, **limits: int) -> str:
        return config_digest(Config(clickhouse=ClickhouseSection(url=url), limits=LimitsSection(**limits)))

    assert of("http://user:one@host:8123/db") == of("http://other:two@host:8123/db")
    assert of("http://host:8123/db?password=one") == of("http://host:8123/db?password=two")
    assert of("http://host:8123/db") != of("http://else:8123/db")
    assert of("http://host:8123/db") != of("http://host:8123/db", query_rows=5)
