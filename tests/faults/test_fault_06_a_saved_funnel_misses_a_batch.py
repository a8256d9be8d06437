"""6, once more: killed between the commit of `events` and that of a saved funnel's table.

After start-up the saved funnel answers as the direct one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.faults.conftest import Place
from tests.faults.trap import RENAMES, trap
from tests.server import Client, wait_for

SITE = "funnel.example"
STEPS = [{"name": "pageview"}, {"name": "signup"}]


async def ask(client: Client, **funnel: Any) -> tuple[list[Any], str]:
    reply = await client.call("POST", "/api/v1/funnels", {"site_id": SITE, "date_range": "30d", **funnel})
    assert reply.status == 200, reply.body
    return reply.json["steps"], reply.json["meta"]["table"]


async def test_a_saved_funnel_that_missed_a_batch_is_right_after_start_up(place: Place, tmp_path: Path) -> None:
    await place.start(SITE)
    async with Client(place.server) as client:
        saved = {"site_id": SITE, "name": "way", "steps": STEPS}
        assert (await client.call("POST", "/api/v1/funnels/saved", saved)).status == 201

        async def ready() -> bool:
            reply = await client.call("GET", f"/api/v1/funnels/saved?site_id={SITE}")
            return [one["status"] for one in reply.json["funnels"]] == ["ready"]

        await wait_for(ready, 60, "the saved funnel")
        await place.settled(client)
        async with trap(place.engine_pid, tmp_path, RENAMES, nth=2) as sprung:
            assert await place.send(client, SITE, 50) == 202
        committed, missed = sprung.commits(place.engine_dir)
        assert committed == ["events"]
        assert missed
        await place.restart_what_was_killed()
        await client.flushed()
        await wait_for(ready, 60, "the saved funnel")
        direct, _ = await ask(client, steps=STEPS)
        answered, table = await ask(client, funnel="way")
        assert table.startswith("funnel_")
        assert answered == direct
        assert direct[1]["count"] == 3
