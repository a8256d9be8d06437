"""Endpoints: the order of checks, what is declared wrongly, and how results become answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.errors import Forbidden, Unauthorized
from analytics_server.http.authorization import PUBLIC, READING, Action, Narrowing, Resource, ResourceKind
from analytics_server.http.body import BodyLimits
from analytics_server.http.declaration import Body, Reply
from analytics_server.http.endpoint import Call, Endpoint, SiteFrom
from analytics_server.http.metrics import HttpMetrics
from analytics_server.http.routing.routes import route_table
from analytics_server.http.serving import wrap

SITE_ACTION = Action(name="on_site", about="x", resource=ResourceKind.SITE, roles=READING)
PLAIN = Action(name="plain", about="x", resource=ResourceKind.NOTHING, roles=READING)


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """A body that names a site."""

    site_id: str


@dataclass(frozen=True)
class Someone:
    """A caller who covers one site."""

    id: str = "t"
    token_id: str = "t"
    role: str = "viewer"
    covers_all: bool = False
    narrowed_by: Narrowing | None = None
    sites: tuple[str, ...] = ("own",)

    def covers(self, site_id: str) -> bool:
        return site_id in self.sites


class Authorizer:
    """Lets `Bearer ok` in as a reader and `Bearer collect` as a collector."""

    async def authenticate(self, authorization: str | None) -> Someone:
        if authorization not in ("Bearer ok", "Bearer collect"):
            raise Unauthorized("no")
        return Someone(role="viewer" if authorization == "Bearer ok" else "collect")

    def authorize(self, caller: Someone, action: Action, resource: Resource) -> None:
        if caller.role not in action.roles or (
            resource.kind is ResourceKind.SITE and not caller.covers(resource.site_id)
        ):
            raise Forbidden("no")


async def echo(call: Call[Asked]) -> object:
    return {"site": call.body.site_id}


async def page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="page")


def endpoint(**changes: Any) -> Endpoint:
    given: dict[str, Any] = {
        "method": "POST",
        "path": "/x",
        "name": "x",
        "summary": "An x",
        "tag": "query",
        "action": SITE_ACTION,
        "site": SiteFrom.BODY,
        "handle": echo,
        "body": Body(types=(Asked,)),
        "replies": (Reply(about="x", status=201),),
        "reading": BodyLimits(most_bytes=64, too_large="At most 64 bytes."),
    }
    return Endpoint(**{**given, **changes})


async def ask(one: Endpoint, body: object, *, token: str = "ok", path: str = "/x") -> tuple[int, bytes]:
    app = web.Application()
    app.add_routes(wrap(route_table([one], Authorizer()), HttpMetrics(CollectorRegistry())))
    async with TestClient(TestServer(app)) as client:
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = await client.request(one.method, path, data=data, headers={"Authorization": f"Bearer {token}"})
        return answer.status, await answer.read()


@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        ("wrong", b"{", 401),
        ("collect", b"{", 403),
        ("ok", b" " * 100, 413),
        ("ok", b"{", 400),
        ("ok", {"site_id": "foreign"}, 403),
        ("ok", {"site_id": " OWN "}, 201),
    ],
)
async def test_checks_come_in_one_order(token: str, body: object, status: int) -> None:
    assert (await ask(endpoint(), body, token=token))[0] == status


async def test_a_site_may_stand_in_the_path_or_in_the_query_string() -> None:
    async def hello(call: Call[Asked | None]) -> object:
        return "hello"

    def parse(request: web.Request) -> Asked:
        return Asked(request.query["site_id"])

    in_path = endpoint(path="/x/{site_id}", site=SiteFrom.PATH, body=None, handle=hello)
    in_query = endpoint(body=None, parse=parse, handle=hello)

    assert (await ask(in_path, b"", path="/x/own")) == (201, b'"hello"')
    assert (await ask(in_path, b"", path="/x/foreign"))[0] == 403
    assert (await ask(in_query, b"", path="/x?site_id=own"))[0] == 201
    assert (await ask(in_query, b"", path="/x?site_id=foreign"))[0] == 403


async def test_nothing_is_answered_with_no_body_and_a_response_goes_out_as_it_is() -> None:
    async def nothing(call: Call[Asked]) -> None:
        return None

    async def own(call: Call[Asked]) -> object:
        return web.Response(status=299, text="own")

    replies = (Reply(about="x", status=204),)
    assert (await ask(endpoint(handle=nothing, replies=replies), {"site_id": "own"})) == (204, b"")
    assert (await ask(endpoint(handle=own), {"site_id": "own"})) == (299, b"own")


async def test_an_empty_body_may_stand_for_another_one() -> None:
    reading = BodyLimits(if_empty=b'{"site_id": "own"}')

    assert await ask(endpoint(reading=reading), b"") == (201, b'{"site":"own"}')
    assert (await ask(endpoint(), b""))[0] == 400


async def test_a_handler_that_never_asks_for_the_right_to_its_site_does_not_answer() -> None:
    asking = endpoint(site=SiteFrom.HANDLER)

    assert (await ask(asking, {"site_id": "foreign"}))[0] == 500


@pytest.mark.parametrize(
    "changes",
    [
        {"handle": None},
        {"serve": page},
        {"action": PUBLIC},
        {"site": None},
        {"action": PLAIN},
        {"body": Body(types=(Asked, Someone))},
        {"parse": str},
    ],
    ids=[
        "no handler",
        "two handlers",
        "public with a caller",
        "no site",
        "a site for nothing",
        "two bodies",
        "a body and parameters",
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"needs|where"):
        endpoint(**changes)


def test_a_route_without_an_action_can_not_be_declared() -> None:
    with pytest.raises(TypeError, match="action"):
        Endpoint(method="GET", path="/x", name="x", summary="x", tag="query", replies=())  # type: ignore[call-arg]


async def test_what_is_public_is_served_without_a_token() -> None:
    public = endpoint(method="GET", action=PUBLIC, site=None, handle=None, serve=page, body=None)

    assert (await ask(public, b"", token="wrong")) == (200, b"page")
    assert public.role == ""
