"""What a page of another address asks by a person's cookie is refused, and the log says in whose name it came."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITE, OTHER = "own.example", "other.example"
PASSWORD = "seven green umbrellas"
ELSEWHERE = {"Origin": "https://evil.example"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("audit-pages")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        for site in (SITE, OTHER):
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(client: Client) -> tuple[str, dict[str, str]]:
    """The id of an admin of the one site, and the cookie."""
    wanted = {"email": "anna@example.org", "password": PASSWORD, "roles": {SITE: "admin"}}
    made = (await client.call("POST", "/api/v1/people", wanted)).json
    url = f"{client._server.url}/api/v1/session"
    async with aiohttp.ClientSession() as session:
        reply = await session.post(url, json={"email": "anna@example.org", "password": PASSWORD})
        assert reply.status == 200
        (cookie,) = reply.cookies.values()
    return made["person_id"], {"Cookie": f"{cookie.key}={cookie.value}"}


async def newest(client: Client, operation: str) -> dict[str, Any]:
    entries = (await client.call("GET", "/api/v1/privacy/audit?limit=100")).json["entries"]
    return next(entry for entry in entries if entry["operation"] == operation)


def told(entry: dict[str, Any]) -> tuple[str, ...]:
    return entry["outcome"], entry["principal_kind"], entry["principal_id"], entry["site_id"]


async def ask(client: Client, method: str, path: str, body: Any, headers: dict[str, str]) -> int:
    return (await client.request(method, path, msgspec.json.encode(body), headers)).status


async def test_the_person_is_named(client: Client, person: tuple[str, dict[str, str]]) -> None:
    id_, cookie = person
    for site, named in ((SITE, SITE), (OTHER, "")):
        asked = {"site_id": site, "name": "signup", "filters": []}
        assert await ask(client, "POST", "/api/v1/goals", asked, {**cookie, **ELSEWHERE}) == 403
        assert told(await newest(client, "create_goal")) == ("bad_origin", "person", id_, named)
    assert await ask(client, "PUT", f"/api/v1/sites/{SITE}", {}, {**cookie, **ELSEWHERE}) == 403
    assert told(await newest(client, "change_site")) == ("bad_origin", "person", id_, SITE)


async def test_a_cookie_of_nobody_names_nobody(client: Client, person: tuple[str, dict[str, str]]) -> None:
    name = person[1]["Cookie"].partition("=")[0]
    headers = {"Cookie": f"{name}=unknown", **ELSEWHERE}
    assert await ask(client, "DELETE", f"/api/v1/sites/{SITE}", None, headers) == 403
    assert told(await newest(client, "delete_site")) == ("bad_origin", "", "", "")


async def test_a_token_beside_the_cookie_counts(client: Client, person: tuple[str, dict[str, str]]) -> None:
    headers = {**person[1], **ELSEWHERE, "Authorization": "Bearer ast_unknown"}
    assert await ask(client, "POST", "/api/v1/goals", {"site_id": SITE}, headers) == 401
    assert told(await newest(client, "create_goal")) == ("unauthorized", "", "", "")


async def test_the_live_socket_names_the_person_too(client: Client, person: tuple[str, dict[str, str]]) -> None:
    id_, cookie = person
    for site, named in ((SITE, SITE), (OTHER, "")):
        url = f"{client._server.url}/api/v1/live?site_id={site}"
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url, headers={**cookie, **ELSEWHERE}, protocols=("session",))
        assert refused.value.status == 403
        assert told(await newest(client, "watch_live")) == ("bad_origin", "person", id_, named)
