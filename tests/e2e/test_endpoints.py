"""The other ways in: the client SDK's calls, the pixel, the script, and what browsers ask before they send."""

from __future__ import annotations

import gzip
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec
import pytest

from tests.server import Client

ACCEPTED_ONE = {"accepted": 1, "dropped": {}, "rejected": []}
PHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1"
)
COLLECTING = ("/track", "/track/view", "/track/interaction", "/track/batch")


def view(site: str, **fields: object) -> dict[str, Any]:
    return {"appName": site, "pageUrl": f"https://{site}/v", **fields}


def interaction(site: str, **fields: object) -> dict[str, Any]:
    return {"appName": site, "type": "click", "data": {"elementId": "buy", "pageUrl": f"https://{site}/v"}, **fields}


# ---- the client SDK --------------------------------------------------------


async def test_view_becomes_a_pageview(client: Client, site: str) -> None:
    sent = view(site, pageTitle="Title", referrer="https://duckduckgo.com/", sessionId="s1", userId="u1", extra=1)

    assert (await client.send(sent, path="/track/view")).json == ACCEPTED_ONE

    await client.kept(site, 1)
    dimensions = ["event:name", "event:page", "event:title", "visit:source"]
    assert await client.query(site, ["events"], dimensions) == {("pageview", "/v", "Title", "DuckDuckGo"): (1,)}


async def test_interaction_becomes_an_event_of_its_type(client: Client, site: str) -> None:
    data = {"elementId": "buy", "elementText": "Buy", "pageUrl": f"https://{site}/v", "colour": "red"}

    reply = await client.send(interaction(site, data=data, sessionId="s1"), path="/track/interaction")

    assert reply.json == ACCEPTED_ONE
    await client.kept(site, 1)
    dimensions = ["event:name", "event:page", "event:element", "event:props:colour"]
    assert await client.query(site, ["events"], dimensions) == {("click", "/v", "buy", "red"): (1,)}


async def test_client_batch_mixes_kinds_and_names_the_bad_ones(client: Client, site: str) -> None:
    events = [
        {"kind": "view", **view(site)},
        {"kind": "interaction", **interaction(site)},
        {"kind": "other", **view(site)},
        view(site),
        {"kind": "view", "pageUrl": "https://x.example/"},
        {"kind": "interaction", "appName": site},
        7,
        {"kind": "view", **view(site, pageUrl="nowhere")},
    ]

    reply = await client.send({"events": events}, path="/track/batch")

    assert (reply.status, reply.json["accepted"]) == (202, 2)
    assert reply.rejected == [
        (2, "bad_kind"),
        (3, "missing_kind"),
        (4, "missing_app_name"),
        (5, "missing_type"),
        (6, "bad_event"),
        (7, "bad_page_url"),
    ]
    await client.kept(site, 2)


@pytest.mark.parametrize(("count", "status"), [(1_000, 202), (1_001, 413)])
async def test_client_batch_has_the_same_limit(client: Client, count: int, status: int) -> None:
    events = [{"kind": "interaction", "appName": "many.example", "type": "x"}] * count

    assert (await client.send({"events": events}, path="/track/batch")).status == status


@pytest.mark.parametrize("path", ["/track/view", "/track/interaction"])
@pytest.mark.parametrize(("size", "status"), [(65_536, 202), (65_537, 413)])
async def test_client_calls_have_the_same_size_limit(client: Client, path: str, size: int, status: int) -> None:
    shape = view("size.example") if path == "/track/view" else interaction("size.example")
    shape["language"] = ""
    shape["language"] = "l" * (size - len(msgspec.json.encode(shape)))

    assert (await client.send(shape, path=path)).status == status


@pytest.mark.parametrize("path", COLLECTING)
@pytest.mark.parametrize(
    "body", [b"", b"   ", b"null", b"7", b'"text"', b"{", b"[1,", b"\xff\xfe", b"{}x", b"nonsense"]
)
async def test_what_can_not_be_read_is_a_400(client: Client, path: str, body: bytes) -> None:
    reply = await client.send(body, path=path)

    assert reply.status == 400, reply.body
    assert reply.code in ("bad_json", "bad_body")
    assert reply.json["error"]["message"]


# ---- the pixel -------------------------------------------------------------


async def test_pixel_counts_and_answers_with_an_image(client: Client, site: str) -> None:
    query = urlencode({"site": site, "url": f"https://{site}/p?q=ä", "title": "T"})

    reply = await client.get(f"/track/pixel.gif?{query}")

    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/gif")
    assert reply.body.startswith(b"GIF89a")
    assert reply.headers["Cache-Control"] == "no-store"
    await client.kept(site, 1)
    assert await client.query(site, ["pageviews"], ["event:page", "event:title"]) == {("/p?q=ä", "T"): (1,)}


async def test_pixel_takes_the_page_from_the_referer_and_a_name(client: Client, site: str) -> None:

    await client.get(f"/track/pixel.gif?site={site}&name=opened", headers={"Referer": f"https://{site}/mail"})

    await client.kept(site, 1)
    assert await client.query(site, ["events"], ["event:name", "event:page"]) == {("opened", "/mail"): (1,)}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("url=https://a.example/", 400),
        ("site=", 400),
        ("site=a.example", 200),
        (f"site=a.example&url={quote('javascript:alert(1)')}", 200),
        ("site=%ff%fe&url=%00", 200),
        ("site=a.example&name=" + "n" * 500, 200),
    ],
)
async def test_pixel_never_breaks(client: Client, query: str, status: int) -> None:
    assert (await client.get(f"/track/pixel.gif?{query}")).status == status


# ---- the script ------------------------------------------------------------


async def test_script_is_cached_by_its_etag(client: Client) -> None:
    first = await client.get("/a.js")
    again = await client.get("/a.js", headers={"If-None-Match": first.headers["ETag"]})
    other = await client.get("/a.js", headers={"If-None-Match": '"old"'})

    assert first.status == other.status == 200
    assert first.headers["Content-Type"].startswith("text/javascript")
    assert "max-age" in first.headers["Cache-Control"]
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])


@pytest.mark.parametrize(
    "form",
    ["W/{tag}", '"old", {tag}', '{tag},"old"', '"old" , W/{tag}', "*", " {tag} ", '"a,b", {tag}', "{tag},", ",{tag}"],
)
@pytest.mark.parametrize("path", ["/a.js", "/a.js?more"])
async def test_script_is_not_sent_again_however_the_tag_is_told(client: Client, path: str, form: str) -> None:
    tag = (await client.get(path)).headers["ETag"]
    again = await client.get(path, headers={"If-None-Match": form.format(tag=tag)})

    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize(
    "form", ['"x{inner}"', "{inner}", 'W/"old", "older"', '"*"', "", "w/{tag}", '"{inner},"', "{tag} {tag}"]
)
async def test_script_is_sent_when_its_tag_is_not_told(client: Client, form: str) -> None:
    tag = (await client.get("/a.js")).headers["ETag"]
    again = await client.get("/a.js", headers={"If-None-Match": form.format(tag=tag, inner=tag.strip('"'))})

    assert again.status == 200


async def test_script_is_small_when_compressed(client: Client) -> None:
    plain = await client.get("/a.js", headers={"Accept-Encoding": "identity"})
    squeezed = await client.get("/a.js", headers={"Accept-Encoding": "gzip"})

    assert squeezed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(squeezed.body) == plain.body
    assert len(squeezed.body) <= 3_000


# ---- browsers --------------------------------------------------------------


@pytest.mark.parametrize("path", [*COLLECTING, "/track/pixel.gif"])
async def test_preflight_allows_any_origin_without_credentials(client: Client, path: str) -> None:
    reply = await client.request(
        "OPTIONS",
        path,
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,content-encoding",
        },
    )

    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    allowed = reply.headers["Access-Control-Allow-Headers"].lower()
    assert "content-type" in allowed
    assert "content-encoding" in allowed
    assert "Access-Control-Allow-Credentials" not in reply.headers


@pytest.mark.parametrize(
    ("beacon", "status"),
    [({"site": "cors.example", "name": "x"}, 202), (b"nonsense", 400), (b" " * 1_100_000, 413)],
)
async def test_every_answer_can_be_read_across_origins(client: Client, beacon: object, status: int) -> None:
    reply = await client.send(beacon, headers={"Origin": "https://shop.example"})

    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (status, "*")
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/track", 404),
        ("PUT", "/track", 404),
        ("POST", "/track/", 404),
        ("GET", "/nothing", 404),
        ("POST", "/a.js", 404),
        ("GET", "/%00", 404),
        ("GET", "/track/pixel.gif/..%2f..%2fetc", 404),
    ],
)
async def test_other_addresses_and_methods_are_answered_as_json(
    client: Client, method: str, path: str, status: int
) -> None:
    reply = await client.request(method, path)

    assert reply.status in (status, 405)
    assert reply.code in ("not_found", "method_not_allowed")


async def test_operator_pages_answer(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
    assert (await client.get("/readyz")).json == {"status": "ready"}
    metrics = (await client.get("/metrics")).body.decode()
    for name in (
        *("http_requests_total", "http_request_duration_seconds", "ingest_events_total", "ingest_dropped_total"),
        *("wal_bytes", "wal_segments", "wal_oldest_age_seconds", "wal_fsync_duration_seconds", "wal_errors_total"),
        *("flush_duration_seconds", "flush_batch_events", "flush_attempts_total", "flush_ambiguous_total"),
        *("dead_letter_events_total", "clickhouse_up", "event_loop_lag_seconds", "build_info"),
    ):
        assert f"# TYPE {name.removesuffix('_total')}" in metrics, name


# ---- server-side tracking --------------------------------------------------


async def test_a_token_lets_a_server_speak_for_its_visitors(client: Client, site: str) -> None:
    one = {"site": site, "name": "pageview", "url": f"https://{site}/", "ip": "203.0.113.9", "user_agent": PHONE}
    events = [one, one, {**one, "ip": "203.0.113.10"}, {**one, "user_agent": "Googlebot/2.1 (+http://google.com/bot)"}]

    reply = await client.send(events, trusted=True, headers={"User-Agent": "python-requests/2"})

    assert reply.json == {"accepted": 3, "dropped": {"bot": 1}, "rejected": []}
    await client.kept(site, 3)
    assert await client.query(site, ["visitors", "sessions"], ["visit:device"]) == {("Mobile",): (2, 2)}


async def test_without_a_token_address_and_agent_in_the_event_count_for_nothing(client: Client, site: str) -> None:
    one = {"site": site, "name": "pageview", "url": f"https://{site}/", "user_agent": "Googlebot/2.1"}

    reply = await client.send([{**one, "ip": "203.0.113.9"}, {**one, "ip": "203.0.113.10"}])

    assert reply.json == {"accepted": 2, "dropped": {}, "rejected": []}
    await client.kept(site, 2)
    assert await client.query(site, ["visitors"], ["visit:browser"]) == {("Chrome",): (1,)}


@pytest.mark.parametrize("ip", ["not an address", "", "999.1.1.1", "::ffff:1.2.3.4", "fe80::1%eth0", "\x00"])
async def test_a_strange_address_in_a_trusted_event_does_no_harm(client: Client, ip: str) -> None:
    reply = await client.send({"site": "strange.example", "name": "x", "ip": ip}, trusted=True)

    assert reply.status == 202


@pytest.mark.parametrize(
    ("authorization", "status"),
    [("Bearer wrong", 401), ("Basic dXNlcjpwdw==", 401), ("", 401), ("Bearer", 401)],
)
async def test_a_wrong_token_is_refused_and_not_ignored(client: Client, authorization: str, status: int) -> None:
    reply = await client.send({"site": "a.example", "name": "x"}, headers={"Authorization": authorization})

    assert (reply.status, reply.code) == (status, "unauthorized")


async def test_roles_and_sites_of_a_token_hold_for_collecting(client: Client) -> None:
    made = await client.call("POST", "/api/v1/tokens", {"role": "collect", "sites": ["own.example"]})
    reader = await client.call("POST", "/api/v1/tokens", {"role": "read"})
    events = [{"site": "own.example", "name": "x"}, {"site": "other.example", "name": "x"}]

    def bearer(reply: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {reply.json['token']}"}

    sent = await client.send(events, headers=bearer(made))
    refused = await client.send(events, headers=bearer(reader))

    assert (sent.status, sent.json["accepted"], sent.rejected) == (202, 1, [(1, "forbidden_site")])
    assert (refused.status, refused.code) == (403, "forbidden")


async def test_two_ways_of_telling_a_repeat_agree(client: Client, site: str) -> None:
    event_id = str(uuid4())

    await client.send(view(site, eventId=event_id), path="/track/view")
    await client.get(f"/track/pixel.gif?site={site}&url=https://{site}/v&event_id={event_id}")
    await client.send(view(site), path="/track/view")

    await client.kept(site, 2)
    assert await client.count(site) == 2
