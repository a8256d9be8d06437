"""A whole life with marked secrets: none stands in a file, a log line, a metric, an answer or the process list."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.clickhouse import ClickHouseFront
from tests.server import Client, Reply, RunningServer, files_containing, wait_for

ADDRESS = "203.0.113.117"
AGENT_MARK = "Gecko/20880808"
AGENT = f"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) {AGENT_MARK} Firefox/142.0"
ADMIN = "ast_marked-admin-token-of-this-test"
UNKNOWN = "ast_marked-unknown-token-of-this-test"
PASSWORD = "marked-clickhouse-password"
SITE = "marked.example"
BEACON = {"site": SITE, "name": "pageview", "url": f"https://{SITE}/"}
BAD = [
    b"\xff{",
    b'{"site":"marked.example"',
    b'{"site":"marked.example","name":"pageview","url":"https://marked.example/","timestamp":"never"}',
    b'{"site":"no such site!","name":"x"}',
]


class Heard:
    """Everything that was said to anybody, and where."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}

    def note(self, where: str, what: bytes | str) -> None:
        self.said[where] = self.said.get(where, b"") + (what.encode() if isinstance(what, str) else what)

    def reply(self, where: str, reply: Reply) -> Reply:
        self.note(where, repr(dict(reply.headers)).encode() + reply.body)
        return reply

    def containing(self, secrets: list[str]) -> list[tuple[str, str]]:
        return [(where, one) for where, what in self.said.items() for one in secrets if one.encode() in what]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[ClickHouseFront]:
    front = ClickHouseFront(tmp_path / "clickhouse")
    front.start()
    yield front
    if front.is_running:
        front.terminate()


def command(server: RunningServer, heard: Heard, *arguments: str) -> None:
    line = [sys.executable, "-m", "analytics_server", *arguments]
    done = subprocess.run(line, env=server.environment(), capture_output=True, check=False, timeout=100)
    heard.note(f"the command {arguments[0]}", done.stdout + done.stderr)


def process_list(heard: Heard, pid: int) -> None:
    """What `ps` shows, and any user of the machine can read."""
    for name in ("cmdline", "comm", "status"):
        heard.note(f"/proc/{name}", Path(f"/proc/{pid}/{name}").read_bytes())


async def live_socket(server: RunningServer, heard: Heard, token: str) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{server.url}/api/v1/live?site_id={SITE}"
        async with session.ws_connect(url, protocols=("analytics", f"bearer.{token}")) as socket:
            heard.note("the live socket", str((await socket.receive()).data))


async def misbehave(server: RunningServer, client: Client, heard: Heard, secrets: list[str]) -> None:
    """Good traffic, and every kind of error that could quote what it was given."""
    for number in range(5):
        heard.reply("beacons", await client.send(BEACON))
        heard.reply("beacons", await client.send({**BEACON, "name": f"n{number}", "ip": ADDRESS}, trusted=True))
    for body in BAD:
        for headers in ({}, {"Authorization": f"Bearer {UNKNOWN}"}, {"Proxy-Connection": "keep-alive"}):
            heard.reply("beacons", await client.send(body, headers=headers))
    made = await client.call("POST", "/api/v1/tokens", {"role": "read", "name": "marked"})
    assert made.status == 201
    secrets.append(str(made.json["token"]))  # told once, by the answer that is not noted
    for token in (ADMIN, secrets[-1], UNKNOWN):
        for method, path, question in [
            ("GET", "/api/v1/tokens", None),
            ("GET", f"/api/v1/sites/{SITE}", None),
            ("POST", "/api/v1/query", {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d"}),
            ("POST", "/api/v1/query", {"site_id": SITE, "metrics": ["nothing"]}),
            ("POST", "/api/v1/sql", {"site_id": SITE, "query": "SELECT nothing FROM events"}),
            ("POST", "/api/v1/sql", {"site_id": SITE, "query": "SELECT count() FROM system.users"}),
        ]:
            heard.reply("the API", await client.call(method, path, question, token=token))
        await live_socket(server, heard, token)
    heard.reply("health", await client.get("/readyz"))
    heard.reply("metrics", await client.get("/metrics"))


async def live(server: RunningServer, front: ClickHouseFront, heard: Heard, secrets: list[str]) -> None:
    """One run: traffic, ClickHouse away and back, and the commands that look at it."""
    async with Client(server, headers={"User-Agent": AGENT, "X-Forwarded-For": ADDRESS}) as client:
        process_list(heard, server.pid)
        await misbehave(server, client, heard, secrets)
        await client.flushed()
        front.kill()  # errors of ClickHouse's client name what it was asking
        await client.send(BEACON)

        async def is_down() -> bool:
            return await client.metric("clickhouse_up") == 0

        await wait_for(is_down, 60, "the note that ClickHouse is away")
        heard.reply("the API", await client.call("GET", f"/api/v1/drops?site_id={SITE}"))
        query = {"site_id": SITE, "metrics": ["events"], "date_range": "all"}
        assert heard.reply("the API", await client.call("POST", "/api/v1/query", query)).status == 503
        heard.reply("metrics", await client.get("/metrics"))
        command(server, heard, "doctor")
        front.start()
        await client.flushed()
        command(server, heard, "doctor", "--json")
        command(server, heard, "check-config")


async def test_no_secret_is_ever_written_or_told(tmp_path: Path, front: ClickHouseFront) -> None:
    heard, secrets = Heard(), [ADDRESS, AGENT_MARK, ADMIN, UNKNOWN, PASSWORD]
    settings = {
        "server_trusted_proxies": "127.0.0.1",
        "log_level": "debug",
        "log_format": "json",
        "ingest_flush_interval_ms": "100",
        "clickhouse_url": front.url.replace("://", f"://default:{PASSWORD}@"),
        "clickhouse_connect_timeout_s": "1",
    }
    server = RunningServer(tmp_path / "server", settings)
    server.token = ADMIN
    try:
        await asyncio.to_thread(server.start)
        await live(server, front, heard, secrets)
        assert server.terminate() == 0
    finally:
        server.kill()
    for name in ("greeting", "log"):
        heard.note(name, getattr(server, name))

    assert SITE.encode() in heard.said["the API"]
    assert heard.containing(secrets) == []
    assert files_containing(tmp_path, [secret.encode() for secret in secrets]) == []
    assert not any(secret in line for line in os.listdir(server.data_dir) for secret in secrets)
