"""6. Killed between the commit of `events` and of a view's target.

After start-up the rollup equals a recomputation from `events`.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.conftest import Place
from tests.faults.trap import RENAMES, trap
from tests.server import Client

VIEWS = {"openings", "sessions", "traffic"}


async def test_rollups_that_missed_a_batch_equal_their_recomputation(place: Place, tmp_path: Path) -> None:
    # A site per round: repairing a later round must not mend what an earlier one left.
    sites = {nth: f"round-{nth}.example" for nth in range(2, len(VIEWS) + 2)}
    await place.start(*sites.values())
    async with Client(place.server) as client:
        for nth, site in sites.items():
            async with trap(place.engine_pid, tmp_path, RENAMES, nth=nth) as sprung:
                assert await place.send(client, site, 50) == 202
            committed, missed = sprung.commits(place.engine_dir)
            assert committed[0] == "events"
            assert {*committed[1:], missed} <= VIEWS
            assert len({*committed, missed}) == nth
            await place.restart_what_was_killed()
            await client.flushed()
    await place.assert_balanced(51 * len(sites))
