"""A definition that can't be read costs the others nothing, whatever is asked first."""

from __future__ import annotations

import pytest

from analytics_server.saved.store import Kind
from tests.analyses.experiments.lab import FOREIGN, SITE, Lab

SOUND = {"key": "bad", "variants": [{"name": "a"}, {"name": "b"}], "control": "a"}
DAMAGED: list[object] = [
    {},
    [],
    {"key": 7, "variants": "two"},
    {"key": "bad", "invented": True},
    {**SOUND, "start": "soon"},
    {**SOUND, "end": "2026-11-01T00:00:00"},
]


@pytest.mark.parametrize("body", DAMAGED)
async def test_an_experiment_that_can_not_be_read_is_left_out(lab: Lab, body: object) -> None:
    mine = await lab.make()
    foreign = await lab.make(site_id=FOREIGN, key="elsewhere")
    damaged = await lab.saved.put(Kind.EXPERIMENT, SITE, "Damaged", body)
    for _ in range(2):  # the first look-up after a change reads the documents
        for experiment in (mine, foreign):
            status, answer = await lab("GET", f"/{experiment['id']}/assign?subject=u1", token="")
            assert (status, answer["experiment"]) == (200, experiment["key"])
    assert await lab("GET", f"?site_id={SITE}", token="read") == (200, {"experiments": [mine]})
    assert await lab("GET", f"?site_id={FOREIGN}", token="read") == (200, {"experiments": [foreign]})
    status, refusal = await lab("GET", f"/{damaged.id}")
    assert (status, refusal["error"]["code"]) == (400, "bad_saved")
    await lab.make(name="Another", key="another")
    assert await lab("DELETE", f"/{damaged.id}") == (204, None)
