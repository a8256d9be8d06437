"""Every route by people who are signed in and by opened share links, and by what was one of these once: in process.

The routes are the server's own, with their reading of paths and bodies, behind the server's own authentication; what
they would do is left out. What each route needs is the table of `test_rights.py`, which asks a whole server by tokens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.access.actions import GateAuthorizer
from analytics_server.access.authentication import Authentication
from analytics_server.access.gate import Gate
from analytics_server.access.links.share_links import ShareLinks, _mac
from analytics_server.access.people.accounts import Account, Accounts, Rights
from analytics_server.access.people.sessions import PersonSessions
from analytics_server.access.principals import Role as Held
from analytics_server.config import AccessSection
from analytics_server.http.declaration import plain_path
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom, for_tokens, not_narrowed
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.routing.routes import route_table
from analytics_server.http.security.session_cookie import PLAIN_NAME, READING_METHODS
from analytics_server.http.serving import wrap
from analytics_server.store import Store
from tests.access.memory_store import MemoryTables
from tests.http.test_rights import ENDPOINTS, EXAMPLE, FOREIGN, NEED, OWN, Role, about, by_role

in_one_loop = pytest.mark.asyncio(loop_scope="module")

GUARDED = [one for one in ENDPOINTS if one.name in NEED and one.handle is not None]
LINK_MAY = {"query", "trends", "funnel", "cohorts", "paths", "get_site", "list_sites", "who_am_i"}
SETTINGS = AccessSection(session_idle_s=3_600, session_absolute_s=7_200)
CLOSED = "closed.example"
ANOTHER_PAGE = "https://evil.example"


@dataclass(slots=True)
class Clock:
    now: float = 1_900_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Alive:
    """A credential that is good. `is_link`: of an opened share link; `role`: else as which token it may as much."""

    headers: dict[str, str]
    role: Role
    is_link: bool = False

    def expected(self, endpoint: Endpoint, site: str) -> int:
        need = NEED[endpoint.name]
        if self.is_link:
            return 200 if endpoint.name in LINK_MAY and (site == OWN or "site" not in need) else 403
        if endpoint.protocol is not None:
            return 401  # programs send a token there: a cookie counts for nothing
        if need == "a person":
            return 200
        if need == "manage the erasure":
            need = "manage what is covered"
        if need.endswith(", or save for oneself there"):
            need = "read the site"  # what the thing is, and so whether that is enough, is known to the handler alone
        return {"ok": 200}.get(by_role(need, self.role, site), 403)


@dataclass(slots=True)
class World:
    """The routes, with who may ask them."""

    client: TestClient[web.Request, web.Application]
    origin: str
    alive: dict[str, Alive]
    dead: dict[str, dict[str, str]] = field(default_factory=dict)

    async def ask(self, endpoint: Endpoint, headers: dict[str, str], site: str) -> tuple[int, str]:
        """The status, and an error's code, of the endpoint's first example about the site."""
        path, query = plain_path(endpoint.path), {}
        for parameter in endpoint.parameters:
            value = site if parameter.example == EXAMPLE else str(parameter.example or "x")
            if f"{{{parameter.name}}}" in path:
                path = path.replace(f"{{{parameter.name}}}", quote(value, safe=""))
            elif parameter.required or parameter.name == "site_id":
                query[parameter.name] = value
        body = None if endpoint.body is None else about(site, next(iter(endpoint.body.examples.values())))
        sent = {"Origin": self.origin, "X-Site": site, **headers}
        async with self.client.request(endpoint.method, path, params=query, data=body, headers=sent) as answer:
            text = await answer.read()
            is_error = answer.status >= 400 and answer.content_type == "application/json" and b'"error":{' in text
            return answer.status, str(msgspec.json.decode(text)["error"]["code"]) if is_error else ""


def without_effect(endpoint: Endpoint) -> Endpoint:
    """The endpoint as it is, but that its handler only asks whether the caller may."""
    asks_itself = "site" in NEED[endpoint.name] and endpoint.site in (None, SiteFrom.HANDLER)

    async def handle(call: Call[Any]) -> web.Response:
        if asks_itself:
            call.authorize(call.request.headers["X-Site"])
        elif endpoint.site is SiteFrom.HANDLER:
            raise AssertionError(f"Of which site is {endpoint.name}?")
        return web.Response()

    is_told_as_it_is = endpoint.narrow in (None, for_tokens, not_narrowed)
    return replace(endpoint, handle=handle, narrow=endpoint.narrow if is_told_as_it_is else not_narrowed)


def cookie(value: str) -> dict[str, str]:
    return {"Cookie": f"{PLAIN_NAME}={value}"}


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


class Credentials:
    """Makes them, and lets some end."""

    def __init__(self) -> None:
        self.store, self.clock = cast(Store, MemoryTables()), Clock()
        self.gate = Gate(self.store, clock=self.clock)
        self.people = Accounts(self.store, clock=self.clock, refresh_s=0.0)
        self.sessions = PersonSessions(self.store, self.people, SETTINGS, clock=self.clock, refresh_s=0.0)
        self.shared: dict[str, int | None] = {}
        self.links = ShareLinks(
            self.store, clock=self.clock, refresh_s=0.0, shared_from_ms=lambda site: self.shared.get(site, 0)
        )

    async def person(self, name: str, **rights: Any) -> Account:
        given = msgspec.convert(rights, Rights)
        return await self.people.add(f"{name}@people.example", name="", rights=given, password_hash="hash")

    async def session(self, person: Account) -> str:
        return (await self.sessions.begin(person, int(self.clock() * 1000)))[0]

    async def link(self, **changes: Any) -> tuple[str, str]:
        """A link's id, and a token of it."""
        link, secret = await self.links.create(changes.pop("site", OWN), **changes)
        return link.id, self.links.token_of(link, secret)

    async def alive(self) -> dict[str, Alive]:
        """After `dead`: the clock stands still from now on."""
        found = {"link": Alive(bearer((await self.link())[1]), Role("link", ""), is_link=True)}
        for name, role, sites in (
            ("owner", "admin", ()),
            ("admin", "admin", (OWN,)),
            ("editor", "editor", (OWN,)),
            ("viewer", "viewer", (OWN,)),
            ("elsewhere", "admin", (FOREIGN,)),
        ):
            rights = {"roles": dict.fromkeys(sites, role)} if sites else {"owner": True}
            person = await self.person(name, **rights)
            found[name] = Alive(cookie(await self.session(person)), Role(name, role, sites))
        person = await self.person("lowered", roles={OWN: "admin"})
        found["lowered"] = Alive(cookie(await self.session(person)), Role("lowered", "viewer", (OWN,)))
        lower = Rights(roles={OWN: Held.VIEWER})
        await self.people.change(person.id, lambda each: msgspec.structs.replace(each, rights=lower))
        return found

    async def dead(self) -> dict[str, dict[str, str]]:
        """Each that was good is tried before it ends."""
        owner, removed, everywhere = [
            await self.person(name, owner=True) for name in ("ended", "removed", "everywhere")
        ]
        secrets = {"absolute end": await self.session(owner)}
        self.clock.now += 3_000
        await self.sessions.authenticate(secrets["absolute end"])
        secrets["idle"] = await self.session(owner)
        await self.sessions.authenticate(secrets["idle"])
        self.clock.now += 3_000
        await self.sessions.authenticate(secrets["absolute end"])
        secrets["signed out"] = await self.session(owner)
        secrets["ended elsewhere"] = await self.session(owner)
        secrets["signed out everywhere"] = await self.session(everywhere)
        secrets["of a person who was removed"] = await self.session(removed)
        revoked_id, revoked = await self.link()
        links = {"revoked link": revoked, "link of a closed site": (await self.link(site=CLOSED))[1]}
        end = datetime.fromtimestamp(self.clock() + 60, UTC)
        links["expired link"] = (await self.link(expires_at=end))[1]
        for name, secret in secrets.items():
            if name != "idle":
                await self.sessions.authenticate(secret)
        for token in links.values():
            await self.links.authenticate(token)

        self.clock.now += 1_300
        await self.sessions.end(secrets["signed out"])
        shown = await self.sessions.of_person(owner, secrets["ended elsewhere"])
        (key,) = [each.session_id for each in shown if each.current]
        assert await self.sessions.end_one(owner.id, key)
        await self.sessions.end_all(everywhere.id)
        await self.people.remove(removed.id)
        await self.links.delete(revoked_id)
        self.shared[CLOSED] = None

        link, secret = await self.links.create(OWN)
        past = f"{int(self.clock()):x}"
        good = self.links.token_of(link, secret)
        links["link opened long ago"] = f"{secret}.{past}.{_mac(link, secret, past)}"
        links["link with a later end"] = good.replace(good.split(".")[1], f"{int(self.clock()) + 999_999:x}")
        links["link's address alone"] = secret
        links["link without a proof"] = good.rpartition(".")[0] + "."
        token = await self.gate.create(Held.ADMIN)
        await self.gate.authenticate(f"Bearer {token}")
        return {
            "nobody": {},
            "malformed cookie": cookie("ass_%00"),
            "empty cookie": cookie(""),
            "long cookie": cookie("a" * 129),
            "unknown session": cookie("ass_" + "A" * 43),
            "planted session": cookie("ass_planted"),
            "token as a cookie": cookie(token),
            "session as a token": bearer(await self.session(owner)),
            "session in words": {"Authorization": f"Session {await self.session(owner)}"},
            "session beside a wrong token": cookie(await self.session(owner)) | bearer("wrong"),
            "session of TLS over plain HTTP": {"Cookie": f"__Host-{PLAIN_NAME}={await self.session(owner)}"},
            **{name: cookie(secret) for name, secret in secrets.items()},
            **{name: bearer(token) for name, token in links.items()},
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    made = Credentials()
    dead, alive = await made.dead(), await made.alive()
    authorizer = GateAuthorizer(Authentication(made.gate, made.sessions, made.links))
    app = web.Application()
    routes = route_table(map(without_effect, GUARDED), authorizer)
    app.router.add_routes(wrap(routes, HttpMetrics(CollectorRegistry())))
    async with TestClient(TestServer(app)) as client:
        yield World(client, str(client.make_url("")).rstrip("/"), alive, dead)


def each_route() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("endpoint", GUARDED, ids=lambda one: one.name)


@in_one_loop
@each_route()
async def test_people_and_links_may_what_their_roles_may(world: World, endpoint: Endpoint) -> None:
    for name, who in world.alive.items():
        for site in (OWN, FOREIGN):
            status, code = await world.ask(endpoint, who.headers, site)
            assert status == who.expected(endpoint, site), f"{endpoint.name} by {name} on {site}: {status} {code}"


@in_one_loop
@each_route()
async def test_what_has_ended_or_never_was_is_refused(world: World, endpoint: Endpoint) -> None:
    for name, headers in world.dead.items():
        status, code = await world.ask(endpoint, headers, OWN)
        assert status == 401, f"{endpoint.name} by {name}: {status} {code}"


@in_one_loop
@each_route()
async def test_another_page_changes_nothing_by_an_owner_s_cookie(world: World, endpoint: Endpoint) -> None:
    for origin in (ANOTHER_PAGE, "null", ""):
        status, code = await world.ask(endpoint, {**world.alive["owner"].headers, "Origin": origin}, OWN)
        if endpoint.protocol is None:
            is_reading = endpoint.method in READING_METHODS
            assert (status, code) == ((200, "") if is_reading else (403, "bad_origin")), endpoint.name
        else:
            assert status in (401, 403)
