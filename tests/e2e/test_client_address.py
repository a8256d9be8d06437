"""Behind a proxy that says the visitor's address in a header of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.conftest import running
from tests.server import Client, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "server_trusted_proxies": "127.0.0.1, 10.0.0.0/8",
        "server_client_ip_header": "CF-Connecting-IP",
        "collect_trailing_slash": "strip",
    }
    with running(tmp_path_factory.mktemp("address"), settings) as server:
        yield server


async def visitors(client: Client, site: str, *requests: Mapping[str, str]) -> int:
    """How many visitors these requests' headers are."""
    for headers in requests:
        assert (await client.send({"site": site, "name": "x"}, headers=headers)).json["accepted"] == 1
        assert (await client.get(f"/track/pixel.gif?site={site}&name=x", headers)).status == 200
    await client.flushed()
    return await client.count(site, "visitors")


async def test_the_header_of_choice_names_the_visitor(client: Client, site: str) -> None:
    one, other = {"CF-Connecting-IP": "203.0.113.5"}, {"cf-connecting-ip": "203.0.113.6"}

    assert await visitors(client, site, one, other, one) == 2


async def test_other_headers_are_not_read(client: Client, site: str) -> None:
    forged = [
        {"CF-Connecting-IP": "203.0.113.5", "X-Forwarded-For": "198.51.100.1"},
        {"CF-Connecting-IP": "203.0.113.5", "Forwarded": "for=198.51.100.2"},
        {"CF-Connecting-IP": "198.51.100.3, 203.0.113.5"},
        {"CF-Connecting-IP": "203.0.113.5:4711"},
    ]

    assert await visitors(client, site, *forged) == 1


async def test_without_it_the_proxy_s_own_address_counts(client: Client, site: str) -> None:
    assert await visitors(client, site, {"X-Forwarded-For": "198.51.100.1"}, {"Forwarded": "for=198.51.100.2"}, {}) == 1


async def test_a_final_slash_is_stripped_where_that_is_set(client: Client, site: str) -> None:
    for path in ("/a", "/a/", "/a//?page=1", "/"):
        await client.send({"site": site, "name": "pageview", "url": f"https://{site}{path}"})
    await client.flushed()

    found = await client.query(site, ["pageviews"], ["event:page"])
    assert found == {("/a",): (2,), ("/a?page=1",): (1,), ("/",): (1,)}
