"""Experiments over HTTP: the life of a definition, who may what, what is refused, and the public assignment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from analytics_server.analyses.experiments.assignment import assign
from analytics_server.analyses.experiments.definition import MAX_GOALS, MAX_VARIANTS
from analytics_server.analyses.experiments.routes import SUBJECT_CHARS
from tests.analyses.experiments.lab import DEFINITION, FOREIGN, NOW, SITE, Lab
from tests.query.world import micros


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
    assert await lab.refusal(path, {"site_id": FOREIGN}, method="PUT") == (400, "bad_request")
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
            assert response.headers.get("Cross-Origin-Resource-Policy", "cross-origin") == "cross-origin"
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
