"""Each profile against a running server: what it forbids is neither stored nor answered, also of older data.

All cases are made from the tables of `profiles/tables.py` and the registries: a new profile, a new kind of data or a
new dimension is tried as soon as it stands there.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest

from analytics_server.model import COLUMNS, SESSION_ATTRIBUTES
from analytics_server.profiles.refusal import FORBIDDEN
from analytics_server.profiles.switches import FIELDS, CollectedKind
from analytics_server.profiles.tables import PROFILES, STANDARD
from tests.profiles.sites import ALLOWED_GOAL, NAMES, OLD, RESTRICTED, WHOLE, columns, event, refused, site_of
from tests.server import USER_AGENT, Client, RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="package")

DIMENSIONS = [(p.name, name) for p in RESTRICTED for name in sorted(p.forbidden_dimensions)]
METRICS = [(p.name, name) for p in RESTRICTED for name in sorted(p.forbidden_metrics)]


def questions(site: str, filters: list[Any]) -> dict[str, dict[str, Any]]:
    """Every analysis that takes filters, with these."""
    ranged = {"site_id": site, "date_range": WHOLE}
    return {
        "/api/v1/query": {**ranged, "metrics": ["visitors"], "filters": filters},
        "/api/v1/funnels": {**ranged, "steps": [{"name": "pageview"}, {"name": "signup"}], "filters": filters},
        "/api/v1/funnels/sessions": {
            **ranged,
            "steps": [{"name": "pageview"}, {"name": "signup"}],
            "filters": filters,
            "drill": {"step": 1, "kind": "reached"},
        },
        "/api/v1/cohorts": {**ranged, "by": "session", "filters": filters},
        "/api/v1/paths": {**ranged, "filters": filters},
        "/api/v1/sessions": {**ranged, "filters": filters},
        "/api/v1/experiments/cta/results": {**ranged, "goal": "signup", "filters": filters},
    }


def broken_down(site: str, dimension: str) -> dict[str, dict[str, Any]]:
    """Every analysis with a breakdown, by this dimension."""
    ranged = {"site_id": site, "date_range": WHOLE}
    return {
        "/api/v1/query": {**ranged, "metrics": ["visitors"], "dimensions": [dimension]},
        "/api/v1/funnels": {**ranged, "steps": [{"name": "pageview"}, {"name": "signup"}], "breakdown": dimension},
        "/api/v1/cohorts": {**ranged, "by": "session", "breakdown": dimension},
        "/api/v1/experiments/cta/results": {**ranged, "goal": "signup", "breakdown": dimension},
    }


# ---- questions -------------------------------------------------------------


@pytest.mark.parametrize(("profile", "dimension"), DIMENSIONS)
async def test_a_forbidden_dimension_groups_and_filters_no_answer(client: Client, profile: str, dimension: str) -> None:
    site = site_of(profile)
    plain = ["is", dimension, ["10"]]

    for path, body in broken_down(site, dimension).items():
        await refused(client, "POST", path, body, profile)
    await refused(client, "GET", f"/api/v1/trends?site_id={site}&breakdown={dimension}", None, profile)
    for filters in (
        [plain],
        [["not", plain]],
        [["has_done", plain]],
        [["sequence", [plain, ["is", "event:page", ["/"]]]]],
    ):
        for path, body in questions(site, filters).items():
            await refused(client, "POST", path, body, profile)
    encoded = msgspec.json.encode([plain]).decode().replace('"', "%22")
    await refused(client, "GET", f"/api/v1/trends?site_id={site}&filters={encoded}", None, profile)


@pytest.mark.parametrize(("profile", "dimension"), DIMENSIONS)
async def test_what_was_saved_before_is_no_way_around(client: Client, profile: str, dimension: str) -> None:
    site, name = site_of(profile), dimension.replace(":", " ")

    for kind in ("goal", "segment"):
        for path, body in questions(site, [[kind, name]]).items():
            await refused(client, "POST", path, body, profile)
    await refused(client, "POST", "/api/v1/funnels", {"site_id": site, "date_range": WHOLE, "funnel": name}, profile)


@pytest.mark.parametrize("profile", NAMES)
async def test_rows_by_goal_leave_out_the_goals_that_compare_what_is_forbidden(client: Client, profile: str) -> None:
    site, forbidden = site_of(profile), [name.replace(":", " ") for name in PROFILES[profile].forbidden_dimensions]

    by_goal = {"site_id": site, "metrics": ["events"], "date_range": WHOLE, "dimensions": ["event:goal"]}
    reply = await client.call("POST", "/api/v1/query", by_goal)
    assert reply.status == 200, reply.body
    assert [row["dimensions"] for row in reply.json["results"]] == [[ALLOWED_GOAL]]
    warnings = [text for text in reply.json["meta"]["warnings"] if "the site's profile forbids" in text]
    assert len(warnings) == bool(forbidden)
    for name in forbidden:
        assert repr(name) in warnings[0]


@pytest.mark.parametrize(("profile", "metric"), METRICS)
async def test_a_forbidden_metric_is_not_answered(client: Client, profile: str, metric: str) -> None:
    site = site_of(profile)

    body = {"site_id": site, "metrics": [metric], "date_range": WHOLE}
    await refused(client, "POST", "/api/v1/query", body, profile)
    await refused(client, "GET", f"/api/v1/trends?site_id={site}&metrics={metric}", None, profile)


@pytest.mark.parametrize("profile", NAMES)
async def test_people_are_followed_only_where_the_profile_allows_it(client: Client, profile: str) -> None:
    site, table = site_of(profile), PROFILES[profile]
    ranged = {"site_id": site, "date_range": WHOLE}
    steps = [{"name": "pageview"}, {"name": "signup"}]
    by_user: dict[str, dict[str, Any]] = {
        "/api/v1/cohorts": {**ranged, "by": "user"},
        "/api/v1/funnels": {**ranged, "by": "user", "steps": steps},
        "/api/v1/sessions": {**ranged, "user_id": "person-1"},
    }

    if not table.cohorts:
        for by in ("user", "session", "visitor"):
            await refused(client, "POST", "/api/v1/cohorts", {**ranged, "by": by}, profile)
    for path, body in by_user.items():
        if not table.by_user or (path.endswith("cohorts") and not table.cohorts):
            await refused(client, "POST", path, body, profile)
        else:
            assert (await client.call("POST", path, body)).status == 200


@pytest.mark.parametrize("profile", NAMES)
async def test_all_else_is_answered(client: Client, profile: str) -> None:
    site, table = site_of(profile), PROFILES[profile]
    allowed = {"visit:country", "visit:region", "visit:source", "event:page"} - table.forbidden_dimensions

    for dimension in sorted(allowed):
        for path, body in broken_down(site, dimension).items():
            if table.cohorts or not path.endswith("cohorts"):
                assert (await client.call("POST", path, body)).status == 200


# ---- rows ------------------------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_sql_reads_the_forbidden_columns_as_empty(client: Client, profile: str) -> None:
    site, hidden = site_of(profile), PROFILES[profile].hidden_columns

    assert await columns(client, site, "old", hidden) == {}
    for table in ("events", "sessions"):
        reply = await client.call("POST", "/api/v1/sql", {"site_id": site, "query": f"SELECT * FROM {table}"})
        names = [column["name"] for column in reply.json["columns"]]
        assert reply.json["rows"]
        for row in reply.json["rows"]:
            assert all(not value for name, value in zip(names, row, strict=True) if name in hidden)
    schema = (await client.call("GET", f"/api/v1/schema?site_id={site}")).json
    told = {c["name"] for table in schema["tables"] for c in table["columns"] if profile in c["about"]}
    assert told == hidden


@pytest.mark.parametrize("profile", NAMES)
async def test_single_sessions_show_nothing_forbidden(client: Client, profile: str) -> None:
    site, hidden = site_of(profile), PROFILES[profile].hidden_columns

    listed = (await client.call("POST", "/api/v1/sessions", {"site_id": site, "date_range": WHOLE})).json["sessions"]
    timeline = (await client.call("GET", f"/api/v1/sessions/old?site_id={site}")).json
    drilled = (
        await client.call("POST", "/api/v1/funnels/sessions", questions(site, [])["/api/v1/funnels/sessions"])
    ).json

    assert listed
    assert timeline["events"]
    assert drilled["sessions"]
    for row in [*listed, timeline["session"], *timeline["events"], *drilled["sessions"]]:
        assert not [name for name in hidden if row.get(name)]


@pytest.mark.parametrize("profile", NAMES)
async def test_the_live_view_shows_nothing_forbidden(server: RunningServer, client: Client, profile: str) -> None:
    url = f"{server.url}/api/v1/live?site_id={site_of(profile)}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=("bearer", server.token)) as socket,
    ):
        snapshot = msgspec.json.decode((await socket.receive()).data)

    assert snapshot["events_seen"]
    assert bool(snapshot["sources"]) == (CollectedKind.SOURCE not in PROFILES[profile].left_out)
    assert snapshot["countries"] == [{"country": "FR", "visitors": 1}]


# ---- what is stored --------------------------------------------------------


@pytest.mark.parametrize("profile", NAMES)
async def test_what_is_forbidden_is_not_stored(client: Client, profile: str) -> None:
    site, table = f"new-{site_of(profile)}", PROFILES[profile]
    await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": profile})
    assert (await client.send(event(site, session_id="new"), trusted=True)).json["accepted"] == 1
    await client.flushed()

    await client.call("PUT", f"/api/v1/sites/{site}", {"profile": STANDARD})  # which shows all that is stored

    sent = {*SESSION_ATTRIBUTES, *OLD} - {"session_id", "os_version"}  # no browser on Linux tells a version
    kept = frozenset(column.name for column in COLUMNS if column.name in sent)
    found = await columns(client, site, "new", kept | table.hidden_columns)
    assert not [name for name in found if name.partition(".")[2] in table.hidden_columns]
    assert {f"events.{name}" for name in kept - table.hidden_columns} <= set(found)
    activity = await client.call(
        "POST", "/api/v1/cohorts", {"site_id": site, "date_range": "7d", "period": "day", "by": "user"}
    )
    assert sum(cohort["size"] for cohort in activity.json["cohorts"]) == int(table.by_user)


@pytest.mark.parametrize("profile", NAMES)
async def test_events_of_a_script_are_taken_only_where_the_profile_says_so(client: Client, profile: str) -> None:
    site, table = f"script-{site_of(profile)}", PROFILES[profile]
    await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": profile})
    view = {"site": site, "name": "pageview", "url": f"https://{site}/"}

    sent = (await client.send(view)).json
    called = (await client.send({"appName": site, "pageUrl": f"https://{site}/"}, path="/track/view")).json
    pixel = await client.get(f"/track/pixel.gif?site={site}&url=https%3A%2F%2F{site}%2F")
    trusted = (await client.send(view, trusted=True)).json

    assert pixel.status == 200
    assert trusted["accepted"] == 1
    for answer in (sent, called):
        assert answer["accepted"] == int(table.script)
        assert [one["code"] for one in answer["rejected"]] == [] if table.script else [FORBIDDEN]
    await client.kept(site, 4 if table.script else 2)
    drops = (await client.call("GET", f"/api/v1/drops?site_id={site}&date_range=day")).json["drops"]
    assert [(drop["reason"], drop["events"]) for drop in drops] == ([] if table.script else [(FORBIDDEN, 2)])


@pytest.mark.parametrize("profile", NAMES)
async def test_of_the_pixel_nothing_of_a_script_is_stored_where_the_profile_takes_none(
    client: Client, profile: str
) -> None:
    site, table = f"pixel-{site_of(profile)}", PROFILES[profile]
    await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": profile})
    page = f"https%3A%2F%2F{site}%2Fa%3Futm_source%3Dletter"
    script = "title=TT&referrer=https%3A%2F%2Fgoogle.com%2F&session_id=abc&user_id=u8&interactive=false"
    event_id = "018f6f0e-7d3c-7c41-9d0a-3f7d1c0c9a11"
    for _ in range(2):
        sent = f"/track/pixel.gif?site={site}&url={page}&name=opened&event_id={event_id}&{script}"
        assert (await client.get(sent)).status == 200
    await client.kept(site, 1 if table.script else 2)

    await client.call("PUT", f"/api/v1/sites/{site}", {"profile": STANDARD})  # which shows all that is stored
    names = ("name", "path", "title", "referrer", "source", "session_id", "user_id", "event_id", "interactive")
    query = f"SELECT DISTINCT {', '.join(f'toString({name})' for name in names)}, utm_source FROM events"
    rows = (await client.call("POST", "/api/v1/sql", {"site_id": site, "query": query})).json["rows"]
    assert rows
    for row in rows:
        found = dict(zip((*names, "utm_source"), row, strict=True))
        assert (found["name"], found["path"]) == ("opened", "/a")
        assert (found["title"], found["event_id"] == event_id) == (("TT", True) if table.script else ("", False))
        assert (found["session_id"] == "abc") == table.script
        assert found["interactive"] == ("0" if table.script else "1")
        if not table.script:
            assert (found["referrer"], found["user_id"]) == ("", "")
            assert (found["source"], found["utm_source"]) == ("letter", "letter")


async def test_a_pixel_that_names_a_user_who_opted_out_is_dropped_where_no_user_is_read_of_it(client: Client) -> None:
    site = "pixel-out.example"
    await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": "server-only"})
    body = {"user_id": "u-out"}
    assert (await client.call("POST", "/api/v1/privacy/opt-outs", body)).status < 300
    for user in ("u-out", "u-in"):
        assert (
            await client.get(f"/track/pixel.gif?site={site}&url=https%3A%2F%2F{site}%2F&user_id={user}")
        ).status == 200

    await client.kept(site, 1)
    drops = (await client.call("GET", f"/api/v1/drops?site_id={site}&date_range=day")).json["drops"]
    assert [(drop["reason"], drop["events"]) for drop in drops] == [("opted_out", 1)]


@pytest.mark.parametrize("profile", NAMES)
async def test_addresses_are_shortened_before_they_are_hashed_where_the_profile_says_so(
    client: Client, profile: str
) -> None:
    site, table = f"hash-{site_of(profile)}", PROFILES[profile]
    await client.call("POST", "/api/v1/sites", {"site_id": site, "profile": profile})
    plain = {"site": site, "name": "pageview", "url": f"https://{site}/", "user_agent": USER_AGENT}
    same = ("198.51.100.1", "198.51.7.2", "2001:db8:1:2::1", "2001:db8:1:3::1")
    for address in (*same, "198.52.100.1"):
        assert (await client.send({**plain, "ip": address}, trusted=True)).json["accepted"] == 1

    await client.flushed()
    assert await client.count(site, "visitors") == (3 if table.shortened_bytes else 5)


@pytest.mark.parametrize("profile", NAMES)
async def test_drops_show_no_referrer_where_sources_are_forbidden(client: Client, profile: str) -> None:
    site, hides = f"spam-{site_of(profile)}", "referrer" in PROFILES[profile].hidden_columns
    await client.call("POST", "/api/v1/sites", {"site_id": site})
    view = {"site": site, "name": "pageview", "url": f"https://{site}/", "referrer": "https://www.1-best-seo.com/"}
    assert (await client.send(view, trusted=True)).json["dropped"] == {"spam_referrer": 1}
    await client.call("PUT", f"/api/v1/sites/{site}", {"profile": profile})
    assert (await client.send(view, trusted=True)).json["dropped"] == {"spam_referrer": 1}

    for query in (f"?site_id={site}&date_range=day", "?date_range=day"):
        drops = (await client.call("GET", f"/api/v1/drops{query}")).json["drops"]
        (drop,) = [drop for drop in drops if drop["site_id"] == site]
        assert drop["events"] == 2
        assert bool(drop["examples"]) != hides


# ---- settings --------------------------------------------------------------


async def test_the_profiles_are_listed_with_their_switches(client: Client) -> None:
    answer = (await client.call("GET", "/api/v1/profiles")).json
    listed, unknown = answer["profiles"], answer["unknown"]

    forbidden = {dimension for kind in unknown["left_out"] for dimension in kind["dimensions"]}
    assert forbidden == {dimension for profile in RESTRICTED for dimension in profile.forbidden_dimensions}
    assert [profile["name"] for profile in listed] == list(PROFILES)
    for shown in listed:
        table = PROFILES[shown["name"]]
        assert {kind["kind"] for kind in shown["left_out"]} == set(table.left_out)
        assert {d for kind in shown["left_out"] for d in kind["dimensions"]} == table.forbidden_dimensions
        assert {kind["about"] for kind in shown["left_out"]} == {FIELDS[kind].about for kind in table.left_out}


async def test_an_unknown_profile_is_refused(client: Client) -> None:
    made = await client.call("POST", "/api/v1/sites", {"site_id": "x.example", "profile": "fr"})

    assert (made.status, made.code) == (400, "bad_profile")
    assert "fr-exempt" in made.json["error"]["message"]
