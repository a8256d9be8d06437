"""Sites and tokens over HTTP: who may do what, and what is answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics_server.access.tokens import token_hash
from tests.server import Client, Reply, RunningServer, raw


async def made(client: Client, **wanted: Any) -> str:
    reply = await client.call("POST", "/api/v1/tokens", wanted)
    assert reply.status == 201
    return str(reply.json["token"])


async def test_a_token_with_an_end_gives_nothing_that_outlasts_it(client: Client, site: str) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    token = await made(client, role="admin", expires_at=end.isoformat())
    own_id = token_hash(token)[:12]
    later = (end + timedelta(seconds=1)).isoformat()

    for wanted in ({}, {"expires_at": None}, {"expires_at": later}):
        reply = await client.call("POST", "/api/v1/tokens", {"role": "read", **wanted}, token=token)
        assert (reply.status, reply.code) == (403, "forbidden"), wanted
    assert (
        await client.call("POST", "/api/v1/tokens", {"role": "read", "expires_at": end.isoformat()}, token=token)
    ).status == 201
    for change in ({"expires_at": None}, {"expires_at": later}):
        assert (await client.call("PUT", f"/api/v1/tokens/{own_id}", change, token=token)).status == 403, change
    assert (await client.call("PUT", f"/api/v1/tokens/{own_id}", {"name": "renamed"}, token=token)).status == 200
    email = {"email": f"anna@{site}", "roles": {site: "viewer"}}
    assert (await client.call("POST", "/api/v1/invitations", email, token=token)).status == 403
    assert (
        await client.call("POST", "/api/v1/people", {**email, "password": "seven green umbrellas"}, token=token)
    ).status == 403


async def test_a_site_s_life(client: Client, site: str) -> None:
    wanted = {"site_id": site, "timezone": "Europe/Stockholm", "allowed_hosts": [site]}

    created = await client.call("POST", "/api/v1/sites", wanted)
    again = await client.call("POST", "/api/v1/sites", wanted)
    changed = await client.call("PUT", f"/api/v1/sites/{site}", {"timezone": "Asia/Tokyo"})
    listed = (await client.call("GET", "/api/v1/sites")).json["sites"]
    shown = (await client.call("GET", f"/api/v1/sites/{site}")).json

    assert shown == changed.json
    assert (created.status, created.json["timezone"]) == (201, "Europe/Stockholm")
    assert (again.status, again.code) == (409, "site_exists")
    assert (changed.status, changed.json["timezone"], changed.json["allowed_hosts"]) == (200, "Asia/Tokyo", [site])
    assert changed.json in listed


async def test_a_deleted_site_is_unknown_until_it_is_created_again(client: Client, site: str) -> None:
    event = {"site": site, "name": "x", "url": f"https://{site}/"}
    await client.send(event)
    await client.kept(site, 1)

    deleted = await client.call("DELETE", f"/api/v1/sites/{site}")
    again = await client.call("DELETE", f"/api/v1/sites/{site}")
    refused = await client.send(event)
    asked = await client.call("POST", "/api/v1/query", {"site_id": site, "metrics": ["events"], "date_range": "all"})

    assert (deleted.status, deleted.body) == (204, b"")
    assert (again.status, again.code) == (refused.status, refused.code) == (asked.status, asked.code)
    assert (asked.status, asked.code) == (404, "unknown_site")
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
    await client.send(event)
    await client.kept(site, 2)


async def test_a_site_with_a_port_in_its_id_can_be_addressed_percent_encoded(client: Client, site: str) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": f"{site}:8080"})

    shown = await client.call("GET", f"/api/v1/sites/{site}%3A8080")
    assert (shown.status, shown.json["site_id"]) == (200, f"{site}:8080")
    assert (await client.call("DELETE", f"/api/v1/sites/{site}%3A8080")).status == 204


async def test_a_site_s_id_is_no_path(client: Client, site: str) -> None:
    refused = await client.call("POST", "/api/v1/sites", {"site_id": f"{site}/shop"})

    assert (refused.status, refused.code) == (400, "bad_site")


async def test_a_token_may_have_a_threshold_if_it_only_reads(client: Client, site: str) -> None:
    wanted = {"role": "viewer", "sites": [site]}
    for threshold in (2, 1_000):
        made_one = await client.call("POST", "/api/v1/tokens", {**wanted, "threshold": threshold})
        assert (made_one.status, made_one.json["threshold"], made_one.json["role"]) == (201, threshold, "viewer")
        address = f"/api/v1/tokens/{made_one.json['token_id']}"
        shown = (await client.call("GET", address)).json
        assert (shown["threshold"], shown["role"], shown["scopes"]) == (threshold, "viewer", ["viewer"])
        changed = await client.call("PUT", address, {"name": "another"})
        assert (changed.status, changed.json["threshold"], changed.json["name"]) == (200, threshold, "another")
        refused = await client.call("PUT", address, {"threshold": None})
        assert (refused.status, refused.code) == (400, "bad_body")
        schema = await client.call("GET", "/api/v1/schema", token=made_one.json["token"])
        assert (schema.status, f"a threshold of {threshold} visitors" in schema.json["error"]["message"]) == (403, True)
    for other in (0, 1, 1_001, -5, "5"):
        refused = await client.call("POST", "/api/v1/tokens", {**wanted, "threshold": other})
        assert (refused.status, refused.code) == (400, "bad_body"), other
    for rights in ({"role": "editor"}, {"role": "admin"}, {"role": "collect"}, {"scopes": ["viewer", "edit_saved"]}):
        refused = await client.call("POST", "/api/v1/tokens", {**rights, "sites": [site], "threshold": 5})
        assert (refused.status, refused.code) == (400, "bad_threshold"), rights
    assert (await client.call("POST", "/api/v1/tokens", {**wanted, "threshold": None})).json["threshold"] is None


async def test_a_token_s_sites_can_change(client: Client, site: str) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    token = await made(client, role="read", sites=["other.example"])
    (mine,) = [one for one in (await client.call("GET", "/api/v1/tokens")).json["tokens"]
               if one["token_id"] in token_hash(token)]  # fmt: skip
    address = f"/api/v1/tokens/{mine['token_id']}"
    assert (await client.call("GET", f"/api/v1/sites/{site}", token=token)).status == 403

    changed = await client.call("PUT", address, {"name": "Ünicode", "sites": [site.upper()]})

    used_on = changed.json["last_used_on"]
    assert used_on
    assert (changed.status, changed.json) == (
        200,
        {**mine, "name": "Ünicode", "sites": [site], "last_used_on": used_on},
    )
    assert (await client.call("GET", address)).json == changed.json
    assert (await client.call("GET", f"/api/v1/sites/{site}", token=token)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "value", "status"),
    [
        ("POST", "/api/v1/sites", {"site_id": "no spaces"}, 400),
        ("POST", "/api/v1/sites", {"site_id": "zone.example", "timezone": "X/Y"}, 400),
        ("POST", "/api/v1/sites", {"site_id": "key.example", "time_zone": "UTC"}, 400),
        ("POST", "/api/v1/sites", {"site_id": ""}, 400),
        ("POST", "/api/v1/sites", {}, 400),
        ("POST", "/api/v1/sites", [], 400),
        ("PUT", "/api/v1/sites/nobody.example", {"timezone": "UTC"}, 404),
        ("POST", "/api/v1/tokens", {"role": "owner"}, 400),
        ("POST", "/api/v1/tokens", {}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "scopes": ["read"]}, 400),
        ("POST", "/api/v1/tokens", {"scopes": ["fly"]}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "expires_at": "2020-01-01T00:00:00Z"}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "expires_at": 1}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "expires_at": "2099-01-01T00:00:00"}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "expires_at": 1e300}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "sites": "a"}, 400),
        ("POST", "/api/v1/sites", {"site_id": "long.example", "timezone": "x" * 65}, 400),
        ("POST", "/api/v1/sites", {"site_id": "hosts.example", "allowed_hosts": ["x" * 254]}, 400),
        ("POST", "/api/v1/sites", {"site_id": "hosts.example", "allowed_hosts": ["x"] * 1_001}, 400),
        ("PUT", "/api/v1/sites/nobody.example", {"site_id": "else.example"}, 404),
        ("GET", "/api/v1/sites/nobody.example", None, 404),
        ("DELETE", "/api/v1/sites/nobody.example", None, 404),
        ("DELETE", "/api/v1/sites/%00", None, 404),
        ("POST", "/api/v1/tokens", {"role": "read", "name": "x" * 121}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "name": "a\nb"}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "sites": ["no spaces"]}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "sites": ["x" * 129]}, 400),
        ("POST", "/api/v1/tokens", {"role": "read", "sites": ["a"] * 1_001}, 400),
        ("PUT", "/api/v1/tokens/nothing", {"name": "x"}, 404),
        ("PUT", "/api/v1/tokens/nothing", {"role": "admin"}, 400),
        ("GET", "/api/v1/tokens/nothing", None, 404),
        ("DELETE", "/api/v1/tokens/nothing", None, 404),
        ("PATCH", "/api/v1/sites", {}, 404),
    ],
)
async def test_a_bad_call_is_told_what_is_wrong(
    client: Client, method: str, path: str, value: object, status: int
) -> None:
    reply = await client.call(method, path, value)

    assert reply.status in (status, 405)
    assert reply.code
    assert len(reply.json["error"]["message"]) > 10


async def test_tokens_are_listed_without_secrets_and_end_when_revoked(client: Client) -> None:
    token = await made(client, role="read", name="dashboards")
    assert (await client.call("GET", "/api/v1/sites", token=token)).status == 200

    listed = await client.call("GET", "/api/v1/tokens")
    (mine,) = [one for one in listed.json["tokens"] if one["token_id"] in token_hash(token)]
    assert token.encode() not in listed.body
    assert (await client.call("DELETE", f"/api/v1/tokens/{mine['token_id']}")).status == 204
    assert (await client.call("GET", "/api/v1/sites", token=token)).status == 401


@pytest.mark.parametrize(
    ("wanted", "statuses"),
    [
        ({"role": "read"}, {"list": 200, "create": 403, "tokens": 403, "query": 200}),
        ({"role": "collect"}, {"list": 403, "create": 403, "tokens": 403, "query": 403}),
        ({"role": "admin"}, {"list": 200, "create": 201, "tokens": 200, "query": 200}),
        ({"role": "editor"}, {"list": 200, "create": 403, "tokens": 403, "query": 200}),
        ({"role": "admin", "sites": ["other.example"]}, {"list": 200, "create": 403, "tokens": 200, "query": 403}),
        ({"scopes": ["query_site"]}, {"list": 403, "create": 403, "tokens": 403, "query": 200}),
    ],
    ids=["read", "collect", "admin", "editor", "admin of one site", "a single action"],
)
async def test_what_each_role_may(client: Client, site: str, wanted: dict[str, Any], statuses: dict[str, int]) -> None:
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    token = await made(client, **wanted)
    question = {"site_id": site, "metrics": ["visitors"], "date_range": "day"}

    found = {
        "list": (await client.call("GET", "/api/v1/sites", token=token)).status,
        "create": (await client.call("POST", "/api/v1/sites", {"site_id": "new-" + site}, token=token)).status,
        "tokens": (await client.call("GET", "/api/v1/tokens", token=token)).status,
        "query": (await client.call("POST", "/api/v1/query", question, token=token)).status,
    }

    assert found == statuses


async def test_an_admin_of_a_site_manages_the_tokens_of_that_site_only(client: Client, site: str) -> None:
    admin = await made(client, role="admin", sites=[site])
    both = (await client.call("POST", "/api/v1/tokens", {"role": "read", "sites": [site, "other-" + site]})).json

    async def ask(method: str, path: str = "", body: object = None) -> Reply:
        return await client.call(method, "/api/v1/tokens" + path, body, token=admin)

    mine = await ask("POST", body={"role": "editor", "sites": [site]})
    assert mine.status == 201
    listed = (await ask("GET")).json["tokens"]
    assert [one["sites"] for one in listed] == [[site], [site]]
    for body in ({"role": "read"}, {"role": "read", "sites": ["other-" + site]}, {"scopes": ["manage_sites"]}):
        refused = await ask("POST", body=body)
        assert (refused.status, refused.code) == (403, "forbidden")
    for method, change in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        hidden = await ask(method, f"/{both['token_id']}", change)
        assert (hidden.status, hidden.code) == (404, "unknown_token")
    address = f"/{mine.json['token_id']}"
    assert (await ask("PUT", address, {"sites": []})).status == 403
    assert (await ask("PUT", address, {"sites": [site, "other-" + site]})).status == 403
    assert (await ask("PUT", address, {"name": "ours"})).json["name"] == "ours"
    assert (await ask("DELETE", address)).status == 204


async def test_a_token_shows_its_scopes_its_end_and_its_last_day_of_use(client: Client, site: str) -> None:
    wanted = {"scopes": ["view_site", "view_site"], "sites": [site], "expires_at": "2099-12-31T02:00:00+02:00"}
    new = (await client.call("POST", "/api/v1/tokens", wanted)).json
    address = f"/api/v1/tokens/{new['token_id']}"
    unused = (await client.call("GET", address)).json
    await client.call("GET", f"/api/v1/sites/{site}", token=new["token"])
    used = (await client.call("PUT", address, {"expires_at": None})).json

    assert (new["role"], new["scopes"], new["expires_at"]) == (None, ["view_site"], "2099-12-31T00:00:00Z")
    assert (unused["last_used_on"], unused["expires_at"]) == (None, "2099-12-31T00:00:00Z")
    assert used["last_used_on"] in {f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1)}
    assert used["expires_at"] is None


async def test_a_token_sees_only_its_sites(client: Client, site: str) -> None:
    for name in (site, "other-" + site):
        await client.call("POST", "/api/v1/sites", {"site_id": name})
    token = await made(client, role="read", sites=[site])

    assert [one["site_id"] for one in (await client.call("GET", "/api/v1/sites", token=token)).json["sites"]] == [site]


@pytest.mark.parametrize("path", ["/api/v1/sites", "/api/v1/tokens"])
async def test_without_a_token_nothing_is_told(client: Client, path: str) -> None:
    reply = await client.get(path)

    assert (reply.status, reply.code, reply.headers["WWW-Authenticate"]) == (401, "unauthorized", "Bearer")


async def test_a_body_in_pieces_is_read_whole(server: RunningServer, site: str) -> None:
    body = f'{{"site_id":"{site}"}}'.encode()
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = f"POST /api/v1/sites HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n".encode()

    answer = await raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n" + pieces, enough=b"}")

    assert b" 201 " in answer.split(b"\r\n", 1)[0], answer


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    reply = await client.call("POST", "/api/v1/sites", {"site_id": "x" * 70_000})

    assert reply.status in (400, 413)
    assert reply.code == "too_large"


async def test_the_printed_tag_names_a_site_of_one_s_own(tmp_path: Path) -> None:
    with RunningServer(tmp_path, {"server_demo": "true"}) as server:
        async with Client(server) as client:
            await client.call("POST", "/api/v1/sites", {"site_id": "demo"})  # what `demo` fills with made-up traffic
        assert server.terminate() == 0
        server.restart()
        assert 'data-site="example.com"' in server.greeting
        async with Client(server) as client:
            await client.call("POST", "/api/v1/sites", {"site_id": "real.example"})
        assert server.terminate() == 0
        server.restart()
        assert 'data-site="real.example"' in server.greeting
