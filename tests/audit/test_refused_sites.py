"""A refused request names its site in the log where its caller covers that, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.server import Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
SITE, OTHER = "own.example", "other.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("audit-refused")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        for site in (SITE, OTHER):
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokens(client: Client) -> dict[str, str]:
    """Credentials for the one site, by what they are."""
    made = (await client.call("POST", "/api/v1/share-links", {"site_id": SITE, "name": "agency"})).json
    opening = {"secret": made["link"].rpartition("/")[2]}
    found = {"link": (await client.call("POST", "/api/v1/share/open", opening)).json["token"]}
    for role in ("viewer", "admin"):
        wanted = {"role": role, "sites": [SITE]}
        found[role] = (await client.call("POST", "/api/v1/tokens", wanted)).json["token"]
    return found


async def refused(client: Client, token: str, method: str, path: str, body: Any = None) -> tuple[int, list[str]]:
    """The status, and the sites of the entries that it left."""
    before = await newest(client)
    reply = await client.call(method, path, body, token=token)
    assert reply.status >= 400, reply.body
    entries = (await client.call("GET", "/api/v1/privacy/audit?limit=100")).json["entries"]
    own = [one for one in entries if one["sequence"] > before and one["operation"] != "get_audit"]
    assert {one["outcome"] for one in own} == {reply.code}
    return reply.status, sorted(one["site_id"] for one in own)


async def newest(client: Client) -> int:
    return int((await client.call("GET", "/api/v1/privacy/audit?limit=1")).json["entries"][0]["sequence"])


def question(site: str) -> dict[str, Any]:
    return {"site_id": site, "metrics": ["visitors"], "date_range": "day"}


REFUSED = {
    "a link's SQL": ("link", "POST", "/api/v1/sql", {"site_id": "SITE", "query": "SELECT 1"}),
    "a link's drops": ("link", "GET", "/api/v1/drops?site_id=SITE", None),
    "a link's files": ("link", "GET", "/api/v1/export/events?site_id=SITE", None),
    "a link's saving": ("link", "POST", "/api/v1/goals", {"site_id": "SITE", "name": "x", "filters": []}),
    "a link's list": ("link", "GET", "/api/v1/goals?site_id=SITE", None),
    "a viewer's saving": ("viewer", "POST", "/api/v1/goals", {"site_id": "SITE", "name": "x", "filters": []}),
    "a viewer's link": ("viewer", "POST", "/api/v1/share-links", {"site_id": "SITE"}),
    "a viewer's token": ("viewer", "POST", "/api/v1/tokens", {"role": "read", "sites": ["SITE"]}),
    "an unknown key": ("viewer", "POST", "/api/v1/query", {**question("SITE"), "no_such": 1}),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_a_refusal_names_the_site_that_the_caller_covers(
    client: Client, tokens: dict[str, str], case: str
) -> None:
    who, method, path, body = REFUSED[case]

    def of(site: str) -> Any:
        return _with(body, site)

    status, sites = await refused(client, tokens[who], method, path.replace("SITE", SITE), of(SITE))
    assert (status in (400, 403), sites) == (True, [SITE])
    for foreign in (OTHER, "unknown.example"):
        assert (await refused(client, tokens[who], method, path.replace("SITE", foreign), of(foreign)))[1] == [""]


def _with(body: Any, site: str) -> Any:
    if isinstance(body, dict):
        return {name: _with(value, site) for name, value in body.items()}
    if isinstance(body, list):
        return [_with(value, site) for value in body]
    return site if body == "SITE" else body


async def test_of_several_sites_those_that_are_covered_are_named(client: Client, tokens: dict[str, str]) -> None:
    wanted = {"role": "admin", "sites": [SITE, OTHER]}
    assert await refused(client, tokens["admin"], "POST", "/api/v1/tokens", wanted) == (403, [SITE])
    invited = {"email": "a@example.org", "roles": {OTHER: "viewer", SITE.upper(): "viewer"}}
    assert await refused(client, tokens["admin"], "POST", "/api/v1/invitations", invited) == (403, [SITE])
    both = (await client.call("POST", "/api/v1/tokens", {"role": "viewer", "sites": [SITE, OTHER]})).json["token"]
    assert await refused(client, both, "POST", "/api/v1/tokens", wanted) == (403, [OTHER, SITE])


async def test_a_request_fills_no_log(client: Client) -> None:
    wanted = {"role": "admin", "sites": [f"s{number}.example" for number in range(200)], "name": "\u0001"}
    token = client._server.token
    status, sites = await refused(client, token, "POST", "/api/v1/tokens", wanted)
    assert (status, len(sites)) == (400, 10)


async def test_a_long_body_that_nobody_may_send_is_not_read(client: Client, tokens: dict[str, str]) -> None:
    body = {"site_id": SITE, "name": "x" * 20_000, "filters": []}
    assert await refused(client, tokens["viewer"], "POST", "/api/v1/goals", body) == (403, [""])
    assert await refused(client, tokens["viewer"], "POST", "/api/v1/goals", ["no", "object"]) == (403, [""])


async def test_a_stranger_names_nothing(client: Client) -> None:
    assert await refused(client, "ast_unknown", "POST", "/api/v1/query", question(SITE)) == (401, [""])
