"""A whole life with marked secrets: none stands in a file, a log line, a metric, an answer or the process list."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from analytics_server.http.address_file import read_address
from analytics_server.listening import base_url
from tests.clickhouse import ClickHouseFront
from tests.mail.smtp import SmtpServer
from tests.mail.smtp import running as mail_running
from tests.server import Client, Reply, RunningServer, files_containing, wait_for

ADDRESS = "203.0.113.117"
AGENT_MARK = "Gecko/20880808"
AGENT = f"Mozilla/5.0 (X11; Linux x86_64; rv:142.0) {AGENT_MARK} Firefox/142.0"
ADMIN = "ast_marked-admin-token-of-this-test"
UNKNOWN = "ast_marked-unknown-token-of-this-test"
PASSWORD = "marked-clickhouse-password"
SITE = "marked.example"
MAIL_PASSWORD = "marked-mail-password"
PERSON, INVITED, STRANGER = (f"marked-{name}@people.example" for name in ("person", "invited", "stranger"))
FIRST, SECOND = "marked first umbrellas", "marked second umbrellas"
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
    done = server.command(*arguments)
    heard.note(f"the command {arguments[0]}", (done.stdout + done.stderr).encode())


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


async def mail(client: Client, smtp: SmtpServer, heard: Heard, secrets: list[str]) -> None:
    """A password that is forgotten, and invitations, also while the mail server quotes them in what it refuses.

    The address of a person is told to who manages people, and nowhere else.
    """
    body = {"email": PERSON, "name": "Anna", "password": FIRST, "owner": True}
    assert (await client.call("POST", "/api/v1/people", body)).status == 201

    async def ask(email: str, messages: int) -> None:
        before = smtp.gone
        heard.reply(
            "a reset", await client.request("POST", "/api/v1/session/reset", msgspec.json.encode({"email": email}))
        )

        async def done() -> bool:
            return smtp.gone == before + messages

        await wait_for(done, 60, "the messages")

    await ask(STRANGER, 0)
    await ask(PERSON, 1)
    secret = smtp.taken[-1].link.partition("=")[2]
    secrets.append(secret)
    for password in ("short", SECOND, SECOND):
        accepted = msgspec.json.encode({"token": secret, "password": password})
        reply = await client.request("POST", "/api/v1/invitations/accept", accepted)
        if reply.status != 200:  # whose account it is, is told to who has the link
            heard.reply("a link", reply)
    smtp.fault = "recipient"
    await ask(PERSON, 1)
    made = await client.call("POST", "/api/v1/invitations", {"email": INVITED, "owner": True})
    assert made.json["sent"] is False
    secrets.append(str(made.json["token"]))
    smtp.fault = ""
    smtp.credentials = "another"
    await ask(PERSON, 1)
    heard.reply("the audit log", await client.call("GET", "/api/v1/privacy/audit?limit=1000"))
    heard.reply("metrics", await client.get("/metrics"))


async def live(
    server: RunningServer, front: ClickHouseFront, smtp: SmtpServer, heard: Heard, secrets: list[str]
) -> None:
    """One run: traffic, ClickHouse away and back, and the commands that look at it."""
    async with Client(server, headers={"User-Agent": AGENT, "X-Forwarded-For": ADDRESS}) as client:
        process_list(heard, server.pid)
        await misbehave(server, client, heard, secrets)
        await mail(client, smtp, heard, secrets)
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
        command(server, heard, "mail", "test", STRANGER)


@pytest.fixture
def smtp() -> Iterator[SmtpServer]:
    with mail_running(SmtpServer(credentials=f"stats {MAIL_PASSWORD}")) as server:
        yield server


async def test_no_secret_is_ever_written_or_told(tmp_path: Path, front: ClickHouseFront, smtp: SmtpServer) -> None:
    heard = Heard()
    secrets = [ADDRESS, AGENT_MARK, ADMIN, UNKNOWN, PASSWORD, MAIL_PASSWORD, FIRST, SECOND]
    settings = {
        "server_trusted_proxies": "127.0.0.1",
        "log_level": "debug",
        "log_format": "json",
        "ingest_flush_interval_ms": "100",
        "clickhouse_url": front.url.replace("://", f"://default:{PASSWORD}@"),
        "clickhouse_connect_timeout_s": "1",
        "server_public_url": "http://127.0.0.1:9",
        "server_allowed_hosts": "*",
        "mail_host": "127.0.0.1",
        "mail_port": str(smtp.port),
        "mail_tls": "none",
        "mail_user": "stats",
        "mail_password": MAIL_PASSWORD,
        "mail_sender": "stats@example.com",
    }
    server = RunningServer(tmp_path / "server", settings)
    server.token = ADMIN
    try:
        await asyncio.to_thread(server.start)
        found = read_address(server.data_dir)  # what it prints is public_url
        assert found is not None
        server.url = base_url(*found.addresses[0])
        await live(server, front, smtp, heard, secrets)
        assert server.terminate() == 0
    finally:
        server.kill()
    for name in ("greeting", "log"):
        heard.note(name, getattr(server, name))

    assert SITE.encode() in heard.said["the API"]
    assert heard.containing([*secrets, PERSON, INVITED, STRANGER]) == []
    assert files_containing(tmp_path, [secret.encode() for secret in secrets]) == []
    assert not any(secret in line for line in os.listdir(server.data_dir) for secret in secrets)
