"""A whole life with marked secrets: none stands in a file, a log line, a metric, an answer or the process list."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
import msgspec
import pyotp
import pytest

from analytics_server.http.address_file import read_address
from analytics_server.listening import base_url
from tests.clickhouse import ClickHouseFront
from tests.e2e.command_secrets import TYPED, note_process, settings_file, typed_password
from tests.e2e.heard import Heard
from tests.e2e.provider_secrets import CLIENT_ID, CLIENT_SECRET, MarkedProvider, marked_provider, through_provider
from tests.e2e.provider_secrets import PASSWORD as PROVIDED_PASSWORD
from tests.e2e.provider_secrets import PERSON as PROVIDED
from tests.mail.smtp import SmtpServer
from tests.mail.smtp import running as mail_running
from tests.privacy.engine_bytes import files_with_any
from tests.server import Client, Reply, RunningServer, wait_for

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
LINK_PASSWORD = "marked share umbrellas"
PUBLIC_URL = "http://127.0.0.1:9"
WRITTEN = "marked-visitor@mail.example"
"""An address that pages' addresses and texts hold."""
BEACON = {"site": SITE, "name": "pageview", "url": f"https://{SITE}/"}
WITH_ADDRESS = {
    "site": SITE,
    "name": "click",
    "url": f"https://{SITE}/of/{WRITTEN}?q={WRITTEN}&mail={WRITTEN}&utm_campaign={WRITTEN}#{WRITTEN}",
    "referrer": f"https://mail.example/{WRITTEN}?to={WRITTEN}",
    "title": f"Mail to {WRITTEN}",
    "element": {"text": f"Write to {WRITTEN}", "href": f"mailto:{WRITTEN}"},
}
BAD = [
    b"\xff{",
    b'{"site":"marked.example"',
    b'{"site":"marked.example","name":"pageview","url":"https://marked.example/","timestamp":"never"}',
    b'{"site":"no such site!","name":"x"}',
]


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
    for trusted in (False, True):
        assert heard.reply("beacons", await client.send(WITH_ADDRESS, trusted=trusted)).json["accepted"] == 1
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


async def account(server: RunningServer, client: Client, heard: Heard, secrets: list[str]) -> None:
    """A person signs in, with a second factor at last; what is told once, to them alone, is not noted."""

    async def ask(method: str, path: str, body: object = None, cookie: str = "") -> Reply:
        data, sent = None if body is None else msgspec.json.encode(body), {"Origin": server.url, "Cookie": cookie}
        return await client.request(method, f"/api/v1/session{path}", data, sent)

    async def signed_in(**code: str) -> str:
        reply = await ask("POST", "", {"email": PERSON, "password": SECOND, **code})
        assert reply.status == 200, reply.body
        cookie = reply.headers["Set-Cookie"].partition(";")[0]
        secrets.append(cookie.partition("=")[2])
        return cookie

    for email, password in ((STRANGER, SECOND), (PERSON, FIRST)):
        heard.reply("sign-in", await ask("POST", "", {"email": email, "password": password}))
    cookie = await signed_in()
    secret = str((await ask("POST", "/totp", {"password": SECOND}, cookie)).json["secret"])
    heard.reply("sign-in", await ask("POST", "/totp/confirm", {"code": "no code"}, cookie))
    confirmed = await ask("POST", "/totp/confirm", {"code": pyotp.TOTP(secret).at(int(time.time()))}, cookie)
    codes = [str(code) for code in confirmed.json["recovery_codes"]]
    heard.kept.append(secret)
    secrets += codes
    for code in ("", "000000", secret, f"{codes[0]}x"):
        heard.reply("sign-in", await ask("POST", "", {"email": PERSON, "password": SECOND, "code": code}))
    second = await signed_in(code=codes[0])
    heard.reply("sessions", await ask("GET", "/all", cookie=second))
    assert heard.reply("sessions", await ask("DELETE", "", cookie=second)).status == 204
    for ended in (second, cookie + "x", cookie.replace("=", "=x")):
        heard.reply("sessions", await ask("GET", "", cookie=ended))
    for path in ("", f"/callback?code={codes[1]}&state={secret}"):
        heard.reply("the provider", await ask("GET", f"/oidc{path}"))


async def link(client: Client, heard: Heard, secrets: list[str]) -> None:
    """A share link with a password is opened, and revoked."""
    made = await client.call("POST", "/api/v1/share-links", {"site_id": SITE, "password": LINK_PASSWORD})
    assert made.status == 201, made.body
    secret = str(made.json["link"].rpartition("/")[2])
    secrets.append(secret)

    async def opening(**password: str) -> Reply:
        body = msgspec.json.encode({"secret": secret, **password})
        return await client.request("POST", "/api/v1/share/open", body, {"Authorization": ""})

    heard.reply("a share link", await client.get(f"/share/{secret}"))
    for password in ({}, {"password": "another password"}):
        heard.reply("a share link", await opening(**password))
    token = str((await opening(password=LINK_PASSWORD)).json["token"])
    secrets.append(token.rpartition(".")[2])
    question = {"site_id": SITE, "metrics": ["visitors"], "date_range": "7d"}
    for wanted in (token, token + "x"):
        heard.reply("a share link", await client.call("POST", "/api/v1/query", question, token=wanted))
    heard.reply("a share link", await client.call("GET", f"/api/v1/share-links?site_id={SITE}"))
    assert (await client.call("DELETE", f"/api/v1/share-links/{made.json['link_id']}")).status == 204
    heard.reply("a share link", await opening(password=LINK_PASSWORD))
    heard.reply("a share link", await client.get(f"/share/{secret}"))


async def live(
    server: RunningServer,
    front: ClickHouseFront,
    smtp: SmtpServer,
    provider: MarkedProvider | None,
    file: Path,
    heard: Heard,
    secrets: list[str],
) -> None:
    """One run: traffic, ClickHouse away and back, and the commands that look at it."""
    async with Client(server, headers={"User-Agent": AGENT, "X-Forwarded-For": ADDRESS}) as client:
        note_process(heard, server.pid)
        await misbehave(server, client, heard, secrets)
        await mail(client, smtp, heard, secrets)
        await account(server, client, heard, secrets)
        await link(client, heard, secrets)
        await typed_password(client, front, file, SITE, heard, secrets)
        if provider is not None:
            await through_provider(client, provider, PUBLIC_URL, heard, secrets)
        heard.reply("the audit log", await client.call("GET", "/api/v1/privacy/audit?limit=1000"))
        await client.flushed()
        front.kill()  # errors of ClickHouse's client name what it was asking
        await client.send(BEACON)

        async def is_down() -> bool:
            return await client.metric("clickhouse_up") == 0

        await wait_for(is_down, 60, "the note that ClickHouse is away")
        assert (await client.send(WITH_ADDRESS)).json["accepted"] == 1  # the log holds it
        unwritten = [one.encode() for one in (*secrets, WRITTEN, STRANGER)]
        assert await asyncio.to_thread(files_with_any, server.data_dir, unwritten) == []
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


@pytest.fixture
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarkedProvider | None]:
    with marked_provider(tmp_path_factory.mktemp("provider"), PUBLIC_URL) as provider:
        yield provider


def tables_of(clickhouse: Path, files: Iterable[str]) -> set[str]:
    """The tables of ClickHouse that files with data of parts are of; other files as they are named."""
    names = {
        found[1]: path.stem
        for path in clickhouse.rglob("*.sql")
        if (found := re.search(r"UUID '([0-9a-f-]{36})'", path.read_text(encoding="utf-8")))
    }
    return {names.get(Path(file).parent.parent.name, file) for file in files}


async def test_no_secret_is_ever_written_or_told(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    front: ClickHouseFront,
    smtp: SmtpServer,
    provider: MarkedProvider | None,
) -> None:
    heard = Heard()
    secrets = [
        ADDRESS,
        AGENT_MARK,
        ADMIN,
        UNKNOWN,
        PASSWORD,
        MAIL_PASSWORD,
        FIRST,
        SECOND,
        LINK_PASSWORD,
        CLIENT_SECRET,
        PROVIDED_PASSWORD,
        TYPED,
    ]
    clickhouse_url = front.url.replace("://", f"://default:{PASSWORD}@")
    issuer = provider.issuer if provider else PUBLIC_URL
    settings = {
        "server_trusted_proxies": "127.0.0.1",
        "log_level": "debug",
        "log_format": "json",
        "ingest_flush_interval_ms": "100",
        "clickhouse_url": clickhouse_url,
        "clickhouse_connect_timeout_s": "1",
        "server_public_url": PUBLIC_URL,
        "server_allowed_hosts": "*",
        "mail_host": "127.0.0.1",
        "mail_port": str(smtp.port),
        "mail_tls": "none",
        "mail_user": "stats",
        "mail_password": MAIL_PASSWORD,
        "mail_sender": "stats@example.com",
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
    }
    server = RunningServer(tmp_path / "server", settings, executed=True)
    server.token = ADMIN
    in_file = {
        "server": {"data_dir": str(server.data_dir), "public_url": PUBLIC_URL},
        "clickhouse": {"url": clickhouse_url},
        "mail": {
            "host": "127.0.0.1",
            "tls": "none",
            "user": "stats",
            "password": MAIL_PASSWORD,
            "sender": "a@example.com",
        },
        "oidc": {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
    }
    file = settings_file(tmp_path_factory.mktemp("settings"), in_file)
    try:
        await asyncio.to_thread(server.start)
        found = read_address(server.data_dir)  # what it prints is public_url
        assert found is not None
        server.url = base_url(*found.addresses[0])
        await live(server, front, smtp, provider, file, heard, secrets)
        assert server.terminate() == 0
    finally:
        server.kill()
    for name in ("greeting", "log"):
        heard.note(name, getattr(server, name))

    assert SITE.encode() in heard.said["the API"]
    assert heard.containing([*secrets, PERSON, INVITED, PROVIDED, STRANGER, WRITTEN]) == []
    assert heard.containing(heard.kept) == []
    never = [one.encode() for one in (*secrets, STRANGER, WRITTEN)]
    accounts = [one.encode() for one in (*heard.kept, PERSON, INVITED, *([PROVIDED] if provider else []))]
    stands = files_with_any(tmp_path, [*never, *accounts])
    assert [each for each in stands if each[1] in never] == []
    assert {needle for _, needle in stands} == set(accounts)
    assert tables_of(tmp_path / "clickhouse", [name for name, _ in stands]) == {"people"}
    assert not any(secret in line for line in os.listdir(server.data_dir) for secret in secrets)
    if provider is None:
        pytest.skip("no secret was written or told, but nobody signed in through a provider: oidc-provider is missing")
