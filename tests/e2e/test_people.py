"""People over HTTP: the cookie, its origin, invitations, and what an admin of a site sees of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgspec
import pyotp
import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.server import Client, Reply, RunningServer, wait_for

PASSWORD = "seven green umbrellas"


class Visitor:
    """A browser that may have signed in."""

    def __init__(self, client: Client, server: RunningServer) -> None:
        self._client = client
        self.origin = server.url
        self.cookie = ""

    async def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        sent = {"Origin": self.origin, **({"Cookie": self.cookie} if self.cookie else {}), **headers}
        data = None if body is None else msgspec.json.encode(body)
        return await self._client.request(method, f"/api/v1/{path}", data, sent)

    async def sign_in(self, email: str, password: str = PASSWORD) -> Reply:
        reply = await self("POST", "session", {"email": email, "password": password})
        self.cookie = reply.headers.get("Set-Cookie", "").partition(";")[0]
        return reply


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("people")) as server:
        yield server


@pytest_asyncio.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        yield client


@pytest.fixture
def visitor(client: Client, server: RunningServer) -> Visitor:
    return Visitor(client, server)


async def exists(client: Client, site: str) -> None:
    """Make the site where it is not there: a role on one that does not exist is refused."""
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status in (201, 409)


async def add(client: Client, site: str, **changes: Any) -> str:
    """A person, and their address."""
    for each in {site, *changes.get("roles", ())}:
        await exists(client, each)
    email = str(changes.pop("email", f"anna@{site}"))
    body = {"email": email, "password": PASSWORD, "roles": {site: "viewer"}, **changes}
    made = await client.call("POST", "/api/v1/people", body)
    assert made.status == 201, made.body
    return email


async def test_a_cookie_opens_what_the_person_may_see(client: Client, visitor: Visitor, site: str) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    email = await add(client, site)
    assert (await visitor("GET", "session")).status == 401

    reply = await visitor.sign_in(email)
    cookie = reply.headers["Set-Cookie"].split("; ")
    assert reply.status == 200
    assert cookie[0].startswith("analytics_session=ass_")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie)
    me = (await visitor("GET", "session")).json
    assert (me["kind"], me["email"], me["roles"], me["owner"]) == ("person", email, {site: "viewer"}, False)
    assert [one["site_id"] for one in (await visitor("GET", "sites")).json["sites"]] == [site]
    assert (await visitor("PUT", f"sites/{site}", {"timezone": "Asia/Tokyo"})).status == 403
    assert (await visitor("DELETE", "session")).status == 204
    assert (await visitor("GET", "session")).status == 401


async def test_over_tls_the_cookie_is_of_this_host_and_secure(client: Client, visitor: Visitor, site: str) -> None:
    email = await add(client, site)
    body = {"email": email, "password": PASSWORD}

    secure = await visitor("POST", "session", body, **{"X-Forwarded-Proto": "https"})
    parts = secure.headers["Set-Cookie"].split("; ")
    assert parts[0].startswith("__Host-analytics_session=ass_")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(parts)
    assert not any(part.startswith("Domain") for part in parts)
    visitor.cookie = parts[0].removeprefix("__Host-")
    assert (await visitor("GET", "session", **{"X-Forwarded-Proto": "https"})).status == 401


async def test_a_planted_cookie_is_replaced_at_sign_in_and_never_opens_anything(
    client: Client, server: RunningServer, visitor: Visitor, site: str
) -> None:
    """Neither one that was made up nor one that its planter has signed in with becomes the session of the victim."""
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    email, planter = await add(client, site), Visitor(client, server)
    other = await add(client, site, email=f"planter@{site}", roles={f"other-{site}": "viewer"})
    await planter.sign_in(other)

    made_up = f"analytics_session=ass_{'A' * 43}"
    for planted, holder in ((made_up, None), (planter.cookie, other)):
        visitor.cookie = planted
        reply = await visitor.sign_in(email)
        assert reply.status == 200
        assert visitor.cookie.startswith("analytics_session=ass_")
        assert visitor.cookie != planted
        assert (await visitor("GET", "session")).json["email"] == email
        old = await visitor("GET", "session", Cookie=planted)
        assert (old.json["email"] if old.status == 200 else None) == holder
        assert (await visitor("GET", f"sites/{site}", Cookie=planted)).status == (401 if holder is None else 403)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "http://127.0.0.1:1", "http://["])
async def test_a_foreign_page_changes_nothing_by_a_cookie(
    client: Client, visitor: Visitor, server: RunningServer, site: str, origin: str
) -> None:
    email = await add(client, site, roles={site: "admin"})
    await visitor.sign_in(email)
    visitor.origin = origin

    for method, path in (("DELETE", "session"), ("PUT", f"sites/{site}"), ("POST", "query")):
        refused = await visitor(method, path, {})
        assert (refused.status, refused.code) == (403, "bad_origin"), (method, path)
    url = f"{server.url}/api/v1/live?site_id={site}"
    headers = {"Cookie": visitor.cookie, "Origin": origin}
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as handshake:
            await session.ws_connect(url, headers=headers, protocols=["session"])
        assert handshake.value.status == 403
    assert (await visitor("GET", "session")).status == 200  # reading is for the browser to keep apart


async def test_the_live_socket_takes_the_cookie(
    client: Client, visitor: Visitor, server: RunningServer, site: str
) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    await visitor.sign_in(await add(client, site))
    headers = {"Cookie": visitor.cookie, "Origin": visitor.origin}
    url = f"{server.url}/api/v1/live?site_id={site}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers, protocols=["session"]) as socket,
    ):
        assert "visitors" in await socket.receive_json(timeout=10)
        assert (await visitor("DELETE", "session/all")).status == 204
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            continue
        assert message.data == 4401


async def test_one_session_of_several_is_ended(
    client: Client, server: RunningServer, visitor: Visitor, site: str
) -> None:
    email, other, stranger = await add(client, site), Visitor(client, server), Visitor(client, server)
    for one in (visitor, other):
        await one.sign_in(email)
    await stranger.sign_in(await add(client, site, email=f"stranger@{site}"))
    listed = (await visitor("GET", "session/all")).json["sessions"]
    assert [one["current"] for one in listed] == [False, True]
    path = f"session/all/{listed[0]['session_id']}"
    assert (await stranger("DELETE", path)).code == "unknown_session"
    assert (await visitor("DELETE", path, Origin="https://evil.example")).code == "bad_origin"
    assert (await client.call("DELETE", f"/api/v1/{path}")).status == 403  # a token has none
    assert (await visitor("DELETE", path)).status == 204
    assert (await visitor("DELETE", path)).code == "unknown_session"
    assert [(await one("GET", "session")).status for one in (visitor, other)] == [200, 401]


async def test_beside_a_token_a_cookie_counts_for_nothing(client: Client, visitor: Visitor, site: str) -> None:
    await visitor.sign_in(await add(client, site))
    secret = visitor.cookie.partition("=")[2]
    for outside in ("Bearer wrong", f"Session {secret}", f"session {secret}", f"Bearer {secret}"):
        assert (await visitor("GET", "session", Authorization=outside)).status == 401
    assert (
        await visitor("POST", "session", {"email": "x@y", "password": "x"}, Origin="https://evil.example")
    ).code == ("bad_origin")


async def test_an_invitation_gives_what_it_says_and_no_more_than_the_inviter_has(
    client: Client, visitor: Visitor, server: RunningServer, site: str
) -> None:
    admin = Visitor(client, server)
    await admin.sign_in(await add(client, site, roles={site: "admin"}))
    email = f"ben@{site}"
    for wanted in ({"owner": True}, {"roles": {"other-" + site: "viewer"}}):
        assert (await admin("POST", "invitations", {"email": email, **wanted})).status == 403
    assert (
        await admin("POST", "people", {"email": email, "password": PASSWORD, "roles": {site: "viewer"}})
    ).status == 403

    made = (await admin("POST", "invitations", {"email": email, "name": "Ben", "roles": {site: "editor"}})).json
    assert made["link"] == f"{server.url}/dashboard#invitation={made['token']}"
    (listed,) = (await admin("GET", "invitations")).json["invitations"]
    assert listed == {key: value for key, value in made.items() if key not in ("token", "link", "sent", "not_sent")}
    weak = await visitor("POST", "invitations/accept", {"token": made["token"], "password": "password1234"})
    assert (weak.status, weak.code) == (400, "weak_password")
    accepted = await visitor("POST", "invitations/accept", {"token": made["token"], "password": PASSWORD})
    assert (accepted.status, accepted.json) == (200, {"email": email})
    again = await visitor("POST", "invitations/accept", {"token": made["token"], "password": PASSWORD})
    assert (again.status, again.code) == (404, "unknown_invitation")
    assert (await visitor.sign_in(email)).json["roles"] == {site: "editor"}


async def test_an_admin_of_a_site_manages_roles_on_it_and_sees_nothing_else(
    client: Client, server: RunningServer, site: str
) -> None:
    other = "other-" + site
    both = await add(client, site, email=f"both@{site}", roles={site: "viewer", other: "admin"})
    await add(client, site, email=f"else@{site}", roles={other: "viewer"})
    admin = Visitor(client, server)
    await admin.sign_in(await add(client, site, roles={site: "admin"}))
    everyone = {one["email"]: one for one in (await client.call("GET", "/api/v1/people")).json["people"]}
    address, hidden = (f"people/{everyone[email]['person_id']}" for email in (both, f"else@{site}"))

    seen = {one["email"]: one["roles"] for one in (await admin("GET", "people")).json["people"]}
    assert seen == {f"anna@{site}": {site: "admin"}, both: {site: "viewer"}}
    assert (await admin("GET", hidden)).code == (await admin("DELETE", hidden)).code == "unknown_person"
    for change in ({"name": "x"}, {"owner": True}, {"roles": {other: None}}, {"roles": {other: "viewer"}}):
        assert (await admin("PUT", address, change)).status == 403
    assert (await admin("PUT", address, {"roles": {site: "editor"}})).json["roles"] == {site: "editor"}
    assert (await admin("DELETE", address)).status == 204
    assert (await client.call("GET", f"/api/v1/{address}")).json["roles"] == {other: "admin"}
    assert (await client.call("DELETE", f"/api/v1/{address}")).status == 204
    assert (await client.call("GET", f"/api/v1/{address}")).status == 404


async def test_who_loses_a_role_loses_what_open_links_would_give(client: Client, visitor: Visitor, site: str) -> None:
    email = await add(client, site, roles={site: "editor"})
    me = (await visitor.sign_in(email)).json["id"]

    async def refusal_after(method: str, body: object = None) -> str:
        wanted = {"email": email, "roles": {site: "admin"}}
        link = (await client.call("POST", "/api/v1/invitations", wanted)).json["token"]
        assert (await client.call(method, f"/api/v1/people/{me}", body)).status < 300
        return (await visitor("POST", "invitations/accept", {"token": link, "password": PASSWORD})).code

    assert await refusal_after("PUT", {"roles": {site: "viewer"}}) == "unknown_invitation"
    assert await refusal_after("DELETE") == "unknown_invitation"


async def test_a_link_of_a_revoked_token_gives_nothing(client: Client, visitor: Visitor, site: str) -> None:
    await exists(client, site)
    made = (await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [site]})).json
    for outcome in (200, 404):
        wanted = {"email": f"{outcome}@{site}", "roles": {site: "viewer"}}
        link = (await client.call("POST", "/api/v1/invitations", wanted, token=made["token"])).json["token"]
        if outcome == 404:
            await client.call("DELETE", f"/api/v1/tokens/{made['token_id']}")
        accepted = await visitor("POST", "invitations/accept", {"token": link, "password": PASSWORD})
        assert accepted.status == outcome


async def test_the_last_owner_stays(client: Client, visitor: Visitor, site: str) -> None:
    assert (await client.call("GET", "/api/v1/session")).json["may_set_up_owner"]
    email = await add(client, site, owner=True, roles={})
    me = (await visitor.sign_in(email)).json
    assert me["owner"]
    assert not me["may_set_up_owner"]
    address = f"/api/v1/people/{me['id']}"
    assert (await client.call("DELETE", address)).code == "last_owner"
    assert (await client.call("PUT", address, {"owner": False})).code == "last_owner"
    second = await client.call("POST", "/api/v1/people", {"email": f"b@{site}", "password": PASSWORD, "owner": True})
    assert (await client.call("DELETE", address)).status == 204
    assert (await visitor("GET", "session")).status == 401
    assert (await client.call("DELETE", f"/api/v1/people/{second.json['person_id']}")).code == "last_owner"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("people", {"email": "no address", "password": PASSWORD, "owner": True}, "bad_email"),
        ("people", {"email": "a@b.example", "password": PASSWORD}, "bad_roles"),
        ("people", {"email": "a@b.example", "password": PASSWORD, "roles": {"no site": "viewer"}}, "bad_site"),
        ("people", {"email": "a@b.example", "password": PASSWORD, "roles": {"a.example": "owner"}}, "bad_body"),
        ("people", {"email": "a@b.example", "password": "short", "owner": True}, "weak_password"),
        ("people", {"email": "a@b.example", "password": PASSWORD, "owner": True, "name": "a\nb"}, "bad_name"),
        ("people", {"email": "a@b.example", "password": PASSWORD, "roles": {"no.example": "viewer"}}, "unknown_site"),
        ("invitations", {"email": "a@b.example", "roles": {"no.example": "viewer"}}, "unknown_site"),
        ("invitations", {"email": "a@b.example"}, "bad_roles"),
        ("session", {"email": "nobody@b.example", "password": PASSWORD}, "sign_in_failed"),
        ("session", {"email": "nobody@b.example"}, "bad_body"),
    ],
)
async def test_a_bad_call_is_told_what_is_wrong(client: Client, path: str, body: object, code: str) -> None:
    assert (await client.call("POST", f"/api/v1/{path}", body)).code == code


async def test_no_role_is_given_later_on_a_site_that_does_not_exist(client: Client, site: str) -> None:
    email = await add(client, site)
    everyone = (await client.call("GET", "/api/v1/people")).json["people"]
    (id_,) = [one["person_id"] for one in everyone if one["email"] == email]

    given = await client.call("PUT", f"/api/v1/people/{id_}", {"roles": {"no.example": "viewer"}})
    taken = await client.call("PUT", f"/api/v1/people/{id_}", {"roles": {"no.example": None}})

    assert (given.status, given.code) == (404, "unknown_site")
    assert (taken.status, taken.json["roles"]) == (200, {site: "viewer"}), "taken away it may be"


@pytest.mark.parametrize("path", ["session", "session/all"])
async def test_a_token_has_no_session_to_end(client: Client, path: str) -> None:
    assert (await client.call("DELETE", f"/api/v1/{path}")).status == 403


@pytest.fixture(scope="module")
def quiet_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One of its own: of many refusals in a minute not each has an entry."""
    with running(tmp_path_factory.mktemp("quiet")) as server:
        yield server


async def test_sign_ins_and_refusals_are_in_the_audit_log_without_a_secret(quiet_server: RunningServer) -> None:
    async with Client(quiet_server) as client:
        visitor = Visitor(client, quiet_server)
        email = await add(client, "audited.example")
        assert (await visitor.sign_in(email, "wrong password!")).code == "sign_in_failed"
        me = (await visitor.sign_in(email)).json
        wanted = {("ok", me["id"], me["id"]), ("sign_in_failed", "", me["id"])}

        async def found() -> Reply | None:
            reply = await client.call("GET", "/api/v1/privacy/audit?limit=200")
            entries = [one for one in reply.json["entries"] if one["operation"] == "sign_in"]
            told = {(one["outcome"], one["principal_id"], one["resource"]) for one in entries}
            return reply if wanted <= told else None

        reply = await wait_for(found)
        assert reply is not None
        assert not any(text.encode() in reply.body for text in (PASSWORD, visitor.cookie.partition("=")[2]))


async def test_what_was_used_as_a_second_factor_is_worth_nothing_after_a_kill(quiet_server: RunningServer) -> None:
    """The next step's code holds for a minute from now: nothing but its use can be why it is refused."""
    password = {"password": PASSWORD}
    async with Client(quiet_server) as client:
        visitor = Visitor(client, quiet_server)
        email = await add(client, "codes.example")
        await visitor.sign_in(email)
        totp = pyotp.TOTP((await visitor("POST", "session/totp", password)).json["secret"])
        now = int(time.time())
        confirmed = await visitor("POST", "session/totp/confirm", {"code": totp.at(now)})
        first, second, *_ = confirmed.json["recovery_codes"]
        later = totp.at(now + totp.interval)
        for code in (later, first):
            assert (await visitor("POST", "session", {"email": email, "code": code, **password})).status == 200

    quiet_server.kill()
    quiet_server.restart()
    async with Client(quiet_server) as client:
        visitor = Visitor(client, quiet_server)
        for code in (totp.at(now), later, first):
            refused = await visitor("POST", "session", {"email": email, "code": code, **password})
            assert (refused.status, refused.code) == (401, "sign_in_failed")
        assert (await visitor("POST", "session", {"email": email, "code": second, **password})).status == 200
