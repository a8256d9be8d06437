"""Goals, segments, annotations and saved queries over HTTP: made, changed, listed, used, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from analytics_server.query.language.request import QueryRequest, decode_request
from tests.query.questions import body
from tests.saved.api import KINDS, LIVES, QUESTION, SITE, TOKYO, Api, wanted

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thing_s_life(api: Api, kind: str) -> None:
    first, change, seen = LIVES[kind]
    made = await api.make(kind)
    id_ = made["id"]
    assert {key: made[key] for key in first} == first
    assert made["site_id"] == SITE
    assert await api("GET", f"{kind}/{id_}") == (200, made)
    assert await api("GET", f"{kind}?site_id={SITE.upper()}") == (200, {kind: [made]})
    assert await api("GET", f"{kind}?site_id={TOKYO}") == (200, {kind: []})

    status, renamed = await api("PUT", f"{kind}/{id_}", {"name": "Renamed"})
    assert (status, renamed) == (200, {**made, "name": "Renamed", "updated_at_ms": renamed["updated_at_ms"]})
    status, changed = await api("PUT", f"{kind}/{id_}", {"site_id": SITE, **change})
    assert status == 200
    assert {key: changed[key] for key in {**change, **seen}} == {**change, **seen}
    assert (changed["name"], changed["id"], changed["created_at_ms"]) == ("Renamed", id_, made["created_at_ms"])

    assert await api("DELETE", f"{kind}/{id_}") == (204, None)
    for method, value in (("GET", None), ("PUT", {}), ("DELETE", None)):
        status, answer = await api(method, f"{kind}/{id_}", value)
        assert status == 404
        assert answer["error"]["code"].startswith("unknown_")
    assert await api("GET", f"{kind}?site_id={SITE}") == (200, {kind: []})


@pytest.mark.parametrize("kind", KINDS)
async def test_another_server_knows_what_was_made_and_changes_it(api: Api, other: Api, kind: str) -> None:
    made = await api.make(kind)

    assert await other("GET", f"{kind}/{made['id']}") == (200, made)
    status, renamed = await other("PUT", f"{kind}/{made['id']}", {"name": "Renamed"})
    assert (status, renamed["name"]) == (200, "Renamed")
    change = LIVES[kind][1]
    status, changed = await api("PUT", f"{kind}/{made['id']}", change)
    assert (status, changed["name"]) == (200, "Renamed"), "what a change leaves out stays as the other server left it"
    assert await other("DELETE", f"{kind}/{made['id']}") == (204, None)
    status, answer = await api("PUT", f"{kind}/{made['id']}", {"name": "Back"})
    assert status == 404, answer


@pytest.mark.parametrize("kind", ["goals", "segments", "queries"])
async def test_a_name_is_given_once(api: Api, other: Api, kind: str) -> None:
    made = await api.make(kind)
    second = await api.make(kind, name="Second")
    for call in (
        api("POST", kind, wanted(kind, {})),
        other("POST", kind, wanted(kind, {})),
        api("PUT", f"{kind}/{second['id']}", {"name": made["name"]}),
    ):
        status, answer = await call
        assert (status, answer["error"]["code"]) == (409, "name_taken")
    await api.make(kind, site_id=TOKYO, **({"request": {**QUESTION, "site_id": TOKYO}} if kind == "queries" else {}))


async def test_annotations_may_have_one_name_and_come_by_time(api: Api) -> None:
    for date in ("2026-11-02", "2026-11-01T23:30", "2026-11-01", "2026-10-31T23:00:00Z"):
        await api.make("annotations", date=date)

    listed = (await api("GET", f"annotations?site_id={SITE}"))[1]["annotations"]
    assert [one["start"] for one in listed] == [
        "2026-11-01T00:00:00+01:00",
        "2026-11-01T00:00:00+01:00",
        "2026-11-01T23:30:00+01:00",
        "2026-11-02T00:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("site", "when", "start", "end"),
    [
        (SITE, {"date": "2026-10-25"}, "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"),
        (TOKYO, {"date": "2026-10-25"}, "2026-10-25T00:00:00+09:00", "2026-10-26T00:00:00+09:00"),
        (SITE, {"date": "2026-03-29T12:00"}, "2026-03-29T12:00:00+02:00", "2026-03-29T12:00:00+02:00"),
        (SITE, {"date": "2026-01-01T00:00:00Z"}, "2026-01-01T01:00:00+01:00", "2026-01-01T01:00:00+01:00"),
        (SITE, {"date_range": ["2026-11-01", "2026-11-01"]}, "2026-11-01T00:00:00+01:00", "2026-11-02T00:00:00+01:00"),
        (TOKYO, {"date_range": ["2026-11-01T10:00", "2026-11-01"]}, "2026-11-01T10:00:00+09:00",
         "2026-11-02T00:00:00+09:00"),
    ],
)  # fmt: skip
async def test_an_annotation_lies_in_the_site_s_time(
    api: Api, site: str, when: dict[str, object], start: str, end: str
) -> None:
    status, made = await api("POST", "annotations", {"site_id": site, "text": "x", **when})

    assert (status, made["start"], made["end"]) == (201, start, end)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"event": "signup"}, "signup"),
        ({"page": "/welcome"}, "/welcome"),
        ({"event": "signup", "page": "/welcome"}, "signup"),
        ({"event": "signup", "name": "Joined"}, "Joined"),
        ({"page": "/blog/**", "scroll_depth": 90}, "/blog/** (90 %)"),
    ],
)
async def test_a_goal_without_a_name_gets_that_of_its_event_or_page(api: Api, given: dict[str, Any], name: str) -> None:
    assert (await api("POST", "goals", {"site_id": SITE, **given}))[1]["name"] == name


async def test_an_annotation_without_a_name_gets_the_beginning_of_its_text(api: Api) -> None:
    text = "New\n  prices " + "x" * 200
    _, made = await api("POST", "annotations", {"site_id": SITE, "text": f" {text} ", "date": "2026-11-01"})

    assert (made["text"], made["name"]) == (text, ("New prices " + "x" * 200)[:120])


async def test_a_change_of_one_part_keeps_what_has_nothing_to_do_with_it(api: Api) -> None:
    goal = await api.make("goals", filters=[["is", "event:props:plan", ["pro"]]])

    _, noted = await api("PUT", f"goals/{goal['id']}", {"about": ""})
    assert (noted["event"], noted["filters"], noted["about"]) == ("signup", goal["filters"], "")
    _, moved = await api("PUT", f"goals/{goal['id']}", {"page": "/x"})
    assert (moved["event"], moved["page"], moved["filters"], moved["currency"]) == ("", "/x", [], "EUR")
    for depth in (1, 100):
        _, deep = await api("PUT", f"goals/{goal['id']}", {"page": "/x", "scroll_depth": depth})
        assert (deep["event"], deep["page"], deep["scroll_depth"]) == ("", "/x", depth)
    _, moved = await api("PUT", f"goals/{goal['id']}", {"page": "/y"})
    assert (moved["page"], moved["scroll_depth"]) == ("/y", None)


async def test_a_goal_is_known_to_questions_until_it_is_deleted(api: Api) -> None:
    goal = await api.make("goals")
    asked = decode_request(body(site_id=SITE + api.own, filters=[["is", "event:goal", ["Signed up"]]]), QueryRequest)
    assert (await api.service.run(asked)).results

    await api("DELETE", f"goals/{goal['id']}")
    with pytest.raises(Exception, match="There is no goal") as refused:
        await api.service.run(asked)
    assert getattr(refused.value, "code", "") == "unknown_goal"
