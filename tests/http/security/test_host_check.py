"""Host check: a name that is not this server's gets no answer of the dashboard and the API, beacons always one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from analytics_server.config import ServerSection
from analytics_server.errors import Misdirected
from analytics_server.http.address_file import read_address
from analytics_server.http.security.host_check import MOST_LOGGED, HostCheck
from analytics_server.listening import base_url
from tests.e2e.conftest import running
from tests.server import Client, RunningServer
from tests.whole import complete_server

FOREIGN = "rebound.example"
OPEN = ("/healthz", "/readyz", "/metrics", "/openapi.json", "/a.js", "/track/pixel.gif?site=a.example")
PROXY = {"server_trusted_proxies": "127.0.0.1", "server_public_url": "https://Stats.example.com/below"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {**PROXY, "server_demo": "true", "server_allowed_hosts": "stats.internal,*.müller.example"}
    with running(tmp_path_factory.mktemp("hosts"), settings) as server:
        found = read_address(server.data_dir)  # what it prints is public_url
        assert found is not None
        server.url = base_url(*found.addresses[0])
        yield server


def check(**settings: Any) -> HostCheck:
    return HostCheck(ServerSection(**settings), lambda peer: False)


def accepts(hosts: HostCheck, host: str, **headers: str) -> bool:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return hosts.accepts(make_mocked_request("GET", "/dashboard", headers={"Host": host, **more}))


async def test_a_foreign_name_gets_nothing_of_the_dashboard_and_the_api(server: RunningServer) -> None:
    async with Client(server, headers={"Host": FOREIGN}) as client:
        for endpoint in complete_server().endpoints():
            path = endpoint.path.replace("{site_id}", "a.example").partition("{")[0]
            if endpoint.tag in ("collect", "operations") or endpoint.name.startswith("assign_variant"):
                continue
            reply = await client.request(endpoint.method, path)
            if reply.status != 404:  # the path without its variable part may be none
                assert (reply.status, reply.code) == (421, "unknown_host"), endpoint.route
        reply = await client.get("/dashboard")
        assert "[server] allowed_hosts" in reply.json["error"]["message"]
        assert FOREIGN in reply.json["error"]["message"]


async def test_a_token_is_answered_by_any_name_and_a_made_up_one_gets_nothing(server: RunningServer) -> None:
    async with Client(server, headers={"Host": FOREIGN}) as client:
        for authorization, status in ((f"Bearer {server.token}", 200), ("Bearer made-up", 401), ("x", 401)):
            reply = await client.get("/api/v1/sites", headers={"Authorization": authorization})
            assert reply.status == status, authorization
        reply = await client.get("/dashboard", headers={"Authorization": "Bearer made-up"})
        assert reply.status == 421  # it needs no token, so the header proves nothing


async def test_each_refused_host_is_logged_once_and_not_without_bound(caplog: pytest.LogCaptureFixture) -> None:
    async def never(request: web.Request) -> web.StreamResponse:
        raise AssertionError(request)

    guarded = check(host="127.0.0.1").guard(never, needs_token=False)
    for number in range(2 * MOST_LOGGED):
        for port in ("", ":8000"):
            with pytest.raises(Misdirected):
                await guarded(make_mocked_request("GET", "/dashboard", headers={"Host": f"h{number}.example{port}"}))

    named = [record.__dict__["host"] for record in caplog.records if "host" in record.__dict__]
    assert named == [f"h{number}.example" for number in range(MOST_LOGGED)]
    assert len(caplog.records) == MOST_LOGGED + 1


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"host": "127.0.0.1"}, True),
        ({"host": "127.0.0.1", "public_url": "https://stats.example.com"}, False),
        ({"host": "127.0.0.1", "allowed_hosts": ("stats.example.com",)}, False),
        ({"host": "127.0.0.1", "allowed_hosts": ("*",)}, False),
        ({"host": "192.0.2.1"}, False),
    ],
)
def test_a_start_says_that_names_are_refused_where_none_is_set(
    settings: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check(**settings).tell_start()

    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned


async def test_beacons_the_tracker_and_health_are_open_for_any_name(server: RunningServer) -> None:
    beacon = {"site": "a.example", "name": "pageview", "url": "https://a.example/"}
    async with Client(server, headers={"Host": FOREIGN}) as client:
        for path in OPEN:
            assert (await client.get(path)).status == 200, path
        for headers in ({}, {"Proxy-Connection": "keep-alive"}):  # by the fast front, and by the framework
            assert (await client.send(beacon, headers=headers)).status == 202


@pytest.mark.parametrize(
    "host",
    [
        *("stats.example.com", "stats.example.com:443", "STATS.EXAMPLE.COM.", "stats.internal:8000"),
        *("eu.xn--mller-kva.example", "localhost", "localhost:8000", "a.localhost", "127.0.0.1:8000", "[::1]:8000"),
        *("10.1.2.3", "[2001:db8::1]"),
    ],
)
async def test_own_names_loopback_and_addresses_are_answered(server: RunningServer, host: str) -> None:
    async with Client(server, headers={"Host": host}) as client:
        assert (await client.get("/dashboard")).status == 200


async def test_a_trusted_proxy_s_word_about_the_host_counts(server: RunningServer) -> None:
    async with Client(server, headers={"Host": "analytics"}) as client:
        for forwarded, status in [
            ("stats.example.com", 200),
            ("rebound.example, stats.example.com:443", 200),
            ("stats.example.com, rebound.example", 421),
            ("rebound.example", 421),
        ]:
            reply = await client.get("/dashboard", headers={"X-Forwarded-Host": forwarded})
            assert reply.status == status, forwarded


async def test_a_live_connection_by_a_foreign_name_is_refused(server: RunningServer) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    async with Client(server, headers={"Host": FOREIGN}) as client:
        assert (await client.get("/api/v1/live", headers=upgrade)).status == 421


@pytest.mark.parametrize(
    ("settings", "is_on"),
    [
        ({"host": "0.0.0.0"}, False),
        ({"host": "::"}, False),
        ({"host": "192.0.2.1"}, False),
        ({"host": "127.0.0.1"}, True),
        ({"host": "127.0.0.2"}, True),
        ({"host": "[::1]"}, True),
        ({"host": "localhost"}, True),
        ({"host": "::", "public_url": "https://stats.example.com"}, True),
        ({"host": "::", "allowed_hosts": ("stats.example.com",)}, True),
        ({"host": "127.0.0.1", "allowed_hosts": ("*",)}, False),
    ],
)
def test_it_is_on_where_the_names_are_known(settings: dict[str, Any], is_on: bool) -> None:
    assert check(**settings).is_on is is_on


def test_the_host_that_a_stranger_forwards_does_not_count() -> None:
    hosts = check(public_url="https://stats.example.com")
    assert not accepts(hosts, FOREIGN, X_Forwarded_Host="stats.example.com")


@given(st.from_regex(r"[a-z0-9.-]{1,40}(\.example\.com|localhost|\.1)?", fullmatch=True))
def test_no_other_name_is_accepted(host: str) -> None:
    name = host.rstrip(".")
    own = name == "localhost" or name.endswith(".localhost") or name.removeprefix("www.") == "stats.example.com"
    is_address = name.count(".") == 3 and all(part.isdecimal() and int(part) < 256 for part in name.split("."))
    if not own and not is_address:
        assert not accepts(check(public_url="https://stats.example.com"), host)
