"""Experiments over HTTP: results, of a definition and of mere exposures, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from analytics_server.analyses.experiments.definition import MAX_GOALS
from analytics_server.query.language.saved_filters import GoalBody
from analytics_server.saved.store import Kind
from analytics_server.store import Store
from tests.analyses.experiments.lab import EMPTY, FOREIGN, NOW, SITE, Lab
from tests.analyses.experiments.stream import Happening, insert
from tests.query.world import micros


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
@pytest.mark.parametrize(("currency", "shown"), [("", ["EUR"]), ("EUR", ["EUR"]), ("USD", [])])
async def test_of_a_goal_with_a_currency_only_revenue_in_it_counts(lab: Lab, currency: str, shown: list[str]) -> None:
    await lab.saved.put(Kind.GOAL, SITE, "Paid", GoalBody(event="signup", currency=currency))
    answer = (await lab("POST", "/cta/results", {"site_id": SITE, "goals": ["Paid", "signup"]}))[1]
    paid, signup = (goal["variants"][0] for goal in answer["goals"])
    assert (paid["conversions"], signup["conversions"]) == (5, 5)
    assert [money["currency"] for money in paid["revenue"]] == shown
    assert [money["currency"] for money in signup["revenue"]] == ["EUR"]


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
