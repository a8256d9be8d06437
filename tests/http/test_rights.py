"""Every route by every role, on a site of its own and on a foreign one, from the table of endpoints.

What each route needs is written down here a second time, by hand: a right that changes has to be changed here as well.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from analytics_server.http.authorization import Action
from analytics_server.http.declaration import plain_path
from analytics_server.http.endpoint import Endpoint
from tests.e2e.conftest import running
from tests.server import Client, Reply, RunningServer, wait_for
from tests.whole import complete_server

in_one_loop = pytest.mark.asyncio(loop_scope="module")

OWN, FOREIGN = "own.example", "foreign.example"
MOST_LIFE_MS = 20_000
EXAMPLE = "example.com"
SOCKET = "watch_live"

NEEDS = {
    "collect": "send_track send_view send_interaction send_batch get_pixel",
    "any token": "plan_experiment who_am_i",
    "a person": """
        sign_out list_own_sessions end_own_session sign_out_everywhere change_password
        begin_second_factor confirm_second_factor remove_second_factor""",
    "read": """
        list_sites list_profiles ask_assistant
        clickhouse_get clickhouse_post clickhouse_get_bare clickhouse_post_bare
        clickhouse_get_root clickhouse_post_root
        grafana_test grafana_test_bare grafana_metrics grafana_tag_keys""",
    "read, or the site where one is named": """
        get_schema drops grafana_payload_options grafana_variable grafana_tag_values grafana_search""",
    "read the site": """
        query trends cohorts paths sessions session session_by_query funnel funnel_sessions sql watch_live get_site
        export_events flat_totals flat_trends flat_breakdown flat_funnel flat_cohorts grafana_query grafana_annotations
        list_goals list_segments list_annotations list_saved_queries list_funnels list_experiments""",
    "read the thing's site": """
        get_goal get_segment get_annotation get_saved_query get_funnel show_experiment experiment_results""",
    "manage, or the site where one is named": "get_audit",
    "edit the site": """
        create_goal create_segment create_annotation create_funnel create_experiment""",
    "edit the thing's site": """
        change_goal change_segment change_annotation change_funnel change_experiment
        delete_goal delete_segment delete_annotation delete_funnel delete_experiment""",
    "edit the site, or save for oneself there": "create_saved_query",
    "edit the thing's site, or save for oneself there": "change_saved_query delete_saved_query",
    "manage the site": """
        change_site create_token create_invitation list_share_links create_share_link get_privacy_report""",
    "manage the thing's site": """
        get_token change_token revoke_token get_person change_person delete_person delete_invitation
        delete_share_link""",
    "manage": "list_tokens list_people list_invitations",
    "own all sites": """
        create_site delete_site add_person verify_audit export_audit retire_audit_chain expire_data""",
    "manage what is covered": """
        export_person erase_person list_erasures list_opt_outs add_opt_out remove_opt_out""",
    "manage the erasure": "get_erasure",
}
NEED = {name: need for need, names in NEEDS.items() for name in names.split()}
ENDPOINTS = complete_server().endpoints()
PUBLIC_NAMES = {
    "accept_invitation",
    "open_share_link",
    "request_reset",
    "sign_in",
    "sign_in_methods",
    "assign_variant",
    "assign_variant_preflight",
    "clickhouse_ping",
    "clickhouse_ping_root",
    "get_health",
    "get_metrics",
    "get_openapi",
    "get_readiness",
    "get_script",
}


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of caller: the role of its token and the sites that it covers, none for all."""

    name: str
    role: str
    sites: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    threshold: int | None = None

    def covers(self, site: str) -> bool:
        return not self.sites or site in self.sites


ROLES = (
    Role("none", ""),
    Role("unknown token", "?"),
    Role("malformed header", "?"),
    Role("two credentials", "?"),
    Role("expired token", "?"),
    Role("revoked token", "?"),
    Role("read", "read"),
    Role("read of one site", "read", (OWN,)),
    Role("viewer of one site", "viewer", (OWN,)),
    Role("editor", "editor"),
    Role("editor of one site", "editor", (OWN,)),
    Role("collect", "collect"),
    Role("collect of one site", "collect", (OWN,)),
    Role("admin", "admin"),
    Role("admin of one site", "admin", (OWN,)),
    Role("admin of another site", "admin", (FOREIGN,)),
    Role("scopes of a viewer", "viewer", (OWN,), ("viewer", "view_saved")),
    Role("read with a threshold", "read", threshold=2),
    Role("viewer of one site with a threshold", "viewer", (OWN,), ("viewer", "view_drops"), threshold=1_000),
)
RANKS = {"read": ("read", "viewer", "editor", "admin"), "edit": ("editor", "admin"), "manage": ("admin",)}


WITH_THRESHOLD = {"query", "trends", "get_site", "list_sites", "who_am_i", "ask_assistant"}
"""What a token with a threshold may ask: where no number of few visitors is told."""


def expected(name: str, role: Role, site: str) -> str:
    """As the tables say; what a token with a threshold may not ask is refused whatever the site."""
    wanted = by_role(NEED[name], role, site)
    return "403" if role.threshold and name not in WITH_THRESHOLD else wanted


def by_role(need: str, role: Role, site: str) -> str:
    """`ok`, `401`, `403`, or `404` where a thing of a foreign site is not to be seen."""
    if need == "collect":
        allowed = role.role in ("", "collect", "admin")
        return "401" if role.role == "?" else "ok" if allowed and role.covers(site) else "403"
    if role.role in ("", "?"):
        return "401"
    if need == "any token":
        return "ok"
    if need == "a person":
        return "403"
    if need == "own all sites":
        return "ok" if role.role == "admin" and not role.sites else "403"
    if role.role not in RANKS[need.split(" ", maxsplit=1)[0].rstrip(",")]:
        return "403"
    if need == "manage the erasure":  # the one that is asked for is of all sites
        return "404" if role.sites else "ok"
    if need in ("read", "manage", "manage what is covered") or role.covers(site):
        return "ok"
    return "404" if "thing" in need else "403"


@dataclass(slots=True)
class World:
    """A server with two sites, a token for each role, and things saved with both sites."""

    server: RunningServer
    client: Client
    headers: dict[str, dict[str, str]]
    things: dict[tuple[str, str], str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def ask(self, endpoint: Endpoint, role: Role, site: str) -> Reply:
        """The endpoint's first example, about the site."""
        address = await self._address(endpoint, site)
        body = None
        if endpoint.body is not None:
            body = about(site, next(iter(endpoint.body.examples.values())))
        return await self.client.request(endpoint.method, address, body, self.headers[role.name])

    async def close_code(self, role: Role, site: str) -> int:
        """What the live socket says: 0 for a snapshot, else the code that it closes with."""
        url = f"{self.server.url}/api/v1/live?site_id={site}"
        headers = self.headers[role.name] or {"Authorization": ""}
        async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as socket:
            message = await socket.receive(timeout=10)
            return 0 if message.type is aiohttp.WSMsgType.TEXT else int(message.data)

    async def _address(self, endpoint: Endpoint, site: str) -> str:
        path, query = plain_path(endpoint.path), {}
        for parameter in endpoint.parameters:
            place = f"{{{parameter.name}}}"
            value = site if parameter.example == EXAMPLE else str(parameter.example or "x")
            if place not in path:
                if parameter.required or parameter.name == "site_id":
                    query[parameter.name] = value
                continue
            if parameter.name == "erasure_id":
                value = await self._erasure()
            if parameter.name in ("id", "token_id", "person_id", "invitation_id", "link_id"):
                value = await self._thing(path[: path.index(place) - 1], parameter.name, site)
            path = path.replace(place, quote(value, safe=""))
        return path + ("?" + urlencode(query) if query else "")

    async def _thing(self, collection: str, key: str, site: str) -> str:
        """The id of a thing of the site, made where there is none (any more)."""
        if (collection, site) not in self.things:
            (maker,) = [one for one in ENDPOINTS if (one.method, one.path) == ("POST", collection)]
            assert maker.body is not None
            body = msgspec.json.decode(about(site, next(iter(maker.body.examples.values()))))
            number = next(self.numbers)
            body |= {name: f"{name}{number}" for name in ("name", "key") if name in body}
            body |= {name: f"{number}{body[name]}" for name in ("email",) if name in body}
            made = await self.client.call("POST", collection, body)
            assert made.status == 201, made.body
            self.things[collection, site] = made.json[key]
        return self.things[collection, site]

    async def _erasure(self) -> str:
        """The id of an erasure on all sites."""
        made = await self.client.call("POST", "/api/v1/privacy/erase", {"user_id": "u-1", "confirm": True})
        assert made.status in (200, 202), made.body
        return str(made.json["id"])

    async def restore(self, endpoint: Endpoint, site: str) -> None:
        """After a deletion."""
        self.things.pop((endpoint.route[1].rpartition("/")[0], site), None)
        if endpoint.name == "delete_site":
            assert (await self.client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201


def about(site: str, example: object) -> bytes:
    """An example of the description, about the site."""
    return msgspec.json.encode(example).replace(f'"{EXAMPLE}"'.encode(), f'"{site}"'.encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("rights"), {"server_demo": "true"}) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(server: RunningServer) -> AsyncIterator[World]:
    async with Client(server) as client:
        headers = {
            "none": {},
            "unknown token": {"Authorization": "Bearer wrong"},
            "malformed header": {"Authorization": f"Basic {server.token}"},
            "two credentials": {"Authorization": f"Bearer {server.token}, Bearer {server.token}"},
        }
        for role in ROLES:
            if role.name not in headers:
                headers[role.name] = await made_for(client, role)
        for site in (OWN, FOREIGN):
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
            url = f"https://{site}/"
            event = {"site": site, "name": "pageview", "url": url, "session_id": "s1", "user_id": "u1"}
            assert (await client.send([event, {**event, "name": "signup"}])).json["accepted"] == 2
        await client.flushed()
        yield World(server, client, headers)


async def made_for(client: Client, role: Role) -> dict[str, str]:
    """The header of a token of the role; of those that have ended, one that worked before."""
    wanted: dict[str, object] = {"scopes": role.scopes} if role.scopes else {"role": role.role.replace("?", "admin")}
    wanted["threshold"] = role.threshold
    life_ms = 300
    while True:
        if role.name == "expired token":
            wanted["expires_at"] = int(time.time() * 1000) + life_ms
        made = await client.call("POST", "/api/v1/tokens", {**wanted, "sites": role.sites})
        if made.status == 201:
            break
        assert role.name == "expired token", made.body
        life_ms *= 2  # It had ended when the request arrived.
        assert life_ms < MOST_LIFE_MS, made.body
    token = made.json["token"]
    if role.name == "revoked token":
        assert (await client.call("GET", "/api/v1/tokens", token=token)).status == 200
        assert (await client.call("DELETE", f"/api/v1/tokens/{made.json['token_id']}")).status == 204
    if role.role == "?":

        async def is_over() -> bool:
            return (await client.call("GET", "/api/v1/tokens", token=token)).status == 401

        await wait_for(is_over)
    return {"Authorization": f"Bearer {token}"}


def test_each_route_stands_in_the_table_or_is_public() -> None:
    guarded = {one.name for one in ENDPOINTS if isinstance(one.action, Action)}
    public = {one.name for one in ENDPOINTS if one.name not in guarded and one.tag != "pages"}

    assert guarded == set(NEED)
    assert {name for name in public if not name.startswith("preflight_")} == PUBLIC_NAMES


@in_one_loop
@pytest.mark.parametrize(
    "endpoint", [one for one in ENDPOINTS if one.name in NEED and one.name != SOCKET], ids=lambda one: one.name
)
async def test_a_role_may_what_the_table_says(world: World, endpoint: Endpoint) -> None:
    for role, site in itertools.product(ROLES, (OWN, FOREIGN)):
        reply = await world.ask(endpoint, role, site)
        wanted = expected(endpoint.name, role, site)
        where = f"{endpoint.name} by {role.name} on {site}: {reply.status} {reply.body[:300]!r}, wanted {wanted}"
        if NEED[endpoint.name] == "collect" and wanted == "403" and role.role in ("collect", "admin"):
            assert foreign_events_are_refused(reply), where
        elif wanted == "ok":
            assert reply.status in {*(one.status for one in endpoint.replies), *allowed_errors(endpoint)}, where
            if endpoint.method == "DELETE":
                await world.restore(endpoint, site)
        else:
            assert str(reply.status) == wanted, where


def allowed_errors(endpoint: Endpoint) -> set[int]:
    """What who has the right may be told: that a thing is there already, or none of the example's name."""
    if endpoint.name in ("flat_funnel", "retire_audit_chain"):
        return {404}
    return {409} & endpoint.errors.keys() if endpoint.name.startswith(("create_", "add_")) else set()


def foreign_events_are_refused(reply: Reply) -> bool:
    """Events of a site that a token does not cover are rejected one by one; an image says nothing of it."""
    return reply.headers["Content-Type"] == "image/gif" or (reply.status, reply.json["accepted"]) == (202, 0)


@in_one_loop
async def test_the_live_socket_closes_with_a_code_for_each_refusal(world: World) -> None:
    codes = {"ok": 0, "401": 4401, "403": 4403}
    for role, site in itertools.product(ROLES, (OWN, FOREIGN)):
        assert await world.close_code(role, site) == codes[expected(SOCKET, role, site)], (role.name, site)


@in_one_loop
@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.name not in NEED], ids=lambda one: one.name)
async def test_what_is_public_asks_for_no_token(world: World, endpoint: Endpoint) -> None:
    for role in ROLES[:7]:
        reply = await world.ask(endpoint, role, OWN)
        refusals = {"sign_in": (401, "sign_in_failed"), "request_reset": (403, "mail_off")}
        is_refused = endpoint.name in refusals and refusals[endpoint.name] == (reply.status, reply.code)
        assert is_refused or reply.status in {*(one.status for one in endpoint.replies), 400, 404}, role.name
