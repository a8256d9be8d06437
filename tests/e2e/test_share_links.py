"""Share links: what they show, what they never show, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import pytest_asyncio

from analytics_server.access.links.public_sites import public_link
from analytics_server.access.links.share_links import _mac
from tests.e2e.conftest import running
from tests.server import Client, Reply, RunningServer

SITE, FOREIGN = "own.example", "foreign.example"
ONE_WINDOW = {"access_sign_in_window_s": "1000000000"}
"""No window of attempts ends, and a new one begins, in the middle of a test."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("links"), ONE_WINDOW) as server:
        yield server


@pytest_asyncio.fixture
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        known = {one["site_id"] for one in (await client.call("GET", "/api/v1/sites")).json["sites"]}
        if SITE not in known:
            for site in (SITE, FOREIGN):
                await client.call("POST", "/api/v1/sites", {"site_id": site})
                pages = [f"https://{site}{path}" for path in ("/blog/a", "/blog/b", "/secret")]
                events = [{"site": site, "name": "pageview", "url": url, "session_id": f"s{url}"} for url in pages]
                assert (await client.send(events)).json["accepted"] == 3
            await client.flushed()
        yield client


async def share(client: Client, **changes: Any) -> tuple[dict[str, Any], str]:
    """A link, and the secret of its address."""
    made = await client.call("POST", "/api/v1/share-links", {"site_id": SITE, **changes})
    assert made.status == 201, made.body
    return made.json, made.json["link"].rpartition("/")[2]


async def opening(client: Client, secret: str, **changes: Any) -> Reply:
    return await client.request(
        "POST", "/api/v1/share/open", msgspec.json.encode({"secret": secret, **changes}), {"Authorization": ""}
    )


async def opened(client: Client, **changes: Any) -> str:
    """A token of a new link."""
    _, secret = await share(client, **changes)
    return str((await opening(client, secret)).json["token"])


async def pages(client: Client, token: str, **changes: Any) -> Reply:
    question = {"site_id": SITE, "metrics": ["pageviews"], "date_range": "day", "dimensions": ["event:page"], **changes}
    return await client.call("POST", "/api/v1/query", question, token=token)


BLOG = [["contains", "event:page", ["/blog"]]]


async def test_a_link_shows_its_site_and_no_other(client: Client) -> None:
    token = await opened(client)

    assert len((await pages(client, token)).json["results"]) == 3
    assert (await pages(client, token, site_id=FOREIGN)).status == 403
    assert [one["site_id"] for one in (await client.call("GET", "/api/v1/sites", token=token)).json["sites"]] == [SITE]
    assert (await client.call("GET", f"/api/v1/trends?site_id={SITE}&date_range=day", token=token)).status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"filters": [["is", "event:page", ["/secret", "/blog/a", "/blog/b"]]]},
        {"filters": [["or", [["is", "event:page", ["/secret"]], ["contains", "event:page", ["/"]]]]]},
        {"filters": [["not", ["is", "event:page", ["/nothing"]]]]},
    ],
)
async def test_no_filter_of_a_question_widens_the_link_s(client: Client, changes: dict[str, Any]) -> None:
    token = await opened(client, filters=BLOG)
    found = {row["dimensions"][0] for row in (await pages(client, token, **changes)).json["results"]}

    assert found == {"/blog/a", "/blog/b"}
    total = await client.call(
        "POST",
        "/api/v1/query",
        {"site_id": SITE, "metrics": ["pageviews"], "date_range": "day", **changes},
        token=token,
    )
    assert total.json["results"][0]["metrics"] == [2]
    chart = f"/api/v1/trends?site_id={SITE}&date_range=day&metrics=pageviews"
    rows = (await client.call("GET", chart, token=token)).json["rows"]
    assert sum(row["pageviews"] for row in rows) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": [["has_done", ["is", "event:page", ["/secret"]]]]},
        {"filters": [["or", [["has_not_done", ["is", "event:page", ["/secret"]]]]]]},
        {"filters": [["sequence", [["is", "event:page", ["/secret"]], ["is", "event:page", ["/blog/a"]]]]]},
        {"filters": [["segment", "x"]]},
        {"filters": [["is", "event:goal", ["x"]]]},
        {"metrics": ["conversion_rate"]},
        {"metrics": ["percentage"]},
        {"order_by": [["total_revenue", "desc"]]},
        {"dimensions": ["event:goal"]},
    ],
    ids=str,
)
async def test_what_looks_past_the_link_s_filters_is_refused(client: Client, changes: dict[str, Any]) -> None:
    reply = await pages(client, await opened(client, filters=BLOG), **changes)
    assert (reply.status, reply.code) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "sql", {"site_id": SITE, "query": "SELECT count() FROM events"}),
        ("POST", "funnels/sessions", {"site_id": SITE, "date_range": "day", "steps": [], "drill": {"step": 1}}),
        ("POST", "experiments/x/results", {"site_id": SITE}),
        ("GET", f"sessions/x?site_id={SITE}", None),
        ("GET", f"drops?site_id={SITE}", None),
        ("GET", f"goals?site_id={SITE}", None),
        ("GET", f"share-links?site_id={SITE}", None),
        ("GET", "tokens", None),
        ("GET", "people", None),
        ("PUT", f"sites/{SITE}", {"timezone": "Asia/Tokyo"}),
        ("DELETE", "session", None),
    ],
)
async def test_a_link_may_do_nothing_else(client: Client, method: str, path: str, body: object) -> None:
    assert (await client.call(method, f"/api/v1/{path}", body, token=await opened(client))).status == 403


async def test_it_sees_of_the_settings_only_what_its_page_needs(client: Client) -> None:
    secret = {"excluded_paths": ["/hidden/**"], "allowed_hosts": [SITE], "retention_days": 100, "events_per_s": 90}
    assert (await client.call("PUT", f"/api/v1/sites/{SITE}", {**secret, "currency": "SEK"})).status == 200
    token = await opened(client)
    listed = (await client.call("GET", "/api/v1/sites", token=token)).json["sites"]
    shown = (await client.call("GET", f"/api/v1/sites/{SITE}", token=token)).json
    assert [shown] == listed
    assert (shown["site_id"], shown["timezone"], shown["currency"], shown["profile"]) == (
        SITE,
        "UTC",
        "SEK",
        "standard",
    )
    assert not any(shown[name] for name in secret)
    assert (await client.call("GET", f"/api/v1/sites/{SITE}")).json["excluded_paths"] == ["/hidden/**"]


async def test_it_sends_no_trusted_events(client: Client) -> None:
    event = {"site": SITE, "name": "x", "url": f"https://{SITE}/", "timestamp": "2020-01-01T00:00:00Z"}
    token = await opened(client)
    sent = await client.request("POST", "/track", msgspec.json.encode(event), {"Authorization": f"Bearer {token}"})
    assert sent.status in (401, 403)


async def test_a_password_is_asked_for_and_attempts_are_bounded(client: Client) -> None:
    _, secret = await share(client, password="open sesame")

    assert (await opening(client, secret)).code == "password_needed"
    assert (await opening(client, secret, password="open sesame")).status == 200
    codes = [(await opening(client, secret, password="wrong")).code for _ in range(11)]
    assert codes == ["sign_in_failed"] * 10 + ["too_many_attempts"]


async def test_a_revoked_link_ends_at_once_with_its_tokens(client: Client) -> None:
    link, secret = await share(client)
    token = str((await opening(client, secret)).json["token"])
    assert (await pages(client, token)).status == 200

    assert (await client.call("DELETE", f"/api/v1/share-links/{link['link_id']}")).status == 204
    assert (await pages(client, token)).status == 401
    assert (await opening(client, secret)).code == "unknown_link"


@pytest.mark.parametrize("spoil", [lambda token: token[:-1] + "0", lambda token: token.partition(".")[0], str.upper])
async def test_a_token_that_was_changed_is_none(client: Client, spoil: Any) -> None:
    token = await opened(client)
    assert spoil(token) == token or (await pages(client, spoil(token))).status == 401


async def test_the_page_is_framed_by_named_hosts_only_and_not_indexed(client: Client) -> None:
    link, secret = await share(client, embed_hosts=["Agency.example", "*.agency.example"])
    _, closed = await share(client)
    framed, other, unknown = [await client.get(f"/share/{one}") for one in (secret, closed, "asl_unknown")]

    assert link["embed_hosts"] == ["agency.example", "*.agency.example"]
    assert "frame-ancestors agency.example *.agency.example" in framed.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in framed.headers
    for reply in (other, unknown):
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Frame-Options"] == "DENY"
    assert {reply.headers["X-Robots-Tag"] for reply in (framed, other, unknown)} == {"noindex, nofollow"}


@pytest.mark.parametrize(
    "host", ["münchen.example", "MÜNCHEN.example.", "xn--mnchen-3ya.example", "XN--mnchen-3ya.Example"]
)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("*.", ""), ("", ":8443")])
async def test_a_host_that_may_frame_it_is_taken_in_either_spelling(
    client: Client, host: str, before: str, after: str
) -> None:
    link, secret = await share(client, embed_hosts=[f"{before}{host}{after}", f"{before}münchen.example{after}"])
    framed = await client.get(f"/share/{secret}")

    assert link["embed_hosts"] == [f"{before}münchen.example{after}"]
    policy = framed.headers["Content-Security-Policy"]
    assert f"frame-ancestors {before}xn--mnchen-3ya.example{after};" in f"{policy};"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"embed_hosts": ["mün chen.example"]}, "bad_embed_host"),
        ({"embed_hosts": ["münchen.example/page"]}, "bad_embed_host"),
        ({"embed_hosts": ["münchen..example"]}, "bad_embed_host"),
        ({"filters": [["has_done", "event:page", ["/"]]]}, "bad_filter"),
        ({"filters": [["is", "event:goal", ["x"]]]}, "bad_filter"),
        ({"filters": [["is", "event:page", []]]}, "bad_filter"),
        ({"filters": [["is", "visit:nonsense", ["x"]]]}, "unknown_dimension"),
        ({"filters": [["is", "visit:country", ["Nowhere"]]]}, "unknown_country"),
        ({"segment": "none"}, "unknown_segment"),
        ({"site_id": "nowhere.example"}, "unknown_site"),
        ({"embed_hosts": ["https://agency.example"]}, "bad_embed_host"),
        ({"embed_hosts": ["a.example; script-src *"]}, "bad_embed_host"),
        ({"password": "short"}, "weak_password"),
        ({"expires_at": 1}, "bad_expiry"),
    ],
)
async def test_a_bad_link_is_told_what_is_wrong(client: Client, changes: dict[str, Any], code: str) -> None:
    assert (await client.call("POST", "/api/v1/share-links", {"site_id": SITE, **changes})).code == code


async def test_a_link_gives_no_more_than_its_maker_has(client: Client) -> None:
    """Neither what a token may not do itself, nor for longer than it lives."""

    async def made_by(ends: str | None = None, **token: object) -> int:
        made = await client.call("POST", "/api/v1/tokens", {"name": "maker", "sites": [SITE], **token})
        assert made.status == 201, made.body
        link = {"site_id": SITE} | ({"expires_at": ends} if ends else {})
        return (await client.call("POST", "/api/v1/share-links", link, token=made.json["token"])).status

    assert await made_by(scopes=["manage_links"]) == 403
    assert await made_by(role="admin") == 201
    end, before, after = (f"2099-01-0{day}T00:00:00Z" for day in (2, 1, 3))
    assert await made_by(role="admin", expires_at=end) == 403
    assert await made_by(after, role="admin", expires_at=end) == 403
    assert await made_by(before, role="admin", expires_at=end) == 201


async def test_a_site_is_made_public_only_by_who_may_give_everyone_a_link_for_ever(client: Client) -> None:
    site = "becomes-public.example"
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201

    async def token(**changes: object) -> str:
        made = await client.call("POST", "/api/v1/tokens", {"name": "maker", **changes})
        assert made.status == 201, made.body
        return str(made.json["token"])

    async def change(token: str | None, **changes: object) -> int:
        return (await client.call("PUT", f"/api/v1/sites/{site}", changes, token=token)).status

    only_changes = await token(sites=[site], scopes=["change_site"])
    no_questions = await token(sites=[site], scopes=["change_site", "manage_links"])
    ends = await token(sites=[site], role="admin", expires_at="2099-01-01T00:00:00Z")
    for one in (only_changes, no_questions, ends):
        assert await change(one, public=True) == 403
        assert (await opening(client, site)).code == "unknown_link"
        assert await change(one, public=False, currency="SEK") == 200
    only_makes = await token(scopes=["manage_sites"])
    made = await client.call("POST", "/api/v1/sites", {"site_id": "made.example", "public": True}, token=only_makes)
    assert (made.status, (await opening(client, "made.example")).code) == (403, "unknown_link")
    assert (await client.call("POST", "/api/v1/sites", {"site_id": "made.example"}, token=only_makes)).status == 201

    lasting = await token(sites=[site], role="admin")
    for may in (lasting, None):
        assert await change(may, public=True) == 200
        assert (await opening(client, site)).status == 200
        assert await change(only_changes, public=True, currency="EUR") == 200  # as it is already
        assert await change(only_changes, public=False) == 200
    entries = (await client.call("GET", f"/api/v1/privacy/audit?site_id={site}")).json["entries"]
    changes = [one["details"].get("public") for one in entries if one["operation"] == "change_site"]
    assert changes.count("true") == 2 + 3, "those that were refused too"
    assert changes.count("false") == 2


async def test_a_profile_that_forbids_sharing_ends_links_at_once(client: Client) -> None:
    site = "statistics.example"
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).status == 201
    _, secret = await share(client, site_id=site)
    assert (await opening(client, secret)).status == 200
    assert (await client.call("PUT", f"/api/v1/sites/{site}", {"profile": "uk-statistics"})).status == 200

    assert (await opening(client, secret)).json["error"]["code"] == "unknown_link"
    refused = await client.call("POST", "/api/v1/share-links", {"site_id": site})
    assert (refused.status, refused.json["error"]["code"]) == (400, "forbidden_by_profile")


async def test_a_public_site_is_found_by_every_id_that_a_site_may_have(client: Client) -> None:
    long, spelt = ".".join(["ü"] * 30), ".".join(["xn--tda"] * 30)
    assert len(spelt) > 128
    for site, asked in (("asl_shop", "asl_shop"), ("asl_public-shop", "asl_public-shop"), (long, spelt)):
        made = await client.call("POST", "/api/v1/sites", {"site_id": site})
        assert made.status == 201, made.body
        assert (await opening(client, asked)).code == "unknown_link"
        assert (await client.call("PUT", f"/api/v1/sites/{quote(site)}", {"public": True})).status == 200
        shown = (await opening(client, asked)).json
        assert shown["site_id"] == site
        assert (await pages(client, shown["token"], site_id=site)).status == 200
    assert (await opening(client, "x" * 256)).code == "unknown_link"
    assert (await opening(client, "x" * 257)).code == "bad_body"


async def test_openings_from_an_address_are_bounded_apart_from_signing_in(tmp_path: Path) -> None:
    limits = {"access_link_opens_per_address": "3", "access_sign_ins_per_address": "1"}
    with running(tmp_path, limits | ONE_WINDOW) as server:
        async with Client(server) as client:
            await client.call("POST", "/api/v1/sites", {"site_id": SITE, "public": True})
            _, secret = await share(client)
            _, closed = await share(client, password="open sesame")
            asked = (SITE, secret, SITE, SITE, secret)
            replies = [await opening(client, one) for one in asked]
            assert [reply.status for reply in replies] == [200, 200, 200, 429, 429]
            assert replies[-1].code == "too_many_attempts"
            assert int(replies[-1].headers["Retry-After"]) > 0
            assert (await opening(client, closed, password="open sesame")).status == 200
            await share(client)  # its entry is durable, and so are those before it
            entries = (await client.call("GET", f"/api/v1/privacy/audit?site_id={SITE}")).json["entries"]
            opens = [one["outcome"] for one in entries if one["operation"] == "open_share_link"]
            assert opens == ["ok"] * 4


async def test_a_public_site_is_open_to_anyone_while_it_is_public(client: Client) -> None:
    site = "müller.example"
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site, "public": True})).json["public"] is True
    assert (await client.send([{"site": site, "name": "x", "url": f"https://{site}/"}])).json["accepted"] == 1
    spelt = (await opening(client, "xn--mller-kva.example")).json
    shown = (await opening(client, site)).json
    token = str(shown["token"])
    assert (shown["site_id"], shown["live"], shown["left_out"], spelt["site_id"]) == (site, True, [], site)
    page = await client.request("GET", "/share/m%C3%BCller.example", None, {"Authorization": ""})
    assert (page.status, "noindex" in page.headers["X-Robots-Tag"]) == (200, True)
    assert (await pages(client, token, site_id=site)).status == 200
    assert (await pages(client, token)).status == 403  # another site
    sql = {"site_id": site, "query": "SELECT 1"}
    assert (await client.call("POST", "/api/v1/sql", sql, token=token)).status == 403
    assert (await client.call("PUT", f"/api/v1/sites/{quote(site)}", {"public": False}, token=token)).status == 403
    secret = token.partition(".")[0]
    for end in ("zz", "-1", "0", "f" * 40):  # its key is no secret
        forged = f"{secret}.{end}.{_mac(public_link(site), secret, end)}"
        assert (await pages(client, forged, site_id=site)).status == 401

    for change, status in (
        ({"profile": "uk-statistics"}, 401),  # forbids sharing
        ({"profile": "standard"}, 401),  # opens nothing
        ({"public": True}, 200),
        ({"public": False}, 401),
        ({"profile": "uk-statistics"}, 401),
        ({"profile": "standard", "public": True}, 200),
        ({"public": False}, 401),
    ):
        changed = await client.call("PUT", f"/api/v1/sites/{quote(site)}", change)
        assert (changed.status, changed.json["public"]) == (200, status == 200)
        assert (await pages(client, token, site_id=site)).status == status
    for asked in (site, SITE, "nowhere.example", secret, "asl_public-%%%", "asl_public-"):
        assert (await opening(client, asked)).code == "unknown_link"


async def test_what_a_profile_has_closed_stays_closed_until_somebody_opens_it(client: Client) -> None:
    site = "closed.example"
    body = {"site_id": site, "public": True}
    for profile, status in (("uk-statistics", 400), ("standard", 201)):
        made = await client.call("POST", "/api/v1/sites", {**body, "profile": profile})
        assert made.status == status, made.body
    secret, link_id = await made_link(client, site)
    token = str((await opening(client, secret)).json["token"])
    assert (await pages(client, token, site_id=site)).status == 200

    async def change(**settings: object) -> Reply:
        return await client.call("PUT", f"/api/v1/sites/{site}", settings)

    closed = await change(profile="uk-statistics")
    assert (closed.status, closed.json["public"]) == (200, False)
    for refused in (await change(public=True), await change(public=True, profile="uk-statistics")):
        assert (refused.status, refused.code) == (400, "forbidden_by_profile")
    assert (await change(profile="standard")).json["public"] is False
    assert (await opening(client, secret)).code == "unknown_link"
    assert (await pages(client, token, site_id=site)).status == 401
    listed = (await client.call("GET", f"/api/v1/share-links?site_id={site}")).json["share_links"]
    assert listed == [], "what can't be opened again is not shown as a link"
    assert (await client.call("DELETE", f"/api/v1/share-links/{link_id}")).status == 204
    fresh, fresh_id = await made_link(client, site)
    assert (await opening(client, fresh)).status == 200
    assert (await opening(client, site)).code == "unknown_link"
    assert (await change(public=True)).json["public"] is True
    assert (await opening(client, site)).status == 200

    assert (await client.call("DELETE", f"/api/v1/sites/{site}")).status == 204
    assert (await client.call("POST", "/api/v1/sites", {"site_id": site})).json["public"] is False
    assert (await opening(client, fresh)).code == "unknown_link", "nor does a site that is created again open its links"
    assert fresh_id not in str((await client.call("GET", f"/api/v1/share-links?site_id={site}")).json)
    entries = (await client.call("GET", f"/api/v1/privacy/audit?site_id={site}")).json["entries"]
    changes = [one["details"] for one in entries if one["operation"] == "change_site" and one["outcome"] == "ok"]
    assert changes == [
        {"public": "true"},
        {"profile": "standard"},
        {"profile": "uk-statistics", "public": "false"},
    ]


async def made_link(client: Client, site: str) -> tuple[str, str]:
    """A link's secret and id."""
    made = await client.call("POST", "/api/v1/share-links", {"site_id": site})
    assert made.status == 201, made.body
    return str(made.json["link"]).rpartition("/")[2], str(made.json["link_id"])
