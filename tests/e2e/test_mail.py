"""Forgotten passwords and invitations by mail: a real server, a real mail server, and links that work as said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from analytics_server.http.address_file import read_address
from analytics_server.listening import base_url
from tests.e2e.conftest import running
from tests.e2e.test_people import PASSWORD, Visitor, add
from tests.mail.smtp import SmtpServer, Taken
from tests.mail.smtp import running as mail_running
from tests.server import Client, Reply, RunningServer, wait_for

PUBLIC_URL = "http://stats.example/sub"
NEW = "eight yellow bicycles"
PER_RECIPIENT = 3


@pytest.fixture(scope="module")
def smtp() -> Iterator[SmtpServer]:
    with mail_running(SmtpServer()) as server:
        yield server


@pytest.fixture(scope="module")
def server(smtp: SmtpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "server_public_url": PUBLIC_URL,
        "server_allowed_hosts": "*",
        "mail_host": "127.0.0.1",
        "mail_port": str(smtp.port),
        "mail_tls": "none",
        "mail_sender": "stats@example.com",
        "mail_messages_per_recipient": str(PER_RECIPIENT),
        "mail_resets_per_address": "40",
        "access_sign_in_window_s": "1000000000",  # none begins meanwhile
    }
    with running(tmp_path_factory.mktemp("mail"), settings) as server:
        found = read_address(server.data_dir)  # what it prints is public_url
        assert found is not None
        server.url = base_url(*found.addresses[0])
        yield server


@pytest_asyncio.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


@pytest.fixture
def visitor(client: Client, server: RunningServer) -> Visitor:
    return Visitor(client, server)


async def asked(visitor: Visitor, email: str, **headers: str) -> Reply:
    return await visitor("POST", "session/reset", {"email": email}, **headers)


async def message_to(smtp: SmtpServer, email: str, number: int = 1) -> Taken:
    async def arrived() -> list[Taken]:
        found = [taken for taken in smtp.taken if taken.recipient == email]
        return found if len(found) >= number else []

    return (await wait_for(arrived, 60, f"message {number} to {email}"))[-1]


async def all_done(visitor: Visitor, client: Client, smtp: SmtpServer, site: str) -> None:
    """What was asked for before is done: one after the other."""
    last = await add(client, site, email=f"last-{len(smtp.taken)}@{site}")
    assert (await asked(visitor, last)).status == 204
    await message_to(smtp, last)


def secret_of(taken: Taken) -> str:
    assert taken.link.startswith(f"{PUBLIC_URL}/dashboard#invitation=asi_")
    return taken.link.partition("=")[2]


async def accept(visitor: Visitor, secret: str, password: str = NEW) -> str:
    reply = await visitor("POST", "invitations/accept", {"token": secret, "password": password})
    return "ok" if reply.status == 200 else reply.code


async def test_a_forgotten_password_is_set_anew_by_a_link_that_works_once(
    client: Client, server: RunningServer, smtp: SmtpServer, visitor: Visitor, site: str
) -> None:
    assert (await client.get("/api/v1/session/methods")).json == {"password": True, "provider": "", "reset": True}
    email = await add(client, site)
    await visitor.sign_in(email)
    # Neither the name by which the server was asked nor a foreign header gets into the link.
    foreign = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Origin": "http://stats.example"}
    reply = await asked(visitor, f" {email.upper()} ", **foreign)
    assert (reply.status, reply.body) == (204, b"")
    taken = await message_to(smtp, email)
    assert "evil" not in taken.text
    secret = secret_of(taken)
    assert await accept(visitor, secret, "short") == "weak_password"
    assert (await visitor("GET", "session")).status == 200
    assert await accept(visitor, secret) == "ok"
    assert await accept(visitor, secret) == "unknown_invitation"
    assert (await visitor("GET", "session")).status == 401, "all sessions are over"
    assert (await visitor.sign_in(email)).code == "sign_in_failed"
    assert (await visitor.sign_in(email, NEW)).status == 200
    page = await client.get("/dashboard")
    assert page.headers["Referrer-Policy"] == "no-referrer"


async def test_a_link_ends_by_a_newer_one_by_a_new_password_and_with_the_account(
    client: Client, smtp: SmtpServer, visitor: Visitor, site: str
) -> None:
    email = await add(client, site)
    links = []
    for number in range(1, 3):
        await asked(visitor, email)
        links.append(secret_of(await message_to(smtp, email, number)))
    await all_done(visitor, client, smtp, site)
    assert await accept(visitor, links[0]) == "unknown_invitation"
    await visitor.sign_in(email)
    change = {"password": PASSWORD, "new_password": NEW}
    assert (await visitor("PUT", "session/password", change)).status == 204
    assert await accept(visitor, links[1]) == "unknown_invitation"
    await asked(visitor, email)
    link = secret_of(await message_to(smtp, email, 3))
    me = (await visitor.sign_in(email, NEW)).json["id"]
    assert (await client.call("DELETE", f"/api/v1/people/{me}")).status == 204
    assert await accept(visitor, link) == "unknown_invitation"


async def metrics(client: Client) -> tuple[float, ...]:
    """What anyone may read of mail."""
    requests = [
        await client.metric(f'password_reset_requests_total{{outcome="{o}"}}') for o in ("accepted", "repeated")
    ]
    messages = [await client.metric(f'mail_messages_total{{outcome="{o}"}}') for o in ("sent", "failed", "dropped")]
    return (*requests, *messages)


async def test_a_stranger_can_not_keep_an_invitation_from_being_sent(
    client: Client, smtp: SmtpServer, visitor: Visitor, site: str
) -> None:
    email = f"new@{site}"
    for _ in range(PER_RECIPIENT):
        assert (await asked(visitor, email)).status == 204
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status in (201, 409)
    wanted = {"email": email, "roles": {site: "viewer"}}
    made = (await client.call("POST", "/api/v1/invitations", wanted)).json
    assert (made["sent"], made["not_sent"]) == (True, None)
    assert (await message_to(smtp, email)).link == made["link"]


async def test_no_answer_tells_whether_there_is_an_account_and_no_address_is_flooded(
    client: Client, smtp: SmtpServer, visitor: Visitor, site: str
) -> None:
    email = await add(client, site)
    unknown = f"nobody@{site}"
    before = await metrics(client)
    replies = [await asked(visitor, one) for _ in range(PER_RECIPIENT + 1) for one in (email, unknown)]
    assert {(one.status, one.body) for one in replies} == {(204, b"")}
    told = {frozenset(name for name in one.headers if name != "Date") for one in replies}
    assert len(told) == 1
    await message_to(smtp, email, PER_RECIPIENT)
    await all_done(visitor, client, smtp, site)
    assert [taken.recipient for taken in smtp.taken].count(email) == PER_RECIPIENT
    assert not any(taken.recipient == unknown for taken in smtp.taken)
    requests = 2 * PER_RECIPIENT + 1  # of which one is that of `all_done`
    assert await metrics(client) == (before[0] + requests, before[1] + 2, *before[2:]), "no message is counted"
    for bad in ("nobody", "a@b@c", "x" * 255 + "@example.org"):
        assert (await asked(visitor, bad)).status == 400
    assert (await asked(visitor, email, Origin="https://evil.example")).code == "bad_origin"


async def test_one_address_may_ask_for_so_many_and_others_go_on(
    client: Client, visitor: Visitor, site: str, server: RunningServer
) -> None:
    statuses = [(await asked(visitor, f"{number}@{site}")).status for number in range(41)]
    assert statuses[0] == 204
    assert statuses[-1] == 429
    assert statuses == sorted(statuses)


async def test_an_invitation_is_sent_and_the_link_is_shown_all_the_same(
    client: Client, smtp: SmtpServer, visitor: Visitor, site: str
) -> None:
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status in (201, 409)
    wanted = {"email": f"ben@{site}", "roles": {site: "viewer"}}
    made = (await client.call("POST", "/api/v1/invitations", wanted)).json
    assert made["sent"] is True
    taken = await message_to(smtp, f"ben@{site}")
    assert taken.link == made["link"] == f"{PUBLIC_URL}/dashboard#invitation={made['token']}"
    assert await accept(visitor, made["token"]) == "ok"
    smtp.fault = "recipient"
    try:
        made = (await client.call("POST", "/api/v1/invitations", {**wanted, "email": f"eve@{site}"})).json
    finally:
        smtp.fault = ""
    assert (made["sent"], made["not_sent"]) == (False, "mail_not_sent")
    assert await accept(visitor, made["token"]) == "ok"
    often, told = {**wanted, "email": f"often@{site}"}, []
    dropped = 'mail_messages_total{outcome="dropped"}'
    before = await client.metric(dropped)
    for number in range(PER_RECIPIENT + 2):
        smtp.fault = "" if number else "recipient"  # what was not taken does not count
        told.append((await client.call("POST", "/api/v1/invitations", often)).json["not_sent"])
    assert told == ["mail_not_sent", *[None] * PER_RECIPIENT, "too_many_messages"]
    assert await client.metric(dropped) == before + 1
    entries = (await client.call("GET", "/api/v1/privacy/audit?limit=100")).json["entries"]
    assert {one["operation"] for one in entries} >= {"request_reset", "create_invitation", "accept_invitation"}
    assert not any(site in str(one["details"]) or "asi_" in str(one) for one in entries)


def test_commands_send_links_and_try_the_mail_server(tmp_path: Path, smtp: SmtpServer) -> None:
    server = RunningServer(
        tmp_path,
        {
            "server_public_url": PUBLIC_URL,
            "mail_host": "127.0.0.1",
            "mail_port": str(smtp.port),
            "mail_tls": "none",
            "mail_sender": "stats@example.com",
        },
    )

    def last() -> Taken:
        return [taken for taken in smtp.taken if taken.recipient == "owner@cli.example"][-1]

    added = server.command("person", "add", "owner@cli.example", "--owner", "--send")
    assert (added.returncode, added.stderr) == (0, "sent\n")
    assert last().link == added.stdout.strip()
    assert "7 days" in last().text
    tried = server.command("mail", "test", "owner@cli.example")
    assert (tried.returncode, tried.stdout) == (0, "127.0.0.1 has taken the message.\n")
    assert "arrive here" in last().text
    smtp.fault = "recipient"
    try:
        refused = server.command("mail", "test", "owner@cli.example")
    finally:
        smtp.fault = ""
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "refused the recipient (550)" in refused.stderr
    off = server.command("mail", "test", "owner@cli.example", ANALYTICS_MAIL_HOST="")
    assert off.returncode == 1
    assert "[mail] host" in off.stderr
    unsent = server.command("person", "add", "other@cli.example", "--owner", "--send", ANALYTICS_MAIL_HOST="")
    assert (unsent.returncode, unsent.stdout) == (1, "")
    shown = server.command(
        "check-config", ANALYTICS_MAIL_HOST="localhost", ANALYTICS_MAIL_USER="u", ANALYTICS_MAIL_PASSWORD="marked"
    )
    assert shown.returncode == 0
    assert "marked" not in shown.stdout + shown.stderr


async def test_a_server_without_mail_says_so(tmp_path: Path) -> None:
    with running(tmp_path, {"server_host": "127.0.0.1"}) as server:
        async with Client(server) as client:
            assert not (await client.get("/api/v1/session/methods")).json["reset"]
            refused = await asked(Visitor(client, server), "anna@example.org")
            assert (refused.status, refused.code) == (403, "mail_off")
