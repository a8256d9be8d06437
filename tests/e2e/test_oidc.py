"""Sign-in through a real provider, as a browser goes it, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit

import aiohttp
import pytest
from yarl import URL

from analytics_server.http.address_file import read_address
from analytics_server.listening import base_url
from tests.access.oidc.provider import new_key, running_provider, signed_in_at
from tests.e2e.conftest import running
from tests.server import Client, Reply, RunningServer

PUBLIC_URL = "http://127.0.0.1:9"
CALLBACK = f"{PUBLIC_URL}/api/v1/session/oidc/callback"
SECRET = "the secret of the client"
ROLES = "analytics=viewer@a.example,staff=editor@b.example"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    client = {
        "client_id": "analytics",
        "client_secret": SECRET,
        "redirect_uris": [CALLBACK],
        "application_type": "native",
    }
    with running_provider(clients=[client], keys=[new_key("k")]) as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "server_public_url": PUBLIC_URL,
        "oidc_issuer": issuer,
        "oidc_client_id": "analytics",
        "oidc_client_secret": SECRET,
        "oidc_roles": ROLES,
        "oidc_only": "true",
        "oidc_name": "Example ID",
    }
    with running(tmp_path_factory.mktemp("oidc"), settings) as server:
        found = read_address(server.data_dir)  # what it prints is public_url
        assert found is not None
        server.url = base_url(*found.addresses[0])
        yield server


class Browser:
    """Goes where it is sent, but not to `PUBLIC_URL`, which is the server's by another name."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def get(self, path: str) -> tuple[int, str, str]:
        """Status, location and body."""
        address = URL(f"{self._server.url}{path}", encoded=True)
        async with self.session.get(address, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def away(self, login: str) -> dict[str, str]:
        """To the provider; what it brings back."""
        status, address, _ = await self.get("/api/v1/session/oidc")
        assert status == 302
        return await signed_in_at(address, login, CALLBACK)

    async def back(self, brought: dict[str, str]) -> str:
        """Back at the server: where it leads to."""
        status, location, _ = await self.get(f"/api/v1/session/oidc/callback?{urlencode(brought)}")
        assert status == 302
        return location


async def test_who_signs_in_at_the_provider_has_a_session_here(server: RunningServer) -> None:
    browser = Browser(server)
    async with browser.session:
        assert await browser.back(await browser.away("alice")) == "/dashboard"
        status, _, body = await browser.get("/api/v1/session")
        assert status == 200
        assert '"email":"alice@example.com"' in body
        assert '"roles":{"a.example":"viewer","b.example":"editor"}' in body
        cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
        assert set(cookies) == {"analytics_session"}, "the cookie of the way there is still there"
        assert (cookies["analytics_session"]["samesite"], cookies["analytics_session"]["httponly"]) == ("Strict", True)


async def test_what_was_not_begun_in_this_browser_is_refused(server: RunningServer) -> None:
    one, other = Browser(server), Browser(server)
    async with one.session, other.session:
        brought = await one.away("alice")
        assert await other.back(brought) == "/dashboard#sign-in=sign_in_failed"
        await other.away("alice")
        assert await other.back(brought) == "/dashboard#sign-in=sign_in_failed"
        assert (await other.get("/api/v1/session"))[0] == 401
        assert await one.back({**brought, "iss": "https://other.example"}) == "/dashboard#sign-in=sign_in_failed"
        assert await one.back(brought) == "/dashboard#sign-in=sign_in_failed", "a second try with the same cookie"


async def test_a_person_without_a_role_is_told_so(server: RunningServer) -> None:
    browser = Browser(server)
    async with browser.session:
        assert await browser.back(await browser.away("mallory")) == "/dashboard#sign-in=no_role"
        assert (await browser.get("/api/v1/session"))[0] == 401


async def test_only_the_provider_signs_in(server: RunningServer) -> None:
    async with Client(server) as client:
        methods = await client.get("/api/v1/session/methods")
        assert methods.json == {"password": False, "provider": "Example ID", "reset": False}
        for path, body in {
            "/api/v1/session": {"email": "alice@example.com", "password": "seven green umbrellas"},
            "/api/v1/invitations/accept": {"token": "asi_x", "password": "seven green umbrellas"},
            "/api/v1/session/reset": {"email": "alice@example.com"},
        }.items():
            reply: Reply = await client.call("POST", path, body)
            assert (reply.status, reply.json["error"]["code"]) == (403, "only_oidc")


async def test_the_log_says_why_and_keeps_what_is_secret(server: RunningServer) -> None:
    browser = Browser(server)
    async with browser.session:
        address = (await browser.get("/api/v1/session/oidc"))[1]
        brought = await signed_in_at(address, "alice", CALLBACK)
        await browser.back({**brought, "state": "forged"})
    state = dict(parse_qsl(urlsplit(address).query))["state"]
    await asyncio.to_thread(server.terminate)
    assert "its state differs" in server.log
    for secret in (SECRET, brought["code"], state, "alice@example.com"):
        assert secret not in server.log
