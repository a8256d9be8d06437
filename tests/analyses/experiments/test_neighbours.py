"""Experiments of different sites never touch each other, whatever they are called."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.analyses.experiments.lab import FOREIGN, NOW, SITE, SITES, Lab

MINE = [{"name": "a"}, {"name": "b"}]
THEIRS = [{"name": "x"}, {"name": "y"}]
ASK = "assign?subject=u"


async def assigned(lab: Lab, path: str, **headers: str) -> tuple[int, Any]:
    """The status and the variant that anyone is given."""
    async with lab.client.get(f"/api/v1/experiments/{path}", headers=headers) as response:
        answer = await response.json()
        return response.status, answer.get("variant", answer.get("error", {}).get("code"))


@pytest.mark.parametrize(
    "theirs",
    [
        {"name": "Other", "key": "cta"},
        {"name": "cta", "key": "other"},
        {"name": "Other", "key": "Call to action"},
        {"name": "Call to action", "key": "cta"},
    ],
)
@pytest.mark.parametrize("name", ["cta", "Call%20to%20action"])
async def test_what_another_site_saves_changes_no_assignment(lab: Lab, theirs: dict[str, str], name: str) -> None:
    await lab.make(variants=MINE)
    calls = (f"{name}/{ASK}", f"{name}/{ASK}&site_id={SITE}")
    before = [await assigned(lab, call) for call in calls]
    made = await lab.make(site_id=FOREIGN, variants=THEIRS, **theirs)

    assert [await assigned(lab, call) for call in calls] == before
    assert (await assigned(lab, f"{made['id']}/{ASK}"))[1] in ("x", "y")
    own = await assigned(lab, f"{made['key']}/{ASK}&site_id={FOREIGN}".replace(" ", "%20"))
    assert own[1] in ("x", "y")
    assert await assigned(lab, f"{made['id']}/{ASK}&site_id={SITE}") == (404, "unknown_experiment")


async def test_an_older_experiment_that_takes_the_key_over_changes_no_assignment(lab: Lab) -> None:
    theirs = await lab.make(site_id=FOREIGN, variants=THEIRS, name="Older", key="older")
    lab.clock[0] = NOW + timedelta(hours=1)
    await lab.make(variants=MINE)
    before = await assigned(lab, f"cta/{ASK}")
    lab.clock[0] = NOW + timedelta(hours=2)
    for change in ({"key": "cta"}, {"name": "cta", "key": "older"}):
        status, _ = await lab("PUT", f"/{theirs['id']}", change)
        assert status == 200
        assert await assigned(lab, f"cta/{ASK}") == before
    lab.clock[0] = NOW + timedelta(hours=3)
    mine = (await lab("GET", f"?site_id={SITE}"))[1]["experiments"][0]
    await lab("PUT", f"/{mine['id']}", {"window": "3h"})  # another change doesn't give the key away
    assert await assigned(lab, f"cta/{ASK}") == before


@pytest.mark.parametrize("header", ["Origin", "Referer"])
async def test_a_page_is_given_its_own_site_s_variant(lab: Lab, header: str) -> None:
    await lab.make(variants=MINE)
    await lab.make(site_id=FOREIGN, variants=THEIRS)

    for host, variants in ((SITE, "ab"), (FOREIGN, "xy"), (f"www.{FOREIGN}", "xy"), (f"{FOREIGN}:8443", "xy")):
        status, variant = await assigned(lab, f"cta/{ASK}", **{header: f"https://{host}"})
        assert (status, variant in variants) == (200, True)


async def test_a_page_whose_site_has_no_such_experiment_is_given_no_stranger_s(lab: Lab) -> None:
    await lab.make(variants=MINE)

    assert await assigned(lab, f"cta/{ASK}", Origin=f"https://{FOREIGN}") == (404, "unknown_experiment")
    assert (await assigned(lab, f"cta/{ASK}", Origin="https://elsewhere.example"))[0] == 200
    assert (await assigned(lab, f"cta/{ASK}&site_id={SITE}", Origin=f"https://{FOREIGN}"))[0] == 200


async def test_a_page_on_a_host_that_a_site_allows_is_given_that_site_s_variant(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SITES, FOREIGN, msgspec.structs.replace(SITES[FOREIGN], allowed_hosts=("shop.example",)))
    await lab.make(variants=MINE)
    await lab.make(site_id=FOREIGN, variants=THEIRS)

    assert (await assigned(lab, f"cta/{ASK}", Origin="https://shop.example"))[1] in ("x", "y")


@pytest.mark.parametrize("origin", ["null", "https://[", "", "https://", "file:///a", "http://a:b:c"])
async def test_an_origin_that_says_nothing_does_no_harm(lab: Lab, origin: str) -> None:
    await lab.make(variants=MINE)

    assert (await assigned(lab, f"cta/{ASK}", Origin=origin))[0] == 200


async def test_an_id_given_as_a_key_takes_nothing_over(lab: Lab) -> None:
    mine = await lab.make(variants=MINE)
    before = await assigned(lab, f"{mine['id']}/{ASK}")
    await lab.make(site_id=FOREIGN, variants=THEIRS, name="Other", key=mine["id"])

    assert await assigned(lab, f"{mine['id']}/{ASK}") == before
    assert (await assigned(lab, f"{mine['id']}/{ASK}&site_id={FOREIGN}"))[1] in ("x", "y")


async def test_a_deleted_site_s_experiment_is_not_given(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = await lab.make(site_id=FOREIGN, variants=THEIRS)
    await lab.make(variants=MINE)
    monkeypatch.delitem(SITES, FOREIGN)

    assert (await assigned(lab, f"cta/{ASK}"))[1] in ("a", "b")
    for path in (f"{theirs['id']}/{ASK}", f"cta/{ASK}&site_id={FOREIGN}"):
        assert await assigned(lab, path) == (404, "unknown_experiment")


async def test_results_by_key_are_found_as_if_there_were_only_the_token_s_sites(lab: Lab) -> None:
    await lab.make(variants=MINE)
    await lab.make(site_id=FOREIGN, variants=THEIRS)

    status, answer = await lab("POST", "/cta/results", {"date_range": "day"}, token="mine")
    assert status == 200, answer
    assert set(answer["experiment"]["weights"]) == {"a", "b"}
    assert await lab.refusal("/cta/results", {"date_range": "day"}) == (400, "site_needed")
