"""Experiments over HTTP: the life of a definition, who may what, what is refused, and the public assignment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from analytics_server.access.gate import Gate, Role
from analytics_server.access.saved import Kind, Saved
from analytics_server.config import LimitsSection
from analytics_server.model import Site
from analytics_server.query.desk import Desk
from analytics_server.query.experiments.assignment import assign
from analytics_server.query.experiments.definition import MAX_GOALS, MAX_VARIANTS
from analytics_server.query.experiments.routes import SUBJECT_CHARS, ExperimentRoutes
from analytics_server.query.library import GoalBody
from analytics_server.serving import HttpMetrics, wrap
from analytics_server.store import Store
from tests.query.experiments.stream import Happening, insert
from tests.query.world import micros

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SITE, FOREIGN, EMPTY = "lab.example", "foreign-lab.example", "empty-lab.example"
SITES = {name: Site(site_id=name, timezone="Europe/Berlin") for name in (SITE, FOREIGN, EMPTY)}
DEFINITION: dict[str, Any] = {
    "site_id": SITE,
    "name": "Call to action",
    "key": "cta",
    "variants": [{"name": "a"}, {"name": "b", "weight": 2}],
    "goals": ["signup", {"name": "pageview", "filters": [["is", "event:page", ["/welcome"]]]}],
    "window": "2h",
}


@dataclass(slots=True)
class Lab:
    """One server's routes, its tokens and its clock."""

    client: TestClient[web.Request, web.Application]
    saved: Saved
    tokens: dict[str, str]
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    async def __call__(
        self, method: str, path: str, value: object = None, *, token: str = "admin", data: bytes | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[token]}"} if token else {}
        address = f"/api/v1/experiments{path}"
        async with self.client.request(method, address, json=value, data=data, headers=headers) as response:
            return response.status, await response.json() if response.content_type == "application/json" else None

    async def make(self, **changes: Any) -> dict[str, Any]:
        status, made = await self("POST", "", DEFINITION | changes)
        assert status == 201, made
        return dict(made)

    async def refusal(self, path: str, value: object, *, method: str = "POST") -> tuple[int, str]:
        status, answer = await self(method, path, value)
        return status, answer["error"]["code"]


@pytest_asyncio.fixture
async def lab(store: Store) -> AsyncIterator[Lab]:
    saved, gate = Saved(store), Gate(store)
    await saved.load()
    for site_id in SITES:
        for kind in (Kind.EXPERIMENT, Kind.GOAL):
            for thing in saved.all(kind, site_id):
                await saved.delete(kind, site_id, thing.id)
    tokens = {
        "admin": await gate.create(Role.ADMIN),
        "read": await gate.create(Role.READ),
        "collect": await gate.create(Role.COLLECT),
        "mine": await gate.create(Role.ADMIN, sites=(SITE,)),
        "foreign": await gate.create(Role.ADMIN, sites=(FOREIGN,)),
    }
    clock = [NOW]
    desk = Desk(store, SITES, lambda: clock[0], LimitsSection(), saved)
    app = web.Application()
    app.add_routes(wrap(ExperimentRoutes(desk, saved, gate).routes(), HttpMetrics(CollectorRegistry())))
    async with TestClient(TestServer(app)) as client:
        yield Lab(client, saved, tokens, clock)


async def test_the_life_of_a_definition(lab: Lab) -> None:
    made = await lab.make()
    assert {key: made[key] for key in ("name", "key", "control", "window", "start", "end", "status")} == {
        "name": "Call to action",
        "key": "cta",
        "control": "a",
        "window": 7_200,
        "start": None,
        "end": None,
        "status": "running",
    }
    assert made["variants"] == [{"name": "a", "weight": 1.0}, {"name": "b", "weight": 2.0}]
    assert await lab("GET", f"/{made['id']}", token="read") == (200, made)
    assert await lab("GET", f"?site_id={SITE.upper()}", token="read") == (200, {"experiments": [made]})
    status, changed = await lab(
        "PUT", f"/{made['id']}", {"status": "stopped", "start": "2026-11-01", "end": "2026-11-30"}
    )
    assert status == 200
    assert changed["status"] == "stopped"
    assert changed["variants"] == made["variants"]
    # A date's whole day belongs to it.
    assert (changed["start"], changed["end"]) == ("2026-11-01T00:00:00+01:00", "2026-12-01T00:00:00+01:00")
    status, same = await lab(
        "PUT", f"/{made['id']}", {key: changed[key] for key in DEFINITION} | {"end": changed["end"]}
    )
    assert (status, same["end"]) == (200, changed["end"])
    assert (await lab("PUT", f"/{made['id']}", {"start": None}))[1]["start"] is None
    assert await lab("DELETE", f"/{made['id']}") == (204, None)
    assert (await lab("GET", f"/{made['id']}"))[0] == 404
    assert (await lab("DELETE", f"/{made['id']}"))[0] == 404


async def test_key_is_the_name_unless_told(lab: Lab) -> None:
    made = await lab.make(key="")
    assert made["key"] == "Call to action"


async def test_names_and_keys_are_taken_once(lab: Lab) -> None:
    made = await lab.make()
    assert await lab.refusal("", DEFINITION | {"key": "other"}) == (409, "name_taken")
    assert await lab.refusal("", DEFINITION | {"name": "Other"}) == (409, "key_taken")
    await lab.make(site_id=FOREIGN)
    other = await lab.make(name="Other", key="other")
    assert await lab.refusal(f"/{other['id']}", {"key": "cta"}, method="PUT") == (409, "key_taken")
    assert (await lab("PUT", f"/{made['id']}", {"key": "cta", "name": "Call to action"}))[0] == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"site_id": ""}, "bad_request"),
        ({"name": ""}, "bad_request"),
        ({"name": "x" * 121}, "bad_request"),
        ({"name": " x"}, "bad_experiment"),
        ({"name": "a\0b"}, "bad_experiment"),
        ({"key": "a\nb"}, "bad_experiment"),
        ({"key": "x" * 121}, "bad_request"),
        ({"variants": []}, "bad_request"),
        ({"variants": [{"name": "a"}]}, "bad_request"),
        ({"variants": [{"name": f"v{n}"} for n in range(MAX_VARIANTS + 1)]}, "bad_request"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "bad_experiment"),
        ({"variants": [{"name": "a"}, {"name": ""}]}, "bad_request"),
        ({"variants": [{"name": "a"}, {"name": "b\0"}]}, "bad_experiment"),
        ({"variants": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0}]}, "bad_experiment"),
        ({"variants": [{"name": "a", "weight": -1}, {"name": "b"}]}, "bad_request"),
        ({"variants": [{"name": "a", "weight": 1_000_001}, {"name": "b"}]}, "bad_request"),
        ({"variants": [{"name": "a", "weight": 0.000_000_9}, {"name": "b"}]}, "bad_experiment"),
        ({"variants": [{"name": "a", "share": 1}, {"name": "b"}]}, "unknown_key"),
        ({"control": "c"}, "bad_experiment"),
        ({"goals": ["signup"] * (MAX_GOALS + 1)}, "bad_request"),
        ({"goals": [{}]}, "bad_step"),
        ({"goals": [""]}, "bad_experiment"),
        ({"goals": [{"goal": "nowhere"}]}, "unknown_goal"),
        ({"goals": [{"filters": [["matches", "event:page", ["("]]]}]}, "bad_pattern"),
        ({"window": 0}, "bad_window"),
        ({"window": "91d"}, "bad_window"),
        ({"window": "soon"}, "bad_window"),
        ({"window": 2**70}, "bad_window"),
        ({"start": "2026-11-02", "end": "2026-11-01"}, "bad_date_range"),
        ({"start": "tomorrow"}, "bad_date_range"),
        ({"start": "1999-12-31"}, "bad_date_range"),
        ({"status": "paused"}, "bad_request"),
        ({"color": 1}, "unknown_key"),
    ],
)
async def test_refuses_definitions_that_can_t_work(lab: Lab, changes: dict[str, Any], code: str) -> None:
    assert await lab.refusal("", DEFINITION | changes) == (400, code)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "x" * 120, "key": "Größe ✓"},
        {"variants": [{"name": f"v{n}"} for n in range(MAX_VARIANTS)]},
        {"variants": [{"name": "a", "weight": 0}, {"name": "b", "weight": 0.000_001}], "control": "b"},
        {"variants": [{"name": "a", "weight": 1_000_000}, {"name": "b" * 120}]},
        {"goals": ["signup"] * MAX_GOALS},
        {"goals": []},
        {"window": 1},
        {"window": "90d"},
        {"start": "2000-01-02", "end": "2099-12-31"},
        {"start": micros(NOW) // 1_000},
    ],
)
async def test_takes_what_is_just_within(lab: Lab, changes: dict[str, Any]) -> None:
    await lab.make(**changes)


async def test_changes_are_checked_like_new_ones(lab: Lab) -> None:
    path = f"/{(await lab.make())['id']}"
    variants = [{"name": "x"}, {"name": "y"}]
    assert await lab.refusal(path, {"variants": variants}, method="PUT") == (400, "bad_experiment")
    assert await lab.refusal(path, {"site_id": FOREIGN}, method="PUT") == (400, "bad_experiment")
    assert await lab.refusal(path, {"window": "1y"}, method="PUT") == (400, "bad_window")
    assert await lab.refusal(path, {"id": "x"}, method="PUT") == (400, "unknown_key")
    assert (await lab("PUT", path, {"variants": variants, "control": "y"}))[1]["control"] == "y"


async def test_who_may_what(lab: Lab) -> None:
    made = await lab.make()
    path = f"/{made['id']}"
    for method, address, value in (
        ("GET", f"?site_id={SITE}", None),
        ("GET", path, None),
        ("POST", "", DEFINITION),
        ("PUT", path, {}),
        ("DELETE", path, None),
        ("POST", f"{path}/results", {}),
        ("POST", "/plan", {}),
    ):
        assert (await lab(method, address, value, token=""))[0] == 401
    assert (await lab("GET", path, token="mine"))[0] == 200
    assert (await lab("GET", path, token="collect"))[0] == 403
    assert (await lab("GET", f"?site_id={SITE}", token="collect"))[0] == 403
    for method, address, value in (("POST", "", DEFINITION), ("PUT", path, {}), ("DELETE", path, None)):
        assert (await lab(method, address, value, token="read"))[0] == 403
    # To a foreign token it does not exist, whatever it asks.
    for method, address, value in (("GET", path, None), ("PUT", path, {}), ("DELETE", path, None)):
        assert (await lab(method, address, value, token="foreign"))[0] == 404
    assert (await lab("POST", f"{path}/results", {}, token="foreign"))[0] == 404
    assert (await lab("POST", f"{path}/results", {"site_id": SITE}, token="foreign"))[0] == 403
    assert (await lab("POST", "", DEFINITION, token="foreign"))[0] == 403
    assert (await lab("GET", f"?site_id={SITE}", token="foreign"))[0] == 403


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "bad_request"),
        ("?site_id=", 400, "bad_request"),
        (f"?site_id={SITE}&site_id={SITE}", 400, "bad_request"),
        (f"?site_id={SITE}&x=1", 400, "unknown_key"),
        ("?site_id=nowhere.example", 404, "unknown_site"),
    ],
)
async def test_the_list_names_one_site(lab: Lab, query: str, status: int, code: str) -> None:
    assert await lab.refusal(query, None, method="GET") == (status, code)


async def test_plans(lab: Lab) -> None:
    status, answer = await lab("POST", "/plan", {"baseline": 0.2, "minimal_effect": 0.25}, token="read")
    assert (status, answer["per_variant"]) == (200, 1_094)
    assert await lab.refusal("/plan", {"baseline": 0.2, "minimal_effect": 9}) == (400, "bad_effect")
    assert await lab.refusal("/plan", {"baseline": 0.2, "minimal_effects": 9}) == (400, "unknown_key")


# ---- assignment --------------------------------------------------------


async def test_assigns_without_a_token_by_id_key_and_name(lab: Lab) -> None:
    made = await lab.make()
    expected = assign("cta", "u-1", [("a", 1.0), ("b", 2.0)])
    for name in (made["id"], "cta", "Call%20to%20action"):
        for site in ("", f"&site_id={SITE}"):
            status, answer = await lab("GET", f"/{name}/assign?subject=u-1{site}", token="")
            assert (status, answer) == (200, {"experiment": "cta", "variant": expected})


async def test_assignments_can_be_read_from_any_page_and_kept_for_a_while(lab: Lab) -> None:
    await lab.make()
    for address, status, kept in (
        ("cta/assign?subject=u", 200, "private, max-age=60"),
        ("none/assign?subject=u", 404, "no-store"),
        ("cta/assign", 400, "no-store"),
    ):
        async with lab.client.get(f"/api/v1/experiments/{address}") as response:
            assert response.status == status
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert response.headers["Cache-Control"] == kept
            assert response.content_type == "application/json"
    async with lab.client.options("/api/v1/experiments/cta/assign") as response:
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Methods"] == "GET, OPTIONS"


async def test_takes_nobody_in_unless_it_runs(lab: Lab) -> None:
    path = f"/{(await lab.make(start='2026-11-20', end='2026-11-25'))['id']}"

    async def variant() -> object:
        return (await lab("GET", f"{path}/assign?subject=u", token=""))[1]["variant"]

    assert await variant() in ("a", "b")
    lab.clock[0] = datetime(2026, 11, 19, 22, 59, tzinfo=UTC)  # midnight in Berlin is at 23:00
    assert await variant() is None
    lab.clock[0] = datetime(2026, 11, 19, 23, tzinfo=UTC)
    assert await variant() in ("a", "b")
    lab.clock[0] = datetime(2026, 11, 25, 23, tzinfo=UTC)
    assert await variant() is None
    lab.clock[0] = NOW
    for status in ("draft", "stopped"):
        await lab("PUT", path, {"status": status})
        assert await variant() is None
    await lab("PUT", path, {"status": "running"})
    assert await variant() in ("a", "b")


async def test_a_key_of_several_sites_needs_the_site(lab: Lab) -> None:
    await lab.make()
    other = await lab.make(site_id=FOREIGN, variants=[{"name": "x"}, {"name": "y"}])
    assert await lab.refusal("/cta/assign?subject=u", None, method="GET") == (400, "site_needed")
    assert (await lab("GET", f"/cta/assign?subject=u&site_id={FOREIGN}"))[1]["variant"] in ("x", "y")
    assert (await lab("GET", f"/{other['id']}/assign?subject=u"))[1]["variant"] in ("x", "y")
    assert await lab.refusal(f"/{other['id']}/assign?subject=u&site_id={SITE}", None, method="GET") == (
        404,
        "unknown_experiment",
    )


@pytest.mark.parametrize("subject", ["x" * SUBJECT_CHARS, "%00", "%ED%A0%80", "%F0%9F%8E%89", "a%26b"])
async def test_any_subject_has_a_variant(lab: Lab, subject: str) -> None:
    await lab.make()
    status, answer = await lab("GET", f"/cta/assign?subject={subject}", token="")
    assert status == 200
    assert answer["variant"] in ("a", "b")


@pytest.mark.parametrize("query", ["", "?subject=", "?subject=" + "x" * (SUBJECT_CHARS + 1)])
async def test_a_subject_is_bounded(lab: Lab, query: str) -> None:
    await lab.make()
    assert await lab.refusal(f"/cta/assign{query}", None, method="GET") == (400, "bad_subject")


async def test_a_change_is_known_at_once(lab: Lab) -> None:
    made = await lab.make()
    await lab("GET", "/cta/assign?subject=u")
    await lab("PUT", f"/{made['id']}", {"variants": [{"name": "a", "weight": 0}, {"name": "b"}]})
    assert (await lab("GET", "/cta/assign?subject=u"))[1]["variant"] == "b"
    await lab("DELETE", f"/{made['id']}")
    assert (await lab("GET", "/cta/assign?subject=u"))[0] == 404


# ---- results -----------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def events(store: Store) -> None:
    at = micros(NOW) - 3_600_000_000
    stream = []
    for number in range(30):
        begin = at + number
        shown = Happening(
            at=begin,
            name="exposure",
            session=f"s{number}",
            opened=begin,
            experiment="cta",
            variant="ab"[number % 2],
        )
        stream.append(shown)
        if number % 3 == 0:
            paid = replace(shown, at=begin + 9, name="signup", experiment="", variant="")
            stream.append(replace(paid, amount=125_000, currency="EUR"))
    await insert(store, SITE, stream)


@pytest.mark.usefixtures("events")
async def test_results_of_a_definition_and_of_mere_exposures_agree(lab: Lab) -> None:
    request = {"site_id": SITE, "goal": "signup", "window": "2h"}
    status, adhoc = await lab("POST", "/cta/results", request, token="read")
    assert status == 200
    assert adhoc["experiment"] == {
        "id": None,
        "name": "cta",
        "key": "cta",
        "control": "a",
        "weights": {"a": 1.0, "b": 1.0},
        "goals": [{"name": "signup", "filters": [["is", "event:name", ["signup"]]]}],
        "window": 7_200,
        "status": None,
    }
    made = await lab.make(variants=[{"name": "a"}, {"name": "b"}])
    for name in (made["id"], "cta", "Call%20to%20action"):
        status, answer = await lab("POST", f"/{name}/results", {}, token="read")
        assert status == 200
        assert answer["experiment"]["id"] == made["id"]
        assert len(answer["goals"]) == 2
        assert answer["variants"] == answer["goals"][0]["variants"] == adhoc["variants"]
    first, second = adhoc["variants"]
    assert (first["name"], first["is_control"], first["exposures"], first["conversions"]) == ("a", True, 15, 5)
    assert (second["name"], second["is_control"], second["exposures"], second["conversions"]) == ("b", False, 15, 5)
    assert first["rate"] == pytest.approx(1 / 3)
    assert (second["lift"], second["difference"], second["p_value"]) == (0, 0, pytest.approx(1))
    assert first["probability_to_be_best"] == pytest.approx(0.5)
    assert first["revenue"][0]["per_subject"] == pytest.approx(62.5 / 15)
    assert (first["revenue"][0]["currency"], first["revenue"][0]["total"]) == ("EUR", 62.5)
    assert adhoc["sample_ratio"] == {
        "expected": {"a": 0.5, "b": 0.5},
        "chi_square": 0,
        "p_value": 1,
        "mismatch": False,
    }
    assert adhoc["excluded"] == {"several_variants": 0, "unknown_variant": 0}
    assert adhoc["maturing"] == 30
    assert adhoc["meta"]["table"] == "events+sessions"


@pytest.mark.usefixtures("events")
async def test_a_range_before_the_start_is_not_looked_at(lab: Lab) -> None:
    made = await lab.make(start="2026-11-24", end="2026-11-25")
    lab.clock[0] = datetime(2026, 11, 24, 12, tzinfo=UTC)
    answer = (await lab("POST", f"/{made['id']}/results", {}))[1]
    assert [variant["exposures"] for variant in answer["variants"]] == [0, 0]
    assert answer["meta"]["date_range"] == ["2026-11-24T00:00:00+01:00", "2026-11-26T00:00:00+01:00"]
    empty = answer["variants"][1]
    for key in ("rate", "interval", "lift", "lift_interval", "p_value", "probability_to_be_best", "expected_loss"):
        assert empty[key] is None
    assert answer["sample_ratio"]["p_value"] is None
    assert answer["sample_ratio"]["mismatch"] is False


@pytest.mark.usefixtures("events")
async def test_variants_that_are_not_defined_are_counted_apart(lab: Lab) -> None:
    made = await lab.make(variants=[{"name": "a"}, {"name": "c"}])
    answer = (await lab("POST", f"/{made['id']}/results", {}))[1]
    assert [variant["exposures"] for variant in answer["variants"]] == [15, 0]
    assert answer["excluded"] == {"several_variants": 0, "unknown_variant": 15}
    assert answer["sample_ratio"]["mismatch"] is True
    assert len(answer["meta"]["warnings"]) == 1
    assert answer["variants"][0]["probability_to_be_best"] is None


@pytest.mark.usefixtures("events")
async def test_goals_by_label_by_saved_goal_and_by_event(lab: Lab) -> None:
    saved = await lab.saved.put(Kind.GOAL, SITE, "Signed up", GoalBody(event="signup"))
    await lab.make(goals=[{"name": "Welcomed", "filters": [["is", "event:page", ["/"]]]}])
    goals = ["Signed up", saved.id, "signup", "Welcomed", {"goal": "Signed up"}]
    answer = (await lab("POST", "/cta/results", {"site_id": SITE, "goals": goals}))[1]
    assert [goal["variants"][0]["conversions"] for goal in answer["goals"]] == [5, 5, 5, 5, 5]
    assert answer["experiment"]["goals"][3]["filters"] == [["is", "event:page", ["/"]]]
    assert (await lab("POST", "/cta/results", {"site_id": SITE, "goal": "never"}))[1]["variants"][0]["conversions"] == 0


@pytest.mark.usefixtures("events")
async def test_the_site_need_not_be_named_where_only_one_can_be_meant(lab: Lab, store: Store) -> None:
    at = micros(NOW) - 3_600_000_000
    for site_id in (SITE, FOREIGN):
        shown = Happening(at=at, name="exposure", session="s", opened=at, experiment="twice", variant="a")
        await insert(store, site_id, [shown])
    goal = {"goal": "signup"}
    named = (await lab("POST", "/cta/results", goal | {"site_id": SITE}))[1]
    for token in ("admin", "read", "mine"):
        status, answer = await lab("POST", "/cta/results", goal, token=token)
        assert (status, answer["variants"]) == (200, named["variants"])
    assert await lab.refusal("/twice/results", goal) == (400, "site_needed")
    for token in ("mine", "foreign"):
        assert (await lab("POST", "/twice/results", goal, token=token))[0] == 200
    status, answer = await lab("POST", "/cta/results", goal, token="foreign")
    assert (status, answer["error"]["code"]) == (404, "unknown_experiment")
    for path in ("/cta/results", "/nothing/results"):
        assert (await lab("POST", path, goal, token="collect"))[0] == 403


@pytest.mark.usefixtures("events")
async def test_a_goal_that_is_gone_is_an_error_and_no_event_s_name(lab: Lab) -> None:
    saved = await lab.saved.put(Kind.GOAL, SITE, "signup", GoalBody(event="signup"))
    made = await lab.make(goals=["signup"])
    assert "saved_goals" not in made
    await lab.saved.delete(Kind.GOAL, SITE, saved.id)
    assert (await lab("PUT", f"/{made['id']}", {"status": "stopped"}))[0] == 200
    assert await lab.refusal("/cta/results", {"site_id": SITE}) == (400, "unknown_goal")
    assert (await lab("POST", "/cta/results", {"site_id": SITE, "goal": {"event": "signup"}}))[0] == 200


@pytest.mark.usefixtures("events")
async def test_control_can_be_chosen(lab: Lab) -> None:
    request = {"site_id": SITE, "goal": "signup", "control": "b"}
    answer = (await lab("POST", "/cta/results", request))[1]
    assert [variant["is_control"] for variant in answer["variants"]] == [False, True]
    assert answer["variants"][0]["p_value"] is not None
    assert answer["variants"][1]["p_value"] is None


@pytest.mark.usefixtures("events")
@pytest.mark.parametrize(
    ("path", "request_", "status", "code"),
    [
        ("cta", {"site_id": SITE}, 400, "no_goal"),
        ("nothing", {"goal": "signup"}, 404, "unknown_experiment"),
        ("nothing", {"site_id": SITE, "goal": "signup"}, 404, "unknown_experiment"),
        ("cta", {"site_id": EMPTY, "goal": "signup"}, 404, "unknown_experiment"),
        ("cta", {"site_id": "nowhere.example", "goal": "signup"}, 404, "unknown_site"),
        (
            "cta",
            {"site_id": SITE, "goal": "signup", "date_range": ["2026-01-01", "2026-01-02"]},
            404,
            "unknown_experiment",
        ),
        ("cta", {"site_id": SITE, "goal": "signup", "date_range": "soon"}, 400, "bad_date_range"),
        ("cta", {"site_id": SITE, "goal": "signup", "control": "z"}, 400, "bad_experiment"),
        ("cta", {"site_id": SITE, "goal": "signup", "window": "0s"}, 400, "bad_window"),
        ("cta", {"site_id": SITE, "goal": "signup", "breakdown": "time:day"}, 400, "unsupported_dimension"),
        ("cta", {"site_id": SITE, "goal": "signup", "breakdown": "visit:shoe_size"}, 400, "unknown_dimension"),
        ("cta", {"site_id": SITE, "goal": "signup", "limit": 0}, 400, "bad_request"),
        ("cta", {"site_id": SITE, "goal": "signup", "limit": 21}, 400, "bad_request"),
        ("cta", {"site_id": SITE, "goal": "x" * 121}, 400, "bad_request"),
        ("cta", {"site_id": SITE, "goals": ["x"] * (MAX_GOALS + 1)}, 400, "bad_request"),
        ("cta", {"site_id": SITE, "goal": "x", "goals": ["x"] * MAX_GOALS}, 400, "bad_experiment"),
        ("cta", {"site_id": SITE, "goal": "x", "filters": [["is", "event:page", [1]]]}, 400, "bad_filter"),
        ("cta", {"site_id": SITE, "goal": "x", "filters": [["matches", "event:page", ["("]]]}, 400, "bad_pattern"),
        ("cta", {"site_id": SITE, "goal": "x", "metrics": []}, 400, "unknown_key"),
        ("%00", {"site_id": SITE, "goal": "signup"}, 404, "unknown_experiment"),
        ("%ED%A0%80", {"site_id": SITE, "goal": "signup"}, 404, "unknown_experiment"),
        ("x" * 4_000, {"site_id": SITE, "goal": "signup"}, 404, "unknown_experiment"),
    ],
)
async def test_refuses_questions(lab: Lab, path: str, request_: dict[str, Any], status: int, code: str) -> None:
    assert await lab.refusal(f"/{path}/results", request_) == (status, code)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"{", 400),
        (b"[1]", 400),
        (b"[" * 100_000, 400),
        (b'{"goals":' + b"[" * 100_000, 400),
        (b'{"filters":' + b"[" * 100_000, 400),
        (b'{"site_id":"\\ud800"}', 400),
        (b'{"site_id":"\xff"}', 400),
        (b'{"baseline":1e999}', 400),
        (b'{"baseline":NaN}', 400),
        (b'{"window":99999999999999999999999999999999}', 400),
        (b" " * 262_145, 413),
    ],
)
async def test_unreadable_bodies(lab: Lab, data: bytes, status: int) -> None:
    made = await lab.make()
    for method, path in (("POST", ""), ("POST", "/plan"), ("POST", "/cta/results"), ("PUT", f"/{made['id']}")):
        found, answer = await lab(method, path, data=data)
        assert found == status, (method, path)
        assert answer["error"]["code"] in ("bad_json", "bad_request", "bad_window", "unknown_key", "too_large")


@pytest.mark.usefixtures("events")
async def test_breaks_down_by_the_value_at_the_first_exposure(lab: Lab) -> None:
    request = {"site_id": SITE, "goal": "signup", "breakdown": "event:page", "limit": 1}
    answer = (await lab("POST", "/cta/results", request))[1]
    assert answer["meta"]["total_rows"] == 1
    (row,) = answer["breakdown"]
    assert (row["value"], row["exposures"]) == ("/", 30)
    assert row["goals"] == answer["goals"]
