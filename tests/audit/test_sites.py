"""Who manages single sites sees in the log what is done to them, also by what is not done on one site: rights, people's
data. And nothing of other sites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.e2e.conftest import running
from tests.server import Client, RunningServer, wait_for

in_one_loop = pytest.mark.asyncio(loop_scope="module")
SITE, OTHER = "own.example", "other.example"
USER = "u-audited"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("audit-sites")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        for site in (SITE, OTHER):
            assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admins(client: Client) -> dict[str, str]:
    """A token of an admin of each site."""
    return {
        site: (await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [site]})).json["token"]
        for site in (SITE, OTHER)
    }


async def seen(client: Client, operation: str, resource: str = "", *, token: str | None = None) -> list[dict[str, Any]]:
    """The entries that the holder of the token sees, the newest first."""
    reply = await client.call("GET", "/api/v1/privacy/audit?limit=1000", token=token)
    assert reply.status == 200, reply.body
    return [
        entry
        for entry in reply.json["entries"]
        if entry["operation"] == operation and (not resource or entry["resource"] == resource)
    ]


async def details(client: Client, operation: str, resource: str = "", *, token: str | None = None) -> dict[str, Any]:
    """By site, what the newest entries say, as far as they are of one call."""
    found: dict[str, Any] = {}
    for entry in await seen(client, operation, resource, token=token):
        if entry["site_id"] in found:
            break
        found[entry["site_id"]] = entry["details"]
    return found


@in_one_loop
async def test_a_token_of_sites_has_an_entry_for_each_and_tells_none_of_another(
    client: Client, admins: dict[str, str]
) -> None:
    made = await client.call("POST", "/api/v1/tokens", {"role": "read", "sites": [SITE, OTHER], "threshold": 5})
    id_ = made.json["token_id"]
    assert (await client.call("PUT", f"/api/v1/tokens/{id_}", {"sites": [SITE]})).status == 200
    assert (await client.call("DELETE", f"/api/v1/tokens/{id_}")).status == 204

    rights = {"role": "read", "threshold": "5"}
    given, kept, taken = ({**rights, "access": one} for one in ("given", "kept", "taken"))
    assert await details(client, "create_token", id_) == {SITE: given, OTHER: given}
    assert await details(client, "create_token", id_, token=admins[SITE]) == {SITE: given}
    assert await details(client, "change_token", id_) == {SITE: kept, OTHER: taken}
    assert await details(client, "change_token", id_, token=admins[OTHER]) == {OTHER: taken}
    assert await details(client, "revoke_token", id_, token=admins[SITE]) == {SITE: taken}
    for site, token in admins.items():
        shown = str([await seen(client, f"{verb}_token", id_, token=token) for verb in ("create", "change", "revoke")])
        assert ({SITE, OTHER} - {site}).pop() not in shown


@in_one_loop
async def test_a_token_of_all_sites_has_one_entry_without_a_site(client: Client, admins: dict[str, str]) -> None:
    wanted = {"scopes": ["collect", "view_drops"], "expires_at": "2099-12-31T00:00:00Z"}
    id_ = (await client.call("POST", "/api/v1/tokens", wanted)).json["token_id"]
    assert (await client.call("PUT", f"/api/v1/tokens/{id_}", {"sites": [SITE]})).status == 200

    rights = {"scopes": "collect view_drops", "expires_at": "2099-12-31T00:00:00+00:00"}
    assert await details(client, "create_token", id_) == {"": {**rights, "access": "given"}}
    assert await details(client, "change_token", id_) == {
        "": {**rights, "access": "taken"},
        SITE: {**rights, "access": "kept"},
    }
    assert await details(client, "change_token", id_, token=admins[SITE]) == {SITE: {**rights, "access": "kept"}}


@in_one_loop
async def test_roles_of_people_have_an_entry_for_each_site(client: Client, admins: dict[str, str]) -> None:
    owner = {"email": "owner@example.org", "password": "seven green umbrellas", "owner": True}
    assert (await client.call("POST", "/api/v1/people", owner)).status == 201
    wanted = {"email": "anna@example.org", "password": "seven green umbrellas", "roles": {SITE: "viewer"}}
    id_ = (await client.call("POST", "/api/v1/people", wanted)).json["person_id"]
    changes: list[dict[str, Any]] = [
        {"roles": {SITE: "editor", OTHER: "viewer"}},
        {"roles": {OTHER: None}},
        {"name": "Anna"},
        {"owner": True},
    ]
    told = []
    for change in changes:
        assert (await client.call("PUT", f"/api/v1/people/{id_}", change)).status == 200
        told.append(await details(client, "change_person", id_))
    assert (await client.call("DELETE", f"/api/v1/people/{id_}")).status == 204

    assert await details(client, "add_person", id_, token=admins[SITE]) == {SITE: {"role": "viewer", "was": "none"}}
    assert {site: told[0][site] for site in (SITE, OTHER)} == {
        SITE: {"role": "editor", "was": "viewer"},
        OTHER: {"role": "viewer", "was": "none"},
    }
    assert told[1][OTHER] == {"role": "none", "was": "viewer"}
    assert told[2][SITE] == {"role": "editor"}
    assert told[3][""] == {"role": "owner", "was": "none"}
    assert await details(client, "delete_person", id_) == {
        "": {"role": "none", "was": "owner"},
        SITE: {"role": "none", "was": "editor"},
    }
    of_other = await seen(client, "change_person", id_, token=admins[OTHER])
    assert [entry["details"]["role"] for entry in of_other] == ["none", "viewer"]
    assert "anna@example.org" not in str(await seen(client, "change_person", id_))


@in_one_loop
async def test_an_admin_of_a_site_takes_roles_there_alone(client: Client, admins: dict[str, str]) -> None:
    wanted = {
        "email": "cleo@example.org",
        "password": "seven green umbrellas",
        "roles": {SITE: "viewer", OTHER: "viewer"},
    }
    id_ = (await client.call("POST", "/api/v1/people", wanted)).json["person_id"]
    assert (await client.call("DELETE", f"/api/v1/people/{id_}", token=admins[SITE])).status == 204

    assert await details(client, "delete_person", id_) == {SITE: {"role": "none", "was": "viewer"}}


@in_one_loop
async def test_invitations_have_an_entry_for_each_site(client: Client, admins: dict[str, str]) -> None:
    ids = []
    for address in ("ben@example.org", "dora@example.org"):
        wanted = {"email": address, "roles": {SITE: "editor", OTHER: "viewer"}}
        made = (await client.call("POST", "/api/v1/invitations", wanted)).json
        ids.append(made["invitation_id"])
    assert (await client.call("DELETE", f"/api/v1/invitations/{ids[0]}")).status == 204
    accept = {"token": made["token"], "password": "seven green umbrellas"}
    assert (await client.call("POST", "/api/v1/invitations/accept", accept)).status == 200

    assert await details(client, "create_invitation", ids[1], token=admins[SITE]) == {
        SITE: {"role": "editor", "was": "none"}
    }
    assert await details(client, "delete_invitation", ids[0]) == {
        SITE: {"role": "none", "was": "editor"},
        OTHER: {"role": "none", "was": "viewer"},
    }
    (accepted,) = await seen(client, "accept_invitation", token=admins[OTHER])
    assert (accepted["principal_kind"], accepted["details"]["role"]) == ("person", "viewer")


@in_one_loop
async def test_opt_outs_have_an_entry_for_each_site(client: Client, admins: dict[str, str]) -> None:
    both = (await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [SITE, OTHER]})).json["token"]
    body = {"user_id": USER}
    for method, token in (("POST", both), ("DELETE", admins[SITE]), ("DELETE", None)):
        assert (await client.call(method, "/api/v1/privacy/opt-outs", body, token=token)).status in (200, 204)

    added, removed = await seen(client, "add_opt_out"), await seen(client, "remove_opt_out")

    assert {entry["site_id"]: entry["rows"] for entry in added} == {SITE: 1, OTHER: 1}
    assert [(entry["site_id"], entry["rows"]) for entry in removed] == [(OTHER, 1), (SITE, 1)]
    assert len(await seen(client, "add_opt_out", token=admins[SITE])) == 1
    assert USER not in str(added)


@in_one_loop
@pytest.mark.timeout(300)
async def test_an_erasure_has_an_entry_for_each_site_on_which_something_was_there(
    client: Client, admins: dict[str, str]
) -> None:
    async def send(*sites: str) -> None:
        events = [{"site": site, "name": "signup", "url": f"https://{site}/", "user_id": USER} for site in sites]
        assert (await client.send(events)).json["accepted"] == len(sites)

    async def erase(token: str | None, user_id: str = USER) -> dict[str, Any]:
        body = {"user_id": user_id, "confirm": True}
        id_ = (await client.call("POST", "/api/v1/privacy/erase", body, token=token)).json["id"]

        async def is_done() -> bool:
            reply = await client.call("GET", f"/api/v1/privacy/erasures/{id_}")
            return bool(reply.json["state"] == "done")

        await wait_for(is_done, 100, "the erasure")
        return dict((await client.call("GET", f"/api/v1/privacy/erasures/{id_}")).json)

    await send(SITE, OTHER, OTHER)
    of_site = await erase(admins[SITE])
    (asked,) = await seen(client, "erase_person", of_site["id"], token=admins[SITE])
    (done,) = await seen(client, "erasure_done", of_site["id"], token=admins[SITE])
    assert asked["details"]["user_hash"] == done["details"]["user_hash"] == of_site["user_hash"]
    assert done["rows"] == sum(of_site["certificate"]["removed"].values()) > 0
    assert await seen(client, "erasure_done", of_site["id"], token=admins[OTHER]) == []

    await send(SITE)
    everywhere = await erase(None)
    entries = await seen(client, "erasure_done", everywhere["id"])
    assert {entry["site_id"] for entry in entries} == {SITE, OTHER}
    assert sum(entry["rows"] for entry in entries) == sum(everywhere["certificate"]["removed"].values())
    assert len(await seen(client, "erasure_done", everywhere["id"], token=admins[OTHER])) == 1

    for token, site in ((admins[SITE], SITE), (None, "")):
        nothing = await erase(token, f"u-nobody-{site}")
        (empty,) = await seen(client, "erasure_done", nothing["id"])
        assert (empty["site_id"], empty["rows"]) == (site, 0)


@pytest.mark.timeout(200)
async def test_commands_tell_the_sites_too(tmp_path: Path) -> None:
    server = RunningServer(tmp_path)
    for site in (SITE, OTHER):
        assert server.command("site", "create", site).returncode == 0
    made = server.command("token", "create", "--role", "editor", "--site", SITE, "--site", OTHER.upper(), "--json")
    id_ = msgspec.json.decode(made.stdout)["token_id"]
    commands = [
        ("token", "revoke", id_),
        ("token", "create"),
        ("person", "add", "anna@example.org", "--role", "viewer", "--site", SITE),
    ]
    for command in commands:
        done = await asyncio.to_thread(server.command, *command)
        assert done.returncode == 0, done.stderr
    server.start()
    async with Client(server) as client:
        wanted = {"email": "ben@example.org", "password": "seven green umbrellas", "roles": {SITE: "viewer"}}
        person = (await client.call("POST", "/api/v1/people", wanted)).json["person_id"]
    assert server.terminate() == 0
    for command in (
        ("person", "change", "ben@example.org", "--role", "admin", "--site", OTHER),
        ("person", "remove", "ben@example.org", "--yes"),
    ):
        done = await asyncio.to_thread(server.command, *command)
        assert done.returncode == 0, done.stderr
    server.restart()
    async with Client(server) as client:
        admin = (await client.call("POST", "/api/v1/tokens", {"role": "admin", "sites": [SITE]})).json["token"]
        created = await seen(client, "token create")
        told = {
            command: await details(client, command, token=admin)
            for command in ("token create", "token revoke", "person add", "person change", "person remove")
        }
        (removed,) = await seen(client, "person remove")
    server.terminate()

    assert [(entry["site_id"], entry["details"]) for entry in created] == [
        ("", {"role": "read", "access": "given"}),
        (SITE, {"role": "editor", "access": "given"}),
        (OTHER, {"role": "editor", "access": "given"}),
    ]
    assert told == {
        "token create": {SITE: {"role": "editor", "access": "given"}},
        "token revoke": {SITE: {"role": "editor", "access": "taken"}},
        "person add": {SITE: {"role": "viewer", "was": "none"}},
        "person change": {SITE: {"role": "none", "was": "viewer"}},
        "person remove": {},
    }
    assert (removed["site_id"], removed["resource"]) == (OTHER, person)
    assert removed["details"] == {"role": "none", "was": "admin"}
