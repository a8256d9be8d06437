"""`GET /api/v1/drops` over HTTP: what a beacon that does not arrive is answered with in one look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.e2e.conftest import assert_clean, running
from tests.server import USER_AGENT, Client, Reply, RunningServer, files_containing

pytestmark = pytest.mark.asyncio(loop_scope="module")

SITE, OTHER, UNKNOWN = "drops.example", "other.example", "mispelled.example"
HEADLESS = USER_AGENT.replace("Chrome/", "HeadlessChrome/")
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PERSON = "anna.smith@mail.example"
EVENT_ID = "0192f0a0-0000-7000-8000-000000000000"
SECRETS = (b"anna.smith", b"very-secret", b"203.0.113.77", b"mybot.example")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    settings = {"sites_create_unknown": "false", "server_trusted_proxies": "127.0.0.1"}
    with running(tmp_path_factory.mktemp("drops"), settings) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: RunningServer) -> AsyncIterator[Client]:
    async with Client(server) as client:
        await client.call("POST", "/api/v1/sites", {"site_id": OTHER, "timezone": "Asia/Kolkata"})
        made = await client.call(
            "POST",
            "/api/v1/sites",
            {"site_id": SITE, "allowed_hosts": ["drops.example"], "timezone": "Asia/Kathmandu"},
        )
        assert made.status == 201
        await drop_one_of_each(client)
        yield client


def view(**fields: object) -> dict[str, object]:
    return {"site": SITE, "name": "pageview", "url": f"https://{SITE}/", **fields}


async def drop_one_of_each(client: Client) -> None:
    """Each reason that a beacon can meet, most with something that must not be told."""
    await client.send(view(), headers={"User-Agent": HEADLESS})
    await client.send([view(), view()], headers={"User-Agent": GOOGLEBOT})
    await client.send(view(), headers={"User-Agent": f"curl/8.5.0 ({PERSON}; +https://mybot.example/very-secret)"})
    await client.send(view(), headers={"DNT": "1", "X-Forwarded-For": "203.0.113.77"})
    await client.send(view(), headers={"Sec-GPC": "1"})
    await client.send(view(), headers={"Sec-Purpose": "prefetch"})
    await client.send(view(url="https://staging.drops.example/very-secret?email=" + PERSON))
    await client.send(view(url="https://staging.drops.example/"))
    await client.send(view(referrer="https://www.1-best-seo.com/very-secret"))
    await client.send(view(url=f"file:///C:/Documents/anna.smith/very-secret.html?{PERSON}"))
    await client.send(view(url=f"/pricing/{PERSON}?q=very-secret"))
    await client.send({"site": SITE, "name": "pageview"})
    await client.send({"site": SITE, "url": "https://drops.example/"})
    for _ in range(2):
        await client.send(view(event_id=EVENT_ID))
    await client.send(view(site=UNKNOWN))
    await client.send(view(site=f"https://{OTHER}/very%2Fsecret?{PERSON}", name="x"))
    await client.send(view(site=PERSON, name="x"))
    await client.send(b'{"site": ')
    assert (await client.get("/track/pixel.gif?name=x")).status == 400
    assert (await client.send(b"[" + b" " * (2 << 20) + b"]")).status == 413


async def ask(client: Client, token: str | None = None, **parameters: str) -> Reply:
    return await client.call("GET", "/api/v1/drops?" + urlencode(parameters), token=token)


def by_reason(answer: Any) -> dict[str, int]:
    return {drop["reason"]: drop["events"] for drop in answer["drops"]}


def examples(answer: Any, reason: str) -> list[tuple[str, int]]:
    (drop,) = [drop for drop in answer["drops"] if drop["reason"] == reason]
    return [(each["value"], each["events"]) for each in drop["examples"]]


async def test_a_site_is_told_each_reason_with_its_remedy(client: Client) -> None:
    reply = await ask(client, site_id=SITE)
    assert reply.status == 200, reply.body
    answer = reply.json
    assert by_reason(answer) == {
        "bot": 4,
        "dnt": 1,
        "gpc": 1,
        "prefetch": 1,
        "hostname": 2,
        "spam_referrer": 1,
        "bad_url": 2,
        "missing_url": 1,
        "missing_name": 1,
        "duplicate": 1,
    }
    assert all(drop["about"] and drop["remedy"] and drop["site_id"] == SITE for drop in answer["drops"])
    rejected = {drop["reason"] for drop in answer["drops"] if drop["rejected"]}
    assert rejected == {"bad_url", "missing_url", "missing_name"}
    assert answer["drops"][0]["kinds"] == {"crawler": 2, "headless": 1, "library": 1}
    assert examples(answer, "bot") == [("Googlebot", 2), ("HeadlessChrome", 1), ("curl", 1)]
    assert examples(answer, "hostname") == [("staging.drops.example", 2)]
    assert examples(answer, "spam_referrer") == [("1-best-seo.com", 1)]
    assert examples(answer, "bad_url") == [("/pricing/*@*", 1), ("file:", 1)]
    assert examples(answer, "dnt") == []
    assert answer["site_exists"] is True


async def test_hours_are_the_sites_own_and_add_up(client: Client) -> None:
    answer = (await ask(client, site_id=SITE, date_range="7d")).json
    assert answer["meta"]["time_zone"] == "Asia/Kathmandu"
    assert answer["meta"]["kept_days"] == 30
    assert all(hour["time"].endswith(":00+05:45") for hour in answer["hours"])
    assert all(drop["last_at"].endswith("+05:45") for drop in answer["drops"])
    sums: dict[str, int] = {}
    for hour in answer["hours"]:
        sums[hour["reason"]] = sums.get(hour["reason"], 0) + hour["events"]
    assert sums == by_reason(answer)


async def test_an_admin_sees_names_that_no_site_has(client: Client) -> None:
    everything = (await ask(client)).json
    names = {(drop["site_id"], drop["reason"]): drop["events"] for drop in everything["drops"]}
    assert names[UNKNOWN, "unknown_site"] == 1
    assert names["", "bad_site"] == 2
    assert [names["", code] for code in ("bad_json", "missing_site", "too_large")] == [1, 1, 1]
    assert names[SITE, "bot"] == 4
    assert "site_exists" not in everything
    bad = [drop for drop in everything["drops"] if drop["reason"] == "bad_site"]
    assert {each["value"] for each in bad[0]["examples"]} == {"*@*", f"https://{OTHER}/very%2Fsecret"}
    named = (await ask(client, site_id=f" {UNKNOWN.upper()} ")).json
    assert (named["site_exists"], by_reason(named)) == (False, {"unknown_site": 1})
    never = await ask(client, site_id="never.example")
    assert (never.status, never.code) == (404, "unknown_site")
    assert "no beacon named it" in never.json["error"]["message"]


async def test_a_token_sees_its_own_sites_only(client: Client) -> None:
    async def token(role: str, *sites: str) -> str:
        made = await client.call("POST", "/api/v1/tokens", {"role": role, "sites": sites})
        return str(made.json["token"])

    reads_all, reads_one = await token("read"), await token("read", OTHER)
    admin_of_one, collects = await token("admin", OTHER), await token("collect")
    for limited in (reads_all, reads_one, admin_of_one):
        listed = (await ask(client, limited)).json
        assert {drop["site_id"] for drop in listed["drops"]} <= {SITE, OTHER}
    assert (await ask(client, reads_all, site_id=SITE)).status == 200
    unknown = await ask(client, reads_all, site_id=UNKNOWN)
    assert (unknown.status, unknown.code) == (404, "unknown_site")
    for limited in (reads_one, admin_of_one):
        assert (await ask(client, limited)).json["drops"] == []
        assert [(await ask(client, limited, site_id=site)).status for site in (SITE, UNKNOWN)] == [403, 403]
    assert (await ask(client, collects)).status == 403
    assert (await ask(client, "wrong", site_id=SITE)).status == 401


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"date_range": "fortnight"}, 400, "bad_date_range"),
        ({"date_range": "[1"}, 400, "bad_date_range"),
        ({"date_range": '["2026-11-07", "2026-11-01"]'}, 400, "bad_date_range"),
        ({"from": "2026-11-07"}, 400, "bad_date_range"),
        ({"date_range": "7d", "from": "2026-11-07", "to": "2026-11-07"}, 400, "bad_date_range"),
        ({"period": "7d"}, 400, "unknown_key"),
        ({"site_id": " "}, 400, "bad_request"),
    ],
)
async def test_what_can_t_be_read_is_refused_with_a_reason(
    client: Client, parameters: dict[str, str], status: int, code: str
) -> None:
    reply = await ask(client, **{"site_id": SITE, **parameters})
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    "parameters",
    [
        {"date_range": "all"},
        {"date_range": "24h"},
        {"date_range": "12mo"},
        {"date_range": '["2026-01-01", "2099-12-31"]'},
        {"date_range": "2026-01-01,2099-12-31"},
        {"from": "2026-01-01", "to": "2099-12-31"},
        {"date_range": ""},
    ],
)
async def test_ranges_are_those_of_a_query(client: Client, parameters: dict[str, str]) -> None:
    assert by_reason((await ask(client, site_id=SITE, **parameters)).json)["bot"] == 4
    past = await ask(client, site_id=SITE, date_range='["2020-01-01", "2020-02-01"]')
    assert (past.json["drops"], past.json["hours"]) == ([], [])


async def test_a_restart_loses_nothing_and_names_nobody(client: Client, server: RunningServer) -> None:
    before = (await ask(client)).json
    await client.send(view(), headers={"User-Agent": HEADLESS})
    assert server.terminate() == 0
    assert_clean(server.log)
    assert files_containing(server.data_dir, SECRETS) == []
    server.restart()
    after = (await ask(client)).json
    counted = {(drop["site_id"], drop["reason"]): drop["events"] for drop in before["drops"]}
    counted[SITE, "bot"] += 1
    assert {(drop["site_id"], drop["reason"]): drop["events"] for drop in after["drops"]} == counted
