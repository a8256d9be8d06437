"""A server that keeps everything it may: robots, signals ignored, no visitor ids."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.conftest import running
from tests.server import Client, RunningServer, raw


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {
        "collect_drop_bots": "false",
        "collect_respect_dnt": "false",
        "collect_respect_gpc": "false",
        "collect_duplicate_window_s": "0",
        "privacy_visitor": "off",
        "limits_site_events_per_s": "2",
        "tracker_collect_path": "/c/in",
        "tracker_script_path": "/c/s.js",
        "log_format": "json",
        "log_level": "debug",
        "ingest_ack": "os",
    }
    with running(tmp_path_factory.mktemp("lenient"), settings) as server:
        yield server


@pytest.mark.parametrize(
    "headers",
    [{"DNT": "1"}, {"Sec-GPC": "1"}, {"User-Agent": "Googlebot/2.1 (+http://google.com/bot.html)"}, {"User-Agent": ""}],
)
async def test_nothing_is_dropped(client: Client, site: str, headers: dict[str, str]) -> None:
    reply = await client.send({"site": site, "name": "x"}, path="/c/in", headers=headers)

    assert reply.json == {"accepted": 1, "dropped": {}, "rejected": []}
    await client.kept(site, 1)


async def test_user_agent_bytes_that_are_no_utf8_are_taken(client: Client, server: RunningServer, site: str) -> None:
    body = f'{{"site":"{site}","name":"x"}}'.encode()
    head = b"POST /c/in HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (X11; \xff\xfe\xed\xa0\x80) Chrome/142.0.0.0\r\n"

    answer = await raw(server, head + b"Content-Length: %d\r\n\r\n" % len(body) + body, enough=b"]}")

    assert b" 202 " in answer
    await client.kept(site, 1)


async def test_without_visitor_ids_there_are_no_visitors_but_sessions_of_the_client(client: Client, site: str) -> None:
    events = [
        {"site": site, "name": "pageview", "url": f"https://{site}/", "session_id": f"s{n % 2}"} for n in range(4)
    ]

    await client.send(events, path="/c/in")
    await client.flushed()

    assert await client.query(site, ["visitors", "sessions", "pageviews"]) == {(): (0, 2, 4)}


async def test_configured_paths_replace_the_usual_ones(client: Client, site: str) -> None:
    script = await client.get("/c/s.js", headers={"Accept-Encoding": "identity"})

    assert script.status == 200
    assert b'"./in"' in script.body  # relative to the script, so that a proxy may put both under a prefix
    assert (await client.get("/a.js")).status == 404
    assert (await client.send({"site": site, "name": "x"})).status == 404
    assert (await client.get(f"/c/in/pixel.gif?site={site}&url=https://{site}/")).headers["Content-Type"] == "image/gif"
    await client.kept(site, 1)


async def test_a_site_that_sends_too_much_gets_a_429(client: Client, site: str) -> None:
    event = {"site": site, "name": "x"}

    first = await client.send([event] * 500, path="/c/in")
    then = await client.send([event] * 5, path="/c/in")

    assert (first.status, first.json["accepted"], first.rejected) == (202, 500, [])  # a page's request is not parted
    assert (then.status, then.code) == (429, "too_many_requests")
    assert int(then.headers["Retry-After"]) >= 1
